"""Which assessments a lane of merge has told on, and of which incidents; and what was withdrawn, under the ids that regions have."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from streams.state import Column

Marks = tuple[int, int]
ID, SAID = 16, 40  # bytes of an id, and of an event's id with what it is about


@dataclass
class Assessed:
    """`of`: by the id of an assessment's event what it is `about`; `gone`: the ids minted of what was withdrawn."""

    of: dict[bytes, bytes] = field(default_factory=dict)
    gone: dict[bytes, None] = field(default_factory=dict)

    def marks(self) -> Marks:
        """Return how many there are of each."""
        return len(self.of), len(self.gone)

    def since(self, marks: Marks) -> tuple[Column, Column]:
        """Return what came after `marks`: events with what they are about, uint64[k, 5] in one dimension, and ids uint64[k, 2]."""
        said = list(islice(reversed(self.of.items()), len(self.of) - marks[0]))
        gone = list(islice(reversed(self.gone), len(self.gone) - marks[1]))
        return _words(event + what for event, what in said[::-1]), _words(gone[::-1])

    def add(self, said: Column, gone: Column) -> None:
        """Enter what `since` gave."""
        pairs = said.tobytes()
        self.of |= {pairs[at : at + ID]: pairs[at + ID : at + SAID] for at in range(0, len(pairs), SAID)}
        ids = gone.tobytes()
        self.gone |= dict.fromkeys(ids[at : at + ID] for at in range(0, len(ids), ID))

    def cut(self, marks: Marks) -> None:
        """Forget what came after `marks`."""
        self.of = dict(islice(self.of.items(), marks[0]))
        self.gone = dict.fromkeys(islice(self.gone, marks[1]))

    def shed(self) -> "Assessed":
        """Return it without the assessments of what was withdrawn."""
        return Assessed({event: what for event, what in self.of.items() if what[:ID] not in self.gone}, dict(self.gone))


def about(incident: bytes, region: str) -> bytes:
    """Return an incident's id, as minted, with 8 bytes for the region that an assessment names: it may be another one's id."""
    return incident + tag(region)


def tag(region: str) -> bytes:
    """Return 8 bytes for a region's code."""
    return hashlib.blake2b(region.encode(), digest_size=SAID - 2 * ID).digest()


def _words(items: Iterable[bytes]) -> Column:
    return np.frombuffer(b"".join(items), "<u8")
