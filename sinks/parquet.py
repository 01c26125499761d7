"""Rows of a table to one zstd Parquet file in memory; the same rows give the same bytes.

No minima, maxima, page indexes or bloom filters of what could identify somebody: see `sinks.tables.Table.statistics`.
"""

import re
from dataclasses import dataclass, replace
from functools import cache, reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sinks.tables import Column, Kind, Table

TYPES: dict[Kind, pa.DataType] = {
    "id": pa.string(),
    "text": pa.string(),
    "integer": pa.int32(),
    "long": pa.int64(),
    "flag": pa.bool_(),
    "date": pa.date32(),
    "time": pa.timestamp("us", "UTC"),
    "texts": pa.list_(pa.field("element", pa.string(), nullable=False)),
}
_NAME = re.compile(r"part-(\d{5})-(\d{20})-(\d{20})(?:-(\d{20}))?\.parquet")


@dataclass(frozen=True)
class Range:
    """The offsets `[start, end)` of one partition whose rows a file holds.

    What was removed before offset `upto` is not in it any more; 0 where nothing was.
    """

    partition: int
    start: int
    end: int
    upto: int = 0

    @property
    def name(self) -> str:
        """The file's name."""
        removed = f"-{self.upto:020d}" if self.upto else ""
        return f"part-{self.partition:05d}-{self.start:020d}-{self.end:020d}{removed}.parquet"

    @classmethod
    def of(cls, name: str) -> "Range | None":
        """Return the range in a file's name; None if the sink did not write the file."""
        found = _NAME.fullmatch(name.rsplit("/", 1)[-1])
        return cls(*(int(number or 0) for number in found.groups())) if found else None


def name_without(name: str, upto: int) -> str:
    """Return the name of the file that stands for another one, without what was removed before offset `upto`."""
    held = Range.of(name)
    return replace(held, upto=upto).name if held else f"{name.removesuffix('.parquet')}-{upto:020d}.parquet"


@cache
def schema_of(table: Table) -> pa.Schema:
    """Return the table's Arrow schema; each field's `comment` is the contract's sentence."""
    return pa.schema([_field(column) for column in table.columns])


def _field(column: Column) -> pa.Field:
    return pa.field(column.name, TYPES[column.kind], nullable=column.nullable, metadata={"comment": column.doc})


def rows(table: Table, arrays: dict[str, Any]) -> pa.Table:
    """Return the rows from one Arrow array per field of the contract, in the order of the arrays."""
    schema = schema_of(table)
    columns = [arrays[column.field].cast(TYPES[column.kind]) for column in table.columns]
    return pa.Table.from_arrays(columns, schema=schema)


def file(table: Table, content: pa.Table) -> memoryview:
    """Return the Parquet file of the rows, sorted by the table's order."""
    ordered = content.sort_by([(name, "ascending") for name in table.order])
    sink = pa.BufferOutputStream()
    pq.write_table(
        ordered,
        sink,
        compression="zstd",
        use_dictionary=[_path(column) for column in table.columns if column.kind != "id"],
        write_statistics=[_path(column) for column in table.columns if column.name in table.statistics],
        write_page_index=False,
    )
    return memoryview(sink.getvalue())


def without(table: Table, content: pa.Table, gone: pa.Array) -> pa.Table:
    """Return the rows that name none of the incidents `gone`, ids as the table has them."""
    named = [pc.is_in(content[column], value_set=gone) for column in table.naming]
    return content.filter(pc.invert(reduce(pc.or_, named))) if named and len(gone) else content


def rest(table: Table, data: bytes, gone: pa.Array) -> pa.Table | None:
    """Return the rows of a file that name none of the incidents `gone`; None where no row goes."""
    source = pq.ParquetFile(pa.BufferReader(data))
    ids = source.read(columns=list(table.naming))
    if without(table, ids, gone).num_rows == ids.num_rows:
        return None
    return without(table, source.read().cast(schema_of(table)), gone)


def _path(column: Column) -> str:
    return f"{column.name}.list.element" if column.kind == "texts" else column.name
