"""Records of `accepted` as rows for a lane of merge: decoded, their names numbered, their dates made periods."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from schemas.columns import Columns, compile, decode  # noqa: A004
from schemas.jit import kernel
from schemas.released import Release
from streams import names
from streams.base import Records
from streams.frames import Framed, unframe, versions
from streams.held import INCIDENT, PATTERN, Held, enter_incidents, enter_patterns
from streams.match import last_days
from streams.names import Ints, Longs, Octets
from streams.removals import Withdrawn, node_numbers
from streams.runs import Words
from streams.state import Column

INCIDENTS, PATTERNS, WITHDRAWALS = "IncidentAccepted", "PatternAccepted", "IncidentWithdrawn"
COUNTS = ("women", "girls", "men", "boys", "unknown")
MOST = 65535
COPIED = {INCIDENTS: ("incident",), PATTERNS: ("pattern",), WITHDRAWALS: ()}
"""The contracts of `accepted`, and of each the nested record whose bytes go on as they are."""


@dataclass(frozen=True, eq=False)
class Arrived:
    """The new rows of one release: `rows` int64[k] of `columns`, `areas` int32[n] the number of each row's area.

    `numbers` int64[k] are what the rows' incidents are called in the lane; a pattern's are not asked for.
    """

    release: Release
    columns: Columns
    areas: Ints
    rows: Longs
    numbers: Longs = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True, eq=False)
class Batch:
    """A batch, decoded: per name of a contract its columns by release; `refused` and `reasons` are what cannot be read."""

    columns: dict[str, list[tuple[Release, Columns]]]
    refused: Longs
    reasons: list[list[str]]


def read(records: Records) -> Batch:
    """Return a batch of `accepted`, decoded."""
    framed = unframe(records.values, tuple(COPIED))
    columns: dict[str, list[tuple[Release, Columns]]] = {name: [] for name in COPIED}
    refused = {int(row): framed.reason(row) for row in framed.bad()}
    for name, raw in COPIED.items():
        for release in versions(name):
            rows = framed.of(release)
            found = _decode(framed, release, raw, rows)
            bad = np.flatnonzero(found.status)
            refused |= {int(rows[row]): found.reason(row) for row in bad.tolist()}
            if len(bad):
                found = _decode(framed, release, raw, np.delete(rows, bad))
            columns[name].append((release, found))
    order = sorted(refused)
    return Batch(columns, np.array(order, np.int64), [[refused[row]] for row in order])


def _decode(framed: Framed, release: Release, raw: tuple[str, ...], rows: Longs) -> Columns:
    return decode(compile(release, raw), framed.data, framed.starts[rows], framed.ends[rows])


def bring_incidents(held: Held, release: Release, columns: Columns) -> Arrived:
    """Enter incidents into the lane; return those that are new."""
    fresh = np.zeros(columns.n, INCIDENT)
    _identify(held, fresh, columns, "incident")
    first = columns.ints("incident.occurred_on")
    fresh["lo"], fresh["hi"] = first, last_days(first, columns.ints("incident.date_precision"))
    for k, name in enumerate(COUNTS):
        fresh["counts"][:, k] = np.clip(columns.ints(f"incident.{name}"), 0, MOST)
    nodes = _interned(held.nodes, columns, "node").astype(np.int64)
    kept, numbers = enter_incidents(held, fresh, (nodes << 8) | columns.ints("incident.source_kind"))
    return Arrived(release, columns, fresh["area"].astype(np.int32), np.flatnonzero(kept), numbers)


def bring_patterns(held: Held, release: Release, columns: Columns) -> Arrived:
    """Enter patterns into the lane; return those that are new."""
    fresh = np.zeros(columns.n, PATTERN)
    _identify(held, fresh, columns, "pattern")
    fresh["lo"], fresh["hi"] = columns.ints("pattern.period_start"), columns.ints("pattern.period_end")
    return Arrived(release, columns, fresh["area"].astype(np.int32), np.flatnonzero(enter_patterns(held, fresh)))


def withdrawn(held: Held, batch: Batch) -> Withdrawn:
    """Return which incidents the batch takes out, whether the lane holds them or not."""
    found = [columns for _, columns in batch.columns[WITHDRAWALS]]
    nodes = [columns.octets(row, columns.spans("node")) for columns in found for row in range(columns.n)]
    return Withdrawn(np.concatenate([_ids(columns) for columns in found]), node_numbers(held, nodes))


def _ids(columns: Columns) -> Words:
    ids = np.empty((columns.n, 2), np.uint64)
    _words(columns.data, columns.spans("event_id")[:, 0].copy(), ids)
    return ids


def _identify(held: Held, fresh: Column, columns: Columns, record: str) -> None:
    """Fill in what incidents and patterns share."""
    ids = _ids(columns)
    fresh["a"], fresh["b"] = ids[:, 0], ids[:, 1]
    fresh["area"] = _interned(held.areas, columns, "area")
    fresh["party"] = _interned(held.parties, columns, f"{record}.party")
    fresh["forms"] = columns.ints(f"{record}.forms")
    fresh["category"] = columns.ints(f"{record}.party_category")


def _interned(table: names.Names, columns: Columns, name: str) -> Ints:
    return names.intern(table, columns.data, columns.spans(name), columns.valid(name))


@kernel
def _words(data: Octets, starts: Longs, out: NDArray[np.uint64]) -> None:
    """Write each 16-byte id as two numbers, big endian, so that they compare as the bytes do."""
    for i in range(len(starts)):
        for half in range(2):
            word = np.uint64(0)
            for k in range(8):
                word = (word << np.uint64(8)) | np.uint64(data[starts[i] + 8 * half + k])
            out[i, half] = word
