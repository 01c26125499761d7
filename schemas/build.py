"""The encoder of the fast lane: columns to a batch of Avro records, in the bytes that `schemas.rows.write` gives.

Each field of the layout gets a part: see `Part`. A nested record is given field by field, or whole, as the bytes that
`Columns.spans` of a raw record points at: then they travel verbatim.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas import build_kernels, kernels
from schemas.columns import Blob, Columns, offsets_of
from schemas.errors import Stops
from schemas.layout import Column, Layout
from schemas.limits import REASONS

Int64s = NDArray[np.int64]
Bools = NDArray[np.bool_]


class BadParts(Stops):
    """The parts do not make records of the contract: a fault in the stage that built them; no value is named."""


@dataclass(frozen=True, eq=False)
class Ints:
    """Numbers of which some are null: `values` int64[n], `valid` bool[n]."""

    values: Int64s
    valid: Bools


@dataclass(frozen=True, eq=False)
class Spans:
    """Strings, bytes, fixed or whole records: `spans` int64[n, 2] in `data` uint8[*]; `valid` bool[n], None for all."""

    data: NDArray[np.uint8]
    spans: Int64s
    valid: Bools | None = None

    @classmethod
    def of(cls, blob: Blob, valid: Bools | None = None) -> "Spans":
        """Return the items of a blob, one a row."""
        return cls(blob.data, np.stack([blob.starts, blob.ends], axis=1), valid)


@dataclass(frozen=True, eq=False)
class Strings:
    """Arrays of strings: row i has the spans[offsets[i]:offsets[i+1]] of `data`; offsets int64[n+1], spans int64[k, 2]."""

    data: NDArray[np.uint8]
    offsets: Int64s
    spans: Int64s

    @classmethod
    def of(cls, lists: Sequence[Sequence[str]]) -> "Strings":
        """Return the lists, one a row."""
        blob = Blob.of([text.encode() for texts in lists for text in texts])
        return cls(blob.data, offsets_of(np.array([len(texts) for texts in lists], np.int64)), Spans.of(blob).spans)


# int64[n] for numbers, enum indexes, masks; or one value for all rows: int, bool, str (a string or a symbol), bytes
# (fixed, bytes or a whole record), None (null).
Part = Int64s | Ints | Spans | Strings | int | str | bytes | None


def part(columns: Columns, name: str, rows: Int64s | None = None) -> Part:
    """Return a decoded field as a part, of all rows or of `rows` int64[k] in that order."""
    column = columns.column(name)
    pick = slice(None) if rows is None else rows
    valid = columns.valid(name)[pick] if column.null >= 0 else None
    if column.op <= kernels.MASK:
        values = columns.ints(name)[pick]
        return values if valid is None else Ints(values, valid)
    if column.op != kernels.LIST:
        return Spans(columns.data, columns.spans(name)[pick], valid)
    strings = Strings(columns.data, *columns.lists(name))
    return strings if rows is None else _rows_of(strings, rows)


def _rows_of(strings: Strings, rows: Int64s) -> Strings:
    counts = np.diff(strings.offsets)[rows]
    offsets = offsets_of(counts)
    at = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - strings.offsets[:-1][rows], counts)
    return Strings(strings.data, offsets, strings.spans[at])


def encode(layout: Layout, n: int, values: Mapping[str, Part], prefix: bytes = b"", rows: Int64s | None = None) -> Blob:
    """Return n records, each after `prefix`; with `rows` int64[k] those k of the n, in that order.

    BadParts where a field has no part, or a value is one that the strict decoder refuses.
    """
    table, names = _program(layout, frozenset(values) & frozenset(layout.raw))
    draft = _Draft(layout, n, None if rows is None else np.asarray(rows, np.int64))
    for name in names:
        if name not in values:
            raise BadParts(f"{layout.release.name}: no part is given for {name}; the stage must give every field")
        draft.put(layout.columns[name], values[name])
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise BadParts(f"{layout.release.name} has no field {unknown[0]}; its fields are {', '.join(names)}")
    return draft.run(table, names, prefix)


@lru_cache(maxsize=256)
def _program(layout: Layout, whole: frozenset[str]) -> tuple[Int64s, tuple[str, ...]]:
    """Return the table with the records in `whole` as one copy each, and the fields that need a part."""
    lines: list[NDArray[np.int64]] = []
    until = ""
    by_slot = {column.slot: name for name, column in layout.columns.items() if column.op == kernels.OPEN}
    for line in layout.table:
        name = by_slot.get(int(line[1]), "") if line[0] in (kernels.OPEN, kernels.CLOSE) else ""
        if until:
            until = "" if line[0] == kernels.CLOSE and name == until else until
        elif line[0] == kernels.OPEN and name in whole:
            until = name
            lines.append(np.array([build_kernels.COPY, line[1], 0, 0, 0]))
        else:
            lines.append(line)
    inside = tuple(f"{name}." for name in whole)
    names = [
        name
        for name, column in layout.columns.items()
        if not name.startswith(inside) and (column.op != kernels.OPEN or name in whole)
    ]
    return np.array(lines, np.int64).reshape(-1, 5), tuple(names)


@dataclass(eq=False)
class _Draft:
    """The parts of one batch, gathered into the kernel's shapes; k = len(rows)."""

    layout: Layout
    n: int
    rows: Int64s | None
    buffers: list[NDArray[np.uint8]] = field(default_factory=list)
    items: list[Int64s] = field(default_factory=list)
    at: dict[int, int] = field(default_factory=dict)
    size: int = 0
    item_count: int = 0
    room: int = 0

    def __post_init__(self) -> None:
        k = self.k = self.n if self.rows is None else len(self.rows)
        if self.rows is not None and k and (self.rows.min() < 0 or self.rows.max() >= self.n):
            raise BadParts(f"{self.layout.release.name}: a row number is outside 0 to {self.n - 1}")
        # Not filled: each field that is read gets its part, and most of them may lie in a record that is copied whole.
        self.ints = np.empty((self.layout.ints, k), np.int64)
        self.spans = np.empty((self.layout.spans, k, 2), np.int64)
        self.valid = np.empty((self.layout.nulls, k), np.bool_)
        self.heads = np.empty((self.layout.counts, k), np.int64)
        self.counts = np.empty((self.layout.counts, k), np.int64)

    def put(self, column: Column, given: Part) -> None:
        """Take one field's part."""
        self._put_valid(column, given)
        if given is None:
            return
        if column.op <= kernels.MASK:
            self._put_ints(column, given)
        elif column.op == kernels.LIST:
            self._put_strings(column, given)
        else:
            self._put_spans(column, given)

    def _put_valid(self, column: Column, given: Part) -> None:
        valid = given.valid if isinstance(given, Ints | Spans) else None
        chosen = np.bool_(given is not None) if valid is None else self._of(column, valid)
        if column.null >= 0:
            self.valid[column.null] = chosen
        elif not chosen.all():
            raise BadParts(f"{self.layout.release.name}: {column.name} cannot be null")

    def _of(self, column: Column, values: NDArray[Any]) -> NDArray[Any]:
        if len(values) != self.n:
            raise BadParts(f"{self.layout.release.name}: {column.name} has {len(values)} values for {self.n} rows")
        return values if self.rows is None else values[self.rows]

    def _wrong(self, column: Column, given: Part) -> BadParts:
        kind = type(given).__name__
        return BadParts(f"{self.layout.release.name}: {column.name} is {column.kind}, and its part is {kind}")

    def _put_ints(self, column: Column, given: Part) -> None:
        if isinstance(given, str) and given in column.symbols and column.kind == "enum":
            self.ints[column.slot] = column.symbols.index(given)
        elif isinstance(given, int):
            self.ints[column.slot] = given
        elif isinstance(given, Ints):
            self.ints[column.slot] = self._of(column, given.values)
        elif isinstance(given, np.ndarray) and given.dtype.kind in "iub":
            self.ints[column.slot] = self._of(column, given)
        else:
            raise self._wrong(column, given)
        self.room += self.k * (len(column.symbols) + 11)

    def _put_spans(self, column: Column, given: Part) -> None:
        if isinstance(given, str | bytes):
            octets = given.encode() if isinstance(given, str) else given
            start = self._buffer(np.frombuffer(octets, np.uint8))
            spans = np.broadcast_to(np.array([start, start + len(octets)]), (self.k, 2))
        elif isinstance(given, Spans):
            spans = self._inside(column, self._of(column, given.spans), given.data) + self._buffer(given.data)
        else:
            raise self._wrong(column, given)
        self.spans[column.slot] = spans
        self.room += int((spans[:, 1] - spans[:, 0]).sum()) + 11 * self.k

    def _put_strings(self, column: Column, given: Part) -> None:
        if not isinstance(given, Strings):
            raise self._wrong(column, given)
        counts = self._of(column, np.diff(given.offsets))
        spans = self._inside(column, given.spans, given.data) + self._buffer(given.data)
        if given.offsets[0] < 0 or given.offsets[-1] > len(spans) or (counts < 0).any():
            raise BadParts(f"{self.layout.release.name}: the offsets of {column.name} do not fit its strings")
        first = self._of(column, given.offsets[:-1])
        self.heads[column.count] = first + self.item_count
        self.counts[column.count] = counts
        self.items.append(spans)
        self.item_count += len(spans)
        lengths = offsets_of(spans[:, 1] - spans[:, 0])
        self.room += int((lengths[first + counts] - lengths[first] + counts * 10).sum()) + 12 * self.k

    def _inside(self, column: Column, spans: Int64s, data: NDArray[np.uint8]) -> Int64s:
        start, end = spans[:, 0], spans[:, 1]
        if len(spans) and (start.min() < 0 or end.max() > len(data) or (end < start).any()):
            raise BadParts(f"{self.layout.release.name}: a span of {column.name} lies outside its buffer")
        return spans

    def _buffer(self, data: NDArray[np.uint8]) -> int:
        """Return where `data` begins in the one buffer that the kernel reads; the same array is taken once."""
        if id(data) not in self.at:
            self.at[id(data)] = self.size
            self.buffers.append(data)
            self.size += len(data)
        return self.at[id(data)]

    def run(self, table: Int64s, names: tuple[str, ...], prefix: bytes) -> Blob:
        """Encode."""
        data = self.buffers[0] if len(self.buffers) == 1 else np.concatenate([np.empty(0, np.uint8), *self.buffers])
        data = data.view()
        data.flags.writeable = False
        items = np.concatenate([np.empty((0, 2), np.int64), *self.items])
        k = self.k
        out = np.empty(self.room + k * (len(prefix) + len(table)), np.uint8)
        bounds = np.zeros(k + 1, np.int64)
        parts = (self.ints, self.spans, self.valid, self.heads, self.counts, items, data)
        code, row, line = build_kernels.encode_rows(table, np.frombuffer(prefix, np.uint8), *parts, out, bounds)
        if code:
            name = _named(self.layout, table[line], names)
            raise BadParts(f"{self.layout.release.name}: {name} of row {row} is refused, {REASONS[code]}")
        return Blob(out[: bounds[-1]], bounds)


def _named(layout: Layout, line: Int64s, names: tuple[str, ...]) -> str:
    number = line[0] <= kernels.MASK
    found = (
        name
        for name in names
        if layout.columns[name].slot == line[1] and (layout.columns[name].op <= kernels.MASK) == number
    )
    return next(found, layout.release.name)
