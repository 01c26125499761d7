"""Which incidents the files of a table name, as far as they were looked through, so that each is read but once in vain.

A file never changes under its name. Of an id 8 digits are kept, which are 32 random bits: a file may be read in vain, it
is never passed over.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

LIMIT = 1 << 21  # ids that are kept of a table, 8 bytes each; beyond that it begins anew
DIGITS = 8


@dataclass
class Sought:
    """The files of one table."""

    _named: dict[str, NDArray[np.uint64]] = field(default_factory=dict, repr=False)
    _held: int = 0

    def may_name(self, name: str, ids: NDArray[np.uint64]) -> bool:
        """Return whether a file may name one of the incidents; True also where it was not looked through yet."""
        known = self._named.get(name)
        return known is None or bool(np.isin(ids, known).any())

    def learn(self, name: str, ids: NDArray[np.uint64]) -> None:
        """Keep which incidents a file names."""
        if name in self._named:
            return
        if self._held + len(ids) > LIMIT:
            self._named, self._held = {}, 0
        self._named[name] = ids
        self._held += len(ids)

    def only(self, names: set[str]) -> None:
        """Forget the files that are not among these."""
        self._named = {name: ids for name, ids in self._named.items() if name in names}
        self._held = sum(map(len, self._named.values()))


def short(*arrays: Any) -> NDArray[np.uint64]:
    """Return what is kept of ids in hexadecimal, each once."""
    parts = [pc.utf8_slice_codeunits(each, 0, DIGITS).cast(pa.binary()).cast(pa.binary(DIGITS)) for each in arrays]
    chunks = [chunk for part in parts for chunk in (part.chunks if isinstance(part, pa.ChunkedArray) else [part])]
    flat = [
        np.frombuffer(each.buffers()[1], np.uint64)[each.offset : each.offset + len(each)]
        for each in chunks
        if len(each)
    ]
    return np.unique(np.concatenate(flat)) if flat else np.empty(0, np.uint64)
