"""The ledger: what each lane has done, as ranges of offsets that abut, written in the transactions that did it.

`ledger.<stage>` has 4 partitions shared by all lanes. A lane that is asked to writes a base: its whole state as of the end
of its ledger, with which its line begins anew, so that what is older can be deleted. No I/O here; `streams.ledgerlog` reads
it from the broker.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from schemas import rows
from schemas.released import latest
from schemas.wire import confluent, unframe
from streams.partition import partition_of

PARTITIONS = 4
PART_BYTES = 4 << 20
ASK = b"base"
"""The key of a record that asks all lanes of its partition for a base; no lane is named so."""


@dataclass(frozen=True)
class Entry:
    """One batch of a lane: it took input offsets `start` to before `end`; `offset` is its place in the ledger.

    Or one of the `parts` of a base, number `part`: `start` is 0, and `delta` and `counts` are those of all batches.
    """

    lane: str
    offset: int
    start: int
    end: int
    counts: Mapping[str, int]
    delta: bytes = field(repr=False)
    part: int = 0
    parts: int = 0

    @property
    def base(self) -> bool:
        """Whether the state begins anew here."""
        return self.parts > 0


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


def write_base(lane: str, end: int, counts: Mapping[str, int], state: bytes) -> Iterator[bytes]:
    """Yield the records of a base, framed: parts of at most PART_BYTES of the state."""
    release, starts = latest("BaseWritten"), range(0, max(len(state), 1), PART_BYTES)
    value = {"lane": lane, "end": end, "parts": len(starts), "counts": dict(counts)}
    for part, start in enumerate(starts):
        yield confluent(
            release, rows.write(release, value | {"part": part, "state": state[start : start + PART_BYTES]})
        )


def read(offset: int, framed: bytes) -> Entry:
    """Return the entry in one ledger record."""
    release, body = unframe(framed)
    value = rows.read(release, body)
    if release.name == "BaseWritten":
        some = value["counts"], value["state"], value["part"], value["parts"]
        return Entry(value["lane"], offset, 0, value["end"], *some)
    return Entry(value["lane"], offset, value["start"], value["end"], value["counts"], value["delta"])


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
