"""Is a node's log whole and as it was sent? The verdict on `raw.<node>` by signed heads and by trees that others have seen.

Heads name what is not as the node signed it; a tree's checkpoint, kept by the hub or cosigned by a witness, names what was
changed after the hub had it, also where the node's own key was stolen. Pure: the same evidence gives the same verdict,
online or from a file.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np

from schemas import chain, merkle
from schemas.chain import BadHead, Head
from schemas.columns import Blob
from streams import envelopes
from streams.base import Records


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
    """One thing that is not as it should be: its kind, the event's number (0: none) or the record's offset (-1: none)."""

    kind: str
    sequence: int = 0
    offset: int = -1
    said: str = ""


@dataclass
class Verdict:
    """`through`: up to which number everything is there as the node signed it; `findings` in the order of numbers.

    Told, and harmless: numbers that came again with the same bytes (`repeated`), offsets of what is no event (`unreadable`).
    """

    node: str
    highest: int = 0
    through: int = 0
    records: int = 0
    heads: int = 0
    cosigned: int = 0
    findings: list[Finding] = field(default_factory=list)
    repeated: list[int] = field(default_factory=list)
    unreadable: list[int] = field(default_factory=list)

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
    foreign: list[int]
    repeated: list[int]
    unreadable: list[int]


def examine(evidence: Evidence) -> Verdict:
    """Return the verdict."""
    log, found = _log(evidence), set[Finding]()
    heads = _heads(evidence, found)
    covered = _covered(log, heads, found)
    found |= {Finding("foreign", offset=at, said="the record of another node") for at in log.foreign}
    found |= set(_forked(log)) | set(_tree(log, evidence)) | set(_unsigned(log, covered))
    highest = max([*log.by_number, *covered], default=0)
    found |= {Finding("missing", n) for n in range(1, highest + 1) if n not in log.by_number and n not in covered}
    verdict = Verdict(evidence.node, highest, 0, len(evidence.records), len(heads))
    verdict.findings = sorted(found, key=lambda one: (one.sequence, one.offset, one.kind))
    verdict.repeated, verdict.unreadable = log.repeated, log.unreadable
    verdict.cosigned = max((each.size for each in evidence.checkpoints), default=0)
    verdict.through = _through(verdict, covered)
    return verdict


def _log(evidence: Evidence) -> _Log:
    leaves = [chain.leaf(record) for record in evidence.records]
    good, home, sequence = _read(evidence)
    by_number: dict[int, dict[bytes, int]] = defaultdict(dict)
    numbers, repeated = [0] * len(leaves), []
    for at in np.flatnonzero(good & home).tolist():
        numbers[at] = number = int(sequence[at])
        if by_number[number].setdefault(leaves[at], at) != at:
            repeated.append(number)
    foreign, unreadable = np.flatnonzero(good & ~home).tolist(), np.flatnonzero(~good).tolist()
    return _Log(leaves, numbers, dict(by_number), foreign, repeated, unreadable)


def _read(evidence: Evidence) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return of each record whether it is an envelope with a possible number, whether of this node, and its number."""
    n = len(evidence.records)
    numbers, values = np.arange(n), Blob.of(list(evidence.records))
    read = envelopes.read(
        Records(f"raw.{evidence.node}", 0, 0, n, numbers, numbers, values, Blob.of([b""] * n)), evidence.node
    )
    return read.good & (read.sequence >= 1), read.home, read.sequence


def _heads(evidence: Evidence, found: set[Finding]) -> dict[bytes, Head]:
    """Return the node's heads by their hash; what is no head of this node, signed by its key, is found."""
    heads = {}
    for record in evidence.heads:
        try:
            head = chain.read_head(record)
        except BadHead as error:
            found.add(Finding("re-signed", said=str(error)))
            continue
        if (head.node, head.signer) != (evidence.node, evidence.pin):
            found.add(Finding("re-signed", head.sequence, said="a head is signed by another key than the node's"))
            continue
        heads[sha256(record).digest()] = head
    return heads


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
        before = heads.get(head.previous)
        if before is None and head.previous != chain.START:
            found.add(Finding("head missing", head.first, said=f"no head signs for what is before event {head.first}"))
        elif whole and chain.extended(before.link if before else chain.START, leaves) != head.link:
            found.add(
                Finding(
                    "altered", head.sequence, said=f"events {head.first} to {head.sequence} do not give the head's link"
                )
            )
    return covered


def _forked(log: _Log) -> Iterator[Finding]:
    for number, candidates in log.by_number.items():
        if len(candidates) > 1:
            yield Finding("forked", number, said=f"{len(candidates)} events have this number; all of them are kept")


def _unsigned(log: _Log, covered: dict[int, bytes]) -> Iterator[Finding]:
    for number in log.by_number.keys() - covered.keys():
        yield Finding("unsigned", number, min(log.by_number[number].values()))


def _tree(log: _Log, evidence: Evidence) -> Iterator[Finding]:
    """Compare the log with what the hub saw of it, and with what others have signed for."""
    leaves, seen = log.leaves, list(evidence.leaves)
    first = {leaf: at for at, leaf in reversed(list(enumerate(seen)))}
    for at, leaf in enumerate(seen):
        if at >= len(leaves):
            yield Finding("truncated", offset=at, said=f"the log had {len(seen)} records and has {len(leaves)}")
            break
        if leaves[at] != leaf:
            elsewhere = leaves[at] in first
            yield Finding("swapped" if elsewhere else "altered", log.numbers[at], at)
    if not seen:
        yield from _order(log)
    for each in evidence.checkpoints:
        if each.size > len(leaves):
            yield Finding("truncated", offset=len(leaves), said=f"{each.by} has signed for {each.size} records")
        elif merkle.root(leaves[: each.size]) != each.root:
            yield Finding(
                "rewritten", said=f"the first {each.size} records are not those that {each.by} has signed for"
            )


def _order(log: _Log) -> Iterator[Finding]:
    """Where nobody has seen the log before: an event that stands before one with a lower number was moved, or sent late."""
    last = 0
    for at, number in enumerate(log.numbers):
        if number and log.by_number[number][log.leaves[at]] == at:
            if number < last:
                yield Finding("swapped", number, at, "it stands behind an event with a higher number")
            last = max(last, number)


def _through(verdict: Verdict, covered: dict[int, bytes]) -> int:
    """Return up to which number heads sign for everything, and nothing was found."""
    bad = min((one.sequence for one in verdict.findings if one.sequence), default=verdict.highest + 1)
    if any(not one.sequence for one in verdict.findings):
        bad = 1
    number = 0
    while number + 1 < bad and number + 1 in covered:
        number += 1
    return number
