"""Every event once, over the whole history: a node's numbers as pages of cells, a hash of the event id in each.

A cell costs 4 bytes. The same number with the same hash is a repeat; with another hash it is a fork: two events
of the node claim one number. A node can make two of its own ids share a hash (32 bits), never another node's.
A hostile number must not cost memory: pages are made where numbers are, and their count is bounded by the
events held (`SLACK` pages, then a quarter full on average), at most 32 MiB more than honest numbers would take.
The bound looks at the records before, never at the batch, so that verdicts do not depend on batching.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.jit import allocating, inlined, kernel
from schemas.limits import NUMBERS
from streams.state import cells

SLACK = 1000
NEW, REPEATED, FORKED, FAR = 0, 1, 2, 3
HELD, HIGH, PAGES, MIDS = 0, 1, 2, 3
BITS = 12
SIZE = 1 << BITS
LOW = SIZE - 1

Longs = NDArray[np.int64]
Ints = NDArray[np.int32]
Hashes = NDArray[np.uint32]
Verdicts = NDArray[np.uint8]


@dataclass
class Seen:
    """The numbers seen of one node.

    `top` int32[2^16] names a row of `mids` int32[m, 2^12], which names a row of `pages` uint32[p, 2^12]; all are
    one-based, 0 is none. `numbers` int64[p] is each page's number; `marks` int64[4]: events held, highest
    number, pages and mids in use.
    """

    top: Ints
    mids: Ints
    pages: Hashes
    numbers: Longs
    marks: Longs


def fresh() -> Seen:
    """Return the state of a node of which nothing was seen."""
    mids, pages = np.zeros((1, SIZE), np.int32), np.zeros((1, SIZE), np.uint32)
    return Seen(np.zeros(1 << 16, np.int32), mids, pages, np.zeros(1, np.int64), np.zeros(4, np.int64))


@inlined
def _slot(page: int, top: Ints, mids: Ints) -> int:
    """Return which row of `pages` a page is, one-based; 0 where there is none."""
    mid = top[page >> BITS]
    return int(mids[mid - 1, page & LOW]) if mid else 0


@kernel
def _open_page(page: int, top: Ints, mids: Ints, numbers: Longs, marks: Longs) -> int:
    if top[page >> BITS] == 0:
        marks[MIDS] += 1
        top[page >> BITS] = marks[MIDS]
    numbers[marks[PAGES]] = page
    marks[PAGES] += 1
    mids[top[page >> BITS] - 1, page & LOW] = marks[PAGES]
    return int(marks[PAGES])


@kernel
def _settle(
    sequences: Longs,
    hashes: Hashes,
    verdicts: Verdicts,
    at: int,
    bounded: bool,
    top: Ints,
    mids: Ints,
    pages: Hashes,
    numbers: Longs,
    marks: Longs,
) -> int:
    for i in range(at, len(sequences)):
        number = sequences[i]
        verdicts[i] = FAR
        if number < 1 or number >= NUMBERS:
            continue
        page = number >> BITS
        slot = _slot(page, top, mids)
        if slot == 0:
            if bounded and marks[PAGES] >= SLACK + (marks[HELD] >> (BITS - 2)):
                continue
            if marks[PAGES] == len(pages) or (top[page >> BITS] == 0 and marks[MIDS] == len(mids)):
                return i
            slot = _open_page(page, top, mids, numbers, marks)
        cell = pages[slot - 1, number & LOW]
        if cell == 0:
            pages[slot - 1, number & LOW] = hashes[i]
            marks[HELD] += 1
            marks[HIGH] = max(marks[HIGH], number)
            verdicts[i] = NEW
        else:
            verdicts[i] = REPEATED if cell == hashes[i] else FORKED
    return len(sequences)


def _fold(seen: Seen, sequences: Longs, hashes: Hashes, bounded: bool) -> Verdicts:
    verdicts, at = np.empty(len(sequences), np.uint8), 0
    while True:
        at = _settle(
            sequences, hashes, verdicts, at, bounded, seen.top, seen.mids, seen.pages, seen.numbers, seen.marks
        )
        if at == len(sequences):
            return verdicts
        seen.mids = cells(seen.mids, int(seen.marks[MIDS]) + 1)
        seen.pages = cells(seen.pages, int(seen.marks[PAGES]) + 1)
        seen.numbers = cells(seen.numbers, len(seen.pages))


def settle(seen: Seen, sequences: Longs, hashes: Hashes) -> Verdicts:
    """Enter events in order and return what each is: NEW, REPEATED, FORKED, or FAR (out of reach, not entered)."""
    return _fold(seen, sequences, hashes, bounded=True)


def enter(seen: Seen, sequences: Longs, hashes: Hashes) -> None:
    """Enter events that `settle` once found NEW, in any order: the way back from a delta."""
    _fold(seen, sequences, hashes, bounded=False)


@kernel
def _look(sequences: Longs, hashes: Hashes, top: Ints, mids: Ints, pages: Hashes, verdicts: Verdicts) -> None:
    for i in range(len(sequences)):
        number = sequences[i]
        verdicts[i] = FAR
        if number < 1 or number >= NUMBERS:
            continue
        slot = _slot(number >> BITS, top, mids)
        cell = pages[slot - 1, number & LOW] if slot else np.uint32(0)
        verdicts[i] = NEW if cell == 0 else (REPEATED if cell == hashes[i] else FORKED)


def look(seen: Seen, sequences: Longs, hashes: Hashes) -> Verdicts:
    """Return what events would be, but enter none: NEW, REPEATED, FORKED, or FAR where none can have that number."""
    verdicts = np.empty(len(sequences), np.uint8)
    _look(sequences, hashes, seen.top, seen.mids, seen.pages, verdicts)
    return verdicts


def times(seen: Seen, hashes: Hashes) -> Longs:
    """Return of each hash how many of the events seen have it, whatever their numbers: a look through all of them."""
    held = seen.pages[: int(seen.marks[PAGES])]
    found, counts = np.unique(held[np.isin(held, hashes)], return_counts=True)
    at = np.searchsorted(found, hashes)
    hit = np.append(found, np.uint32(0))[at] == hashes  # 0 is no hash
    return np.where(hit, np.append(counts, 0)[at], 0)


@allocating
def _forget(
    sequences: Longs, before: Longs, top: Ints, mids: Ints, pages: Hashes, numbers: Longs, marks: Longs
) -> None:
    for number in sequences:
        page = number >> BITS
        pages[mids[top[page >> BITS] - 1, page & LOW] - 1, number & LOW] = 0
    for slot in range(before[PAGES], marks[PAGES]):
        mids[top[numbers[slot] >> BITS] - 1, numbers[slot] & LOW] = 0
    for slot in range(before[PAGES], marks[PAGES]):
        if top[numbers[slot] >> BITS] > before[MIDS]:
            top[numbers[slot] >> BITS] = 0
    marks[:] = before


def forget(seen: Seen, sequences: Longs, before: Longs) -> None:
    """Undo a `settle`: `sequences` are those it found NEW, `before` a copy of `marks` from before it."""
    _forget(sequences, before, seen.top, seen.mids, seen.pages, seen.numbers, seen.marks)


@kernel
def _hash(data: NDArray[np.uint8], starts: Longs, out: Hashes) -> None:
    for i in range(len(starts)):
        mixed = np.uint64(0)
        for half in range(2):
            word = np.uint64(0)
            for at in range(8):
                word = (word << np.uint64(8)) | np.uint64(data[starts[i] + half * 8 + at])
            mixed = (mixed ^ word) * np.uint64(0x9E3779B97F4A7C15)
            mixed = (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
        short = np.uint32(mixed >> np.uint64(32))
        out[i] = short or np.uint32(1)


def hashes(data: NDArray[np.uint8], starts: Longs) -> Hashes:
    """Return a hash, never 0, of each 16-byte id that begins at `starts` in `data`."""
    out = np.empty(len(starts), np.uint32)
    _hash(data, starts, out)
    return out
