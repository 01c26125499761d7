"""The shape of a sink: write, position, close. `tests/conformance/sink.py` is what every sink must pass."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.columns import Blob
from schemas.errors import LedgerGap, Stops


class Batch(Protocol):
    """What a sink needs of `streams.base.Records`: successive ranges `[start, end)` of one partition abut."""

    @property
    def topic(self) -> str:
        """Topic of the records."""

    @property
    def partition(self) -> int:
        """Partition of the records."""

    @property
    def start(self) -> int:
        """Offset that was asked for."""

    @property
    def end(self) -> int:
        """Offset to ask for next."""

    @property
    def offsets(self) -> NDArray[np.int64]:
        """Offsets of the events, int64[n], rising."""

    @property
    def values(self) -> Blob:
        """The events, n framed byte strings."""


@dataclass(frozen=True)
class Written:
    """What one batch became: rows by table, commits made, seconds by part of the work."""

    rows: Mapping[str, int] = field(default_factory=dict)
    commits: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)


class Sink(Protocol):
    """Writes each event of one partition once.

    A process may die at any moment and another may begin at `position()`: the rows are the same as without.
    """

    def position(self) -> int:
        """Return the offset from which to read; what is before it is in the sink for good."""

    def write(self, batch: Batch) -> Written:
        """Bring one batch in, whole; when it returns the position is `batch.end`.

        LedgerGap if `batch.start` is not the position; Stops for an event that has no place here; Retries (Fenced,
        Unreachable) if it is open what happened: open a new sink and read from its position.
        """

    def close(self) -> None:
        """Let go of clients; nothing is written here."""


def check(batch: Batch, topic: str, partition: int, position: int) -> None:
    """Refuse a batch: Stops where it is not of this partition, LedgerGap where it does not begin at the sink's position."""
    if (batch.topic, batch.partition) != (topic, partition):
        raise Stops(
            f"the sink of {topic}-{partition} was given a batch of {batch.topic}-{batch.partition}; "
            "open one sink for each partition"
        )
    if batch.start != position or batch.end < batch.start:
        raise LedgerGap(
            f"the tables of {topic}-{partition} end at offset {position} and the batch is {batch.start} to {batch.end}; "
            "read from the sink's position"
        )


def unwatched(point: str) -> None:
    """Do nothing at a named point: tests put a crash here."""
