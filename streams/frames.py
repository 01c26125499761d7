"""Framing of whole batches: the columnar twin of `schemas.wire.unframe`, and which contract carries which bytes on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from schemas.columns import Blob
from schemas.fingerprints import fingerprint
from schemas.jit import kernel
from schemas.released import Release, releases
from streams.names import Longs, Octets

REASONS = ("frame.magic", "frame.too_short", "frame.unknown_id", "frame.unknown_fingerprint", "frame.other_contract")
MAGIC, TOO_SHORT, UNKNOWN_ID, UNKNOWN_FINGERPRINT, OTHER_CONTRACT = 0, -1, -2, -3, -4


@dataclass(frozen=True, eq=False)
class Framed:
    """Messages without their frames: `found` int64[n] is the release's id, or minus an index into `REASONS`.

    `starts` and `ends` int64[n] say where each body lies in `data`, which is read-only.
    """

    data: Octets
    found: Longs
    starts: Longs
    ends: Longs

    def of(self, release: Release) -> Longs:
        """Return the rows that were written under a release, int64[k] ascending."""
        return np.flatnonzero(self.found == release.id)

    def bad(self) -> Longs:
        """Return the rows whose frame is refused, int64[k] ascending; `reason(row)` says why."""
        return np.flatnonzero(self.found <= 0)

    def reason(self, row: int) -> str:
        """Return why a row's frame is refused."""
        return REASONS[-int(self.found[row])]


def read_only(data: Octets) -> Octets:
    """Return a view that cannot be written: one specialisation of each kernel, whoever owns the buffer."""
    view = data.view()
    view.flags.writeable = False
    return view


def unframe(values: Blob, names: Sequence[str]) -> Framed:
    """Return the messages without their frames; only the contracts `names` belong here."""
    data, (ids, prints) = read_only(values.data), _known()
    found, starts = np.empty(len(values), np.int64), np.empty(len(values), np.int64)
    _unframe(data, values.starts, values.ends, ids, prints, found, starts)
    wanted = [release.id for release in releases() if release.name in names]
    found[(found > 0) & ~np.isin(found, wanted)] = OTHER_CONTRACT
    return Framed(data, found, starts, values.ends)


def versions(name: str) -> list[Release]:
    """Return every release of a contract, oldest first."""
    return [release for release in releases() if release.name == name]


@cache
def carrier(name: str, field: str, given: Release) -> Release:
    """Return the newest release of `name` whose record `field` is the one of `given`, so that bytes can be copied."""
    wanted = _record(given, field)
    fitting = [release for release in versions(name) if _record(release, field) == wanted]
    assert fitting, f"no release of {name} carries {field} of {given.name} version {given.version}: release one"
    return fitting[-1]


def _record(release: Release, field: str) -> bytes:
    return fingerprint(next(one["type"] for one in release.schema["fields"] if one["name"] == field))


@cache
def _known() -> tuple[Longs, NDArray[np.uint64]]:
    prints = [int.from_bytes(release.fingerprint, "little") for release in releases()]
    return np.array([release.id for release in releases()], np.int64), np.array(prints, np.uint64)


@kernel
def _unframe(
    data: Octets, begins: Longs, ends: Longs, ids: Longs, prints: NDArray[np.uint64], found: Longs, starts: Longs
) -> None:
    for i in range(len(begins)):
        at, size = begins[i], ends[i] - begins[i]
        starts[i] = at
        if size >= 1 and data[at] == 0:
            found[i] = TOO_SHORT
            if size >= 5:
                number = (np.int64(data[at + 1]) << 24) | (np.int64(data[at + 2]) << 16)
                number |= (np.int64(data[at + 3]) << 8) | np.int64(data[at + 4])
                found[i], starts[i] = UNKNOWN_ID, at + 5
                for k in range(len(ids)):
                    if ids[k] == number:
                        found[i] = number
        elif size >= 2 and data[at] == 0xC3 and data[at + 1] == 1:
            found[i] = TOO_SHORT
            if size >= 10:
                word = np.uint64(0)
                for k in range(9, 1, -1):
                    word = (word << np.uint64(8)) | np.uint64(data[at + k])
                found[i], starts[i] = UNKNOWN_FINGERPRINT, at + 10
                for k in range(len(ids)):
                    if prints[k] == word:
                        found[i] = ids[k]
        else:
            found[i] = TOO_SHORT if size < 2 else MAGIC
