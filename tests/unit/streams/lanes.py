"""Rows of `plain` into a lane, and what it finds as rows; strategies for such rows."""

import numpy as np
from hypothesis import strategies as st

from streams import names
from streams.duplicates import flag
from streams.held import INCIDENT, PATTERN, enter_incidents, enter_patterns
from streams.match import fit_incidents, fit_late_patterns, last_days
from streams.runs import compact
from tests.unit.streams.plain import Incident, Pattern

LIKENESS = ["same_day", "near_date", "same_forms", "same_party", "same_counts", "similar_counts", "other_node"]
LIKENESS += ["other_source"]
PRECISIONS = st.integers(0, 4)
AREAS = st.sampled_from(["A", "B"])
DAYS = st.one_of(st.integers(17_990, 18_060), st.integers(17_600, 18_500), st.integers(-9_000, 40_000))
FORMS = st.sampled_from([1, 2, 3, 4, 6, 5])
PARTIES = st.sampled_from([None, None, "P", "Q"])
COUNTS = st.sampled_from(
    [(1, 0, 0, 0, 0), (2, 0, 0, 0, 0), (0, 1, 0, 0, 0), (9, 0, 0, 0, 0), (11, 0, 0, 0, 0), (0,) * 5]
)


def incidents(days=DAYS, precisions=PRECISIONS):
    nodes, sources = st.sampled_from(["N1", "N2"]), st.integers(1, 2)
    return st.builds(
        Incident, st.just(0), AREAS, days, precisions, FORMS, COUNTS, st.integers(0, 2), PARTIES, nodes, sources
    )


def patterns():
    period = st.tuples(DAYS, st.integers(0, 900))
    parts = st.tuples(AREAS, period, FORMS, st.integers(0, 2), PARTIES)
    return parts.map(lambda p: Pattern(0, p[0], p[1][0], p[1][0] + p[1][1], *p[2:]))


def numbered(rows, first=1):
    """Return the rows with ids of their own."""
    return [type(row)(**{**vars(row), "id": first + i}) for i, row in enumerate(rows)]


def interned(table, items):
    return names.intern(
        table,
        np.frombuffer(bytearray(b"".join((item or "").encode() for item in items) or b"-"), np.uint8),
        np.array([[a, b] for a, b in zip(*_bounds(items), strict=True)], np.int64).reshape(-1, 2),
        np.array([item is not None for item in items], np.bool_),
    )


def _bounds(items):
    ends = np.cumsum([len((item or "").encode()) for item in items], dtype=np.int64)
    return np.concatenate(([0], ends[:-1])) if len(items) else [], ends


def arrive(held, rows):
    """Enter a batch; return the numbers from which its patterns and incidents begin."""
    late = [row for row in rows if isinstance(row, Pattern)]
    table = np.zeros(len(late), PATTERN)
    for name, attribute in {"b": "id", "lo": "start", "hi": "end", "forms": "forms", "category": "category"}.items():
        table[name] = [getattr(row, attribute) for row in late]
    table["area"] = interned(held.areas, [row.area for row in late])
    table["party"] = interned(held.parties, [row.party for row in late])
    return enter_patterns(held, table)


def arrive_incidents(held, rows):
    new = [row for row in rows if isinstance(row, Incident)]
    table = np.zeros(len(new), INCIDENT)
    for name, attribute in {"b": "id", "lo": "day", "forms": "forms", "category": "category"}.items():
        table[name] = [getattr(row, attribute) for row in new]
    table["hi"] = last_days(table["lo"].astype(np.int64), np.array([row.precision for row in new], np.int64))
    table["counts"] = np.array([row.counts for row in new], np.uint16).reshape(-1, 5)
    table["area"] = interned(held.areas, [row.area for row in new])
    table["party"] = interned(held.parties, [row.party for row in new])
    nodes = interned(held.nodes, [row.node for row in new]).astype(np.int64)
    return enter_incidents(held, table, (nodes << 8) + np.array([row.source for row in new], np.int64))[0]


def lane_links(held, rows):
    """Enter a batch and return its links: (incident, pattern, match, days outside)."""
    compact(held.incidents)
    first_pattern, first_incident = held.pattern_count, held.incident_count
    arrive(held, rows)
    pairs = fit_late_patterns(held, first_pattern).tolist()
    arrive_incidents(held, rows)
    pairs += fit_incidents(held, first_incident).tolist()
    return [(int(held.incidents.ids[i, 1]), int(held.patterns["b"][p]), match, days) for i, p, match, days in pairs]


def lane_duplicates(held, rows):
    """Enter a batch and return its probable duplicates: (first, second, score, what they share)."""
    first = held.incident_count
    arrive_incidents(held, rows)
    ids = held.incidents.ids[:, 1]
    return [
        (int(ids[i]), int(ids[j]), points, frozenset(name for k, name in enumerate(LIKENESS, 1) if what >> k & 1))
        for i, j, points, what in flag(held, first).tolist()
    ]
