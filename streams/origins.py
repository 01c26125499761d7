"""Which held records are further versions of an incident, and of which: few, so that most batches meet none."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from streams.runs import Words

Id = tuple[int, int]


@dataclass
class Origins:
    """`of`: by a version's id the id of its incident, both as two numbers; `firsts` uint64[k] the first halves, sorted."""

    of: dict[Id, Id] = field(default_factory=dict)
    firsts: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))

    def add(self, versions: Words, incidents: Words) -> None:
        """Enter versions uint64[k, 2] of incidents uint64[k, 2]."""
        self.of |= dict(zip(_ids(versions), _ids(incidents), strict=True))
        self._index()

    def cut(self, count: int) -> None:
        """Forget all but the first `count`."""
        self.of = dict(list(self.of.items())[:count])
        self._index()

    def revised(self, ids: Words) -> NDArray[np.bool_]:
        """Return bool[n]: which of these ids, uint64[n, 2], are further versions."""
        perhaps = np.isin(ids[:, 0], self.firsts) if len(self.firsts) else np.zeros(len(ids), np.bool_)
        for row in np.flatnonzero(perhaps).tolist():
            perhaps[row] = (int(ids[row, 0]), int(ids[row, 1])) in self.of
        return perhaps

    def incidents(self, ids: Words) -> Words:
        """Return the id of the incident of each, uint64[n, 2]: its own where it is no further version."""
        found = ids.copy()
        for row in np.flatnonzero(self.revised(ids)).tolist():
            found[row] = self.of[int(ids[row, 0]), int(ids[row, 1])]
        return found

    def since(self, count: int) -> Words:
        """Return those entered after the first `count`: version and incident, uint64[k, 4]."""
        some = [(*version, *incident) for version, incident in list(self.of.items())[count:]]
        return np.array(some, np.uint64).reshape(-1, 4)

    def _index(self) -> None:
        self.firsts = np.array(sorted(a for a, _ in self.of), np.uint64)


def _ids(words: Words) -> Iterator[Id]:
    return ((a, b) for a, b in words.tolist())
