"""How long a node keeps a case: a rule for each class of case, in months after the last event that was recorded of it.

The rules are data: schemas/codes/retention.csv, or a file of a node's own with the same columns.
"""

import csv
import io
import re
from calendar import monthrange
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from schemas.errors import BadInput
from schemas.tables import FOLDER

UNDER_RULE = (
    *("verified_by_consent", "verified_public", "unverified_by_consent", "unverified_public"),
    *("not_in_scope", "did_not_occur", "retracted", "refused"),
)
"""The classes of cases that a rule may end; a case whose incidents are of several is of the first of these."""
ALWAYS = ("not_opened", "no_case")
"""What no rule ends: cases that do not open at the node, and events about no case."""
CLASSES = (*UNDER_RULE, *ALWAYS)
DEFAULT = FOLDER / "retention.csv"
COLUMNS = ["class", "months", "why"]
MONTHS = re.compile(r"[1-9][0-9]{0,3}")
LONGEST = 1_200


@dataclass(frozen=True)
class Rules:
    """The months for which each class is kept, None for ever; `source` names where that stands."""

    source: str
    months: Mapping[str, int | None]


def read(path: Path = DEFAULT) -> Rules:
    """Return the rules in a file. BadInput where it can't be read, or anything in it is not understood."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} can't be read as text ({type(error).__name__}); give a file of rules.") from error
    months: dict[str, int | None] = {}
    for number, cells in _lines(path, text):
        (name, kept, _), where = cells, f"{path.name}, line {number}"
        if name not in CLASSES:
            raise BadInput(f"{where}: no class is named {name[:40]!r}; choose one of: {', '.join(CLASSES)}.")
        if name in months:
            raise BadInput(f"{where}: {name} has a rule already; keep one of the two.")
        months[name] = _months(where, name, kept)
    if lacking := [name for name in CLASSES if name not in months]:
        raise BadInput(
            f"{path.name} has no rule for {', '.join(lacking)}: each class needs a line, with no months where it is kept for ever."
        )
    return Rules(f"schemas/codes/{path.name}" if path == DEFAULT else path.name, months)


def kept_through(last: date, months: int) -> date:
    """Return the last day on which a case is kept whose last event was recorded on `last`.

    The day of the same date so many months later; where that month has none, its last day (Regulation (EEC, Euratom)
    No 1182/71, article 3(2)(c)). The case goes on the day after.
    """
    year, month = divmod(last.year * 12 + last.month - 1 + months, 12)
    return date(year, month + 1, min(last.day, monthrange(year, month + 1)[1]))


def _lines(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield number and cells of each line below the titles, empty lines left out; BadInput where it has other columns."""
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        if [cell.strip() for cell in next(rows, [])] != COLUMNS:
            raise BadInput(
                f"{path.name} has other columns than {', '.join(COLUMNS)}: begin with a copy of schemas/codes/retention.csv."
            )
        for row in rows:
            cells = [cell.strip() for cell in row]
            if any(cells) and len(cells) != len(COLUMNS):
                raise BadInput(
                    f"{path.name}, line {rows.line_num}: {len(cells)} cells stand where there are {len(COLUMNS)} columns."
                )
            if any(cells):
                yield rows.line_num, cells
    except csv.Error as error:
        raise BadInput(f"{path.name}, line {rows.line_num}: this is no line of a CSV file ({error}).") from error


def _months(where: str, name: str, text: str) -> int | None:
    """Return the months of a cell, None for ever; BadInput."""
    if not text:
        return None
    if name in ALWAYS:
        raise BadInput(f"{where}: {name} is kept for ever, whatever a rule says: leave its months empty.")
    if not MONTHS.fullmatch(text) or int(text) > LONGEST:
        raise BadInput(
            f"{where}: months is a whole number from 1 to {LONGEST}, or empty for a class that is kept for ever."
        )
    return int(text)
