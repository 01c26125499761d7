"""Is a node's log whole and as it was sent? The verdict on `raw.<node>` by signed heads and by trees that others have seen.

Heads name what is not as the node signed it; a tree's checkpoint, kept by the hub or cosigned by a witness, names what was
changed after the hub had it, also where the node's own key was stolen. Pure: the same evidence gives the same verdict,
online or from a file.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise

import numpy as np

from pipeline.hub import signers
from pipeline.hub.signers import Handover, Term
from schemas import chain, merkle
from schemas.chain import BadHead, Head
from schemas.columns import Blob
from streams import envelopes
from streams.base import Records
from streams.envelopes import Envelopes

OTHER_KEY = "a head is signed by another key than the node's"
HANDED_OVER = "a head is signed by a key that could not sign for it: the node is handed over at another event"


@dataclass(frozen=True)
class Checkpoint:
    """A tree over the first `size` records of a log had this root, says whoever signed it."""

    size: int
    root: bytes
    by: str


@dataclass(frozen=True)
class Evidence:
    """What there is of one node: records by offset, heads as sent, the key that it is known by, the hub's own leaves, checkpoints."""

    node: str
    records: Sequence[bytes]
    heads: Sequence[bytes]
    pin: bytes
    leaves: Sequence[bytes] = ()
    checkpoints: Sequence[Checkpoint] = ()


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be: its kind, the event's number (0: none) or the record's offset (-1: none).

    `last` is the last number of a range that begins at `sequence`, 0 where it is one event.
    """

    kind: str
    sequence: int = 0
    offset: int = -1
    said: str = ""
    last: int = 0


@dataclass
class Verdict:
    """`through`: up to which number everything is there as the node signed it; `findings` in the order of numbers.

    `handovers` are those that the node signed for: who signs for it from which number on.

    Told, and harmless: numbers that came again with the same bytes (`repeated`) or after later ones (`late`), offsets of what is
    no event (`unreadable`), and how many records of heads.<node> are no heads (`no_heads`).
    """

    node: str
    highest: int = 0
    through: int = 0
    records: int = 0
    heads: int = 0
    cosigned: int = 0
    findings: list[Finding] = field(default_factory=list)
    handovers: list[Handover] = field(default_factory=list)
    repeated: list[int] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    unreadable: list[int] = field(default_factory=list)
    no_heads: int = 0

    @property
    def complete(self) -> bool:
        """Return whether nothing was found, and every event is signed for."""
        return not self.findings and self.through == self.highest


@dataclass
class _Log:
    """The records as events: hashes by offset; by number the distinct hashes in the order of their arrival, with offsets."""

    leaves: list[bytes]
    numbers: list[int]
    by_number: dict[int, dict[bytes, int]]
    handovers: list[Handover]
    foreign: list[int]
    repeated: list[int]
    unreadable: list[int]


def examine(evidence: Evidence) -> Verdict:
    """Return the verdict."""
    log, found = _log(evidence), set[Finding]()
    signed, no_heads = _signed(evidence, found)
    handovers = signers.settled(evidence.pin, signed.values(), log.handovers)
    heads = _rightful(signed, signers.terms(evidence.pin, handovers), found)
    covered = _covered(log, heads, found)
    found |= {Finding("foreign", offset=at, said="the record of another node") for at in log.foreign}
    found |= {*_forked(log), *_tree(log, evidence), *_unsigned(log, covered), *_gaps(log, covered)}
    verdict = Verdict(evidence.node, max([*log.by_number, *covered], default=0), 0, len(evidence.records), len(heads))
    verdict.findings = sorted(found, key=lambda one: (one.sequence, one.offset, one.kind))
    verdict.handovers = handovers
    verdict.repeated, verdict.unreadable, verdict.no_heads = log.repeated, log.unreadable, no_heads
    verdict.late = list(_late(log, len(evidence.leaves)))
    verdict.cosigned = max((each.size for each in evidence.checkpoints), default=0)
    verdict.through = _through(verdict, covered)
    return verdict


def _log(evidence: Evidence) -> _Log:
    leaves = [chain.leaf(record) for record in evidence.records]
    read = _read(evidence)
    good, home, sequence = read.good & envelopes.possible(read.sequence), read.home, read.sequence
    by_number: dict[int, dict[bytes, int]] = defaultdict(dict)
    numbers, repeated = [0] * len(leaves), []
    for at in np.flatnonzero(good & home).tolist():
        numbers[at] = number = int(sequence[at])
        if by_number[number].setdefault(leaves[at], at) != at:
            repeated.append(number)
    foreign, unreadable = np.flatnonzero(good & ~home).tolist(), np.flatnonzero(~good).tolist()
    handovers = list(signers.claims(read, leaves))
    return _Log(leaves, numbers, dict(by_number), handovers, foreign, repeated, unreadable)


def _read(evidence: Evidence) -> Envelopes:
    n = len(evidence.records)
    numbers, values = np.arange(n), Blob.of(list(evidence.records))
    records = Records(f"raw.{evidence.node}", 0, 0, n, numbers, numbers, values, Blob.of([b""] * n))
    return envelopes.read(records, evidence.node)


def _signed(evidence: Evidence, found: set[Finding]) -> tuple[dict[bytes, Head], int]:
    """Return the heads of the node, whoever signed them, by their hash, and how many records are none."""
    heads, none = {}, 0
    for record in evidence.heads:
        try:
            head = chain.read_head(record)
        except BadHead as error:
            none += error.reason == "head.malformed"
            if error.reason != "head.malformed":
                found.add(Finding("re-signed", said=str(error)))
            continue
        if head.node != evidence.node:
            found.add(Finding("re-signed", said=OTHER_KEY))
            continue
        heads[sha256(record).digest()] = head
    return heads, none


def _rightful(heads: dict[bytes, Head], held: list[Term], found: set[Finding]) -> dict[bytes, Head]:
    """Return the heads by who could sign then; the others are found."""
    good = {digest: head for digest, head in heads.items() if any(term.has(head) for term in held)}
    known = {term.signer for term in held}
    for digest in heads.keys() - good.keys():
        head = heads[digest]
        late = head.signer in known
        found.add(Finding("re-signed", head.sequence if late else 0, said=HANDED_OVER if late else OTHER_KEY))
    return good


def _covered(log: _Log, heads: dict[bytes, Head], found: set[Finding]) -> dict[int, bytes]:
    """Return the mark of each number that heads sign for; what they sign for and is not there, or not so, is found."""
    covered: dict[int, bytes] = {}
    for head in sorted(heads.values(), key=lambda each: each.sequence):
        whole, leaves = True, []
        for number in range(head.first, head.sequence + 1):
            mark = head.mark(number)
            if covered.setdefault(number, mark) != mark:
                found.add(Finding("forked", number, said="the node has signed two events with this number"))
            matching = [leaf for leaf in log.by_number.get(number, ()) if leaf.startswith(mark)]
            whole &= bool(matching)
            leaves += matching[:1]
            if not matching:
                kind = "altered" if number in log.by_number else "missing"
                found.add(Finding(kind, number, min(log.by_number.get(number, {b"": -1}).values())))
        found |= set(_linked(head, heads, leaves if whole else None))
    return covered


def _linked(head: Head, heads: dict[bytes, Head], leaves: list[bytes] | None) -> Iterator[Finding]:
    """Find that a head does not go on from one that is there, or that its events, all there, do not give its link."""
    before = heads.get(head.before)
    if (before.sequence if before else 0) != head.first - 1:
        yield Finding("head missing", head.first, said=f"no head signs for what is before event {head.first}")
    elif leaves is not None and chain.extended(before.link if before else chain.START, leaves) != head.link:
        said = f"events {head.first} to {head.sequence} do not give the head's link"
        yield Finding("altered", head.sequence, said=said)


def _forked(log: _Log) -> Iterator[Finding]:
    for number, candidates in log.by_number.items():
        if len(candidates) > 1:
            yield Finding("forked", number, said=f"{len(candidates)} events have this number; all of them are kept")


def _unsigned(log: _Log, covered: dict[int, bytes]) -> Iterator[Finding]:
    for number in log.by_number.keys() - covered.keys():
        yield Finding("unsigned", number, min(log.by_number[number].values()))


def _gaps(log: _Log, covered: dict[int, bytes]) -> Iterator[Finding]:
    """Find the numbers below the highest that is signed for, of which nothing is known."""
    highest = max(covered, default=0)
    known = sorted(number for number in log.by_number.keys() | covered.keys() if number <= highest)
    for before, number in pairwise([0, *known]):
        if number > before + 1:
            yield Finding("missing", before + 1, said="no head and no record tells of it", last=number - 1)


def _tree(log: _Log, evidence: Evidence) -> Iterator[Finding]:
    """Compare the log with what the hub saw of it, and with what others have signed for."""
    leaves, seen = log.leaves, list(evidence.leaves)
    known = set(seen)
    for at, leaf in enumerate(seen):
        if at >= len(leaves):
            yield Finding("truncated", offset=at, said=f"the log had {len(seen)} records and has {len(leaves)}")
            break
        if leaves[at] != leaf:
            yield Finding("swapped" if leaves[at] in known else "altered", log.numbers[at], at)
    for each in evidence.checkpoints:
        if each.size > len(leaves):
            yield Finding("truncated", offset=len(leaves), said=f"{each.by} has signed for {each.size} records")
        elif merkle.root(leaves[: each.size]) != each.root:
            yield Finding(
                "rewritten", said=f"the first {each.size} records are not those that {each.by} has signed for"
            )


def _late(log: _Log, seen: int) -> Iterator[int]:
    """Yield events that stand behind later ones where no tree tells how they came: sent late, or moved by somebody."""
    last = 0
    for at, number in enumerate(log.numbers):
        if number and log.by_number[number][log.leaves[at]] == at:
            if number < last and at >= seen:
                yield number
            last = max(last, number)


def _through(verdict: Verdict, covered: dict[int, bytes]) -> int:
    """Return up to which number heads sign for everything, and nothing was found; 0 where nothing can be believed."""
    if any(one.kind == "rewritten" for one in verdict.findings):
        return 0
    bad = min((one.sequence for one in verdict.findings if one.sequence), default=verdict.highest + 1)
    number = 0
    while number + 1 < bad and number + 1 in covered:
        number += 1
    return number
