"""In which state of verification and for which audience reports came: those alone that were not pending, or for more than the hub."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from streams.dedupe import Longs

States = NDArray[np.uint8]
"""An index in `Verification`, and above its four bits one in `SharingScope`."""
SCOPE = 4
Part = tuple[Longs, States]


@dataclass
class Reported:
    """Numbers int64[k] with their states uint8[k], never 0.

    `parts` are in order, each longer than twice the next, for whoever asks; `fresh` are as they came, which costs nothing.
    """

    parts: list[Part] = field(default_factory=list)
    fresh: list[Part] = field(default_factory=list)

    def add(self, numbers: Longs, states: States) -> None:
        """Enter the states of some reports, int64[n] and uint8[n]; no number twice."""
        kept = np.flatnonzero(states)
        if len(kept):
            self.fresh.append((numbers[kept], states[kept]))

    def of(self, numbers: Longs) -> States:
        """Return the state of each, uint8[n]; 0, pending and for the hub, for one that is not known."""
        if self.fresh:
            self.parts.append(_joined(self.fresh))
            self.fresh = []
        while len(self.parts) > 1 and len(self.parts[-2][0]) <= 2 * len(self.parts[-1][0]):
            self.parts[-2:] = [_joined(self.parts[-2:])]
        found = np.zeros(len(numbers), np.uint8)
        for known, states in self.parts:
            at = np.minimum(np.searchsorted(known, numbers), len(known) - 1)
            found |= np.where(known[at] == numbers, states[at], 0).astype(np.uint8)
        return found


def coded(verifications: Longs, scopes: Longs) -> States:
    """Return states of verification and audiences, indexes int64[n] each, as one byte, uint8[n]."""
    return (verifications | scopes << SCOPE).astype(np.uint8)


def told(state: int) -> tuple[int, int]:
    """Return the state of verification and the audience that a byte holds, as indexes."""
    return state & (1 << SCOPE) - 1, state >> SCOPE


def _joined(parts: list[Part]) -> Part:
    numbers, states = (np.concatenate(each) for each in zip(*parts, strict=True))
    order = np.argsort(numbers, kind="stable")
    return numbers[order], states[order].astype(np.uint8)
