"""The fast lane: whole batches of Avro records to columns, by a table compiled from the schema and one kernel.

`decode` gives the same verdict as `schemas.rows.check` on every input, and `Columns.row` the same values as
`schemas.rows.read`; a record that is refused hurts none of its neighbours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from schemas import kernels
from schemas.layout import Column, Layout, compile  # noqa: A004
from schemas.limits import REASONS
from schemas.walk import refuse

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["REASONS", "Blob", "Columns", "Layout", "compile", "decode", "offsets_of", "warm"]

EPOCH = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, eq=False)
class Blob:
    """n byte strings in one buffer: `data` uint8[m], `bounds` int64[n+1]; item i is data[bounds[i]:bounds[i+1]]."""

    data: NDArray[np.uint8]
    bounds: NDArray[np.int64]

    @classmethod
    def of(cls, items: Sequence[bytes]) -> "Blob":
        """Return a blob of copies of the items."""
        return cls(
            np.frombuffer(b"".join(items), np.uint8), offsets_of(np.array([len(item) for item in items], np.int64))
        )

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.bounds) - 1

    def item(self, index: int) -> bytes:
        """Return a copy of one item."""
        if not 0 <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        return self.data[self.bounds[index] : self.bounds[index + 1]].tobytes()

    @property
    def starts(self) -> NDArray[np.int64]:
        """Return int64[n], a view."""
        return self.bounds[:-1]

    @property
    def ends(self) -> NDArray[np.int64]:
        """Return int64[n], a view."""
        return self.bounds[1:]


class Columns:
    """n decoded records. A row whose `status` is not 0 (an index into `REASONS`) has zeros and empties everywhere.

    `status` uint8[n]; `data` uint8[*] is what was decoded, and every span points into it.
    """

    def __init__(self, layout: Layout, data: NDArray[np.uint8], n: int) -> None:
        self.layout, self.data, self.n = layout, data, n
        self.status = np.zeros(n, np.uint8)
        self._ints = np.zeros((layout.ints, n), np.int64)
        self._spans = np.zeros((layout.spans, n, 2), np.int64)
        self._valid = np.zeros((layout.nulls, n), np.bool_)
        self._counts = np.zeros((layout.counts, n), np.int64)
        self._lists: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}

    def fill(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        """Run the kernel: `starts` and `ends` int64[n]."""
        parts = (self._ints, self._spans, self._valid, self._counts, self.status)
        kernels.decode_rows(self.layout.table, self.data, starts, ends, *parts)

    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
        """Return what the kernel filled, by slot: ints [i, n], spans [s, n, 2], valid [v, n], counts [l, n]."""
        return self._ints, self._spans, self._valid, self._counts

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.n

    def column(self, name: str) -> Column:
        """Return where a field is found; LookupError where the contract has no such field."""
        found = self.layout.columns.get(name)
        if found is None:
            raise LookupError(f"{self.layout.release.name} has no field {name!r}: {', '.join(self.layout.columns)}")
        return found

    def ints(self, name: str) -> NDArray[np.int64]:
        """Return int64[n] of a number, date (days), timestamp (ms UTC), boolean, enum index or bit mask of symbols."""
        column = self.column(name)
        if column.op > kernels.MASK:
            raise LookupError(f"{name} is {column.kind}, not a number; ask for spans({name!r})")
        found: NDArray[np.int64] = self._ints[column.slot]
        return found

    def spans(self, name: str) -> NDArray[np.int64]:
        """Return int64[n, 2] (start, end) of a string, bytes, fixed or raw record; of an array its whole encoding."""
        column = self.column(name)
        if column.op <= kernels.MASK:
            raise LookupError(f"{name} is {column.kind}, not a span; ask for ints({name!r})")
        found: NDArray[np.int64] = self._spans[column.slot]
        return found

    def valid(self, name: str) -> NDArray[np.bool_]:
        """Return bool[n]: False where the field is null or the row is bad."""
        column = self.column(name)
        found: NDArray[np.bool_] = self._valid[column.null] if column.null >= 0 else self.status == 0
        return found

    def lists(self, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return offsets int64[n+1] and the spans int64[k, 2] of the strings of an array."""
        column = self.column(name)
        if column.count < 0:
            raise LookupError(f"{name} is {column.kind}, not an array of strings")
        if name not in self._lists:
            offsets = offsets_of(self._counts[column.count])
            items = np.empty((int(offsets[-1]), 2), np.int64)
            kernels.list_spans(self.data, self._spans[column.slot], offsets, items)
            self._lists[name] = offsets, items
        return self._lists[name]

    def symbols(self, name: str) -> tuple[str, ...]:
        """Return the symbols of an enum or of an array of symbols, in the contract's order."""
        return self.column(name).symbols

    def texts(self, name: str) -> list[str | None]:
        """Return Python strings, one by one: for tests and for people, not for batches."""
        spans, valid = self.spans(name), self.valid(name)
        return [self.octets(i, spans).decode() if valid[i] else None for i in range(self.n)]

    def octets(self, index: int, spans: NDArray[np.int64]) -> bytes:
        """Return a copy of the bytes of one span."""
        return self.data[spans[index, 0] : spans[index, 1]].tobytes()

    def reason(self, index: int) -> str:
        """Return why a row is refused, "" for a good one."""
        return REASONS[int(self.status[index])]

    def row(self, index: int) -> dict[str, Any]:
        """Return one row as `schemas.rows.read` gives it; Malformed with its reason for a refused one."""
        if self.status[index]:
            raise refuse(self.reason(index), 0)
        return _record(self, self.layout.release.schema, "", index)

    def arrow(self, name: str) -> "pa.Array":
        """Return the column for Arrow, null where `valid` is False; see `schemas.arrow` for the types."""
        from schemas.arrow import column

        return column(self, name)


def decode(layout: Layout, data: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Columns:
    """Decode record i from data[starts[i]:ends[i]], for all i; never raises for what the bytes hold."""
    data = data.view()
    data.flags.writeable = False  # one specialisation of each kernel, whoever owns the buffer
    columns = Columns(layout, data, len(starts))
    columns.fill(np.ascontiguousarray(starts, np.int64), np.ascontiguousarray(ends, np.int64))
    return columns


def matrix(data: NDArray[np.uint8], starts: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
    """Return uint8[n, width]: the bytes that lie from `starts` int64[n] of `data` on."""
    out = np.empty(len(starts) * width, np.uint8)
    kernels.gather(data, np.stack([starts, starts + width], axis=1), np.arange(len(starts) + 1) * width, out)
    return out.reshape(-1, width)


def offsets_of(lengths: NDArray[Any]) -> NDArray[np.int64]:
    """Return int64[n+1]: where each of n pieces begins when they lie one after another, and the end."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _record(columns: Columns, schema: Any, prefix: str, index: int) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for field in schema["fields"]:
        name = prefix + field["name"]
        column = columns.layout.columns.get(name)
        nested = column is None or column.kind == "record"
        row[field["name"]] = (
            _record(columns, field["type"], f"{name}.", index)
            if nested
            else _value(columns, columns.column(name), index)
        )
    return row


def _value(columns: Columns, column: Column, index: int) -> Any:
    if not columns.valid(column.name)[index]:
        return None
    if column.op <= kernels.MASK:
        return _number(column, int(columns.ints(column.name)[index]))
    if column.op == kernels.LIST:
        offsets, items = columns.lists(column.name)
        return [columns.octets(i, items).decode() for i in range(offsets[index], offsets[index + 1])]
    octets = columns.octets(index, columns.spans(column.name))
    return octets.decode() if column.op == kernels.TEXT else octets


def _number(column: Column, value: int) -> Any:
    if column.kind == "symbols":
        return [symbol for bit, symbol in enumerate(column.symbols) if value >> bit & 1]
    if column.kind == "enum":
        return column.symbols[value]
    if column.kind == "date":
        return date.fromordinal(EPOCH + value)
    return bool(value) if column.kind == "boolean" else value


def warm() -> None:
    """Load or compile every kernel of the codec, before the first batch is waited for (1 s; 10 s the first time)."""
    from schemas.build import encode, part
    from schemas.released import latest

    pattern = compile(latest("PatternAccepted"))
    blank = Blob.of([b"\x00" * 15])
    columns = decode(pattern, blank.data, blank.starts, blank.ends)
    encode(pattern, 0, {name: part(columns, name, np.zeros(0, np.int64)) for name in pattern.columns})
    for name in pattern.columns:
        columns.arrow(name)
