"""What a person types for a field of an incident, read as the contract has it."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from functools import cache
from typing import Any

from schemas.codes import UnknownCode, party
from schemas.errors import BadInput
from schemas.events import load

OF_VERIFICATION = ("verification", "primary_sources", "secondary_sources", "un_eyewitness")
WORDS = {"yes": True, "true": True, "no": False, "false": False}
WHOLE = re.compile(r"[0-9]{1,9}")


def assigned(settings: Iterable[str]) -> dict[str, Any]:
    """Return the values of fields written as `field=value`; BadInput names what may be written instead."""
    found: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        name = name.strip()
        if not equals:
            raise BadInput(f"{setting[:40]!r} sets nothing: write it as FIELD=VALUE.")
        if name in OF_VERIFICATION:
            raise BadInput(f"{name} is moved by `tocsin node verify` only.")
        if name not in _types():
            known = ", ".join(field for field in _types() if field not in OF_VERIFICATION)
            raise BadInput(f"No field is named {name[:40]!r}; choose one of: {known}.")
        if name in found:
            raise BadInput(f"{name} is set twice: set it once, a list as FIELD=ONE,OTHER.")
        found[name] = value(name, text)
    if found.get("party") and "party_category" not in found:
        found["party_category"] = party(found["party"])[1]
    return found


def value(name: str, text: str) -> Any:
    """Return what a text means for a field of the incident; an empty one is null, or an empty list. BadInput."""
    schema, text = _types()[name], text.strip()
    if name == "party" and text:
        return _party(text)
    if isinstance(schema, list):
        return text or None
    if isinstance(schema, str):
        return _PRIMITIVES[schema](name, text)
    return {"int": _day, "enum": _code, "array": _codes}[schema["type"]](name, text, schema)


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the fields in which facts differ, in the order of the contract."""
    return [name for name in _types() if before[name] != after[name]]


@cache
def _types() -> dict[str, Any]:
    """Return the type of each field of an incident, in the order of the contract."""
    return {field["name"]: field["type"] for field in load("Incident")["fields"]}


def _party(text: str) -> str:
    """Return the party's name as it is listed; the list has its other names."""
    try:
        listed, _ = party(text)
    except UnknownCode:
        listed = None
    if listed is None:
        raise BadInput("party is no single listed name: write one of schemas/codes/parties.csv, or nothing.")
    return listed


def _text(name: str, text: str) -> str:
    if not text:
        raise BadInput(f"{name} can't be empty.")
    return text


def _whole(name: str, text: str) -> int:
    if not WHOLE.fullmatch(text):
        raise BadInput(f"{name} is a whole number in digits, as 3.")
    return int(text)


def _word(name: str, text: str) -> bool:
    if text.lower() not in WORDS:
        raise BadInput(f"{name} is one of: {', '.join(WORDS)}.")
    return WORDS[text.lower()]


def _day(name: str, text: str, _: Any) -> date:
    try:
        return day(text)
    except BadInput as error:
        raise BadInput(f"{name}: {error}") from None


def day(text: str) -> date:
    """Return a day written as 2022-03-31; BadInput."""
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.isoformat() != text:
        raise BadInput("write the day as 2022-03-31.")
    return found


def _code(name: str, text: str, schema: Any) -> str:
    symbols: list[str] = schema["symbols"]
    if text not in symbols:
        raise BadInput(f"{name} is one of: {', '.join(symbols)}.")
    return text


def _codes(name: str, text: str, schema: Any) -> list[str]:
    """Return the codes of a list in the order of the contract, in which they are read back too."""
    found = [_code(name, one.strip(), schema["items"]) for one in text.split(",")] if text else []
    return sorted(found, key=schema["items"]["symbols"].index)


_PRIMITIVES: dict[str, Callable[[str, str], Any]] = {"string": _text, "int": _whole, "boolean": _word}
