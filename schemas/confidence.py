"""How confidence in what nobody has verified begins and fades: the scale that a configuration states.

The default is schemas/codes/confidence.toml; a hub may have its own. What is done with it: quality/confidence.py.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from schemas.errors import BadInput
from schemas.tables import FOLDER

FORMULA = "base(reliability, credibility) * 2^(-age / half_life)"
RELIABILITY = "ABCDEF"
CREDIBILITY = (1, 2, 3, 4, 5, 6)
REPORT = "unverified_report"
CLASSES = (REPORT,)
"""What fades, each with a half-life of its own."""

LONGEST = 36_525
_JUDGED = 5  # A to E and 1 to 5 are in order; F and 6, "cannot be judged", may be anywhere
_PARTS = ["base", "half_life_days"]


@dataclass(frozen=True)
class Scale:
    """`base` has for each reliability the confidence at age 0, from 0 to 1, by credibility; `half_lives` days by class."""

    base: Mapping[str, tuple[float, ...]]
    half_lives: Mapping[str, float]


def default() -> Scale:
    """Return the scale that holds where a hub has none of its own."""
    return parse((FOLDER / "confidence.toml").read_text(encoding="utf-8"), "confidence.toml")


def parse(text: str, name: str) -> Scale:
    """Return the scale that a text in TOML states; BadInput, with the `name` of its file, where it states none.

    A better code never has less confidence than a worse one.
    """
    try:
        stated = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{name} is no TOML ({error}); {_ADVICE}") from error
    for problem in _problems(stated):
        raise BadInput(f"{name}: {problem}; {_ADVICE}")
    base = {reliability: tuple(map(float, stated["base"][reliability])) for reliability in RELIABILITY}
    return Scale(base, {each: float(stated["half_life_days"][each]) for each in CLASSES})


_ADVICE = 'write it as "Confidence" in docs/reading-tables.md shows.'


def _problems(stated: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong; all before the last is of the form that those after it rely on."""
    if sorted(stated) != _PARTS or not all(isinstance(stated[part], dict) for part in _PARTS):
        yield "it has to have [half_life_days] and [base], and nothing else"
    yield from _of_half_lives(stated["half_life_days"])
    yield from _of_base(stated["base"])


def _of_half_lives(stated: dict[str, Any]) -> Iterator[str]:
    if sorted(stated) != sorted(CLASSES):
        yield f"half_life_days has to name {', '.join(CLASSES)}, and nothing else"
    for name, days in stated.items():
        if not _number(days, 1, LONGEST):
            yield f"the half-life of {name} has to be a number of days from 1 to {LONGEST:,}"


def _of_base(stated: dict[str, Any]) -> Iterator[str]:
    if sorted(stated) != list(RELIABILITY):
        yield "base has to have the lines A to F, and nothing else"
    for reliability, line in stated.items():
        if not isinstance(line, list) or len(line) != len(CREDIBILITY) or not all(_number(each, 0, 1) for each in line):
            yield f"line {reliability} of base has to be 6 numbers from 0 to 1, for credibility 1 to 6"
    for reliability, line in stated.items():
        if any(worse > better for better, worse in pairwise(line[:_JUDGED])):
            yield f"line {reliability} of base may not rise from credibility 1 to 5"
    for better, worse in pairwise(RELIABILITY[:_JUDGED]):
        if any(low > high for high, low in zip(stated[better], stated[worse], strict=True)):
            yield f"line {worse} of base may nowhere be above line {better}"


def _number(value: object, least: int, most: int) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


__all__ = ["CLASSES", "CREDIBILITY", "FORMULA", "RELIABILITY", "REPORT", "Scale", "default", "parse"]
