"""Insecurity Insight's incidents of sexual violence, as HDX publishes them: one row an incident, from public reports.

Neither the description nor the coordinates are ever read. Only rows whose context is conflict-related are taken. One
number stands for all persons of a row: where they differ in sex or age, or that is not stated or only probable, they
are counted as `unknown`, never guessed.
"""

import re
from collections.abc import Mapping
from datetime import date
from typing import Any, Literal

from pipeline.node.importers.base import RowRefused
from schemas import codes
from schemas.gazetteer import fold, resolve_admin1, resolve_country
from schemas.places import monitored_countries
from schemas.tables import read

SCHEME = "insecurity_insight"
PERSONS = ("women", "girls", "men", "boys", "unknown")
WHO = {("female", "adult"): "women", ("female", "minor"): "girls", ("male", "adult"): "men", ("male", "minor"): "boys"}


class InsecurityInsight:
    """IncidentReported from a public report: unverified, reliability and credibility not judged."""

    name: str = "insecurity-insight"
    kind: str = "IncidentReported"
    record: Literal["incident", "pattern"] = "incident"
    columns: tuple[str, ...] = (
        *("sind event id", "date", "country iso", "admin 1", "location where sexual violence was committed"),
        *(
            "reported perpetrator",
            "reported perpetrator name",
            "survivor or victim sex",
            "adult or minor",
            "type of sv",
        ),
        *("sv context", "number of reported victims", "reported deaths following the sexual violence"),
    )

    def facts(self, cells: Mapping[str, str]) -> dict[str, Any]:
        """Return the incident of one row. Reasons come in this order: country, context, place, form, numbers, the rest."""
        country = _country(cells["country iso"])
        _conflict_related(cells["sv context"])
        admin1 = resolve_admin1(country, cells["admin 1"])
        forms = codes.forms_of(SCHEME, cells["type of sv"])
        persons = _persons(cells)
        deaths = cells["reported deaths following the sexual violence"]
        kind, name = cells["reported perpetrator"], cells["reported perpetrator name"]
        return {
            "occurred_on": _day(cells["date"]),
            "date_precision": "day",
            "country": country,
            "admin1": admin1,
            "forms": list(forms),
            **persons,
            "deaths": _number(deaths, "deaths.number") if deaths else 0,
            "party_category": codes.perpetrator(SCHEME, kind, name),
            "party": codes.party(name)[0],
            "setting": codes.setting(SCHEME, cells["location where sexual violence was committed"]),
            **_AS_PUBLISHED,
        }


_AS_PUBLISHED: dict[str, Any] = {
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
}


def _country(cell: str) -> str:
    country = resolve_country(cell)
    if country not in monitored_countries():
        raise RowRefused("place.not_monitored")
    return country


def _conflict_related(context: str) -> None:
    """Refuse a context that is another category, each with its own reason (schemas/codes/contexts.csv)."""
    reasons = {fold(row["name"]): row["reason"] for row in read("contexts") if row["scheme"] == SCHEME}
    reason = reasons.get(fold(context), "context.unknown")
    if reason:
        raise RowRefused(reason)


def _persons(cells: Mapping[str, str]) -> dict[str, int]:
    """Return the five counts; the one number of the row stands under what all its persons share."""
    cell = cells["number of reported victims"]
    if not cell:
        raise RowRefused("persons.missing")
    sexes, ages = (_words(cells[name]) for name in ("survivor or victim sex", "adult or minor"))
    alike = len(sexes) == len(ages) == 1
    who = WHO.get((min(sexes), min(ages)), "unknown") if alike else "unknown"
    return dict.fromkeys(PERSONS, 0) | {who: _number(cell, "persons.number")}


def _words(cell: str) -> set[str]:
    return {word.strip().lower() for word in cell.split(",") if word.strip()}


def _number(cell: str, reason: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}(\.0)?", cell):
        raise RowRefused(reason)
    return int(cell.removesuffix(".0"))


def _day(cell: str) -> date:
    try:
        return date.fromisoformat(cell) if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", cell) else _refuse_day()
    except ValueError:
        return _refuse_day()


def _refuse_day() -> date:
    raise RowRefused("date.day")
