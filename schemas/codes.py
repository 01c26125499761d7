"""What the nodes' words mean in our codes: forms, kinds of perpetrator, parties, settings; and every reason in words.

A scheme is a source's own list: svac, gbvims, insecurity_insight, mrm. All of it is data in schemas/codes/*.csv, each
line with its reason; a word that is not listed is refused, never guessed. Words are compared as gazetteer.fold does.
"""

from functools import cache

from schemas.errors import Quarantines
from schemas.gazetteer import NOTHING, fold
from schemas.tables import read

LANGUAGES = ("en", "fr", "ar")


class UnknownCode(Quarantines):
    """A word that the code lists do not take; `reason` says which, `sentence(reason, language)` what to do."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, sentence(reason, "en"))


def forms_of(scheme: str, cell: str) -> tuple[str, ...]:
    """Return the forms of violence in a cell ("Rape, SexualAssault", "1, 7"), none twice, in order.

    A cell is taken if one of its acts is; errors: UnknownCode `form.unknown` (a word that is not listed),
    `form.outside_definition` (no act of the UN definition), `form.not_stated` (nothing stated).
    """
    listed = _forms_of_scheme(scheme)
    found = [listed.get(fold(word)) for word in cell.split(",") if word.strip()]
    if None in found:
        raise UnknownCode("form.unknown")
    forms = tuple(dict.fromkeys(row["form"] for row in found if row and row["form"]))
    if not forms:
        raise UnknownCode(next((row["reason"] for row in found if row), "form.not_stated"))
    return forms


def form_name(code: str, language: str) -> str:
    """Return a form's name in en, fr or ar."""
    return next(row[language] for row in read("forms") if row["code"] == code)


def party(name: str) -> tuple[str | None, str | None]:
    """Return the listed name of the party and its category, each None where the words do not say.

    Several parties in one cell: no name (the contract holds one) and the category that all share, else `other`.
    Words that name no party ("Unidentified Armed Actor", "Health worker") give no name, and a category where they say one.
    Errors: UnknownCode `party.not_listed`.
    """
    if fold(name) in NOTHING:
        return None, None
    rows = _rows_of_names(name)
    named = {row["name"]: row["category"] for row in rows if row["name"]}
    if len(named) == 1:
        return next(iter(named.items()))
    categories = set(named.values()) or {row["category"] for row in rows if row["category"]}
    if len(categories) > 1:
        return None, "other"
    return None, next(iter(categories), None)


def perpetrator(scheme: str, kind: str, name: str = "") -> str:
    """Return the kind of perpetrator (MRM), from the source's own kind and the name, by the first line that fits.

    Lines marked before_party outrank the party's own category: armed forces abroad are international forces.
    Errors: UnknownCode `perpetrator.unknown_kind`, `party.not_listed`.
    """
    lines = [row for row in read("perpetrators") if row["scheme"] == scheme]
    if fold(kind) not in {fold(row["kind"]) for row in lines} | NOTHING:
        raise UnknownCode("perpetrator.unknown_kind")
    words = f" {fold(name)} "
    fitting = [r for r in lines if r["kind"] in {"*", kind.strip()} and (not r["word"] or f" {r['word']} " in words)]
    before = [row["category"] for row in fitting if row["when"] == "before_party"]
    after = [row["category"] for row in fitting if row["when"] == "after_party"]
    return (before or [party(name)[1] or next(iter(after), "unknown")])[0]


def setting(scheme: str, name: str) -> str:
    """Return the kind of setting. Errors: UnknownCode `setting.unknown`."""
    listed = {fold(row["name"]): row["setting"] for row in read("settings") if row["scheme"] == scheme}
    if fold(name) not in listed.keys() | NOTHING:
        raise UnknownCode("setting.unknown")
    return listed.get(fold(name), "unknown")


@cache
def reasons() -> dict[str, dict[str, str]]:
    """Return every reason code that a person can meet, with its sentences in en, fr and ar."""
    return {row["code"]: {language: row[language] for language in LANGUAGES} for row in read("reasons")}


def sentence(code: str, language: str) -> str:
    """Return what a reason code means and what to do, in en, fr or ar. KeyError for a code that is not listed."""
    return reasons()[code][language]


@cache
def _forms_of_scheme(scheme: str) -> dict[str, dict[str, str]]:
    return {fold(row["name"]): row for row in read("form_names") if row["scheme"] == scheme}


def _rows_of_names(cell: str) -> list[dict[str, str]]:
    """Return the list's line for each name in a cell; the whole cell first, since a name may hold a comma."""
    if fold(cell) in _names():
        return [_names()[fold(cell)]]
    pieces = [piece for piece in cell.split(",") if fold(piece) not in NOTHING]
    rows = [_names().get(fold(piece)) for piece in pieces]
    if None in rows:
        raise UnknownCode("party.not_listed")
    return [row for row in rows if row]


@cache
def _names() -> dict[str, dict[str, str]]:
    """Return name and category by folded name; the name is empty where the words name no party."""
    found = {fold(row["name"]): {"name": "", "category": row["category"]} for row in read("not_parties")}
    for row in read("parties"):
        line = {"name": row["name"], "category": row["category"]}
        found |= {fold(name): line for name in (row["name"], *filter(None, row["aliases"].split(" | ")))}
    return found


__all__ = [
    "LANGUAGES",
    "UnknownCode",
    "form_name",
    "forms_of",
    "party",
    "perpetrator",
    "reasons",
    "sentence",
    "setting",
]
