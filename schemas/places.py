"""Where: monitored countries, their first-level areas, the regions and missions that cover them.

An area is an OCHA P-code of level 1 ("CD61") or an ISO 3166-1 alpha-3 code ("COD"), which stands for "somewhere in
this country". Everything is data in schemas/codes; sources and licences are in SOURCES.md there. Names are resolved
by schemas/gazetteer.py, whose two names that importers need are offered here too.
"""

from dataclasses import dataclass
from datetime import date
from functools import cache

from schemas.gazetteer import UnknownPlace, resolve_admin1
from schemas.tables import read

EVERYTHING_ELSE = "*"


@dataclass(frozen=True)
class Region:
    """A regional hub: a code, its names, and every area (countries and P-codes) that belongs to it."""

    code: str
    name_en: str
    name_fr: str
    name_ar: str
    areas: tuple[str, ...]


@dataclass(frozen=True)
class Mission:
    """Who monitors: `kind` is peacekeeping, special_political, liaison or country_team; `until` is its last day."""

    code: str
    kind: str
    countries: tuple[str, ...]
    since: date | None
    until: date | None
    successor: str | None


@cache
def monitored_countries() -> frozenset[str]:
    """Return the ISO 3166-1 alpha-3 codes of the countries that any node monitors."""
    return frozenset(row["iso3"] for row in read("countries") if row["monitored"] == "yes")


@cache
def regions() -> tuple[Region, ...]:
    """Return every region in the order of the list; each monitored area is in at least one."""
    stated = {row["code"]: _stated_areas(row["code"]) for row in read("regions")}
    covered = {area for areas in stated.values() for area in areas}
    rest = tuple(area for area in _country_of() if area not in covered)
    return tuple(
        Region(row["code"], row["name_en"], row["name_fr"], row["name_ar"], stated[row["code"]] or rest)
        for row in read("regions")
    )


@cache
def missions() -> tuple[Mission, ...]:
    """Return every mission, ended ones too."""
    return tuple(
        Mission(
            row["code"],
            row["kind"],
            tuple(row["countries"].split()),
            _day(row["since"]),
            _day(row["until"]),
            row["successor"] or None,
        )
        for row in read("missions")
    )


def region_codes_of(area: str) -> tuple[str, ...]:
    """Return the codes of the regions that an area belongs to; none for an area that nobody monitors."""
    return _regions_of_areas().get(area, ())


def areas_of(code: str) -> tuple[str, ...]:
    """Return the areas that a code stands for: a country's P-codes and the country itself, or the P-code alone."""
    return _areas_of_countries().get(code) or ((code,) if code in _country_of() else ())


def country_of(area: str) -> str | None:
    """Return the country of an area; None for an area that nobody monitors."""
    return _country_of().get(area)


@cache
def _country_of() -> dict[str, str]:
    """Return the country of each area, in order: a country, then its P-codes."""
    return {area: country for country, areas in _areas_of_countries().items() for area in areas}


@cache
def _areas_of_countries() -> dict[str, tuple[str, ...]]:
    areas: dict[str, list[str]] = {country: [country] for country in sorted(monitored_countries())}
    for row in read("pcodes"):
        if row["level"] == "1":
            areas[row["country"]].append(row["pcode"])
    return {country: tuple(codes) for country, codes in areas.items()}


@cache
def _regions_of_areas() -> dict[str, tuple[str, ...]]:
    return {area: tuple(r.code for r in regions() if area in set(r.areas)) for area in _country_of()}


def _stated_areas(region: str) -> tuple[str, ...]:
    """Return a region's areas; none for the region of everything else."""
    codes = [row["area"] for row in read("region_areas") if row["region"] == region]
    return tuple(area for code in codes if code != EVERYTHING_ELSE for area in areas_of(code))


def _day(text: str) -> date | None:
    return date.fromisoformat(text) if text else None


__all__ = [
    "Mission",
    "Region",
    "UnknownPlace",
    "areas_of",
    "country_of",
    "missions",
    "monitored_countries",
    "region_codes_of",
    "regions",
    "resolve_admin1",
]
