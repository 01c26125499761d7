"""The three shapes of the streams: records in, an outcome out, a lane that makes it exactly once.

A stage is pure: the same function runs live, in replay, in a back-test and in a unit test. A lane is one
input partition with its one state and one transactional id; it alone touches the broker.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from schemas.columns import Blob

S = TypeVar("S")


@dataclass(frozen=True)
class Records:
    """One fetched batch of one input partition, undecoded.

    `start` is the offset that was asked for, `end` the one to ask for next: ranges of successive batches abut,
    also where transaction markers take offsets of their own. `offsets` int64[n], `timestamps` int64[n]
    (milliseconds UTC), `values` and `keys` n byte strings; a record without key or value has an empty one.
    """

    topic: str
    partition: int
    start: int
    end: int
    offsets: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    values: Blob
    keys: Blob

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.offsets)

    @property
    def lane(self) -> str:
        """Return the lane's name, `topic-partition`."""
        return f"{self.topic}-{self.partition}"


@dataclass(frozen=True)
class Output:
    """Records to be written to one topic: `partitions` int32[n], `keys` and `values` n byte strings, framed."""

    topic: str
    partitions: NDArray[np.int32]
    keys: Blob
    values: Blob


@dataclass(frozen=True)
class Outcome:
    """What a stage makes of one batch.

    `counts` says what became of the records (accepted, repeated, quarantined …; their sum is the batch's
    length for refine); `delta` is what the batch adds to the state: `restore(state, delta)` on the state
    before gives the state after.
    """

    outputs: tuple[Output, ...]
    counts: Mapping[str, int]
    delta: bytes = b""
    suite: str = ""


class Stage(Protocol[S]):
    """A pure fold over batches; see `refine` and `merge`.

    `side` is what the stage may look up but does not own (refine: the key ring); None where it needs nothing.
    `topics` are those that its outputs go to. `step` may change `state` in place and returns it. `freeze` and `thaw`
    are the snapshot, equal to the fold of all deltas; `shed` is what a base is made of.
    """

    name: str

    @property
    def topics(self) -> tuple[str, ...]:
        """Return the topics of its outputs."""

    def empty(self, lane: str) -> S:
        """Return the state of a lane that has seen nothing."""

    def step(self, state: S, records: Records, side: Any) -> tuple[S, Outcome]:
        """Fold one batch."""

    def restore(self, state: S, delta: bytes) -> S:
        """Add what one batch added."""

    def shed(self, state: S) -> S:
        """Return the state without what is kept of withdrawn cases; the one given is not used again."""

    def freeze(self, state: S) -> bytes:
        """Return the state as bytes."""

    def thaw(self, frozen: bytes) -> S:
        """Return the state that `freeze` wrote."""


class Lane(Protocol):
    """One input partition on its way, exactly once: what the worker runs, whatever the output is."""

    async def open(self) -> int:
        """Fence others, restore the state, return the offset from which to read."""

    async def process(self, records: Records) -> None:
        """Make one batch count exactly once; any error ends the process."""

    async def tend(self) -> None:
        """Do what is to be done between batches, every few seconds; any error ends the process."""

    async def close(self) -> None:
        """Let go of clients; nothing is committed here."""


@dataclass(frozen=True)
class BatchObserved:
    """The one observation of a batch, given to `pipeline.observe` after its commit; durations in seconds."""

    stage: str
    lane: str
    start: int
    end: int
    records: int
    counts: Mapping[str, int]
    seconds: Mapping[str, float] = field(default_factory=dict)


__all__ = ["BatchObserved", "Lane", "Outcome", "Output", "Records", "Stage"]
