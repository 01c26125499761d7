"""SVAC, Sexual Violence in Armed Conflict (Cohen and Nordås): one row for a conflict, an actor and a year.

A row is a pattern: prevalence 0 to 3 as three sources report it (State Department, Amnesty, Human Rights Watch).
NA means that no report was found: that is not zero. Where every source that was read says 0, nothing was observed.
"""

import re
from collections.abc import Mapping
from datetime import date
from typing import Any, Literal

from pipeline.node.importers.base import RowRefused
from schemas import codes
from schemas.gazetteer import resolve_country
from schemas.places import monitored_countries

SOURCES = ("state_prev", "ai_prev", "hrw_prev")


class Svac:
    """PatternObserved from a conflict-actor-year."""

    name: str = "svac"
    kind: str = "PatternObserved"
    record: Literal["incident", "pattern"] = "pattern"
    columns: tuple[str, ...] = (
        *("year", "conflictid_old", "conflictid_new", "actor", "actorid", "actorid_new", "actor_type", "type"),
        *("incomp", "region", "location", "gwnoloc", "gwnoloc2", "gwnoloc3", "gwnoloc4"),
        *("conflictyear", "interm", "postc", *SOURCES, "form"),
    )

    def facts(self, cells: Mapping[str, str]) -> dict[str, Any]:
        """Return the pattern of one row: the year, the monitored countries of its location, forms and prevalence."""
        areas = _areas(cells["location"])
        reported = [_prevalence(cells[source]) for source in SOURCES]
        levels = [level for level in reported if level is not None]
        if not levels:
            raise RowRefused("svac.not_read")
        if max(levels) == 0:
            raise RowRefused("svac.no_prevalence")
        year = _year(cells["year"])
        return {
            "period_start": date(year, 1, 1),
            "period_end": date(year, 12, 31),
            "areas": areas,
            "forms": list(codes.forms_of("svac", cells["form"])),
            "party_category": codes.perpetrator("svac", cells["actor_type"], cells["actor"]),
            "party": codes.party(cells["actor"])[0],
            "scale": "not_assessed",
            "prevalence": max(levels),
            "reporting_sources": sum(level > 0 for level in levels),
            "silent_sources": levels.count(0),
            "tactic": "not_assessed",
            "nexus": [],
            "verification": "report_pending_verification",
            "source_kind": "academic_dataset",
        }


def _areas(location: str) -> list[str]:
    """Return the monitored countries of a location; it may name several, with commas."""
    countries = dict.fromkeys(resolve_country(name) for name in location.split(",") if name.strip())
    found = [country for country in countries if country in monitored_countries()]
    if not found:
        raise RowRefused("place.not_monitored" if countries else "place.unknown_country")
    return found


def _prevalence(cell: str) -> int | None:
    if cell.upper() in {"NA", ""}:
        return None
    if cell not in {"0", "1", "2", "3"}:
        raise RowRefused("svac.prevalence")
    return int(cell)


def _year(cell: str) -> int:
    if not re.fullmatch(r"[12][0-9]{3}", cell):
        raise RowRefused("date.year")
    return int(cell)
