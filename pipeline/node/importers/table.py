"""A person's file as rows of text cells, whatever it is: CSV or a JSON list, bounded, hostile or not.

A file that can't be used is BadInput with one sentence that says what to do. A row that can't be used is a `Record`
with a `problem`. Cells are stripped; the name of a column is compared in `header` form. Columns whose name begins with
`tocsin_` are ours: the reasons in a file of rejects, not read again.
"""

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.node.importers.guard import unguard
from schemas.errors import BadInput

FILE_BYTES = 64 << 20
JSON_BYTES = 16 << 20  # JSON takes some forty times its size in memory
CELL_CHARACTERS = 1_000
COLUMNS = 300
ROWS = 1_000_000
OURS = "tocsin_"


@dataclass(frozen=True)
class Record:
    """One row: `number` from 1, `cells` by header form, `original` as it stood (list of cells, or JSON value)."""

    number: int
    cells: Mapping[str, str]
    original: Any
    problem: str = ""


@dataclass(frozen=True)
class Table:
    """A whole file, known to be readable to its end: columns as they are written, `size` rows.

    `delimiter` is empty for JSON; `digest` is the SHA-256 of the file.
    """

    path: Path
    columns: tuple[str, ...]
    delimiter: str
    size: int
    digest: str
    content: Any = field(repr=False)

    def records(self) -> Iterator[Record]:
        """Yield every row in order."""
        return _csv_records(self) if self.delimiter else _json_records(self)


def header(name: str) -> str:
    """Return a column's name for comparing: small letters, single blanks, none around it."""
    return " ".join(name.lower().split())


def load(path: Path) -> Table:
    """Return the file as a table; BadInput where it is missing, no file, empty, too large, not text or of no shape."""
    data = _bytes(path)
    text = _text(path, data)
    digest = hashlib.sha256(data).hexdigest()
    table = _json_table(path, text, digest) if text.lstrip()[:1] in {"[", "{"} else _csv_table(path, text, digest)
    if table.size > ROWS:
        raise BadInput(f"{path.name} has more than {ROWS:,} rows; split it and import the parts.")
    return table


def _bytes(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise BadInput(f"{path} is no file; give the path of a CSV or JSON file.")
        if path.stat().st_size > FILE_BYTES:
            raise BadInput(f"{path.name} is larger than {FILE_BYTES >> 20} MiB; split it and import the parts.")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} can't be read ({error}); check its name and its permissions.") from error


def _text(path: Path, data: bytes) -> str:
    if data[:2] in {b"PK", b"\xff\xfe", b"\xfe\xff"} or b"\0" in data:
        raise BadInput(f"{path.name} is not a text file (a spreadsheet?); save it as 'CSV UTF-8' and import that.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{path.name} is not in UTF-8 (byte {error.start}); save it as 'CSV UTF-8' and import that."
        ) from None
    if not text.strip():
        raise BadInput(f"{path.name} is empty; export it again.")
    return text


def _csv_table(path: Path, text: str, digest: str) -> Table:
    first = next(line for line in io.StringIO(text) if line.strip())
    delimiter = max(",;\t", key=first.count)
    lines = _lines(path, text, delimiter)
    columns = next(lines, [])
    if len(columns) < 2:
        raise BadInput(f"{path.name} is neither a CSV table nor a list of JSON objects; export it again as CSV UTF-8.")
    size = sum(not _is_tags(line) for line in lines)
    return Table(path, _checked(path, columns), delimiter, size, digest, text)


def _checked(path: Path, columns: list[str]) -> tuple[str, ...]:
    """Return the columns; BadInput where there are too many or one is there twice."""
    names = [header(column) for column in columns if column.strip()]
    twice = next((name for name in names if names.count(name) > 1), None) if len(names) <= COLUMNS else None
    if len(columns) > COLUMNS:
        raise BadInput(f"{path.name} has more than {COLUMNS} columns; export only the columns of its format.")
    if twice:
        raise BadInput(f"{path.name} has the column {twice[:50]!r} twice; keep one of the two.")
    return tuple(columns)


def _lines(path: Path, text: str, delimiter: str) -> Iterator[list[str]]:
    """Yield the lines of a CSV that are not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        yield from filter(any, reader)
    except csv.Error as error:
        raise BadInput(
            f"{path.name} can't be read after line {reader.line_num} ({error}); "
            "look for a quotation mark that is not closed, correct it and import the file again."
        ) from None


def _csv_records(table: Table) -> Iterator[Record]:
    lines = _lines(table.path, table.content, table.delimiter)
    names = [header(name) for name in next(lines)]
    number = 0
    for line in lines:
        if _is_tags(line):
            continue
        number += 1
        original = [unguard(cell) for cell in line]
        cells = {name: cell.strip() for name, cell in zip(names, original, strict=False) if _is_theirs(name)}
        problem = "row.cells" if len(line) != len(names) else _problem(cells)
        yield Record(number, cells, original, problem)


def _is_tags(line: list[str]) -> bool:
    """Say whether a line holds HXL tags, which HDX puts under the header."""
    return all(re.fullmatch(r"\s*#[a-zA-Z].*", cell) for cell in line if cell.strip())


def _is_theirs(name: str) -> bool:
    return bool(name) and not name.startswith(OURS)


def _problem(cells: Mapping[str, str]) -> str:
    if any(len(cell) > CELL_CHARACTERS for cell in cells.values()):
        return "cell.too_long"
    return "cell.text" if any(re.search("[\ud800-\udfff]", cell) for cell in cells.values()) else ""


def _json_table(path: Path, text: str, digest: str) -> Table:
    if len(text) > JSON_BYTES:
        raise BadInput(f"{path.name} is larger than {JSON_BYTES >> 20} MiB; split it, or export it as CSV UTF-8.")
    try:
        content = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:100]
        raise BadInput(f"{path.name} is not JSON that can be read ({reason}); export it again.") from None
    first = content[0] if isinstance(content, list) and content else None
    if not isinstance(first, dict):
        raise BadInput(
            f"{path.name} is not a list of JSON objects, one a row; export it again as such a list or as CSV."
        )
    return Table(path, _checked(path, list(first)), "", len(content), digest, content)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has the same name twice")
    return found


def _json_records(table: Table) -> Iterator[Record]:
    for number, value in enumerate(table.content, start=1):
        if not isinstance(value, dict):
            yield Record(number, {}, value, "row.object")
            continue
        theirs = {header(name): cell for name, cell in value.items() if _is_theirs(header(name))}
        simple = all(cell is None or isinstance(cell, str | int | float) for cell in theirs.values())
        cells = {name: _cell(cell) for name, cell in theirs.items()} if simple else {}
        yield Record(number, cells, value, _problem(cells) if simple else "cell.nested")


def _cell(value: Any) -> str:
    """Return a JSON value as the text that a CSV would hold."""
    if isinstance(value, str):
        return value.strip()
    return "" if value is None else json.dumps(value)
