"""Records that were encoded once, copied for a region: in its order, under its ids."""

import numpy as np

from schemas.columns import Blob
from schemas.jit import kernel
from schemas.memory import copy
from streams.frames import read_only
from streams.names import Longs, Octets


@kernel
def _ends(bounds: Longs, rows: Longs, order: Longs, ends: Longs) -> None:
    """Sum up the lengths of the items, int64[k + 1]."""
    for i in range(len(order)):
        row = rows[order[i]]
        ends[i + 1] = ends[i] + bounds[row + 1] - bounds[row]


@kernel
def _stamp(
    data: Octets,
    bounds: Longs,
    rows: Longs,
    ids: Octets,
    width: int,
    order: Longs,
    at: int,
    keys: Octets,
    out: Octets,
    ends: Longs,
) -> None:
    """Copy the items, write the `width` bytes of ids over each, and the first 16 of them as keys."""
    for i in range(len(order)):
        begin = bounds[rows[order[i]]]
        copy(out, ends[i], data, begin, ends[i + 1] - ends[i])
        copy(out, ends[i] + at, ids, order[i] * width, width)
        copy(keys, i * 16, ids, order[i] * width, 16)


def stamped(blob: Blob, rows: Longs, ids: Octets, order: Longs, at: int) -> tuple[Octets, Blob]:
    """Return keys and items: `rows` int64[k] of a blob in an order int64[k], each with its ids from byte `at` on.

    `ids` uint8[k, 16] or wider, of which the first 16 are the key.
    """
    keys, bounds = np.empty((len(rows), 16), np.uint8), np.zeros(len(rows) + 1, np.int64)
    _ends(blob.bounds, rows, order, bounds)
    out = np.empty(int(bounds[-1]), np.uint8)
    _stamp(
        read_only(blob.data),
        blob.bounds,
        rows,
        ids.reshape(-1),
        ids.shape[1],
        order,
        at,
        keys.reshape(-1),
        out,
        bounds,
    )
    return keys, Blob(out, bounds)
