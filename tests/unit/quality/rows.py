"""Random rows for the rules: good ones, and ones with nulls, extremes and bad codes."""

from datetime import date, timedelta
from functools import partial
from random import Random

import numpy as np
import polars as pl

from quality import lists
from quality.verdict import verdicts

RECORDED = date(2024, 6, 15)
GOOD = {
    "incident": {
        "occurred_on": date(2024, 3, 5),
        "date_precision": "day",
        "country": "COD",
        "admin1": "CD61",
        "forms": ["rape"],
        "women": 1,
        "girls": 0,
        "men": 0,
        "boys": 0,
        "unknown": 0,
        "deaths": 0,
        "party_category": "armed_group",
        "party": "Party One",
        "setting": "home",
        "tactic": "not_assessed",
        "nexus": [],
        "verification": "report_pending_verification",
        "primary_sources": 0,
        "secondary_sources": 1,
        "un_eyewitness": False,
        "source_kind": "public_report",
        "source_reliability": "F",
        "information_credibility": 6,
        "sharing_basis": "public_information",
        "sharing_scope": "public",
        "recorded_on": RECORDED,
    },
    "pattern": {
        "period_start": date(2023, 1, 1),
        "period_end": date(2023, 12, 31),
        "areas": ["CD61", "CAF"],
        "forms": ["rape", "forced_marriage"],
        "party_category": "armed_group",
        "party": "Party One",
        "scale": "not_assessed",
        "prevalence": 1,
        "reporting_sources": 1,
        "silent_sources": 0,
        "tactic": "not_assessed",
        "nexus": ["displacement"],
        "verification": "report_pending_verification",
        "source_kind": "academic_dataset",
        "recorded_on": RECORDED,
    },
}
ENUMS = {
    "date_precision": "DatePrecision",
    "party_category": "PartyCategory",
    "setting": "Setting",
    "tactic": "Tactic",
    "verification": "Verification",
    "source_kind": "SourceKind",
    "source_reliability": "SourceReliability",
    "sharing_basis": "SharingBasis",
    "sharing_scope": "SharingScope",
    "scale": "PatternScale",
}
LISTS = {"forms": "Form", "nexus": "Nexus", "areas": "areas"}
NUMBERS = (-(2**31), -1, 0, 0, 1, 1, 2, 3, 4, 6, 7, 500, 501, 5000, 5001, 2**31 - 1)
PARTIES = ("", " ", "Party One", "x" * 200, "é" * 201, "حزب", "0791234567", "call 079 123 45 67", "a@b.example", "M23")
DAYS = (
    *(date(1, 1, 1), date(1945, 12, 31), date(1946, 1, 1), date(9999, 12, 31), date(2024, 2, 29)),
    *(RECORDED + timedelta(days=days) for days in range(-3, 4)),
    *(date(2023, month, day) for month in (1, 2, 4, 7, 10, 12) for day in (1, 2, 9, 30 if month != 2 else 28)),
    *(date(2024, 1, 1) + timedelta(days=7 * weeks) for weeks in range(10)),
)


def choices(name):
    """Return what a field may hold, good and bad."""
    if name in ENUMS:
        return (*sorted(lists.codes(ENUMS[name])), "no_such_code")
    if name in ("country", "admin1"):
        return ("COD", "CAF", "FRA", "cod", "", "CD61", "CD62", "NE02", "XX99")
    if name == "party":
        return PARTIES
    if name in ("occurred_on", "recorded_on", "period_start", "period_end"):
        return DAYS
    return (True, False) if name == "un_eyewitness" else NUMBERS


def some_list(rng, name):
    """Return a list of codes: empty, repeated, bad, or good."""
    codes = (*sorted(lists.codes(LISTS[name]))[:12], "no_such_code")
    return rng.choices(codes, k=rng.randrange(4))


def random_rows(applies, n, seed):
    """Return n rows: each a good one in which about a third of the fields are replaced, now and then by null."""
    rng = Random(seed)
    makers = {name: partial(some_list, rng, name) for name in GOOD[applies] if name in LISTS}
    makers |= {name: partial(rng.choice, choices(name)) for name in GOOD[applies] if name not in LISTS}
    rows = []
    for _ in range(n):
        row = dict(GOOD[applies])
        share = rng.choice((0.03, 0.1, 0.3))
        for name, make in makers.items():
            if rng.random() < share:
                row[name] = None if rng.random() < 0.1 else make()
        rows.append(row)
    return rows


def dtype(name):
    """Return the type of a column as the columnar decoder gives it."""
    if name in LISTS:
        return pl.List(pl.String)
    if name.endswith("_on") or name.startswith("period_"):
        return pl.Date
    if name == "un_eyewitness":
        return pl.Boolean
    return pl.String if name in ENUMS or name in ("country", "admin1", "party") else pl.Int64


def frame(applies, rows):
    """Return rows as a frame."""
    return pl.DataFrame(rows, schema={name: dtype(name) for name in GOOD[applies]}, orient="row")


FIRST = dict.fromkeys(("version_id", "change", "step", "verified_on", "late_verification"))


def tables(incidents=20, patterns=5):
    """Return the tables of a region and quarantine, all as they should be; `hub/sahel/<kind>` and `quarantine`."""
    ids = [f"{i:032x}" for i in range(incidents)]
    marks = [f"{i:032x}" for i in range(1000, 1000 + patterns)]
    shared = {"node": "MONUSCO", "area": "CD61"}
    rows = [GOOD["incident"] | shared | {"incident_id": each} | FIRST for each in ids]
    olds = [row | {"ended_on": RECORDED, "ending": "amended", "conflict": False} for row in rows[:2]]
    seen = [GOOD["pattern"] | {"node": "MONUSCO", "pattern_id": each} for each in marks]
    link = {"area": "CD61", "party_match": "same_party", "days_outside": 0, "version_id": None}
    pair = {"area": "CD61", "score": 70, "reasons": ["same_day", "same_forms"]}
    pair |= {"first_version": None, "second_version": None}
    bad = {"node": "MONUSCO", "topic": "raw.MONUSCO", "partition": 0, "event_id": None, "sequence": None, "kind": None}
    referral = {**shared, "service": "medical", "referred_in": RECORDED, "outcome": "pending", "followed_up_in": None}
    said = {"node": "UNMISS", "number": 1, "verdict": "disputed", "source": "primary", "reliability": "B"}
    said |= {"credibility": 2, "grounds": "place", "assessed_in": RECORDED}
    more = dict.fromkeys(("incident_id", "pattern_id", "node", "area", "ending", *FIRST), pl.String)
    more |= {"verified_on": pl.Date, "late_verification": pl.Boolean, "conflict": pl.Boolean}
    return {
        "hub/sahel/versions": pl.DataFrame(olds, schema={name: more.get(name) or dtype(name) for name in olds[0]}),
        "hub/sahel/incidents": pl.DataFrame(rows, schema={name: more.get(name) or dtype(name) for name in rows[0]}),
        "hub/sahel/referrals": pl.DataFrame(
            [
                referral | {"referral_id": each, "version_id": each, "incident_id": each, "consented": True}
                for each in ids[:6]
            ],
            schema_overrides={"followed_up_in": pl.Date},
        ),
        "hub/sahel/assessments": pl.DataFrame(
            [said | {"incident_id": each, "assessment_id": f"{2000 + i:032x}"} for i, each in enumerate(ids[:6])]
        ),
        "hub/sahel/patterns": pl.DataFrame(seen, schema={name: more.get(name) or dtype(name) for name in seen[0]}),
        "hub/sahel/links": pl.DataFrame(
            [link | {"incident_id": ids[i], "pattern_id": marks[0]} for i in range(6)],
            schema_overrides={"version_id": pl.String},
        ),
        "hub/sahel/duplicates": pl.DataFrame(
            [pair | {"first_id": ids[0], "second_id": ids[i]} for i in range(1, 8)],
            schema_overrides={"first_version": pl.String, "second_version": pl.String},
        ),
        "quarantine": pl.DataFrame(
            [bad | {"offset": i, "reasons": ["avro.varint_too_long"], "suite": "rules-0"} for i in range(6)],
            schema_overrides={"event_id": pl.String, "sequence": pl.Int64, "kind": pl.String},
        ),
    }


def refused(applies, frame):
    """Return the rows that break a `refuse` rule as Polars judges, int64[k] ascending, and the codes of each."""
    broken = verdicts(applies, frame, "refuse")
    rows = broken.select(pl.any_horizontal(pl.all()).arg_true()).to_series().to_numpy().astype(np.int64)
    return rows, reasons(broken[rows])


def reasons(broken):
    """Return for each row of `verdicts` the codes of the rules that it breaks."""
    codes = np.array(broken.columns, dtype=object)
    return [codes[row].tolist() for row in broken.to_numpy()]
