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
from streams.removals import ASIDE, Named, node_numbers
from streams.runs import Words
from streams.state import Column

INCIDENTS, REVISIONS, PATTERNS = "IncidentAccepted", "RevisionAccepted", "PatternAccepted"
REFERRALS = "ReferralAccepted"
ENDINGS, WITHDRAWALS = "VersionEnded", "IncidentWithdrawn"
ASSESSMENTS = "AssessmentAccepted"
COUNTS = ("women", "girls", "men", "boys", "unknown")
MOST = 65535
COPIED = {
    INCIDENTS: ("incident",),
    REVISIONS: ("incident",),
    PATTERNS: ("pattern",),
    REFERRALS: (),
    ENDINGS: (),
    WITHDRAWALS: (),
    ASSESSMENTS: (),
}
"""The contracts of `accepted`, and of each the nested record whose bytes go on as they are."""


@dataclass(frozen=True, eq=False)
class Arrived:
    """The new rows of one release: `rows` int64[k] of `columns`, `areas` int32[n] the number of each row's area.

    `ids` uint64[n, 2] are the rows' own, big-endian halves; `numbers` int64[k] are what the rows' incidents are called in the lane; a pattern's are not asked for.
    """

    release: Release
    columns: Columns
    ids: Words
    areas: Ints
    rows: Longs
    numbers: Longs = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True, eq=False)
class Batch:
    """A batch, decoded: per name of a contract its columns by each release that it has; `refused` and `reasons` are what cannot be read.

    `tombstones` is how many records have no value: who erases writes them, to close a segment of the log.
    """

    columns: dict[str, list[tuple[Release, Columns]]]
    refused: Longs
    reasons: list[list[str]]
    tombstones: int


def read(records: Records) -> Batch:
    """Return a batch of `accepted`, decoded."""
    framed = unframe(records.values, tuple(COPIED))
    columns: dict[str, list[tuple[Release, Columns]]] = {name: [] for name in COPIED}
    valued = records.values.ends > records.values.starts
    refused = {int(row): framed.reason(row) for row in framed.bad() if valued[row]}
    for name, raw in COPIED.items():
        for release in versions(name):
            rows = framed.of(release)
            if not len(rows):
                continue
            found = _decode(framed, release, raw, rows)
            bad = np.flatnonzero(found.status)
            refused |= {int(rows[row]): found.reason(row) for row in bad.tolist()}
            if len(bad):
                found = _decode(framed, release, raw, np.delete(rows, bad))
            columns[name].append((release, found))
    order = sorted(refused)
    return Batch(columns, np.array(order, np.int64), [[refused[row]] for row in order], int((~valued).sum()))


def _decode(framed: Framed, release: Release, raw: tuple[str, ...], rows: Longs) -> Columns:
    return decode(compile(release, raw), framed.data, framed.starts[rows], framed.ends[rows])


def bring_incidents(held: Held, batch: Batch) -> list[Arrived]:
    """Enter incidents, further versions and referrals into the lane, all at once; return those that are new, by release."""
    some = [
        (*each, ids_of(each[1], "event_id"))
        for name in (INCIDENTS, REVISIONS, REFERRALS)
        for each in batch.columns[name]
        if each[1].n
    ]
    parts = [
        (_referrals if release.name == REFERRALS else _incidents)(held, columns, ids) for release, columns, ids in some
    ]
    if not parts:
        return []
    fresh, reporters = parts[0] if len(parts) == 1 else map(np.concatenate, zip(*parts, strict=True))
    kept, numbers = enter_incidents(held, fresh, reporters)
    arrived, at, given = [], 0, 0
    for (release, columns, ids), (mine, _) in zip(some, parts, strict=True):
        rows = np.flatnonzero(kept[at : at + len(mine)])
        areas = mine["area"].astype(np.int32)
        arrived.append(Arrived(release, columns, ids, areas, rows, numbers[given : given + len(rows)]))
        at, given = at + len(mine), given + len(rows)
        if release.name != INCIDENTS:
            held.origins.add(ids[rows], ids_of(columns, "incident_id")[rows])
    return arrived


def _incidents(held: Held, columns: Columns, ids: Words) -> tuple[Column, Longs]:
    """Return incidents as they are entered, INCIDENT[n], and their reporters int64[n]; what is no current version fits nothing."""
    fresh = np.zeros(columns.n, INCIDENT)
    _identify(held, fresh, columns, ids, "incident")
    first = columns.ints("incident.occurred_on")
    fresh["lo"], fresh["hi"] = first, last_days(first, columns.ints("incident.date_precision"))
    for k, name in enumerate(COUNTS):
        fresh["counts"][:, k] = np.clip(columns.ints(f"incident.{name}"), 0, MOST)
    if "current" in columns.layout.columns:
        aside = columns.ints("current") == 0
        fresh["party"][aside], fresh["category"][aside], fresh["forms"][aside] = -1, ASIDE, 0
        fresh["counts"][aside] = 0
    nodes = _interned(held.nodes, columns, "node").astype(np.int64)
    return fresh, (nodes << 8) | columns.ints("incident.source_kind")


def _referrals(held: Held, columns: Columns, ids: Words) -> tuple[Column, Longs]:
    """Return what is said of referrals as it is entered, INCIDENT[n], and the reporters int64[n]; it fits nothing."""
    fresh = np.zeros(columns.n, INCIDENT)
    fresh["a"], fresh["b"] = ids[:, 0], ids[:, 1]
    fresh["area"] = _interned(held.areas, columns, "area")
    fresh["lo"] = fresh["hi"] = columns.ints("referral.referred_on")
    fresh["party"], fresh["category"] = -1, ASIDE
    return fresh, _interned(held.nodes, columns, "node").astype(np.int64) << 8


def bring_patterns(held: Held, release: Release, columns: Columns) -> Arrived:
    """Enter patterns into the lane; return those that are new."""
    fresh, ids = np.zeros(columns.n, PATTERN), ids_of(columns, "event_id")
    _identify(held, fresh, columns, ids, "pattern")
    fresh["lo"], fresh["hi"] = columns.ints("pattern.period_start"), columns.ints("pattern.period_end")
    areas = fresh["area"].astype(np.int32)
    return Arrived(release, columns, ids, areas, np.flatnonzero(enter_patterns(held, fresh)))


def named(held: Held, batch: Batch, name: str) -> Named:
    """Return which incidents or versions the withdrawals or endings of a batch name, whether the lane holds them or not."""
    found = [columns for _, columns in batch.columns[name]]
    nodes = [columns.octets(row, columns.spans("node")) for columns in found for row in range(columns.n)]
    return Named(np.concatenate([ids_of(columns, "event_id") for columns in found]), node_numbers(held, nodes))


def ids_of(columns: Columns, name: str) -> Words:
    """Return ids, uint64[n, 2], big-endian halves."""
    ids = np.empty((columns.n, 2), np.uint64)
    _words(columns.data, columns.spans(name)[:, 0].copy(), ids)
    return ids


def _identify(held: Held, fresh: Column, columns: Columns, ids: Words, record: str) -> None:
    """Fill in what incidents and patterns share."""
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
