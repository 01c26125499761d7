"""Which held records are further versions of an incident, and of which: fewer than incidents, and most batches meet none."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from streams.runs import Words

Id = tuple[int, int]
FILTER = 1 << 20


@dataclass
class Origins:
    """`of`: by a version's id the id of its incident, both as two numbers; about 300 bytes each.

    `perhaps` bool[FILTER] is set for what the second halves of the versions' ids leave: it passes over all others.
    """

    of: dict[Id, Id] = field(default_factory=dict)
    perhaps: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))

    def add(self, versions: Words, incidents: Words) -> None:
        """Enter versions uint64[k, 2] of incidents uint64[k, 2]."""
        self.of |= dict(zip(_ids(versions), _ids(incidents), strict=True))
        if self.of and not len(self.perhaps):
            self.perhaps = np.zeros(FILTER, np.bool_)
        self.perhaps[versions[:, 1] % np.uint64(FILTER)] = True

    def cut(self, count: int) -> None:
        """Forget all but the first `count`."""
        self.of = dict(islice(self.of.items(), count))

    def revised(self, ids: Words) -> NDArray[np.bool_]:
        """Return bool[n]: which of these ids, uint64[n, 2], are further versions."""
        if not self.of:
            return np.zeros(len(ids), np.bool_)
        found: NDArray[np.bool_] = self.perhaps[ids[:, 1] % np.uint64(FILTER)]
        for row in np.flatnonzero(found).tolist():
            found[row] = (int(ids[row, 0]), int(ids[row, 1])) in self.of
        return found

    def incidents(self, ids: Words) -> Words:
        """Return the id of the incident of each, uint64[n, 2]: its own where it is no further version."""
        found = ids.copy()
        for row in np.flatnonzero(self.revised(ids)).tolist():
            found[row] = self.of[int(ids[row, 0]), int(ids[row, 1])]
        return found

    def since(self, count: int) -> Words:
        """Return those entered after the first `count`, the first first: version and incident, uint64[k, 4]."""
        last = [(*version, *incident) for version, incident in islice(reversed(self.of.items()), len(self.of) - count)]
        return np.array(last[::-1], np.uint64).reshape(-1, 4)


def _ids(words: Words) -> Iterator[Id]:
    return ((a, b) for a, b in words.tolist())
