"""What an importer is: it reads a source file into facts and rejects, and never stops at a bad row.

An importer states which columns it needs and turns one row's cells into the facts of one event. The file itself
(CSV or JSON, encodings, limits) is read by `pipeline.node.importers.table` for all of them alike. Each importer passes
`tests/conformance/importer.py`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pipeline.node.importers.table import Record, Table, header
from schemas.errors import BadInput, Quarantines

Cells = Mapping[str, str]


class RowRefused(Quarantines):
    """This row can't be taken: `reasons` are codes of `schemas/codes/reasons.csv` or of a rule, the primary one first."""

    def __init__(self, *reasons: str) -> None:
        super().__init__(reasons[0])
        self.reasons = reasons


@dataclass(frozen=True)
class Row:
    """A row that became facts: `record` names the nested record of the event `kind`, `facts` are its fields.

    `identity` is what makes the row the same row when the file comes again: source, and each cell that was read.
    """

    source: Record
    kind: str
    record: Literal["incident", "pattern"]
    facts: dict[str, Any]
    identity: bytes


@dataclass(frozen=True)
class Reject:
    """A row that was refused, with its reasons, the primary one first."""

    source: Record
    reasons: tuple[str, ...]


class Importer(Protocol):
    """One format. `columns` are the cells that it reads, by their names in `header` form; all must be in the file."""

    name: str
    kind: str
    record: Literal["incident", "pattern"]
    columns: tuple[str, ...]

    def facts(self, cells: Cells) -> dict[str, Any]:
        """Return the facts of one row, all columns present; RowRefused or another of Quarantines with its reason."""
        ...


def read(importer: Importer, table: Table) -> Iterator[Row | Reject]:
    """Yield every row of the file once, in order, as facts or as a reject; BadInput where the file can't go on."""
    missing = [column for column in importer.columns if column not in map(header, table.columns)]
    if missing:
        raise BadInput(
            f"{table.path.name} is no {importer.name} file, it has no column {missing[0]!r}; "
            "export it again with all its columns, or name its format by --as."
        )
    for record in table.records():
        yield _row(importer, record)


def identity(importer: Importer, cells: Cells) -> bytes:
    """Return what the row is known by: the format and each cell that is read, whatever their order in the file."""
    parts = [importer.name, *(cells[column] for column in importer.columns)]
    return b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)


def fits(importer: Importer, table: Table) -> bool:
    """Say whether a file has the columns of this format."""
    return set(importer.columns) <= set(map(header, table.columns))


def _row(importer: Importer, record: Record) -> Row | Reject:
    if record.problem:
        return Reject(record, (record.problem,))
    cells = {column: record.cells.get(column, "") for column in importer.columns}
    try:
        return Row(record, importer.kind, importer.record, importer.facts(cells), identity(importer, cells))
    except RowRefused as refused:
        return Reject(record, refused.reasons)
    except Quarantines as refused:
        return Reject(record, (refused.reason,))
