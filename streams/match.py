"""Which incidents fit which patterns: same area, near in time, a form in common, party compatible.

Near: the incident's days meet the pattern's period, widened by 14 days on both sides. Party: where both are named
they must be the same; else the categories must be the same and known. Either side may come first: a pattern looks
among the incidents held before it, an incident among all patterns, so each pair is found once, in any order.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.jit import inlined, kernel
from streams import profiles, runs
from streams.held import SLACK, Held, buckets, look
from streams.names import Ints, Longs
from streams.state import Column, Record

SAME_CATEGORY, SAME_PARTY = 0, 1
ROOM = 1 << 16  # pairs that a batch rarely has more of
# Index in DatePrecision: day, week, month, quarter, year.
DAY, WEEKLY, MONTHLY, QUARTERLY = 0, 1, 2, 3


@kernel
def _days(year: int, month: int) -> int:
    """Return the day (since 1970) on which a month begins: Hinnant's days_from_civil."""
    y = year - (1 if month <= 2 else 0)
    era = y // 400
    yoe = y - era * 400
    doy = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5
    return era * 146097 + yoe * 365 + yoe // 4 - yoe // 100 + doy - 719468


@kernel
def _last_days(first: Longs, precision: Longs, out: Longs) -> None:
    for i in range(len(first)):
        out[i] = first[i]
        if precision[i] == WEEKLY:
            out[i] += 6
        if precision[i] < MONTHLY:
            continue
        z = first[i] + 719468
        era = z // 146097
        doe = z - era * 146097
        yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
        mp = (5 * (doe - (365 * yoe + yoe // 4 - yoe // 100)) + 2) // 153
        month = mp + (3 if mp < 10 else -9)
        year = yoe + era * 400 + (1 if month <= 2 else 0)
        if precision[i] == MONTHLY:
            month += 1
        elif precision[i] == QUARTERLY:
            month += 3 - (month - 1) % 3
        else:
            month = 13
        out[i] = _days(year + (month - 1) // 12, (month - 1) % 12 + 1) - 1


def last_days(first: Longs, precision: Longs) -> Longs:
    """Return the last day on which each may have happened: of the day, week, month, quarter or year of `first`."""
    out = np.empty(len(first), np.int64)
    _last_days(first, precision, out)
    return out


@kernel
def same_party(party: int, category: int, other: int, other_category: int) -> int:
    """Return SAME_PARTY, SAME_CATEGORY, or -1 where the parties are not compatible."""
    if party >= 0 and other >= 0:
        return SAME_PARTY if party == other else -1
    return SAME_CATEGORY if category == other_category and category != 0 else -1


@inlined
def _push(
    pairs: Ints, count: int, i: int, low: int, high: int, profile: Record, p: int, pattern: Record, slack: int
) -> int:
    """Add the pair of incident i, from day `low` to `high`, and pattern p, if it is one and there is room; count it."""
    days = max(pattern.lo - high, low - pattern.hi, 0)
    if days > slack or profile.forms & pattern.forms == 0:
        return count
    match = same_party(profile.party, profile.category, pattern.party, pattern.category)
    if match < 0:
        return count
    if count < len(pairs):
        pairs[count, 0], pairs[count, 1], pairs[count, 2], pairs[count, 3] = i, p, match, days
    return count + 1


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


@kernel
def _late_patterns(
    pairs: Ints,
    patterns: Column,
    first: int,
    late_briefs: NDArray[np.uint16],
    begins: Longs,
    ends: Longs,
    slack: int,
    keys: Longs,
    codes: NDArray[np.uint32],
    briefs: NDArray[np.uint16],
    form_bits: int,
    bounds: Longs,
    vague: int,
    bits: tuple[int, int, int, int],
    origin: int,
    facts: Column,
) -> int:
    """Look in each run, for each vagueness, through the days from begins[v, k] to ends[k] of the area of pattern k.

    Return how many pairs there are; `pairs` int32[m, 4] has the first m of them.
    """
    count = 0
    area_at, vague_at, day_at, reporter_at = bits
    for k in range(len(ends)):
        p = first + k
        one = patterns[p]
        forms, party = late_briefs[k] & ((1 << form_bits) - 1), late_briefs[k] >> form_bits
        for r in range(len(bounds) - 1):
            for v in range(len(begins)):
                if vague >> v & 1 == 0:
                    continue
                base = (np.int64(one.area) << area_at) | (v << vague_at)
                end = base + ((ends[k] + 1) << day_at)
                at = _bisect(keys, bounds[r], bounds[r + 1], base + (begins[v, k] << day_at))
                while at < bounds[r + 1] and keys[at] < end:
                    other = briefs[at] >> form_bits
                    if briefs[at] & forms and not (other != party and other and party):
                        low = ((keys[at] - base) >> day_at) + origin
                        high = low + (keys[at] & ((1 << reporter_at) - 1))
                        count = _push(pairs, count, at, low, high, facts[codes[at]], p, one, slack)
                    at += 1
    return count


@kernel
def _late_incidents(
    pairs: Ints,
    keys: Longs,
    codes: NDArray[np.uint32],
    briefs: NDArray[np.uint16],
    form_bits: int,
    first: int,
    begins: Longs,
    ends: Longs,
    lows: Longs,
    highs: Longs,
    area_at: int,
    facts: Column,
    slack: int,
    patterns: Column,
    reach: Ints,
    links: Ints,
) -> int:
    """Look through the chains of each incident's area and days; return and fill in as `_late_patterns` does."""
    count = 0
    for k in range(len(ends)):
        area = keys[first + k] >> area_at
        if area >= len(reach):
            continue
        profile = facts[codes[first + k]]
        forms, party = briefs[first + k] & ((1 << form_bits) - 1), briefs[first + k] >> form_bits
        for place in range(begins[k], ends[k] + 1):
            link = reach[area, place]
            while link:
                p, mark = links[link - 1, 0], links[link - 1, 2]
                link = links[link - 1, 1]
                other = (mark & 0xFFFF) >> form_bits
                if mark & forms == 0 or (other != party and other and party):
                    continue
                # A pattern stands in many buckets: it is looked at in the first that both have.
                if place == max(begins[k], mark >> 16):
                    count = _push(pairs, count, first + k, lows[k], highs[k], profile, p, patterns[p], slack)
    return count


def listed(scan: Callable[..., int], *given: Any) -> Ints:
    """Return the pairs, int32[k, 4], that a kernel finds in what is `given`; again in a larger room if they are many."""
    pairs = np.empty((ROOM, 4), np.int32)
    count = scan(pairs, *given)
    if count > len(pairs):
        pairs = np.empty((count, 4), np.int32)
        scan(pairs, *given)
    return pairs[:count]


def fit_late_patterns(held: Held, first: int) -> Ints:
    """Return the pairs of the patterns from number `first` on with the incidents held: int32[k, 4].

    A pair is incident, pattern, SAME_PARTY or SAME_CATEGORY, days outside the period. Call it before the batch's
    incidents are entered, so that each pair is found once.
    """
    late, some = held.patterns[first : held.pattern_count], held.incidents
    begins = np.stack([runs.days_of(late["lo"] - SLACK - longest) for longest in runs.LONGEST.tolist()])
    return listed(
        _late_patterns,
        held.patterns,
        first,
        profiles.briefs(late),
        begins,
        runs.days_of(late["hi"] + SLACK),
        SLACK,
        some.keys,
        some.codes,
        some.briefs,
        profiles.FORM_BITS,
        some.bounds(),
        some.vague,
        runs.BITS,
        runs.ORIGIN,
        held.profiles.rows,
    )


def fit_incidents(held: Held, first: int) -> Ints:
    """Return the pairs of the incidents from number `first` on with all patterns held, as `fit_late_patterns`."""
    keys = held.incidents.keys[first : held.incident_count]
    look(held, len(keys))
    lows = (keys >> runs.DAY & runs.LAST_DAY) + runs.ORIGIN
    highs = lows + (keys & ((1 << runs.SOURCE) - 1))
    return listed(
        _late_incidents,
        held.incidents.keys,
        held.incidents.codes,
        held.incidents.briefs,
        profiles.FORM_BITS,
        first,
        buckets(lows),
        buckets(highs),
        lows,
        highs,
        runs.AREA,
        held.profiles.rows,
        SLACK,
        held.patterns,
        held.reach,
        held.links,
    )
