"""A stage whose deltas and snapshots are locked: what a state holds of a case is in clear in no ledger and on no disk."""

from dataclasses import replace
from typing import Any, Protocol, TypeVar

from schemas.lock import lock, unlock
from streams.base import Outcome, Records, Stage

S = TypeVar("S")


class Refusing(Stage[S], Protocol[S]):
    """A stage that can send records to quarantine on which its `step` fails."""

    def refuse(self, state: S, records: Records, error: Exception) -> tuple[S, Outcome]:
        """Quarantine these records."""


class Locked(Stage[S]):
    """`stage`, locked under `key` (32 bytes); pure as the stage is: the same batch gives the same bytes."""

    def __init__(self, stage: Refusing[S], key: bytes) -> None:
        self._stage, self._key, self.name = stage, key, stage.name

    @property
    def topics(self) -> tuple[str, ...]:
        """Return the stage's topics."""
        return self._stage.topics

    def empty(self, lane: str) -> S:
        """Return the stage's empty state."""
        return self._stage.empty(lane)

    def step(self, state: S, records: Records, side: Any) -> tuple[S, Outcome]:
        """Fold one batch; its delta comes locked."""
        return self._lock(*self._stage.step(state, records, side))

    def refuse(self, state: S, records: Records, error: Exception) -> tuple[S, Outcome]:
        """Quarantine these records; the delta comes locked."""
        return self._lock(*self._stage.refuse(state, records, error))

    def _lock(self, state: S, outcome: Outcome) -> tuple[S, Outcome]:
        return state, replace(outcome, delta=lock(self._key, outcome.delta))

    def restore(self, state: S, delta: bytes) -> S:
        """Add a locked delta; WrongKey where it is not locked under this key."""
        return self._stage.restore(state, unlock(self._key, delta))

    def shed(self, state: S) -> S:
        """Return the state without what is kept of withdrawn cases."""
        return self._stage.shed(state)

    def freeze(self, state: S) -> bytes:
        """Return the snapshot, locked."""
        return lock(self._key, self._stage.freeze(state))

    def thaw(self, frozen: bytes) -> S:
        """Return the state of a locked snapshot."""
        return self._stage.thaw(unlock(self._key, frozen))
