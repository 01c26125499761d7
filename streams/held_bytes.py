"""What a batch added to a lane of merge, in bytes, and the way back; a snapshot is what the empty lane lacks.

What a batch blots out is named by id and key; in a snapshot it is blotted out already.
"""

from itertools import islice

import numpy as np

from streams import names, profiles, runs
from streams.held import PATTERN, Held, enter_patterns
from streams.names import Longs, Names
from streams.profiles import PROFILE
from streams.removals import ENDED, GONE, blot, numbers
from streams.runs import Runs, Words
from streams.state import Column, pack, unpack

Marks = tuple[int, int, int, int, int, int, int, int, int]
NOTHING: Marks = (0, 0, 0, 0, 0, 0, 0, 0, 0)
PROFILE_COLUMNS = ("party", "category", "forms", "counts")
PATTERN_COLUMNS = ("a", "b", "lo", "hi", "party", "area", "forms", "category")
NAME_TYPES = ["<u2", "u1"] * 3
RUN_TYPES = ["<i8", "u1", "u1", "u1"]
MORE_TYPES = ["<u8", "<i8", "<u8", "<i8", "<u8"]
SAID_TYPES = ["<u8", "<u8"]
NONE = np.zeros(0, np.int64)


def marks(held: Held) -> Marks:
    """Return how far the lane is filled: areas, parties, nodes, profiles, incidents, patterns, further versions, assessments."""
    named = held.areas.count, held.parties.count, held.nodes.count
    counts = held.profiles.count, held.incidents.count, held.pattern_count, len(held.origins.of)
    return *named, *counts, *held.assessed.marks()


def changes(held: Held, since: Marks = NOTHING, gone: Longs = NONE, ended: Longs = NONE) -> bytes:
    """Return what was added since `marks(held)` was `since`, and that `gone` and `ended` int64[k] are to be blotted out."""
    if since == NOTHING:
        runs.compact(held.incidents)
    columns: list[Column] = []
    for table, first in zip((held.areas, held.parties, held.nodes), since, strict=False):
        columns += _named(table, first)
    rows = held.profiles.rows[since[3] : held.profiles.count]
    columns += [rows[name].reshape(-1) for name in PROFILE_COLUMNS]
    columns += _sorted(held.incidents, since[4])
    patterns = held.patterns[since[5] : held.pattern_count]
    columns += [patterns[name] for name in PATTERN_COLUMNS]
    origins, said = held.origins.since(since[6]), held.assessed.since(since[7:])
    assessed = any(map(len, said))
    if len(gone) or len(ended) or len(origins) or assessed:
        for some in (gone, ended):
            columns += [held.incidents.ids[some].reshape(-1), held.incidents.keys[some]]
        columns.append(origins.reshape(-1))
    if assessed:
        columns += said
    return pack(columns)


def apply(held: Held, delta: bytes) -> Held:
    """Add to the lane what `changes` gave; the lane must stand where it stood then."""
    columns = iter(_unpacked(delta))
    for table in (held.areas, held.parties, held.nodes):
        names.add(table, _split(next(columns), next(columns).tobytes()))
    profiles.number(held.profiles, _table(PROFILE, {name: next(columns) for name in PROFILE_COLUMNS}))
    _load(held, next(columns), next(columns), next(columns), next(columns))
    enter_patterns(held, _table(PATTERN, {name: next(columns) for name in PATTERN_COLUMNS}))
    for kind, ids in zip((GONE, ENDED), columns, strict=False):
        keys = next(columns)
        if len(keys):
            blot(held, numbers(held, ids.reshape(-1, 2), keys), kind)
    for origins in islice(columns, 1):
        held.origins.add(origins.reshape(-1, 4)[:, :2], origins.reshape(-1, 4)[:, 2:])
    for said in columns:
        held.assessed.add(said, next(columns))
    return held


def named(delta: bytes) -> Words:
    """Return the ids of all incidents and versions that what `changes` gave names in any way, uint64[k, 2]; none that is minted."""
    of_runs = _unpacked(delta)[len(NAME_TYPES) + len(PROFILE_COLUMNS) :]
    ids, more = _joined(of_runs[1], 16).view("<u8"), of_runs[len(RUN_TYPES) + len(PATTERN_COLUMNS) :]
    further = more[: len(MORE_TYPES) : 2]
    return np.concatenate([each.reshape(-1, 2) for each in (ids, *further)])


def undo(held: Held, since: Marks) -> None:
    """Take the lane back to where it was: slow, and only after a failure."""
    held.areas, held.parties, held.nodes = (
        _first(table, count) for table, count in zip((held.areas, held.parties, held.nodes), since, strict=False)
    )
    rows, held.profiles = held.profiles.rows[: since[3]], profiles.Profiles()
    profiles.number(held.profiles, rows)
    runs.cut(held.incidents, since[4])
    held.origins.cut(since[6])
    held.assessed.cut(since[7:])
    patterns, held.pattern_count, held.link_count = held.patterns[: since[5]], 0, 0
    held.laid = held.looked = 0
    held.homes[since[0] :] = 0
    held.pattern_slots[:], held.reach[:] = 0, 0
    enter_patterns(held, patterns.copy())


def _unpacked(delta: bytes) -> list[Column]:
    types = [*NAME_TYPES, *_types(PROFILE, PROFILE_COLUMNS), *RUN_TYPES, *_types(PATTERN, PATTERN_COLUMNS)]
    return unpack(delta, types, [*MORE_TYPES, *SAID_TYPES])


def _sorted(held: Runs, first: int) -> list[Column]:
    """Return the runs from incident `first` on: their lengths, then ids, steps of keys, and profiles, byte by byte."""
    sizes = np.diff([start for start in held.starts if start >= first])
    ids, keys, codes = (table[first : held.count] for table in (held.ids, held.keys, held.codes))
    return [sizes.astype("<i8"), _planes(ids), _planes(np.diff(keys, prepend=np.int64(0))), _planes(codes)]


def _load(held: Held, sizes: Column, ids: Column, steps: Column, codes: Column) -> None:
    if len(sizes):
        runs.compact(held.incidents)
    ids, keys = _joined(ids, 16).view("<u8").reshape(-1, 2), np.cumsum(_joined(steps, 8).view("<i8").reshape(-1))
    codes = _joined(codes, 4).view("<u4").reshape(-1)
    briefs = profiles.briefs(held.profiles.rows)[codes]
    runs.load(held.incidents, ids, keys, codes, briefs, sizes.tolist())


def _planes(column: Column) -> Column:
    """Return the first bytes of all rows, then the second: alike ones lie together, which packs to half."""
    rows = (
        np.ascontiguousarray(column)
        .view(np.uint8)
        .reshape(-1, column.itemsize * (column.shape[1] if column.ndim > 1 else 1))
    )
    return np.ascontiguousarray(rows.T).reshape(-1)


def _joined(planes: Column, width: int) -> Column:
    return np.ascontiguousarray(planes.reshape(width, -1).T)


def _named(table: Names, first: int) -> list[Column]:
    bounds = table.bounds[first : table.count + 1]
    return [np.diff(bounds).astype("<u2"), table.text[bounds[0] : bounds[-1]]]


def _split(lengths: Column, text: bytes) -> list[bytes]:
    ends = np.cumsum(lengths, dtype=np.int64)
    return [text[end - length : end] for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)]


def _first(table: Names, count: int) -> Names:
    kept = names.empty()
    names.add(kept, names.listed(table, 0, count))
    return kept


def _types(dtype: np.dtype[np.void], columns: tuple[str, ...]) -> list[str]:
    return [dtype[name].base.str for name in columns]


def _table(dtype: np.dtype[np.void], columns: dict[str, Column]) -> Column:
    table = np.zeros(len(columns[next(iter(columns))]), dtype)
    for name, column in columns.items():
        table[name] = column.reshape(table[name].shape)
    return table
