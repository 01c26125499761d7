"""Which assessments a lane of merge has told on, and of which incidents; and what was withdrawn, under the ids that regions have."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from streams.state import Column

Marks = tuple[int, int]


@dataclass
class Assessed:
    """`of`: by the id of an assessment's event that of its incident, as minted; `gone`: the ids minted of what was withdrawn."""

    of: dict[bytes, bytes] = field(default_factory=dict)
    gone: dict[bytes, None] = field(default_factory=dict)

    def marks(self) -> Marks:
        """Return how many there are of each."""
        return len(self.of), len(self.gone)

    def since(self, marks: Marks) -> tuple[Column, Column]:
        """Return what came after `marks`: events with their incidents, uint64[k, 4] in one dimension, and ids uint64[k, 2]."""
        said = list(islice(reversed(self.of.items()), len(self.of) - marks[0]))
        gone = list(islice(reversed(self.gone), len(self.gone) - marks[1]))
        return _words(event + incident for event, incident in said[::-1]), _words(gone[::-1])

    def add(self, said: Column, gone: Column) -> None:
        """Enter what `since` gave."""
        pairs = said.tobytes()
        self.of |= {pairs[at : at + 16]: pairs[at + 16 : at + 32] for at in range(0, len(pairs), 32)}
        ids = gone.tobytes()
        self.gone |= dict.fromkeys(ids[at : at + 16] for at in range(0, len(ids), 16))

    def cut(self, marks: Marks) -> None:
        """Forget what came after `marks`."""
        self.of = dict(islice(self.of.items(), marks[0]))
        self.gone = dict.fromkeys(islice(self.gone, marks[1]))

    def shed(self) -> "Assessed":
        """Return it without the assessments of what was withdrawn."""
        return Assessed({event: of for event, of in self.of.items() if of not in self.gone}, dict(self.gone))


def _words(items: Iterable[bytes]) -> Column:
    return np.frombuffer(b"".join(items), "<u8")
