"""What is missing of a node: its numbers are gapless, so a gap is an event that has not arrived."""

import numpy as np

from schemas.jit import kernel
from streams.dedupe import HELD, HIGH, PAGES, Hashes, Longs, Seen


def highest(seen: Seen) -> int:
    """Return the highest number seen; 0 where there is none."""
    return int(seen.marks[HIGH])


def held(seen: Seen) -> int:
    """Return how many events were seen, each once; `highest - held` are missing."""
    return int(seen.marks[HELD])


def missing(seen: Seen, limit: int) -> list[range]:
    """Return the numbers below the highest that were not seen, lowest first, as at most `limit` ranges."""
    ends = np.empty((limit, 2), np.int64)
    return [range(*pair) for pair in ends[: _gaps(_order(seen), seen.pages, seen.numbers, ends)].tolist()]


def listed(seen: Seen) -> tuple[Longs, Hashes]:
    """Return all numbers in order, int64[n], and the hash of each event's id, uint32[n]."""
    sequences, hashes = np.empty(held(seen), np.int64), np.empty(held(seen), np.uint32)
    _list(_order(seen), seen.pages, seen.numbers, sequences, hashes)
    return sequences, hashes


def _order(seen: Seen) -> Longs:
    return np.argsort(seen.numbers[: seen.marks[PAGES]])


@kernel
def _gaps(order: Longs, pages: Hashes, numbers: Longs, ends: Longs) -> int:
    found, expected = 0, 1
    for slot in order:
        for cell in range(pages.shape[1]):
            if pages[slot, cell] == 0:
                continue
            number = numbers[slot] * pages.shape[1] + cell
            if number > expected:
                if found == len(ends):
                    return found
                ends[found, 0], ends[found, 1] = expected, number
                found += 1
            expected = number + 1
    return found


@kernel
def _list(order: Longs, pages: Hashes, numbers: Longs, sequences: Longs, hashes: Hashes) -> None:
    at = 0
    for slot in order:
        for cell in range(pages.shape[1]):
            if pages[slot, cell]:
                sequences[at], hashes[at] = numbers[slot] * pages.shape[1] + cell, pages[slot, cell]
                at += 1
