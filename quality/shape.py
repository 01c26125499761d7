"""What a table must be beside the rules: its columns are there, nothing required is null, ids come once, ids exist.

A table's kind is the last part of its path. What Great Expectations cannot ask of one table alone (does the incident
of a link exist?) is a boolean column that must be true throughout.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import polars as pl

from quality.rule import Applies
from quality.rules import fields
from quality.suite import Expected, expected, prepared
from schemas.released import latest

if TYPE_CHECKING:
    import pandas as pd

CONTRACTS: Mapping[str, tuple[str, ...]] = {
    "versions": ("IncidentShared", "RevisionShared", "VersionClosed"),
    "incidents": ("IncidentShared", "RevisionShared"),
    "referrals": ("ReferralShared",),
    "assessments": ("AssessmentShared",),
    "patterns": ("PatternShared",),
    "links": ("PatternLinked",),
    "duplicates": ("ProbableDuplicate",),
    "quarantine": ("Quarantined",),
}
RULED: Mapping[str, Applies] = {"versions": "incident", "incidents": "incident", "patterns": "pattern"}
KEYS: Mapping[str, tuple[str, ...]] = {
    "versions": ("incident_id", "version_id"),
    "incidents": ("incident_id", "version_id"),
    "referrals": ("referral_id", "version_id"),
    "assessments": ("assessment_id",),
    "patterns": ("pattern_id",),
    "links": ("incident_id", "pattern_id", "version_id"),
    "duplicates": ("first_id", "second_id", "first_version", "second_version"),
    "quarantine": ("topic", "partition", "offset"),
}
Others = Mapping[str, pl.DataFrame]


def absent(kind: str, frame: pl.DataFrame) -> list[str]:
    """Return the columns of the contract that a table lacks."""
    return sorted({name for name, _ in columns(kind)} - set(frame.columns))


@cache
def columns(kind: str) -> tuple[tuple[str, bool], ...]:
    """Return the columns of a kind of table, nested records flattened: name and whether it may be null.

    What only a later one of its contracts has may be null; `current` says which table a row is in.
    """
    found: dict[str, bool] = {}
    for contract in CONTRACTS[kind]:
        fields = dict(_flat(latest(contract).schema))
        found |= {name: nullable or bool(found) for name, nullable in fields.items() if name not in {*found, "current"}}
    return tuple((found | ({"conflict": False} if kind == "versions" else {})).items())


def expectations(kind: str) -> tuple[Expected, ...]:
    """Return all that is expected of a kind of table."""
    lists = {name for name, _ in columns(kind) if name in _LISTS}
    required = sorted(name for name, nullable in columns(kind) if not nullable and name not in lists)
    asked = [_ask("ExpectTableRowCountToBeBetween", "table.empty", min_value=1)]
    asked += [_ask("ExpectColumnValuesToNotBeNull", f"table.{name}_missing", column=name) for name in required]
    asked += (
        [_ask("ExpectCompoundColumnsToBeUnique", "table.key_repeated", column_list=KEYS[kind])]
        if len(KEYS[kind]) > 1
        else [_ask("ExpectColumnValuesToBeUnique", "table.key_repeated", column=KEYS[kind][0])]
    )
    asked += [_ask("ExpectColumnValuesToBeInSet", name, column=name, value_set=(True,)) for name in _derived(kind)]
    ruled = expected(RULED[kind]) if kind in RULED else ()
    return (*asked, *ruled)


def looked_at(kind: str, frame: pl.DataFrame, others: Others) -> "pd.DataFrame":
    """Return what the expectations look at; `others` are the tables of the same region by their kind."""
    own = frame.select(name for name, _ in columns(kind) if name not in _LISTS)
    derived = frame.select(make(others).alias(name) for name, make in _derived(kind).items())
    whole = pl.concat([own, derived], how="horizontal").to_pandas()
    if kind not in RULED:
        return whole
    ruled = prepared(RULED[kind], frame.select(fields(RULED[kind])))
    return whole.join(ruled[[name for name in ruled.columns if name not in whole.columns]])


def _ask(kind: str, code: str, **arguments: Any) -> Expected:
    return Expected(kind, tuple(arguments.items()), rules=(code,))


_LISTS = frozenset({"forms", "nexus", "areas", "reasons"})
_Make = Callable[[Others], pl.Expr]


def _known(column: str, *kinds: str) -> _Make:
    """Return whether the ids of a column stand in another table of the region.

    An incident may have moved to `versions` after the table that names it was read.
    """

    def make(others: Others) -> pl.Expr:
        there = [others[kind][KEYS[kind][0]].cast(pl.String) for kind in kinds if kind in others]
        ids = pl.concat([pl.Series("id", [], dtype=pl.String), *(each.alias("id") for each in there)])
        return pl.col(column).is_in(ids.implode()).fill_null(value=False)

    return make


def _holds(expr: pl.Expr) -> _Make:
    return lambda _others: expr.fill_null(value=False)


def _derived(kind: str) -> Mapping[str, _Make]:
    """Return the boolean columns of a kind of table by the code of what breaks them."""
    reasons = _holds(pl.col("reasons").list.len() > 0)
    return {
        "links": {
            "links.incident_unknown": _known("incident_id", "incidents", "versions"),
            "links.pattern_unknown": _known("pattern_id", "patterns"),
            "links.days_negative": _holds(pl.col("days_outside") >= 0),
        },
        "referrals": {
            "referrals.passed_on_without_consent": _holds(pl.col("consented") | (pl.col("outcome") == "declined")),
        },
        "assessments": {
            "assessments.grounds_do_not_fit": _holds(
                (pl.col("verdict") == "disputed") == (pl.col("grounds") != "unspecified")
            ),
            "assessments.source_does_not_fit": _holds(
                (pl.col("verdict") == "taken_back") == (pl.col("source") == "unspecified")
            ),
            "assessments.number_below_one": _holds(pl.col("number") >= 1),
            "assessments.credibility_out_of_range": _holds(pl.col("credibility").is_between(1, 6)),
        },
        "duplicates": {
            "duplicates.first_unknown": _known("first_id", "incidents", "versions"),
            "duplicates.second_unknown": _known("second_id", "incidents", "versions"),
            "duplicates.of_itself": _holds(pl.col("first_id") != pl.col("second_id")),
            "duplicates.score_out_of_range": _holds(pl.col("score").is_between(0, 100)),
            "duplicates.reasons_missing": reasons,
        },
        "quarantine": {"quarantine.reasons_missing": reasons},
    }.get(kind, {})


def _flat(record: dict[str, Any]) -> list[tuple[str, bool]]:
    """Return the fields of a record, those of nested records in their place."""
    found = []
    for field in record["fields"]:
        schema = field["type"]
        if isinstance(schema, dict) and schema["type"] == "record":
            found += _flat(schema)
        else:
            found.append((field["name"], isinstance(schema, list) and "null" in schema))
    return found


__all__ = ["CONTRACTS", "KEYS", "RULED", "Others", "absent", "columns", "expectations", "looked_at"]
