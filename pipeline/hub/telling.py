"""Telling nodes what became of their events: gathered from the log, signed, and put on `fates.<node>` where it changed."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.hub import sending
from pipeline.hub.completeness import Lane, lanes
from pipeline.hub.fates import Events, Refusals, events, fates, pages
from pipeline.hub.shared import Shared, Unreadable
from pipeline.hub.trees import Signer
from pipeline.log import Entry, read, topics
from schemas.columns import Blob
from schemas.decisions import Decided, is_decision, read_decision
from schemas.errors import BadInput, NotSetUp, Quarantines
from schemas.fates import BadFates, Fate, Page, pack, read_page
from schemas.rows import read as read_row
from schemas.wire import unframe

BATCH = 5_000
Step = Callable[[int], None]


@dataclass(frozen=True)
class Told:
    """What a node is told: its pages as records, by their first numbers, and which of them its topic has not yet.

    `decisions` are those that were sent to it, for a file. All before offset `end` of the node's topic was taken into account; `counts` are numbers by fate.
    """

    node: str
    end: int
    highest: int
    counts: Mapping[str, int]
    records: Mapping[int, bytes]
    changed: tuple[int, ...]
    decisions: tuple[bytes, ...] = ()


class Teller:
    """Knows what refine, quarantine and the regions have; `key` opens the ledger, `secrets` mint the regions' ids.

    Refine's ledger is read first: what the others say may be newer, and is told as far as it is about these events.
    """

    def __init__(self, kafka: str, key: bytes, secrets: Mapping[str, bytes], step: Step = lambda _: None) -> None:
        self._kafka, self._step = kafka, step
        self._lanes = {lane.node: lane for lane in lanes(read(kafka, "ledger.refine"), key)}
        self._topics = set(topics(kafka))
        self._refused = self._quarantined()
        self._hubs = {code: (secrets[code], shared) for code, shared in self._regions(list(secrets)).items()}

    def tell(self, node: str, by: Signer) -> Told:
        """Return what a node is told, signed; a page that says nothing new is the record that its topic has."""
        lane = self._lanes.get(node) or Lane(node)
        found = fates(self._sent(lane), lane.state, self._refused_of(node), self._hubs)
        before, given = self._before(node, by)
        records, changed = dict[int, bytes](), []
        counts: Counter[str] = Counter()
        for first, told in pages(found):
            counts.update(fate.fate for fate in told)
            known = before.get(first)
            if known and known[0].fates == told:
                records[first] = known[1]
            else:
                records[first] = _signed(by, lane, first, told, known[0].given_at if known else 0)
                changed.append(first)
        return Told(node, lane.end, max(found, default=0), counts, records, tuple(changed), given)

    def _quarantined(self) -> dict[str, Refusals]:
        found: dict[str, Refusals] = defaultdict(Refusals)
        for entry in self._read("quarantine"):
            row = _row(entry)
            if row["topic"].startswith("raw."):
                found[row["topic"].removeprefix("raw.")].add(row)
        return found

    def _refused_of(self, node: str) -> Refusals:
        """Return what was refused of a node; what merge has refused is in its receipts, by number."""
        for entry in self._read(f"receipts.{node}"):
            self._refused[node].add_receipt(_row(entry))
        return self._refused[node]

    def _regions(self, codes: Sequence[str]) -> dict[str, Shared]:
        """Return what each region has."""
        found = {code: Shared() for code in codes}
        entries = self._read(*(f"hub.{code}" for code in codes))
        while batch := list(islice(entries, BATCH)):
            for code, shared in found.items():
                shared.take([entry.value or b"" for entry in batch if entry.topic == f"hub.{code}"])
        return found

    def _sent(self, lane: Lane) -> Events:
        """Return the node's events that refine has read."""
        return sent_events(lane, self._read(f"raw.{lane.node}"))

    def _before(self, node: str, by: Signer) -> tuple[dict[int, tuple[Page, bytes]], tuple[bytes, ...]]:
        """Return what the node's topic has and the hub has signed: the newest of each page by its first number, and decisions."""
        found: dict[int, tuple[Page, bytes]] = {}
        given = dict[bytes, bytes]()
        for record in (entry.value or b"" for entry in self._read(f"fates.{node}")):
            try:
                one = read_decision(record) if is_decision(record) else read_page(record)
            except BadFates:
                continue
            if one.node != node or one.hub != by.key:
                continue
            if isinstance(one, Decided):
                given[one.decision_id] = record
            elif one.first not in found or found[one.first][0].order < one.order:
                found[one.first] = one, record
        return found, tuple(given.values())

    def _read(self, *names: str) -> Iterator[Entry]:
        """Yield the records of those of the topics that are there."""
        there = self._topics.intersection(names)
        for entry in read(self._kafka, *there) if there else ():
            self._step(1)
            yield entry


def sent_events(lane: Lane, entries: Iterable[Entry]) -> Events:
    """Return the events among a node's records that refine has read."""
    read_by_refine = (entry for entry in entries if entry.offset < lane.end)
    parts = []
    while batch := list(islice(read_by_refine, BATCH)):
        offsets = np.array([entry.offset for entry in batch], np.int64)
        parts.append(events(lane.node, offsets, Blob.of([entry.value or b"" for entry in batch])))
    return Events.joined(parts)


def check_topics(kafka: str, nodes: Iterable[str]) -> None:
    """Raise NotSetUp where a node has no topic for its fates: the cluster was set up by an older tocsin."""
    known = set(topics(kafka, "fates."))
    for node in nodes:
        if f"fates.{node}" not in known:
            raise NotSetUp(f"Kafka has no topic fates.{node}; run `tocsin up` to make it.")


def send(kafka: str, told: Iterable[Told]) -> None:
    """Put the changed pages on the nodes' topics and wait until the broker has them. Unreachable where it does not answer."""
    put(kafka, [(one.node, str(first).encode(), one.records[first]) for one in told for first in one.changed])


def put(kafka: str, records: Iterable[tuple[str, bytes, bytes]]) -> None:
    """Put (node, key, record) on the nodes' topics and wait until the broker has them. Unreachable where it does not answer."""
    placed = ((f"fates.{node}", key, record) for node, key, record in records)
    sending.send(kafka, placed, "the same command again: it sends what is not there yet")


def write(path: Path, records: Iterable[bytes]) -> None:
    """Write records for a node into a file. BadInput where it can't be written."""
    try:
        path.write_bytes(pack(records))
    except OSError as error:
        raise BadInput(f"{path} can't be written ({error.strerror}); give another file.") from error


def _signed(by: Signer, lane: Lane, first: int, told: tuple[Fate, ...], before: int) -> bytes:
    """Return a page as a record, later than the one before whatever the clock says."""
    given_at = max(time.time_ns() // 1_000_000, before + 1)
    return Page(lane.node, by.key, lane.end, given_at, first, told).sign(by.seed)


def _row(entry: Entry) -> dict[str, Any]:
    try:
        row: dict[str, Any] = read_row(*unframe(entry.value or b""))
    except Quarantines as error:
        raise Unreadable(entry.topic, error.reason) from error
    return row
