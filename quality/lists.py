"""The lists and tables that rules name: codes from the contracts, places from OCHA's list. Read once, at first use."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from schemas.events import load
from schemas.places import areas_of, monitored_countries


@cache
def codes(name: str) -> frozenset[str]:
    """Return a list of codes: `countries`, `areas`, or the name of an enumeration of the contracts."""
    if name == "countries":
        return monitored_countries()
    if name == "areas":
        return frozenset(area for country in codes("countries") for area in areas_of(country))
    return _enumerations()[name]


@cache
def table(name: str) -> dict[str, str]:
    """Return a table: `country_of_admin1` gives the ISO 3166-1 alpha-3 of each first-level P-code."""
    if name != "country_of_admin1":
        raise KeyError(name)
    return {area: country for country in codes("countries") for area in areas_of(country) if area != country}


@cache
def _enumerations() -> dict[str, frozenset[str]]:
    """Return every enumeration of the two contracts that rules are about."""
    found = {}
    for record in ("Incident", "Pattern"):
        for schema in _walk(load(record)):
            if schema.get("type") == "enum":
                found[str(schema["name"])] = frozenset(schema["symbols"])
    return found


def _walk(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every schema within a schema."""
    if isinstance(schema, list):
        for branch in schema:
            yield from _walk(branch)
    elif isinstance(schema, dict):
        yield schema
        for key in ("type", "items", "values"):
            yield from _walk(schema.get(key))
        for field in schema.get("fields", ()):
            yield from _walk(field["type"])


__all__ = ["codes", "table"]
