"""Rows of a table to one zstd Parquet file in memory; the same rows give the same bytes.

No minima, maxima, page indexes or bloom filters of what could identify somebody: see `sinks.tables.Table.statistics`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
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

    What was removed or closed before offset `upto` is not in it any more; 0 where nothing was.
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
    """Return the name of the file that stands for another one, without what was removed or closed before `upto`."""
    held = Range.of(name)
    return replace(held, upto=upto).name if held else f"{name.removesuffix('.parquet')}-{upto:020d}.parquet"


@cache
def schema_of(table: Table) -> pa.Schema:
    """Return the table's Arrow schema; each field's `comment` is the contract's sentence."""
    return pa.schema([_field(column) for column in table.columns])


def _field(column: Column) -> pa.Field:
    return pa.field(column.name, TYPES[column.kind], nullable=column.nullable, metadata={"comment": column.doc})


def rows(table: Table, arrays: dict[str, Any], number: int) -> pa.Table:
    """Return `number` rows from one Arrow array per field of a contract, in the order of the arrays.

    A column whose field the contract has not is null.
    """
    columns = [
        _plain(column, arrays[column.field]) if column.field in arrays else pa.nulls(number, TYPES[column.kind])
        for column in table.columns
    ]
    return pa.Table.from_arrays(columns, schema=schema_of(table))


def _plain(column: Column, array: pa.Array) -> pa.Array:
    kind = TYPES[column.kind]
    if column.blank:
        array = pc.if_else(pc.equal(array, column.blank), pa.scalar(None, array.type), array)
    return array.cast(kind)


def file(table: Table, content: pa.Table) -> memoryview:
    """Return the Parquet file of the rows, sorted by the table's order."""
    order = pc.sort_indices(content, sort_keys=[(name, "ascending") for name in table.order])
    there = (
        order.to_numpy() == np.arange(len(order))
    ).all()  # as most batches are: to take all columns anew costs more
    ordered = content if there else content.take(order)
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


def read(table: Table, data: bytes, only: Iterable[str] | None = None) -> pa.Table:
    """Return the rows of a file, or `only` some of their columns; what a file of old lacks is null."""
    source = pq.ParquetFile(pa.BufferReader(data))
    schema = schema_of(table)
    names = schema.names if only is None else list(only)
    there = [name for name in names if name in source.schema_arrow.names]
    found = source.read(columns=there)
    number = source.metadata.num_rows
    columns = [
        found[name].cast(schema.field(name).type) if name in there else _nulls(schema, name, number) for name in names
    ]
    return pa.Table.from_arrays(columns, schema=pa.schema([schema.field(name) for name in names]))


def _nulls(schema: pa.Schema, name: str, number: int) -> pa.Array:
    return pa.nulls(number, schema.field(name).type)


def _path(column: Column) -> str:
    return f"{column.name}.list.element" if column.kind == "texts" else column.name
