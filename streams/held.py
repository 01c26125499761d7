"""What a lane of merge holds: the incidents and patterns of its areas, in flat arrays, found by area and day.

Incidents, and their further versions, lie in sorted runs, see `streams.runs`, with their facts as numbers of profiles. A pattern stands in the
chain of every 64 days that it could reach (`first` is the first of them). Numbers in chains and slots are one-based.
An incident's number is its position; it holds until the next incidents are entered.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from schemas.jit import inlined, kernel
from schemas.places import regions
from streams import names, runs
from streams.assessed import Assessed
from streams.names import Ints, Longs, Names
from streams.origins import Origins
from streams.profiles import PROFILE, Profiles, briefs, number
from streams.runs import Runs, Words
from streams.state import Column, cells

# An incident as it arrives.
INCIDENT = np.dtype(
    {
        "names": ["a", "b", "lo", "hi", "party", "area", "forms", "category", "counts"],
        "formats": ["<u8", "<u8", "<i4", "<i4", "<i4", "<i4", "<u2", "<u2", ("<u2", (5,))],
    }
)
PATTERN = np.dtype(
    {
        "names": ["a", "b", "lo", "hi", "party", "first", "area", "forms", "category"],
        "formats": ["<u8", "<u8", "<i4", "<i4", "<i4", "<u2", "<u2", "<u2", "u1"],
    }
)
# Days from 1946 to 2053 have buckets of their own, those before and after share the first and the last.
ORIGIN, DAYS = -8766, 39447
PATTERN_BITS = 6
SLACK = 14
LOOKS = 2  # links that are laid for each incident that has looked through them
ABROAD, HOME = 1, 2
KNOWN_FORMS = 0xFFFE  # bit 0 is `unspecified`, which is no form that two events could share


@dataclass
class Held:
    """`patterns` PATTERN[m], of which `pattern_count` are in use, found in `pattern_slots`.

    `reach` int32[areas, buckets] heads the chains of patterns: `links` int32[k, 3] of pattern, next link, and the pattern's
    first bucket and brief, 16 bits each, so that most are passed over without a look at the pattern. The first `laid` of them
    lie in the order of their chains; `looked` is how many incidents have looked through chains since they were laid. `homes` uint8[areas, regions] is HOME or
    ABROAD for areas that were looked up, else 0. `assessed` is what was said of incidents, of whatever lane.
    """

    areas: Names = field(default_factory=names.empty)
    parties: Names = field(default_factory=names.empty)
    nodes: Names = field(default_factory=names.empty)
    profiles: Profiles = field(default_factory=Profiles)
    incidents: Runs = field(default_factory=Runs)
    origins: Origins = field(default_factory=Origins)
    patterns: Column = field(default_factory=lambda: np.zeros(64, PATTERN))
    pattern_count: int = 0
    pattern_slots: Ints = field(default_factory=lambda: np.zeros(128, np.int32))
    reach: Ints = field(default_factory=lambda: np.zeros((8, (DAYS >> PATTERN_BITS) + 1), np.int32))
    links: Ints = field(default_factory=lambda: np.zeros((64, 3), np.int32))
    link_count: int = 0
    laid: int = 0
    looked: int = 0
    assessed: Assessed = field(default_factory=Assessed)
    homes: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((8, len(regions())), np.uint8))

    @property
    def incident_count(self) -> int:
        """Return the number of incidents held."""
        return self.incidents.count

    def areas_of(self, numbers: Column) -> Longs:
        """Return the areas of incidents."""
        return np.asarray(self.incidents.keys[numbers] >> runs.AREA, np.int64)

    def pattern_ids(self, numbers: Column) -> Words:
        """Return the ids of patterns, uint64[k, 2]."""
        return np.stack([self.patterns[half][numbers] for half in ("a", "b")], axis=1)


def buckets(days: Column) -> Longs:
    """Return the bucket of each day (since 1970): 64 days each, the first and last take what lies outside."""
    return np.asarray(np.clip(days.astype(np.int64) - ORIGIN, 0, DAYS - 1) >> PATTERN_BITS, np.int64)


@inlined
def _slot(slots: Ints, records: Column, a: int, b: int, area: int) -> int:
    mask = len(slots) - 1
    mixed = (a ^ (b * np.uint64(0x9E3779B97F4A7C15)) ^ np.uint64(area)) * np.uint64(0xD6E8FEB86659FD93)
    at = np.int64(mixed >> np.uint64(32)) & mask
    while slots[at]:
        known = records[slots[at] - 1]
        if known.a == a and known.b == b and known.area == area:
            break
        at = (at + 1) & mask
    return int(at)


@kernel
def _reindex(slots: Ints, records: Column, count: int) -> None:
    for i in range(count):
        slots[_slot(slots, records, records[i].a, records[i].b, records[i].area)] = i + 1


@kernel
def _enter_patterns(
    fresh: Column,
    lasts: Longs,
    marks: Ints,
    kept: NDArray[np.bool_],
    records: Column,
    count: int,
    slots: Ints,
    reach: Ints,
    links: Ints,
    used: int,
) -> tuple[int, int]:
    for i in range(len(fresh)):
        one = fresh[i]
        slot = _slot(slots, records, one.a, one.b, one.area)
        if slots[slot]:
            continue
        records[count] = one
        for place in range(one.first, lasts[i] + 1):
            links[used, 0], links[used, 1], links[used, 2] = count, reach[one.area, place], marks[i]
            used += 1
            reach[one.area, place] = used
        count += 1
        slots[slot] = count
        kept[i] = True
    return count, used


@kernel
def _lay(reach: Ints, links: Ints, out: Ints) -> None:
    """Write the links chain by chain, int32[k, 3], each chain in its order, and let `reach` head them."""
    at = 0
    for area in range(reach.shape[0]):
        for place in range(reach.shape[1]):
            link = reach[area, place]
            if link:
                reach[area, place] = at + 1
            while link:
                pattern, link, mark = links[link - 1, 0], links[link - 1, 1], links[link - 1, 2]
                out[at, 0], out[at, 1], out[at, 2] = pattern, at + 2 if link else 0, mark
                at += 1


def look(held: Held, incidents: int) -> None:
    """Lay links in the order of their chains before so many incidents look through them, if enough have since they came.

    A chain lies in one place then, not all over the table: each look costs a wait for memory, not one for each link.
    """
    held.looked += incidents
    if held.laid < held.link_count <= LOOKS * held.looked:
        links = np.empty((held.link_count, 3), np.int32)  # no larger: most patterns come early
        _lay(held.reach, held.links, links)
        held.links, held.laid, held.looked = links, held.link_count, 0


def _slots(slots: Ints, records: Column, count: int, wanted: int) -> Ints:
    if 4 * wanted <= 3 * len(slots):
        return slots
    wider = np.zeros(1 << (4 * wanted // 3).bit_length(), np.int32)
    _reindex(wider, records, count)
    return wider


def enter_incidents(held: Held, fresh: Column, reporters: Longs) -> tuple[NDArray[np.bool_], Longs]:
    """Add incidents; return which were new, and the numbers of those in their order.

    `fresh` INCIDENT[k], `reporters` int64[k]: node << 8 | kind of source.
    """
    runs.compact(held.incidents)
    fresh["forms"] &= KNOWN_FORMS
    ids = np.stack([fresh["a"], fresh["b"]], axis=1)
    keys = runs.keys_of(fresh["area"], fresh["lo"], fresh["hi"], reporters >> 8, reporters & 255)
    kept = runs.admit(held.incidents, ids, keys)
    profiles = np.zeros(len(fresh), PROFILE)
    for name in ("party", "category", "forms", "counts"):
        profiles[name] = fresh[name]
    profiles = profiles[kept]
    codes = number(held.profiles, profiles)
    return kept, runs.append(held.incidents, ids[kept], keys[kept], codes, briefs(profiles))


def enter_patterns(held: Held, fresh: Column) -> NDArray[np.bool_]:
    """Add patterns (one for each area of each) in order; return which were new. `fresh` PATTERN[k]."""
    wanted = held.pattern_count + len(fresh)
    held.patterns = cells(held.patterns, wanted)
    held.pattern_slots = _slots(held.pattern_slots, held.patterns, held.pattern_count, wanted)
    held.reach = cells(held.reach, held.areas.count)
    fresh["forms"] &= KNOWN_FORMS
    fresh["first"], lasts = buckets(fresh["lo"] - SLACK), buckets(fresh["hi"] + SLACK)
    held.links = cells(held.links, held.link_count + int(np.maximum(lasts - fresh["first"] + 1, 0).sum()))
    marks = fresh["first"].astype(np.int32) << 16 | briefs(fresh)
    kept = np.zeros(len(fresh), np.bool_)
    held.pattern_count, held.link_count = _enter_patterns(
        fresh,
        lasts,
        marks,
        kept,
        held.patterns,
        held.pattern_count,
        held.pattern_slots,
        held.reach,
        held.links,
        held.link_count,
    )
    return kept
