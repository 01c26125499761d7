"""The ledger: what each lane has done, as ranges of offsets that abut, written in the transactions that did it.

`ledger.<stage>` has 4 partitions shared by all lanes. No I/O here; `streams.ledgerlog` reads it from the broker.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas import rows
from schemas.errors import LedgerGap
from schemas.released import latest
from schemas.wire import confluent, unframe
from streams.partition import partition_of

PARTITIONS = 4


@dataclass(frozen=True)
class Entry:
    """One batch of a lane: it took input offsets `start` to before `end`; `offset` is its place in the ledger."""

    offset: int
    start: int
    end: int
    delta: bytes = field(repr=False)


@dataclass(frozen=True)
class Block:
    """One record batch of the ledger as it lies in the log: either a marker or keyed values with their offsets."""

    producer: int
    following: int
    marker: str = ""  # "commit" or "abort"
    transactional: bool = True
    records: tuple[tuple[int, bytes, bytes], ...] = ()


def place_of(stage: str, lane: str) -> tuple[str, int]:
    """Return topic and partition of the lane's ledger."""
    return f"ledger.{stage}", partition_of(lane.encode(), PARTITIONS)


def write(lane: str, start: int, end: int, counts: Mapping[str, int], suite: str, delta: bytes) -> bytes:
    """Return one ledger record, framed."""
    release = latest("BatchCommitted")
    value = {"lane": lane, "start": start, "end": end, "counts": dict(counts), "suite": suite, "delta": delta}
    return confluent(release, rows.write(release, value))


def read(offset: int, framed: bytes) -> Entry:
    """Return the entry in one ledger record."""
    release, body = unframe(framed)
    value = rows.read(release, body)
    return Entry(offset, value["start"], value["end"], value["delta"])


class Resolver:
    """Which of a lane's records are committed, from the record batches in log order: a fold, no I/O."""

    def __init__(self, lane: str) -> None:
        """Begin before the first batch."""
        self._key = lane.encode()
        self._open: dict[int, list[Entry]] = defaultdict(list)

    def feed(self, block: Block) -> list[Entry]:
        """Return the lane's entries that this block commits, in log order."""
        if block.marker:
            mine = self._open.pop(block.producer, [])
            return mine if block.marker == "commit" else []
        mine = [read(offset, value) for offset, key, value in block.records if key == self._key]
        if not block.transactional:
            return mine
        if mine:
            self._open[block.producer].extend(mine)
        return []

    @property
    def unresolved(self) -> bool:
        """Return whether a record of the lane still waits for its marker."""
        return bool(self._open)


def abuts(lane: str, entry: Entry, following: int) -> Entry:
    """Return the entry; LedgerGap where it does not start at `following`, the end of the one before it."""
    if entry.start != following or entry.end <= entry.start:
        raise LedgerGap(
            f"The ledger of {lane} does not abut: batch {entry.start} to {entry.end} (ledger offset {entry.offset}) comes "
            f"after {following}. Stop all workers; look at the ledger by `tocsin tap` before you start one again."
        )
    return entry
