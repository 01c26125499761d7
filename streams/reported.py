"""In which state of verification reports came: those alone that were not pending, which most are."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from streams.dedupe import Longs

States = NDArray[np.uint8]
Part = tuple[Longs, States]


@dataclass
class Reported:
    """Numbers int64[k] with their states uint8[k], indexes in `Verification`, never 0.

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
        """Return the state of each, uint8[n]; 0, pending, for one that is not known."""
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


def _joined(parts: list[Part]) -> Part:
    numbers, states = (np.concatenate(each) for each in zip(*parts, strict=True))
    order = np.argsort(numbers, kind="stable")
    return numbers[order], states[order].astype(np.uint8)
