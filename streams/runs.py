"""Incidents of a lane of merge in sorted runs: 30 bytes each, and 2.4 to 3.3 more that know a repeat.

A key is one number that sorts incidents by area, by how vague their date is, by day and by reporter. New incidents
come as a run of their own at the end; a run is merged into the one before it once that one is not `RATIO` times
as long, so that there are few runs and each incident is moved about `RATIO` times for each `RATIO`-fold growth.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import Stops
from schemas.jit import inlined, kernel
from streams.names import Longs
from streams.state import Column, grown

Words = NDArray[np.uint64]
Codes = NDArray[np.uint32]
Briefs = NDArray[np.uint16]
Marks = NDArray[np.uint16]

# A key from its highest bit: area (12), vagueness (2), day since ORIGIN (22), node (13), kind of source (5), span (9):
# a span is the number of days after the first on which the incident may have happened.
AREA, VAGUENESS, DAY, NODE, SOURCE = 51, 49, 27, 14, 9
BITS = (AREA, VAGUENESS, DAY, SOURCE)
AREAS, NODES, ORIGIN, LAST_DAY = 1 << 12, 1 << 13, -720_000, (1 << 22) - 1
LONGEST = np.array([0, 6, 30, 365], np.int64)  # the longest span of each vagueness
RATIO = 6
FENCE = 64
FULLEST, ROOMIEST = 0.85, 0.6


@dataclass
class Runs:
    """`count` incidents: `ids` uint64[n, 2], big-endian halves, `keys` int64[n], `codes` uint32[n], `briefs` uint16[n].

    `codes` are numbers of profiles, `briefs` say in brief what those hold, see `streams.profiles`.
    Run r is starts[r] to before starts[r + 1], sorted by key. `marks` uint16[m] holds 16 bits of a hash of each
    incident's id and area near where the rest of the hash says, 0 is free. `vague` has a bit for each vagueness met.
    `fences` int64[n / FENCE] repeats every FENCE-th key: few enough to stay in the processor's cache.
    """

    ids: Words = field(default_factory=lambda: np.zeros((64, 2), np.uint64))
    keys: Longs = field(default_factory=lambda: np.zeros(64, np.int64))
    codes: Codes = field(default_factory=lambda: np.zeros(64, np.uint32))
    briefs: Briefs = field(default_factory=lambda: np.zeros(64, np.uint16))
    marks: Marks = field(default_factory=lambda: np.zeros(128, np.uint16))
    fences: Longs = field(default_factory=lambda: np.zeros(1, np.int64))
    starts: list[int] = field(default_factory=lambda: [0])
    vague: int = 0

    @property
    def count(self) -> int:
        """Return the number of incidents."""
        return self.starts[-1]

    def bounds(self) -> Longs:
        """Return where the runs begin, and the end."""
        return np.array(self.starts, np.int64)


def keys_of(areas: Column, first: Column, last: Column, nodes: Longs, sources: Longs) -> Longs:
    """Return the keys of incidents, int64[k]: `areas` and `nodes` are the lane's numbers, `first` and `last` days."""
    if max(int(areas.max(initial=0)) - AREAS, int(nodes.max(initial=0)) - NODES) >= 0:
        raise Stops(
            f"A lane of merge holds at most {AREAS} areas and {NODES} nodes; give `accepted` more partitions, or retire "
            "nodes that send no longer."
        )
    span = np.asarray(last, np.int64) - first
    key = areas.astype(np.int64) << AREA | np.searchsorted(LONGEST, span) << VAGUENESS | days_of(first) << DAY
    return np.asarray(key | nodes << NODE | sources << SOURCE | span, np.int64)


def days_of(days: Column) -> Longs:
    """Return days since 1970 as a key has them."""
    return np.clip(np.asarray(days, np.int64) - ORIGIN, 0, LAST_DAY)


@kernel
def _mix(a: Any, b: Any, area: Any) -> Any:
    return (a ^ (b * np.uint64(0x9E3779B97F4A7C15)) ^ np.uint64(area)) * np.uint64(0xD6E8FEB86659FD93)


@kernel
def _place(mixed: Any, size: int) -> Any:
    return np.int64(((mixed >> np.uint64(32)) * np.uint64(size)) >> np.uint64(32))


@kernel
def _mark(mixed: Any) -> Any:
    return max((mixed >> np.uint64(16)) & np.uint64(0xFFFF), np.uint64(1))


@kernel
def _remark(ids: Words, keys: Longs, count: int, area_at: int, marks: Marks) -> None:
    for i in range(count):
        mixed = _mix(ids[i, 0], ids[i, 1], keys[i] >> area_at)
        at = _place(mixed, len(marks))
        while marks[at]:
            at = at + 1 if at + 1 < len(marks) else 0
        marks[at] = _mark(mixed)


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
def _within(ids: Words, keys: Longs, bounds: Longs, a: int, b: int, low: int, high: int) -> bool:
    """Return whether an incident with this id has a key from `low` to `high`."""
    for r in range(len(bounds) - 1):
        at = _bisect(keys, bounds[r], bounds[r + 1], low)
        while at < bounds[r + 1] and keys[at] <= high:
            if ids[at, 0] == a and ids[at, 1] == b:
                return True
            at += 1
    return False


@inlined
def _twin(slots: NDArray[np.int32], fresh: Words, keys: Longs, i: int, mixed: Any, area_at: int) -> bool:
    """Return whether this batch had an incident with this id and area before; enter it where not."""
    at = np.int64(mixed >> np.uint64(20)) & (len(slots) - 1)
    while slots[at]:
        j = slots[at] - 1
        if fresh[j, 0] == fresh[i, 0] and fresh[j, 1] == fresh[i, 1] and (keys[j] ^ keys[i]) >> area_at == 0:
            return True
        at = (at + 1) & (len(slots) - 1)
    slots[at] = i + 1
    return False


@kernel
def _admit(
    fresh: Words,
    fresh_keys: Longs,
    slots: NDArray[np.int32],
    ids: Words,
    keys: Longs,
    bounds: Longs,
    area_at: int,
    marks: Marks,
    kept: NDArray[np.bool_],
) -> None:
    """Set `kept` where an incident is new, and mark those.

    A mark that is met says: perhaps known. A repeat has its first one's key, so that is looked up; only an id that
    came again with other facts, or a chance mark (1 in 3000 at the fullest), costs a look through the area.
    """
    for i in range(len(fresh)):
        a, b, area = fresh[i, 0], fresh[i, 1], fresh_keys[i] >> area_at
        mixed = _mix(a, b, area)
        if _twin(slots, fresh, fresh_keys, i, mixed, area_at):
            continue
        mark, at, met = _mark(mixed), _place(mixed, len(marks)), False
        while marks[at]:
            met = met or marks[at] == mark
            at = at + 1 if at + 1 < len(marks) else 0
        if met and _within(ids, keys, bounds, a, b, fresh_keys[i], fresh_keys[i]):
            continue
        if met and _within(ids, keys, bounds, a, b, area << area_at, ((area + 1) << area_at) - 1):
            continue
        marks[at] = mark
        kept[i] = True


def admit(runs: Runs, ids: Words, keys: Longs) -> NDArray[np.bool_]:
    """Return which incidents are new, bool[k], and mark them; `append` those next, or `cut`."""
    if runs.count + len(ids) > FULLEST * len(runs.marks):
        runs.marks = np.zeros(int((runs.count + len(ids)) / ROOMIEST), np.uint16)
        _remark(runs.ids, runs.keys, runs.count, AREA, runs.marks)
    kept = np.zeros(len(ids), np.bool_)
    slots = np.zeros(1 << (2 * len(ids)).bit_length(), np.int32)
    _admit(ids, keys, slots, runs.ids, runs.keys, runs.bounds(), AREA, runs.marks, kept)
    return kept


def _room(runs: Runs, count: int) -> None:
    runs.ids, runs.keys = grown(runs.ids, count), grown(runs.keys, count)
    runs.codes, runs.briefs = grown(runs.codes, count), grown(runs.briefs, count)


def _fence(runs: Runs, first: int) -> None:
    """Repeat the keys of the fences from position `first` on."""
    at = -(-first // FENCE)
    keys = runs.keys[at * FENCE : runs.count : FENCE]
    runs.fences = grown(runs.fences, at + len(keys))
    runs.fences[at : at + len(keys)] = keys


def append(runs: Runs, ids: Words, keys: Longs, codes: Codes, briefs: Briefs) -> Longs:
    """Add incidents as the last run, sorted, and return their positions, int64[k]; an empty one is no run."""
    if not len(keys):
        return np.zeros(0, np.int64)
    first, last = runs.count, runs.count + len(keys)
    _room(runs, last)
    order = np.argsort(keys, kind="stable")
    runs.ids[first:last], runs.keys[first:last] = ids[order], keys[order]
    runs.codes[first:last], runs.briefs[first:last] = codes[order], briefs[order]
    runs.starts.append(last)
    _fence(runs, first)
    runs.vague |= int(np.bitwise_or.reduce(1 << (keys >> VAGUENESS & 3)))
    positions = np.empty(len(keys), np.int64)
    positions[order] = np.arange(first, last)
    return positions


@kernel
def _merge(
    ids: Words,
    keys: Longs,
    codes: Codes,
    briefs: Briefs,
    first: int,
    middle: int,
    last: int,
    tail: tuple[Words, Longs, Codes, Briefs],
) -> None:
    """Merge two neighbouring runs in place, backwards; `tail` is a copy of the second, of equal keys it comes last."""
    tail_ids, tail_keys, tail_codes, tail_briefs = tail
    i, j, k = middle - 1, last - middle - 1, last - 1
    while j >= 0:
        if i >= first and keys[i] > tail_keys[j]:
            ids[k, 0], ids[k, 1], keys[k], codes[k], briefs[k] = ids[i, 0], ids[i, 1], keys[i], codes[i], briefs[i]
            i -= 1
        else:
            ids[k, 0], ids[k, 1] = tail_ids[j, 0], tail_ids[j, 1]
            keys[k], codes[k], briefs[k] = tail_keys[j], tail_codes[j], tail_briefs[j]
            j -= 1
        k -= 1


def compact(runs: Runs) -> None:
    """Merge runs at the end that are too long beside the one before them; positions change."""
    starts, tables = runs.starts, (runs.ids, runs.keys, runs.codes, runs.briefs)
    while len(starts) > 2 and starts[-2] - starts[-3] <= RATIO * (starts[-1] - starts[-2]):
        first, middle, last = starts[-3:]
        tail = (
            runs.ids[middle:last].copy(),
            runs.keys[middle:last].copy(),
            runs.codes[middle:last].copy(),
            runs.briefs[middle:last].copy(),
        )
        _merge(*tables, first, middle, last, tail)
        del starts[-2]
        _fence(runs, first)


def cut(runs: Runs, count: int) -> None:
    """Forget all but the first `count` incidents, which end a run."""
    while runs.count > count:
        runs.starts.pop()
    runs.marks = np.zeros(max(128, int(runs.count / ROOMIEST)), np.uint16)
    _remark(runs.ids, runs.keys, runs.count, AREA, runs.marks)


def load(runs: Runs, ids: Words, keys: Longs, codes: Codes, briefs: Briefs, sizes: list[int]) -> None:
    """Add runs of incidents that are known to be new, each sorted already: the way back from a delta or a snapshot."""
    first = known = runs.count
    last = first + len(keys)
    _room(runs, last)
    runs.ids[first:last], runs.keys[first:last] = ids, keys
    runs.codes[first:last], runs.briefs[first:last] = codes, briefs
    if last > FULLEST * len(runs.marks):
        runs.marks = np.zeros(int(last / ROOMIEST), np.uint16)
        first = 0
    _remark(runs.ids[first:last], runs.keys[first:last], last - first, AREA, runs.marks)
    for size in sizes:
        runs.starts.append(runs.count + size)
    _fence(runs, known)
    runs.vague |= int(np.bitwise_or.reduce(1 << (keys >> VAGUENESS & 3), initial=0))
