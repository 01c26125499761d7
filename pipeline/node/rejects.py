"""The rows that were refused, in the shape of the file that they came from: to be corrected and imported again.

Two columns of ours stand first: `tocsin_reasons` (codes) and `tocsin_sentence` (what to do). They are not read again.
"""

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.files import replace
from pipeline.node.importers.base import Reject
from pipeline.node.importers.guard import guard
from pipeline.node.importers.table import OURS, Table, header
from schemas.errors import BadInput

REASONS, SENTENCE, VALUE = f"{OURS}reasons", f"{OURS}sentence", f"{OURS}value"


def free_name(path: Path) -> Path:
    """Return a name beside the file for its rejects: a file that a person may have corrected is never replaced."""
    number = 1
    while (target := path.with_name(f"{path.stem}.rejects{'' if number == 1 else f'-{number}'}{path.suffix}")).exists():
        number += 1
    return target


def write(path: Path, table: Table, rejects: Sequence[Reject], sentence: Callable[[str], str]) -> None:
    """Write the rejects of a table; readable by their owner only. BadInput where that place can't be written."""
    if path.exists() and path.samefile(table.path):
        raise BadInput("The rejects would replace the file itself; give another name by --rejects.")
    content = _csv(table, rejects, sentence) if table.delimiter else _json(rejects, sentence)
    try:
        replace(path, content)
    except OSError as error:
        raise BadInput(
            f"The rejects can't be written to {path} ({error.strerror}); give another name by --rejects."
        ) from error


def _csv(table: Table, rejects: Sequence[Reject], sentence: Callable[[str], str]) -> bytes:
    theirs = [not header(name).startswith(OURS) for name in table.columns]
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=table.delimiter, quoting=csv.QUOTE_ALL)
    writer.writerow([REASONS, SENTENCE, *_kept(list(table.columns), theirs)])
    for reject in rejects:
        cells = [" ".join(reject.reasons), sentence(reject.reasons[0]), *_kept(reject.source.original, theirs)]
        writer.writerow(map(guard, cells))
    return file.getvalue().encode("utf-8-sig")


def _kept(cells: list[str], theirs: list[bool]) -> list[str]:
    """Return the cells that are not ours; cells beyond the header stay, so that the person sees them."""
    return [cell for index, cell in enumerate(cells) if index >= len(theirs) or theirs[index]]


def _json(rejects: Sequence[Reject], sentence: Callable[[str], str]) -> bytes:
    rows = [
        {REASONS: " ".join(reject.reasons), SENTENCE: sentence(reject.reasons[0]), **_object(reject.source.original)}
        for reject in rejects
    ]
    # A lone surrogate, which JSON may hold and UTF-8 may not, stays the escape that it was.
    return json.dumps(rows, ensure_ascii=False, indent=1).encode(errors="backslashreplace")


def _object(original: Any) -> dict[str, Any]:
    if not isinstance(original, dict):
        return {VALUE: original}
    return {name: value for name, value in original.items() if not header(name).startswith(OURS)}
