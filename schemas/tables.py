"""The one way to read a code list: a CSV of schemas/codes, UTF-8, a header line, cells stripped."""

import csv
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "codes"


@cache
def read(name: str) -> tuple[dict[str, str], ...]:
    """Return the rows of schemas/codes/<name>.csv, in order."""
    with (FOLDER / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return tuple({column: cell.strip() for column, cell in row.items()} for row in csv.DictReader(file))


__all__ = ["FOLDER", "read"]
