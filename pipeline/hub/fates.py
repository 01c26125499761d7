"""What became of each number of one node: one fate each, of what refine has committed; no I/O here.

Refine's state says which event a number belongs to, the first that came with it; quarantine names it by number and id, for
offsets change where a log has lost its end and was filled again. Of several fates the one that is final is told: withdrawn
before refused before waiting before accepted.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.hub.shared import Shared
from schemas import seal
from schemas.columns import Blob, matrix
from schemas.fates import MISSING, PAGE, Fate, Region
from streams import dedupe, envelopes
from streams.base import Records
from streams.completeness import listed
from streams.dedupe import Hashes, Longs
from streams.envelopes import ASSESSMENTS, FOLLOWING, INCIDENT, PATTERN, WITHDRAWAL
from streams.names import Octets
from streams.refined import REF_BYTES, Refined
from streams.revisions import lacking

ID = 16
NEEDS = 8  # so many of the numbers that an event waits for are told
REASONS = 16  # so many of the reasons for which one was refused
EMPTY = 1_000  # so many pages of which nothing has come are told
FOREIGN = "envelope.other_node"
FAILED = ("stage.failed",)  # nothing was read of it; it may have come again
FAR = ("envelope.sequence",)  # out of reach when it came; it may have come again
KINDS = (INCIDENT, PATTERN, WITHDRAWAL, *FOLLOWING, *ASSESSMENTS)
FOLLOWED = ("amendment", "verification", "retraction", "consent", "referral", "follow_up")
ASSESSED = ("corroboration", "dispute", "taking_back")
WORDS = dict(zip(KINDS, ("report", "pattern", "withdrawal", *FOLLOWED, *ASSESSED), strict=True))
OF_A_CASE = (INCIDENT, *FOLLOWING)
Digests = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class Events:
    """n records of `raw.<node>` that are events of the node, in their order.

    `offsets`, `numbers` and `kinds` int64[n] (indexes in `envelopes.KINDS`), `ids` and `cases` uint8[n, 16], a case of
    zeros where there is none; `hashes` uint32[n] of the ids, as refine has them, `digests` uint64[n] of the whole records.
    """

    offsets: Longs
    numbers: Longs
    kinds: Longs
    ids: Octets
    cases: Octets
    hashes: Hashes
    digests: Digests

    @classmethod
    def joined(cls, parts: Iterable["Events"]) -> "Events":
        """Return the events of all parts, one after another."""
        columns = [list(vars(part).values()) for part in (_nothing(), *parts)]
        return cls(*(np.concatenate(each) for each in zip(*columns, strict=True)))


@dataclass
class Refusals:
    """What was refused of a node: by number and event id, by offset where refine failed, by number after refine.

    `far` are events, by number and id, that refine has not taken in: their numbers were out of reach.
    """

    of_events: dict[tuple[int, bytes], tuple[str, ...]] = field(default_factory=dict)
    failed: dict[int, tuple[str, ...]] = field(default_factory=dict)
    later: dict[int, tuple[str, ...]] = field(default_factory=dict)
    far: set[tuple[int, bytes]] = field(default_factory=set)

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row of Quarantined about a record of the node's topic."""
        reasons = tuple(row["reasons"])
        if reasons == FAILED:
            self.failed[row["offset"]] = reasons
        elif reasons == FAR:
            self.far.add((row["sequence"], row["event_id"]))
        elif row["sequence"] is not None and FOREIGN not in reasons:
            self.of_events[row["sequence"], row["event_id"]] = reasons

    def add_receipt(self, row: Mapping[str, Any]) -> None:
        """Add what a row of ReceiptGiven says was refused after refine: quarantine does not know its number."""
        for offset, number, reasons in zip(
            row["refused_offsets"], row["refused_numbers"], row["refused_reasons"], strict=True
        ):
            if offset < 0:
                self.later[number] = tuple(reasons.split())


def events(node: str, offsets: Longs, values: Blob) -> Events:
    """Return the events among records of a node's topic: those that have an envelope of this node and a possible number."""
    n = len(values)
    records = Records(f"raw.{node}", 0, 0, n, offsets, np.zeros(n, np.int64), values, Blob.of([b""] * n))
    found = envelopes.read(records, node)
    rows = np.flatnonzero(~found.refused)
    cases = np.zeros((len(rows), REF_BYTES), np.uint8)
    has_case = np.flatnonzero(found.has_case[rows])
    cases[has_case] = matrix(found.data, found.case[rows[has_case], 0], REF_BYTES)
    digests = [int.from_bytes(blake2b(values.item(row), digest_size=8).digest(), "big") for row in rows.tolist()]
    return Events(
        offsets[rows],
        found.sequence[rows],
        found.kind[rows],
        matrix(found.data, found.event[rows, 0], ID),
        cases,
        dedupe.hashes(found.data, found.event[rows, 0].copy()),
        np.array(digests, np.uint64),
    )


def fates(sent: Events, state: Refined, refused: Refusals, hubs: Mapping[str, tuple[bytes, Shared]]) -> dict[int, Fate]:
    """Return the fate of each number that came; `hubs` has each region's minting secret and what it has now.

    A number below the highest that is not there has not come, or the log has lost it.
    """
    rows = chosen(sent, state)
    story = _Story(sent, state, refused, rows, hubs)
    found = {number: story.of(number, row) for number, row in rows.items()}
    return found | dict(_unseen(sent, refused, found.keys()))


def pages(found: Mapping[int, Fate]) -> Iterator[tuple[int, tuple[Fate, ...]]]:
    """Yield the first number of each page and the fates of its numbers, up to the highest that came.

    Of pages of which nothing has come only the first EMPTY are there: a hostile number must not cost more.
    """
    highest, spare, expected = max(found, default=0), EMPTY, 1
    for first in sorted({number - (number - 1) % PAGE for number in found}):
        empty = range(expected, first, PAGE)[:spare]
        spare, expected = spare - len(empty), first + PAGE
        for each in (*empty, first):
            numbers = range(each, min(each + PAGE - 1, highest) + 1)
            yield each, tuple(found.get(number, MISSING) for number in numbers)


def _nothing() -> Events:
    none, octets = np.zeros(0, np.int64), np.zeros((0, ID), np.uint8)
    return Events(none, none, none, octets, octets, np.zeros(0, np.uint32), np.zeros(0, np.uint64))


def chosen(sent: Events, state: Refined) -> dict[int, int]:
    """Return by number the row of the event that refine has taken: the first whose id has the hash that it remembers."""
    numbers, hashes = listed(state.seen)
    at = np.minimum(np.searchsorted(numbers, sent.numbers), max(len(numbers) - 1, 0))
    taken = (numbers[at] == sent.numbers) & (hashes[at] == sent.hashes) if len(numbers) else np.zeros(len(at), np.bool_)
    rows = np.flatnonzero(taken)
    each, first = np.unique(sent.numbers[rows], return_index=True)
    return dict(zip(each.tolist(), rows[first].tolist(), strict=True))


def _unseen(sent: Events, refused: Refusals, known: Iterable[int]) -> Iterator[tuple[int, Fate]]:
    """Yield the fates of numbers that refine has refused and does not remember: it failed on them, or they were out of reach."""
    told = set(known)
    for row in np.flatnonzero(~np.isin(sent.numbers, list(told))).tolist():
        number = int(sent.numbers[row])
        far = (number, sent.ids[row].tobytes()) in refused.far
        reasons = FAR if far else refused.failed.get(int(sent.offsets[row]))
        if reasons and number not in told:
            told.add(number)
            yield number, Fate("refused", WORDS.get(int(sent.kinds[row]), "other"), reasons[:REASONS])


class _Story:
    """What is known of a node beside its log, looked up by number and event id."""

    def __init__(
        self,
        sent: Events,
        state: Refined,
        refused: Refusals,
        chosen: Mapping[int, int],
        hubs: Mapping[str, tuple[bytes, Shared]],
    ) -> None:
        self.sent, self.state, self.refused = sent, state, refused
        self.waiting = {each.number: lacking(state, each)[:NEEDS] for each in state.waiting.values()}
        self.hubs = [(code, secret, shared, shared.duplicates()) for code, (secret, shared) in sorted(hubs.items())]
        self.forked = _forked(sent, chosen)
        speaking = {life.speaks for life in state.lives.values()}
        ids = ((sent.ids[row].tobytes(), number) for number, row in chosen.items())
        self.numbers = {event_id: number for event_id, number in ids if event_id in speaking}
        self.versions = dict(self._versions())

    def of(self, number: int, row: int) -> Fate:
        """Return the fate of the event of a number."""
        kind, event_id = int(self.sent.kinds[row]), self.sent.ids[row].tobytes()
        word, forked = WORDS.get(kind, "other"), number in self.forked
        if kind in OF_A_CASE and self.sent.cases[row].tobytes() in self.state.withdrawn:
            return Fate("withdrawn", word, forked=forked)
        if reasons := self._reasons(number, event_id):
            return Fate("refused", word, reasons[:REASONS], forked=forked)
        if number in self.waiting:
            return Fate("waiting", word, tuple(map(str, self.waiting[number])), forked=forked)
        fate, details = self.versions.get(event_id, ("accepted", ()))
        return Fate(fate, word, details, tuple(self._regions(event_id)), forked)

    def _reasons(self, number: int, event_id: bytes) -> tuple[str, ...]:
        return self.refused.of_events.get((number, event_id)) or self.refused.later.get(number, ())

    def _versions(self) -> Iterator[tuple[bytes, tuple[str, tuple[str, ...]]]]:
        """Yield each version that does not speak for its incident, with its fate and the number of the one that does."""
        for life in self.state.lives.values():
            speaks = self.numbers.get(life.speaks)  # none where the log has lost it
            for event_id in life.versions.keys() - {life.speaks}:
                fate = "in_conflict" if event_id in life.heads else "replaced"
                yield event_id, (fate, (str(speaks),) if speaks else ())

    def _regions(self, event_id: bytes) -> Iterator[Region]:
        """Yield the regions that have an event; links are an incident's: of a pattern they would tell of other nodes' incidents."""
        for code, secret, shared, duplicates in self.hubs:
            version = shared.version(seal.mint(secret, event_id))
            if shared.has(version):
                yield Region(code, shared.links[version], version in duplicates)


def _forked(sent: Events, chosen: Mapping[int, int]) -> set[int]:
    """Return the numbers with which records came that are not all alike."""
    numbers, rows = np.array(list(chosen), np.int64), np.array(list(chosen.values()), np.int64)
    at = np.minimum(np.searchsorted(numbers, sent.numbers), max(len(numbers) - 1, 0))
    known = numbers[at] == sent.numbers if len(numbers) else np.zeros(len(at), np.bool_)
    other = known & (sent.digests != sent.digests[rows[at]]) if len(rows) else known
    return set(sent.numbers[other].tolist())
