"""What a corpus says, planned before a byte of it is written: the truth is read off the plan, not off any decoder.

Each node has a plan of its own, drawn from (seed, node). Incidents lie in the areas that are monitored, over eighty years,
so that a region's links stay about one for every second incident however long the corpus is. Rules are broken one at a
time, and the code that must be given for it stands in BREAKS.
"""

from dataclasses import dataclass
from datetime import date
from functools import cache

import numpy as np

from schemas.places import areas_of, country_of, monitored_countries, region_codes_of, regions
from tests.synthetic import EPOCH, Pattern

NODES = ("alpha", "bravo", "delta", "tango")
PATTERNS = 20_000
REPEATED, BROKEN, UNDECODABLE = 0.05, 0.02, 0.001
LATER = 50_000  # records of its own topic by which an event comes again at the latest: 200,000 of all four
FIRST, LAST = date(1950, 1, 1).toordinal() - EPOCH, date(2025, 12, 1).toordinal() - EPOCH
RECORDED = 1_767_225_600_000  # 1 January 2026, UTC milliseconds
FORMS = 10  # index 0 is `unspecified` and never drawn
DAY, MONTH, YEAR = 0, 2, 4  # indexes in DatePrecision
ARMED_GROUP = 6
# The category of a party without a name, by index in PartyCategory; most are armed groups.
CATEGORIES = np.array([0.05, 0.2, 0.05, 0.05, 0.02, 0.01, 0.6, 0.02])
# Numbers of an incident in the order of the contract, after its date; texts go by index, -1 is null.
FIELDS = (
    *("day", "precision", "country", "admin1", "forms", "women", "girls", "men", "boys", "unknown", "deaths"),
    *("category", "party", "setting", "tactic", "nexus", "verification", "primary", "secondary", "eyewitness"),
    *("source", "reliability", "credibility", "basis", "scope"),
)
AT = {name: k for k, name in enumerate(FIELDS)}
# What is broken and the reason that must be given for it; 0 is nothing.
BREAKS = (
    "",
    "incident.after_recording",
    "incident.persons_none",
    "incident.persons_out_of_range",
    "incident.admin1_of_other_country",
    "incident.country_not_monitored",
    "incident.verified_without_primary_source",
    "incident.forms_missing",
    "incident.credibility_out_of_range",
)
WHOLE, EMPTY, FOREIGN, TORN = range(4)  # what an undecodable record is


@dataclass(frozen=True, eq=False)
class Texts:
    """Every area of the truth, and the texts that bodies name: countries, areas, parties, in one list."""

    areas: tuple[str, ...]
    items: tuple[bytes, ...]
    country: np.ndarray  # by area: the text of its country
    admin1: np.ndarray  # by area: its text, -1 where it is a whole country
    parties: np.ndarray  # texts of the parties
    nowhere: int  # a country that nobody monitors


@cache
def texts() -> Texts:
    """Return the texts; an area's number is its place in `areas`."""
    areas = tuple(area for code in sorted(monitored_countries()) for area in areas_of(code))
    items = [area.encode() for area in areas]
    parties = np.arange(40) + len(items)
    items += [f"Synthetic Front {k}".encode() for k in range(40)] + [b"ZZZ"]
    number = {area: k for k, area in enumerate(areas)}
    country = np.array([number[country_of(area) or area] for area in areas], np.int32)
    admin1 = np.array([-1 if country_of(area) == area else k for k, area in enumerate(areas)], np.int32)
    return Texts(areas, tuple(items), country, admin1, parties, len(items) - 1)


@cache
def in_regions() -> tuple[tuple[str, ...], np.ndarray]:
    """Return the regions' codes and bool[regions, areas]: which area belongs to which."""
    codes = tuple(region.code for region in regions())
    held = [[code in region_codes_of(area) for area in texts().areas] for code in codes]
    return codes, np.array(held, np.bool_)


@dataclass(eq=False)
class NodePlan:
    """n events of one node in their order.

    `ids`, `cases` uint8[n, 16], `keys` uint8[n, 32]; `sequence`, `recorded` int64[n]; `numbers` int32[n, FIELDS];
    `area` int32[n]; `broken` int8[n] into BREAKS; `junk` int8[n]; `order` int64[r]: the events as they are sent, with
    repeats; `patterns` come before all, with the numbers from 1 on.
    """

    node: str
    ids: np.ndarray
    cases: np.ndarray
    keys: np.ndarray
    sequence: np.ndarray
    recorded: np.ndarray
    numbers: np.ndarray
    area: np.ndarray
    broken: np.ndarray
    junk: np.ndarray
    order: np.ndarray
    patterns: list[Pattern]
    pattern_ids: np.ndarray

    def column(self, name: str) -> np.ndarray:
        return self.numbers[:, AT[name]]

    @property
    def good(self) -> np.ndarray:
        """bool[n]: what must be accepted."""
        return (self.broken == 0) & (self.junk == WHOLE)


def make(seed: int, node: int, n: int, patterns: int) -> NodePlan:
    """Draw the plan of node number `node` with n events."""
    rng = np.random.default_rng([seed, node])
    area = rng.integers(0, len(texts().areas), n).astype(np.int32)
    numbers = _facts(rng, n, area)
    draw = rng.random(n)
    junk = np.where(draw < UNDECODABLE, rng.integers(EMPTY, TORN + 1, n), WHOLE).astype(np.int8)
    hurt = (draw >= UNDECODABLE) & (draw < UNDECODABLE + BROKEN)
    broken = np.where(hurt, rng.integers(1, len(BREAKS), n), 0).astype(np.int8)
    _break(numbers, broken, area)
    recorded = RECORDED + np.arange(n, dtype=np.int64) * len(NODES) + node
    own = [_pattern(rng) for _ in range(patterns)]
    return NodePlan(
        NODES[node],
        _ids(rng, recorded),
        rng.integers(0, 256, (n, 16), np.uint8),
        rng.integers(0, 256, (n, 32), np.uint8),
        patterns + np.cumsum(junk == WHOLE),
        recorded,
        numbers,
        area,
        broken,
        junk,
        _order(rng, junk),
        own,
        _ids(rng, np.full(patterns, RECORDED - 1)),
    )


def _facts(rng: np.random.Generator, n: int, area: np.ndarray) -> np.ndarray:
    out = np.zeros((n, len(FIELDS)), np.int32)
    kind = rng.random(n)
    precision = np.where(kind < 0.85, DAY, np.where(kind < 0.95, MONTH, YEAR))
    unit = {MONTH: "M", YEAR: "Y"}
    days = rng.integers(FIRST, LAST, n).astype("datetime64[D]")
    for known, code in unit.items():
        days = np.where(precision == known, days.astype(f"datetime64[{code}]").astype("datetime64[D]"), days)
    named = rng.random(n) < 0.5
    values = {
        "day": days.astype(np.int64),
        "precision": precision,
        "country": texts().country[area],
        "admin1": texts().admin1[area],
        "forms": 1 << rng.integers(1, FORMS, n),
        "category": np.where(named, ARMED_GROUP, rng.choice(8, n, p=CATEGORIES)),
        "party": np.where(named, rng.choice(texts().parties, n), -1),
        "setting": rng.integers(0, 10, n),
        "verification": rng.integers(0, 2, n),
        "primary": rng.integers(1, 5, n),
        "secondary": rng.integers(0, 3, n),
        "source": rng.choice([1, 3, 4, 6], n),
        "reliability": rng.integers(0, 6, n),
        "credibility": rng.integers(1, 7, n),
        "basis": 1,
    }
    second = rng.random(n) < 0.25
    values["forms"] |= np.where(second, 1 << rng.integers(1, FORMS, n), 0)
    for name, value in values.items():
        out[:, AT[name]] = value
    out[np.arange(n), AT["women"] + rng.integers(0, 5, n)] = rng.integers(1, 6, n)
    return out


def _break(numbers: np.ndarray, broken: np.ndarray, area: np.ndarray) -> None:
    """Break the one rule of each row that is to be broken."""
    rows = {reason: np.flatnonzero(broken == k) for k, reason in enumerate(BREAKS) if k}
    numbers[rows["incident.after_recording"], AT["day"]] = LAST + 400
    numbers[rows["incident.after_recording"], AT["precision"]] = DAY
    numbers[rows["incident.persons_none"], AT["women"] : AT["unknown"] + 1] = 0
    numbers[rows["incident.persons_out_of_range"], AT["women"]] = 5001
    abroad = rows["incident.admin1_of_other_country"]
    inside = np.flatnonzero(texts().admin1 >= 0)
    other = inside[0], inside[-1]  # of two countries: one of them is another than the row's
    same = texts().country[area[abroad]] == texts().country[other[0]]
    numbers[abroad, AT["admin1"]] = np.where(same, other[1], other[0])
    numbers[rows["incident.country_not_monitored"], AT["country"]] = texts().nowhere
    numbers[rows["incident.country_not_monitored"], AT["admin1"]] = -1
    numbers[rows["incident.verified_without_primary_source"], AT["verification"]] = 1
    numbers[rows["incident.verified_without_primary_source"], AT["primary"]] = 0
    numbers[rows["incident.forms_missing"], AT["forms"]] = 0
    numbers[rows["incident.credibility_out_of_range"], AT["credibility"]] = 9


def _order(rng: np.random.Generator, junk: np.ndarray) -> np.ndarray:
    """Return the events as they are sent: each, and 5 % of the decodable ones once more, later."""
    n = len(junk)
    again = np.flatnonzero((rng.random(n) < REPEATED) & (junk == WHOLE))
    when = np.concatenate([np.arange(n), again + rng.integers(1, LATER, len(again)) + 0.5])
    return np.concatenate([np.arange(n), again])[np.argsort(when, kind="stable")]


def _ids(rng: np.random.Generator, milliseconds: np.ndarray) -> np.ndarray:
    """Return UUIDv7 uint8[n, 16]."""
    n = len(milliseconds)
    out = rng.integers(0, 256, (n, 16), np.uint8)
    out[:, :6] = milliseconds.astype(">u8").view(np.uint8).reshape(n, 8)[:, 2:]
    out[:, 6] = out[:, 6] & 0x0F | 0x70
    out[:, 8] = out[:, 8] & 0x3F | 0x80
    return out


def _pattern(rng: np.random.Generator) -> Pattern:
    start = int(rng.integers(FIRST, LAST - 1000))
    named = rng.random() < 0.5
    category = ARMED_GROUP if named else int(rng.choice(8, p=CATEGORIES))
    party = texts().items[int(rng.choice(texts().parties))].decode() if named else None
    if rng.random() < 0.1:
        areas = [sorted(monitored_countries())[int(rng.integers(0, len(monitored_countries())))]]
    else:
        count = int(rng.choice([1, 1, 2, 3]))
        areas = [texts().areas[k] for k in rng.choice(len(texts().areas), count, replace=False)]
    forms = [int(form) for form in rng.choice(np.arange(1, FORMS), 3, replace=False)]
    return Pattern(start, start + int(rng.integers(90, 900)), areas, forms, category, party)
