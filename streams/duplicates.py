"""Which incidents may be one: same area, near dates, a form in common, party compatible, similar counts.

A pair is flagged for a person, never dropped. Its score is the sum of `POINTS` of what the two share; pairs of
`THRESHOLD` and more are flagged. Whether a pair is flagged depends on the two alone, so any order of arrival flags
the same pairs. That rules out a cap: whoever flags every pair of a small crowd, and takes nothing back, flags every
pair of a large one. What keeps crowds apart instead is again a matter of the two: they must come from another node
or another kind of source (a node refuses its own row twice), so a flood from one reporter is not even compared;
and both must be known to the month, since a year says nothing.
"""

import numpy as np
from numpy.typing import NDArray

from schemas.jit import inlined, kernel
from streams import profiles, runs
from streams.held import Held
from streams.match import listed
from streams.names import Ints, Longs
from streams.state import Column, Record

THRESHOLD = 65
NEAR_DAYS, MONTH = 3, 31
SOURCES = 32  # kinds of source that a key has room for
# By the index of each symbol in Likeness; they add up to 100: a day or near it, the same counts or similar ones.
SAME_DAY, NEAR_DATE, SAME_FORMS, SAME_PARTY, SAME_COUNTS, SIMILAR_COUNTS, OTHER_NODE, OTHER_SOURCE = range(1, 9)
POINTS = (0, 30, 15, 20, 15, 20, 10, 10, 5)


@inlined
def _counts(one: Record, other: Record) -> int:
    """Return SAME_COUNTS, SIMILAR_COUNTS (totals differ by one or a fifth), or 0."""
    total, other_total, same = 0, 0, True
    for k in range(5):
        total += one.counts[k]
        other_total += other.counts[k]
        same = same and one.counts[k] == other.counts[k]
    if total == 0 or other_total == 0:
        return 0
    if same:
        return SAME_COUNTS
    return SIMILAR_COUNTS if abs(total - other_total) <= max(1, max(total, other_total) // 5) else 0


@kernel
def likeness(one: Record, other: Record) -> int:
    """Return what the profiles of two incidents share, as bits by index in Likeness; 0 where they are no pair."""
    if one.forms & other.forms == 0:
        return 0
    named = one.party >= 0 and other.party >= 0
    if named and one.party != other.party:
        return 0
    if not named and one.category != other.category and min(one.category, other.category) > 0:
        return 0
    counts = _counts(one, other)
    if counts == 0:
        return 0
    return int((1 << counts) | (one.forms == other.forms) << SAME_FORMS | named << SAME_PARTY)


@kernel
def score(found: int) -> int:
    """Return the points of what two incidents share, 0 to 100."""
    points = 0
    for k in range(9):
        if found >> k & 1:
            points += POINTS[k]
    return points


@inlined
def _bisect(keys: Longs, first: int, last: int, wanted: int) -> int:
    """Return the first position with a key of `wanted` or more."""
    while first < last:
        middle = (first + last) >> 1
        if keys[middle] < wanted:
            first = middle + 1
        else:
            last = middle
    return first


@inlined
def _seek(keys: Longs, first: int, last: int, at: int, wanted: int) -> int:
    """Return the first position from `first` to `last` with a key of `wanted` or more, looking from `at` on outwards."""
    low, high, step = first, last, 1
    if at < last and keys[at] < wanted:
        low = at + 1
        while low + step < last and keys[low + step] < wanted:
            low, step = low + step + 1, 2 * step
        high = min(low + step, last)
    else:
        high = at
        while high - step >= first and keys[high - step] >= wanted:
            high, step = high - step, 2 * step
        low = max(high - step, first)
    return _bisect(keys, low, high, wanted)


@inlined
def _find(keys: Longs, fences: Longs, every: int, first: int, last: int, at: int, wanted: int) -> int:
    """Return what `_seek` does: through the next `every` keys, else through `fences`, which are every `every`-th key."""
    if at < last and keys[at] < wanted:
        near = min(at + every, last)
        while at < near and keys[at] < wanted:
            at += 1
        if at < near:
            return at
    begin, end = (first + every - 1) // every, (last + every - 1) // every
    k = _seek(fences, begin, end, min(max(at // every, begin), end), wanted)
    low, high = max(first, (k - 1) * every + 1), min(last, k * every)
    return _bisect(keys, low, high, wanted)


@kernel
def _flag(
    pairs: Ints,
    ids: NDArray[np.uint64],
    keys: Longs,
    fences: Longs,
    every: int,
    codes: NDArray[np.uint32],
    briefs: NDArray[np.uint16],
    form_bits: int,
    bounds: Longs,
    vague: int,
    bits: tuple[int, int, int, int],
    longest: Longs,
    fingers: Longs,
    facts: Column,
) -> int:
    """Compare each incident of the last run with those before it, in all runs, near in time and of other reporters.

    The last run is sorted as all are, so the places looked at move on through each run: `fingers` int64[runs, vaguenesses].
    Return how many pairs there are; `pairs` int32[m, 4] has the first m of them.
    """
    count, last_run = 0, len(bounds) - 2
    area_at, vague_at, day_at, reporter_at = bits
    spans, reporters, days = (1 << reporter_at) - 1, (1 << (day_at - reporter_at)) - 1, (1 << (vague_at - day_at)) - 1
    for r in range(last_run + 1):
        for v in range(len(longest)):
            fingers[r, v] = bounds[r]
    for i in range(bounds[last_run], bounds[last_run + 1]):
        key, profile = keys[i], facts[codes[i]]
        low, span, reporter = key >> day_at & days, key & spans, key >> reporter_at & reporters
        if span >= MONTH:
            continue
        forms, party = briefs[i] & ((1 << form_bits) - 1), briefs[i] >> form_bits
        for r in range(last_run + 1):
            for v in range(len(longest)):
                if vague >> v & 1 == 0:
                    continue
                base = (key >> area_at << area_at) | (v << vague_at)
                begin = base + (max(low - NEAR_DAYS - min(longest[v], MONTH - 1), 0) << day_at)
                end = base + (min(low + span + NEAR_DAYS + 1, days) << day_at)
                at = _find(keys, fences, every, bounds[r], bounds[r + 1], fingers[r, v], begin)
                fingers[r, v] = at
                last = min(bounds[r + 1], i)
                while at < last and keys[at] < end:
                    other = keys[at]
                    if (other ^ key) >> reporter_at & reporters == 0:
                        at = _seek(keys, at, last, at, ((other >> reporter_at) + 1) << reporter_at)
                        continue
                    j, at = at, at + 1
                    other_party = briefs[j] >> form_bits
                    if briefs[j] & forms == 0 or (other_party != party and other_party and party):
                        continue
                    other_low, other_span = other >> day_at & days, other & spans
                    if other_span >= MONTH or other_low + other_span < low - NEAR_DAYS:
                        continue
                    found = likeness(profile, facts[codes[j]])
                    if found == 0:
                        continue
                    found |= 1 << (SAME_DAY if span + other_span == 0 and low == other_low else NEAR_DATE)
                    kinds = (reporter ^ (other >> reporter_at & reporters)) & (SOURCES - 1)
                    nodes = (reporter ^ (other >> reporter_at & reporters)) // SOURCES
                    found |= (nodes != 0) << OTHER_NODE | (kinds != 0) << OTHER_SOURCE
                    points = score(found)
                    if points < THRESHOLD:
                        continue
                    if count < len(pairs):
                        older = ids[j, 0] < ids[i, 0] or (ids[j, 0] == ids[i, 0] and ids[j, 1] < ids[i, 1])
                        pairs[count, 0], pairs[count, 1] = (j, i) if older else (i, j)
                        pairs[count, 2], pairs[count, 3] = points, found
                    count += 1
    return count


def flag(held: Held, first: int) -> Ints:
    """Return the probable duplicates of the incidents from number `first` on, the last run, among all: int32[k, 4].

    A pair is the incident with the smaller event id (the one made first), the other, the score, what they share.
    """
    some = held.incidents
    if first == some.count:
        return np.empty((0, 4), np.int32)
    longest = runs.LONGEST[: np.searchsorted(runs.LONGEST, MONTH)]  # whose incidents are known to the month
    return listed(
        _flag,
        some.ids,
        some.keys,
        some.fences,
        runs.FENCE,
        some.codes,
        some.briefs,
        profiles.FORM_BITS,
        some.bounds(),
        some.vague,
        runs.BITS,
        longest,
        np.empty((len(some.starts) - 1, len(longest)), np.int64),
        held.profiles.rows,
    )
