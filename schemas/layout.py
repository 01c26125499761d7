"""From an Avro schema to the small table that the kernels walk.

A line of the table is (op, slot, a, b, code): INT and LONG read a number in [a, b], else `code`; MASK an array of
`a` symbols; OCTETS and TEXT at most `a` bytes; FIXED exactly `a`; LIST strings of at most `a` bytes, counted in slot
`b`; NULL a branch, `a` being null's, and skips `b` lines; OPEN and CLOSE note where a nested record begins and ends.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas import kernels
from schemas.limits import DATE, REASONS, STRING_BYTES, TIMESTAMP, bytes_limit, logical
from schemas.released import Release
from schemas.walk import Unsupported

MASK_SYMBOLS = 63
INT32 = (-(1 << 31), (1 << 31) - 1)
INT64 = (-(1 << 63), (1 << 63) - 1)


@dataclass(frozen=True)
class Column:
    """Where a field is found: `op` and `slot` (in ints or spans), `null` (in valid) and `count` (in counts), -1 for none.

    `kind` is its Avro type, or `date`, `timestamp`, `symbols`, `strings`, `record`; `size` that of a fixed.
    """

    name: str
    kind: str
    op: int
    slot: int
    null: int = -1
    count: int = -1
    symbols: tuple[str, ...] = ()
    size: int = 0


@dataclass(frozen=True, eq=False)
class Layout:
    """A compiled schema: `table` int64[m, 5], the columns by name, and how many slots of each sort there are."""

    release: Release
    raw: tuple[str, ...]
    table: NDArray[np.int64]
    columns: dict[str, Column]
    ints: int
    spans: int
    nulls: int
    counts: int


@dataclass
class _Draft:
    raw: tuple[str, ...]
    lines: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    columns: dict[str, Column] = field(default_factory=dict)
    known: dict[str, Any] = field(default_factory=dict)
    ints: int = 0
    spans: int = 0
    nulls: int = 0
    counts: int = 0

    def int_slot(self) -> int:
        self.ints += 1
        return self.ints - 1

    def span_slot(self) -> int:
        self.spans += 1
        return self.spans - 1

    def line(self, op: int, slot: int, a: int = 0, b: int = 0, code: int = 0) -> None:
        self.lines.append((op, slot, a, b, code))


@lru_cache(maxsize=256)
def compile(release: Release, raw: tuple[str, ...] = ()) -> Layout:  # noqa: A001
    """Return the layout of a record schema; nested records in `raw` also get a span column of their own name.

    Unsupported for what the fast lane does not read: maps, unions but of null and one type, arrays but of enum
    symbols (at most 63) or strings, null records, floating point.
    """
    draft = _Draft(raw)
    _record(draft, release.schema, "")
    missing = [name for name in raw if name not in draft.columns]
    if missing:
        raise Unsupported(f"{release.name} has no nested record {missing[0]}; its records are in its contract")
    table = np.array(draft.lines, np.int64).reshape(-1, 5)
    counts = (draft.ints, draft.spans, draft.nulls, draft.counts)
    return Layout(release, raw, table, draft.columns, *counts)


def _record(draft: _Draft, schema: Any, prefix: str) -> None:
    for one in schema["fields"]:
        _field(draft, one["type"], prefix + one["name"])


def _field(draft: _Draft, schema: Any, name: str, null: int = -1) -> None:
    if isinstance(schema, list):
        _union(draft, schema, name)
        return
    schema = draft.known.get(schema, schema) if isinstance(schema, str) else schema
    kind = schema if isinstance(schema, str) else schema["type"]
    if isinstance(schema, dict) and "name" in schema:
        draft.known[schema["name"]] = schema
    make = _KINDS.get(kind)
    if make is None or (kind in ("array", "record") and null >= 0):
        raise Unsupported(f"{name}: the fast lane does not read {kind} here; read it with schemas.rows")
    make(draft, schema, name, null)


def _union(draft: _Draft, branches: list[Any], name: str) -> None:
    if len(branches) != 2 or "null" not in branches:
        raise Unsupported(f"{name}: the fast lane reads unions of null and one type only; read it with schemas.rows")
    branch = branches.index("null")
    slot, at = draft.nulls, len(draft.lines)
    draft.nulls += 1
    draft.line(kernels.NULL, slot, branch)
    _field(draft, branches[1 - branch], name, slot)
    draft.lines[at] = (kernels.NULL, slot, branch, len(draft.lines) - at - 1, 0)


def _number(draft: _Draft, schema: Any, name: str, null: int) -> None:
    kind = schema if isinstance(schema, str) else schema["type"]
    sort = {"date": "date", "timestamp-millis": "timestamp"}.get(logical(schema), kind)
    low, high = {"date": DATE, "timestamp": TIMESTAMP, "int": INT32, "long": INT64}[sort]
    op, slot = kernels.INT if kind == "int" else kernels.LONG, draft.int_slot()
    code = REASONS.index("avro.int_range" if sort == kind else "avro.date_range")
    draft.line(op, slot, low, high, code)
    draft.columns[name] = Column(name, sort, op, slot, null)


def _boolean(draft: _Draft, schema: Any, name: str, null: int) -> None:  # noqa: ARG001
    slot = draft.int_slot()
    draft.line(kernels.BOOLEAN, slot, 0, 1, kernels.BAD_BOOLEAN)
    draft.columns[name] = Column(name, "boolean", kernels.BOOLEAN, slot, null)


def _enum(draft: _Draft, schema: Any, name: str, null: int) -> None:
    slot, symbols = draft.int_slot(), tuple(schema["symbols"])
    draft.line(kernels.INT, slot, 0, len(symbols) - 1, kernels.ENUM_INDEX)
    draft.columns[name] = Column(name, "enum", kernels.INT, slot, null, symbols=symbols)


def _octets(draft: _Draft, schema: Any, name: str, null: int) -> None:
    kind = schema if isinstance(schema, str) else schema["type"]
    limit = STRING_BYTES if kind == "string" else bytes_limit(name.rpartition(".")[2])
    op, slot = kernels.TEXT if kind == "string" else kernels.OCTETS, draft.span_slot()
    draft.line(op, slot, limit)
    draft.columns[name] = Column(name, kind, op, slot, null)


def _fixed(draft: _Draft, schema: Any, name: str, null: int) -> None:
    slot = draft.span_slot()
    draft.line(kernels.FIXED, slot, schema["size"])
    draft.columns[name] = Column(name, "fixed", kernels.FIXED, slot, null, size=schema["size"])


def _array(draft: _Draft, schema: Any, name: str, null: int) -> None:
    items = draft.known.get(schema["items"], schema["items"]) if isinstance(schema["items"], str) else schema["items"]
    if items == "string":
        slot, count = draft.span_slot(), draft.counts
        draft.counts += 1
        draft.line(kernels.LIST, slot, STRING_BYTES, count)
        draft.columns[name] = Column(name, "strings", kernels.LIST, slot, null, count)
        return
    if not isinstance(items, dict) or items["type"] != "enum" or len(items["symbols"]) > MASK_SYMBOLS:
        raise Unsupported(f"{name}: the fast lane reads arrays of strings or of at most {MASK_SYMBOLS} symbols")
    draft.known[items["name"]] = items
    slot, symbols = draft.int_slot(), tuple(items["symbols"])
    draft.line(kernels.MASK, slot, len(symbols))
    draft.columns[name] = Column(name, "symbols", kernels.MASK, slot, null, symbols=symbols)


def _nested(draft: _Draft, schema: Any, name: str, null: int) -> None:
    if name not in draft.raw:
        _record(draft, schema, f"{name}.")
        return
    slot = draft.span_slot()
    draft.line(kernels.OPEN, slot)
    _record(draft, schema, f"{name}.")
    draft.line(kernels.CLOSE, slot)
    draft.columns[name] = Column(name, "record", kernels.OPEN, slot, null)


_KINDS: dict[str, Callable[[_Draft, Any, str, int], None]] = {
    "int": _number,
    "long": _number,
    "boolean": _boolean,
    "enum": _enum,
    "string": _octets,
    "bytes": _octets,
    "fixed": _fixed,
    "array": _array,
    "record": _nested,
}
