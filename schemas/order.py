"""The order of rows by minted ids: those are even, so that counting by their first bits leaves hardly anything to sort."""

import numpy as np
from numpy.typing import NDArray

from schemas.jit import inlined, kernel

Octets = NDArray[np.uint8]
Longs = NDArray[np.int64]

CROWD = 64  # rows with the same first bits that are put in order one by one


@inlined
def _before(heads: NDArray[np.uint64], ids: Octets, row: int, other: int) -> bool:
    """Return whether a row comes before another: by its head, then by all its bytes, then by its number."""
    if heads[row] != heads[other]:
        return bool(heads[row] < heads[other])
    for k in range(8, ids.shape[1]):
        if ids[row, k] != ids[other, k]:
            return bool(ids[row, k] < ids[other, k])
    return row < other


@kernel
def _order(heads: NDArray[np.uint64], ids: Octets, bits: int, crowd: int, starts: Longs, order: Longs) -> bool:
    """Write the order, int64[n]; `starts` int64[2^bits + 1] are zeros. Return False where more than `crowd` rows are alike."""
    shift = np.uint64(64 - bits)
    for head in heads:
        starts[np.int64(head >> shift) + 1] += 1
    for k in range(1, len(starts)):
        if starts[k] > crowd:
            return False
        starts[k] += starts[k - 1]
    for row in range(len(heads)):
        place = np.int64(heads[row] >> shift)
        order[starts[place]] = row
        starts[place] += 1
    for i in range(1, len(order)):
        row, at = order[i], i
        while at > 0 and _before(heads, ids, row, order[at - 1]):
            order[at] = order[at - 1]
            at -= 1
        order[at] = row
    return True


def order_of(ids: Octets) -> Longs:
    """Return the order of rows, int64[n], by their ids uint8[n, 16], or by several side by side."""
    heads, bits = ids.view(">u8")[:, 0].astype(np.uint64), max(len(ids).bit_length(), 1)
    order = np.empty(len(ids), np.int64)
    if _order(heads, ids, bits, CROWD, np.zeros((1 << bits) + 1, np.int64), order):
        return order
    return np.lexsort(ids.view(">u8").T[::-1])
