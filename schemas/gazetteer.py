"""Names of places to codes: exact names and listed aliases only, never a likeness.

Two names are the same when they are equal after `fold`: case, accents, punctuation and Arabic spelling variants are
removed. One administrative word ("State", "Région de", "ولاية") may be left out or added. A name of the second level
stands for the first-level area that contains it, if only one does. Nothing else is tried: what is not found is refused.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache

from schemas.errors import Quarantines
from schemas.tables import read

NOTHING = frozenset(
    {"", "no information", "not applicable", "na", "n a", "unknown", "none", "null", "inconnu", "غير معروف"}
)
BEFORE = re.compile(
    r"^(?:(?:state|region|province|county|governorate|prefecture|district|republic|republique"
    r"|etat|departement|gouvernorat|wilaya|comte|ville)(?: (?:of|de la|de l|de|du|des|d))?(?: the)?"
    r"|ولايه|محافظه|اقليم|منطقه|مقاطعه|شعبيه) "
)
AFTER = re.compile(
    r" (?:national regional state|regional state|state|region|province|county|governorate|prefecture"
    r"|district|department|division|wilaya)$"
)
COMPASS = re.compile(r"^(?:north|south|east|west|central|northern|southern|eastern|western|middle| )+$")
ARABIC = str.maketrans({"ة": "ه", "ى": "ي", "ٱ": "ا", "ـ": ""})


class UnknownPlace(Quarantines):
    """The name is no place that the list knows; the message says how to correct the row."""


@lru_cache(maxsize=20_000)
def fold(name: str) -> str:
    """Return a name without case, accents, punctuation, apostrophes and Arabic spelling variants."""
    name = re.sub(r"\b([dl])['’ʼ]", r"\1 ", name.casefold())
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if unicodedata.category(c) != "Mn")
    plain = re.sub(r"['’ʼ`´]", "", plain.translate(ARABIC).casefold())
    return " ".join(re.sub(r"[\W_]+", " ", plain).split())


def resolve_admin1(country_iso3: str, name: str | None) -> str | None:
    """Return the P-code of a first-level area by its name in any language, or None where only the country is known.

    None also for a name that covers several areas of the list ("Shan State"): the country is all that is certain.
    Errors: UnknownPlace (`place.unknown_admin1`) for a name that is no place of this country.
    """
    if name is None or fold(name) in NOTHING:
        return None
    if name.strip() in _pcodes(country_iso3):
        return name.strip()
    tables: tuple[Mapping[str, str | None], ...] = (_first_level(country_iso3), _second_level(country_iso3))
    for table in tables:
        for key in _keys(name):
            if key in table:
                return table[key]
    raise UnknownPlace(
        "place.unknown_admin1",
        f"{country_iso3} has no first-level area of this name; write its name or P-code as in pcodes.csv, "
        "or leave the cell empty if only the country is known.",
    )


def resolve_country(name: str) -> str:
    """Return the ISO 3166-1 alpha-3 code of any country of the world, by code or by name (en, fr, ar).

    Errors: UnknownPlace (`place.unknown_country`). Whether it is monitored: places.monitored_countries().
    """
    code = _countries().get(fold(name))
    if code is None:
        raise UnknownPlace(
            "place.unknown_country", "No country has this name or code; write its ISO 3166-1 alpha-3 code."
        )
    return code


def country_name(iso3: str, language: str) -> str:
    """Return a country's name in en, fr or ar."""
    return _country_rows()[iso3][language]


def _keys(name: str) -> tuple[str, ...]:
    """Return the folded name, then the same without one administrative word."""
    key = fold(name)
    return (key, *(short for short in (BEFORE.sub("", key), AFTER.sub("", key)) if short != key))


@cache
def _pcodes(country: str) -> frozenset[str]:
    return frozenset(r["pcode"] for r in read("pcodes") if r["country"] == country and r["level"] == "1")


@cache
def _first_level(country: str) -> dict[str, str | None]:
    """Return folded names and aliases; an alias whose P-code is the country stands for None."""
    names = [(r["name"], r["pcode"]) for r in read("pcodes") if r["country"] == country and r["level"] == "1"]
    aliases = [(r["alias"], r["pcode"]) for r in read("place_aliases") if r["country"] == country]
    found = _unique((*names, *aliases))
    return {key: None if pcode == country else pcode for key, pcode in found.items()}


@cache
def _second_level(country: str) -> dict[str, str]:
    """Return folded names of level 2 with the area that contains them; bare points of the compass say too little."""
    rows = (r for r in read("pcodes") if r["country"] == country and r["level"] == "2")
    return {k: p for k, p in _unique((r["name"], r["parent"]) for r in rows).items() if not COMPASS.match(k)}


def _unique(names: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the keys that mean one code only; a full name outranks one whose administrative word was cut."""
    full: dict[str, set[str]] = {}
    short: dict[str, set[str]] = {}
    for name, code in names:
        first, *rest = _keys(name)
        full.setdefault(first, set()).add(code)
        for key in rest:
            short.setdefault(key, set()).add(code)
    return {key: min(codes) for key, codes in (short | full).items() if len(codes) == 1}


@cache
def _country_rows() -> dict[str, dict[str, str]]:
    return {row["iso3"]: row for row in read("countries")}


@cache
def _countries() -> dict[str, str]:
    names = {fold(row[column]): row["iso3"] for row in read("countries") for column in ("en", "fr", "ar", "iso3")}
    return names | {fold(row["alias"]): row["iso3"] for row in read("country_aliases")}


__all__ = ["UnknownPlace", "country_name", "fold", "resolve_admin1", "resolve_country"]
