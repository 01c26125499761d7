"""What must come out of a corpus, worked out from its plan by comparing each with each: counts, ids, links, pairs.

Written again here on purpose, with other loops than the stages': areas are walked one by one, no buckets, no state.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np

from schemas.places import areas_of
from tests.bench.plan import AT, BREAKS, MONTH, YEAR, NodePlan, in_regions, texts

SLACK, NEAR, LONGEST = 14, 3, 31
THRESHOLD = 65


@dataclass(eq=False)
class Truth:
    """`figures` are the counts; the arrays are what digests are made of when the regions' secrets are known.

    `ids` uint8[m, 16] and `areas` int32[m] of the accepted incidents; `links` int64[m] and `pairs` int64[m]: links of
    each incident, probable duplicates in which it comes first; `pattern_ids` uint8[p, 16]; `pattern_areas` bool[p,
    areas]; `refused` int64[q, 3]: node, offset, number in BREAKS (0: undecodable).
    """

    figures: dict
    ids: np.ndarray
    areas: np.ndarray
    links: np.ndarray
    pairs: np.ndarray
    pattern_ids: np.ndarray
    pattern_areas: np.ndarray
    refused: np.ndarray

    def save(self, folder: Path) -> None:
        arrays = {name: value for name, value in vars(self).items() if name != "figures"}
        np.savez(folder / "truth.npz", **arrays)
        (folder / "truth.json").write_text(json.dumps(self.figures, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "Truth":
        with np.load(folder / "truth.npz") as arrays:
            return cls(json.loads((folder / "truth.json").read_text()), **dict(arrays))


def of(plans: list[NodePlan]) -> Truth:
    """Return the truth of a corpus."""
    good = [plan.good for plan in plans]
    facts = np.concatenate([_facts(plan, k)[chosen] for k, (plan, chosen) in enumerate(zip(plans, good, strict=True))])
    ids = np.concatenate([plan.ids[chosen] for plan, chosen in zip(plans, good, strict=True)])
    patterns = [pattern for plan in plans for pattern in plan.patterns]
    areas = _covered(patterns)
    links, pairs = _count(facts, ids, patterns, areas)
    refused = np.concatenate([_refused(plan, k) for k, plan in enumerate(plans)])
    truth = Truth(
        {},
        ids,
        facts[:, AREA].astype(np.int32),
        links,
        pairs,
        np.concatenate([plan.pattern_ids for plan in plans]),
        areas,
        refused,
    )
    truth.figures = _figures(plans, truth)
    return truth


# Columns of what links and pairs are decided by.
AREA, LOW, HIGH, FORM_SET, CATEGORY, PARTY, REPORTER, COUNTS = 0, 1, 2, 3, 4, 5, 6, 7


def _facts(plan: NodePlan, node: int) -> np.ndarray:
    first = plan.column("day").astype("datetime64[D]")
    last = first.copy()
    for precision, unit in ((MONTH, "M"), (YEAR, "Y")):
        rows = plan.column("precision") == precision
        last[rows] = (first[rows].astype(f"datetime64[{unit}]") + 1).astype("datetime64[D]") - np.timedelta64(1, "D")
    out = np.empty((len(first), COUNTS + 5), np.int64)
    out[:, AREA], out[:, LOW], out[:, HIGH] = plan.area, first.astype(np.int64), last.astype(np.int64)
    out[:, FORM_SET], out[:, CATEGORY], out[:, PARTY] = (plan.column(n) for n in ("forms", "category", "party"))
    out[:, REPORTER] = node * 256 + plan.column("source")
    out[:, COUNTS:] = plan.numbers[:, AT["women"] : AT["women"] + 5]
    return out


def _covered(patterns: list) -> np.ndarray:
    number = {area: k for k, area in enumerate(texts().areas)}
    out = np.zeros((len(patterns), len(number)), np.bool_)
    for row, pattern in enumerate(patterns):
        out[row, [number[area] for code in pattern.areas for area in areas_of(code)]] = True
    return out


def _count(facts: np.ndarray, ids: np.ndarray, patterns: list, covered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return links and pairs int64[m] of each incident."""
    party = {item.decode(): k for k, item in enumerate(texts().items)}
    rows = [
        (p.start - SLACK, p.end + SLACK, sum(1 << f for f in p.forms), p.category, party[p.party] if p.party else -1)
        for p in patterns
    ]
    observed = np.array(rows, np.int64).reshape(-1, 5)
    links, pairs = np.zeros(len(facts), np.int64), np.zeros(len(facts), np.int64)
    order = np.lexsort([facts[:, LOW], facts[:, AREA]])
    begins = np.searchsorted(facts[order, AREA], np.arange(len(texts().areas) + 1))
    halves = np.ascontiguousarray(ids).view(">u8").astype(np.uint64)
    for area in range(len(texts().areas)):
        mine = order[begins[area] : begins[area + 1]]
        _link(facts, mine, observed[covered[:, area]], links)
        _pair(facts, mine, halves, pairs)
    return links, pairs


@numba.njit(cache=True)
def _link(facts, mine, observed, links):
    for i in mine:
        for p in range(len(observed)):
            if facts[i, HIGH] < observed[p, 0] or facts[i, LOW] > observed[p, 1]:
                continue
            if facts[i, FORM_SET] & observed[p, 2] == 0:
                continue
            if facts[i, PARTY] >= 0 and observed[p, 4] >= 0:
                fits = facts[i, PARTY] == observed[p, 4]
            else:
                fits = facts[i, CATEGORY] == observed[p, 3] and observed[p, 3] != 0
            links[i] += fits


@numba.njit(cache=True)
def _pair(facts, mine, halves, pairs):
    """Flag each pair of incidents of one area, sorted by their first day, on the one that was made first."""
    for a in range(len(mine)):
        i = mine[a]
        if facts[i, HIGH] - facts[i, LOW] >= LONGEST:
            continue
        for b in range(a + 1, len(mine)):
            j = mine[b]
            if facts[j, LOW] > facts[i, HIGH] + NEAR:
                break
            if facts[j, HIGH] - facts[j, LOW] >= LONGEST or _alike(facts[i], facts[j]) < THRESHOLD:
                continue
            older = halves[i, 0] < halves[j, 0] or (halves[i, 0] == halves[j, 0] and halves[i, 1] < halves[j, 1])
            pairs[i if older else j] += 1


@numba.njit(cache=True)
def _alike(one, other):
    """Return the points of two incidents of one area that are near in time; 0 where they cannot be one."""
    if one[REPORTER] == other[REPORTER] or one[FORM_SET] & other[FORM_SET] == 0:
        return 0
    named = one[PARTY] >= 0 and other[PARTY] >= 0
    if named and one[PARTY] != other[PARTY]:
        return 0
    if not named and one[CATEGORY] != other[CATEGORY] and one[CATEGORY] > 0 and other[CATEGORY] > 0:
        return 0
    total, other_total, same = 0, 0, True
    for k in range(COUNTS, COUNTS + 5):
        total, other_total = total + one[k], other_total + other[k]
        same = same and one[k] == other[k]
    if not same and abs(total - other_total) > max(1, max(total, other_total) // 5):
        return 0
    points = 20 if same else 10
    points += 30 if one[LOW] == one[HIGH] == other[LOW] == other[HIGH] else 15
    points += 20 if one[FORM_SET] == other[FORM_SET] else 0
    points += 15 if named else 0
    points += 10 if one[REPORTER] >> 8 != other[REPORTER] >> 8 else 0
    return points + (5 if one[REPORTER] & 255 != other[REPORTER] & 255 else 0)


def _refused(plan: NodePlan, node: int) -> np.ndarray:
    """Return node, offset and reason of each record that must be refused, at its first coming."""
    bad = ~plan.good
    _, first = np.unique(plan.order, return_index=True)  # an event comes first before it is repeated
    rows = np.flatnonzero(bad)
    offsets = first[rows] + len(plan.patterns)
    return np.stack([np.full(len(rows), node), offsets, plan.broken[rows]], axis=1).astype(np.int64)


def _figures(plans: list[NodePlan], truth: Truth) -> dict:
    codes, within = in_regions()
    inside = [np.isin(truth.areas, np.flatnonzero(row)) for row in within]
    reasons = {BREAKS[k] or "undecodable": int((truth.refused[:, 2] == k).sum()) for k in range(len(BREAKS))}
    events = sum(len(plan.ids) for plan in plans)
    return {
        "events": events,
        "records": sum(len(plan.order) + len(plan.patterns) for plan in plans),
        "patterns": len(truth.pattern_ids),
        "incidents": len(truth.ids),
        "accepted": len(truth.ids) + int(truth.pattern_areas.sum()),
        "repeated": sum(len(plan.order) for plan in plans) - events,
        "quarantined": len(truth.refused),
        "reasons": reasons,
        "shared": {code: int(rows.sum()) for code, rows in zip(codes, inside, strict=True)},
        "patterns_shared": {
            code: int((truth.pattern_areas & row).any(axis=1).sum()) for code, row in zip(codes, within, strict=True)
        },
        "links": {code: int(truth.links[rows].sum()) for code, rows in zip(codes, inside, strict=True)},
        "duplicates": {code: int(truth.pairs[rows].sum()) for code, rows in zip(codes, inside, strict=True)},
    }
