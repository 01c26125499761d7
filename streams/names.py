"""Names as numbers: each byte string of a lane (an area, a party, a node) once, in order of first sight.

Open addressing over a 64-bit hash; bytes are compared, so that equal hashes do no harm.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.jit import inlined, kernel
from schemas.memory import copy
from streams.state import cells

Octets = NDArray[np.uint8]
Longs = NDArray[np.int64]
Ints = NDArray[np.int32]
Hashes = NDArray[np.uint64]


@dataclass
class Names:
    """`count` names: name i is text[bounds[i]:bounds[i+1]]; `slots` int32[2^k] holds numbers, one-based, 0 is free."""

    slots: Ints
    hashes: Hashes
    bounds: Longs
    text: Octets
    count: int


def empty() -> Names:
    """Return no names."""
    return Names(np.zeros(64, np.int32), np.zeros(16, np.uint64), np.zeros(17, np.int64), np.zeros(256, np.uint8), 0)


def intern(names: Names, data: Octets, spans: Longs, valid: NDArray[np.bool_]) -> Ints:
    """Return the number of each of the byte strings `spans` int64[n, 2] in `data`, -1 where not valid; new ones are added."""
    out, at = np.full(len(spans), -1, np.int32), 0
    while True:
        at, names.count = _intern(
            data, spans, valid, out, at, names.slots, names.hashes, names.bounds, names.text, names.count
        )
        if at == len(spans):
            return out
        _grow(names, int(spans[at, 1] - spans[at, 0]))


def add(names: Names, items: list[bytes]) -> Ints:
    """Return the number of each item; new ones are added."""
    bounds = np.concatenate(([0], np.cumsum([len(item) for item in items]))).astype(np.int64)
    data = np.frombuffer(bytearray(b"".join(items)), np.uint8)
    return intern(names, data, np.stack([bounds[:-1], bounds[1:]], axis=1), np.ones(len(items), np.bool_))


def listed(names: Names, first: int = 0, last: int | None = None) -> list[bytes]:
    """Return the names from number `first` up to, not including, `last`."""
    end = names.count if last is None else min(last, names.count)
    return [names.text[names.bounds[i] : names.bounds[i + 1]].tobytes() for i in range(first, end)]


def _grow(names: Names, length: int) -> None:
    names.hashes = cells(names.hashes, names.count + 1)
    names.bounds = cells(names.bounds, len(names.hashes) + 1)
    names.text = cells(names.text, int(names.bounds[names.count]) + length)
    if 2 * len(names.hashes) > len(names.slots):
        names.slots = np.zeros(4 * len(names.slots), np.int32)
        _place(names.slots, names.hashes, names.count)


@kernel
def _place(slots: Ints, hashes: Hashes, count: int) -> None:
    for i in range(count):
        at = np.int64(hashes[i] & np.uint64(len(slots) - 1))
        while slots[at]:
            at = (at + 1) & (len(slots) - 1)
        slots[at] = i + 1


@inlined
def _same(data: Octets, start: int, text: Octets, at: int, length: int) -> bool:
    for i in range(length):  # noqa: SIM110 - numba has no all() over a generator
        if data[start + i] != text[at + i]:
            return False
    return True


@inlined
def _hash(data: Octets, start: int, end: int) -> np.uint64:
    h = np.uint64(0xCBF29CE484222325)
    for i in range(start, end):
        h = (h ^ np.uint64(data[i])) * np.uint64(0x100000001B3)
    return h ^ (h >> np.uint64(29))


@kernel
def _intern(
    data: Octets,
    spans: Longs,
    valid: NDArray[np.bool_],
    out: Ints,
    first: int,
    slots: Ints,
    hashes: Hashes,
    bounds: Longs,
    text: Octets,
    count: int,
) -> tuple[int, int]:
    for i in range(first, len(spans)):
        if not valid[i]:
            continue
        start, end = spans[i, 0], spans[i, 1]
        h = _hash(data, start, end)
        at = np.int64(h & np.uint64(len(slots) - 1))
        while slots[at]:
            known = slots[at] - 1
            size = bounds[known + 1] - bounds[known]
            if hashes[known] == h and size == end - start and _same(data, start, text, bounds[known], size):
                break
            at = (at + 1) & (len(slots) - 1)
        if slots[at] == 0:
            if count == len(hashes) or bounds[count] + end - start > len(text):
                return i, count
            copy(text, bounds[count], data, start, end - start)
            bounds[count + 1] = bounds[count] + end - start
            hashes[count] = h
            count += 1
            slots[at] = count
        out[i] = slots[at] - 1
    return len(spans), count
