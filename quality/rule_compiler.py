"""From the expressions of rules to the lines that `quality.rule_kernels` runs; each operation is one function below.

What the kernel cannot express is Unsupported here, and what an operation means is said in `quality.expr`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from quality import lists
from quality import rule_kernels as kernels
from quality.automaton import automaton
from quality.expr import Call, Const, Expr, Field
from schemas.columns import EPOCH
from schemas.kernels import LIST
from schemas.layout import Column, Layout
from schemas.walk import Unsupported

Int64s = NDArray[np.int64]
Masks = NDArray[np.uint64]
Vocabulary: TypeAlias = tuple[Masks, Int64s, NDArray[np.int16]]
Parts: TypeAlias = tuple[Int64s, Int64s, int, Int64s, Vocabulary, tuple[str, ...]]
Line: TypeAlias = tuple[int, int, int, int, int]
NO_SYMBOL = -2


@dataclass(frozen=True)
class Value:
    """What a register holds: `kind` is `verdict`, a column's kind, or `code` for a text that has one; `symbols` are an enum's."""

    register: int
    kind: str
    symbols: tuple[str, ...] = ()


@dataclass
class Draft:
    """A program being written: each expression is computed once, into a register of its own."""

    layout: Layout
    record: str
    lines: list[Line] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    constants: dict[int, int] = field(default_factory=dict)
    tables: list[tuple[dict[int, int], int]] = field(default_factory=list)
    codes: dict[str, int] = field(default_factory=dict)
    states: list[NDArray[np.int16]] = field(default_factory=list)
    lists: list[str] = field(default_factory=list)
    registers: int = 0

    def value(self, expr: Expr) -> Value:
        """Return where an expression is computed."""
        key = repr(expr)
        if key not in self.values:
            self.values[key] = self._read(expr) if isinstance(expr, Field) else self._call(expr)
        return self.values[key]

    def _call(self, expr: Expr) -> Value:
        if not isinstance(expr, Call) or expr.op not in OPERATIONS:
            raise _unsupported(expr, "the operation is not known here")
        return OPERATIONS[expr.op](self, expr)

    def of(self, expr: Expr, *kinds: str) -> Value:
        """Return a value that must be of one of some kinds."""
        found = self.value(expr)
        if found.kind not in kinds:
            raise _unsupported(expr, f"it is {found.kind}, and {' or '.join(kinds)} is needed")
        return found

    def column(self, expr: Expr) -> Column | None:
        """Return the column of a field; None for an expression that is no field."""
        if not isinstance(expr, Field):
            return None
        name = "recorded_at" if expr.name == "recorded_on" else f"{self.record}.{expr.name}"
        if name not in self.layout.columns:
            raise _unsupported(expr, f"{self.layout.release.name} has no such field")
        return self.layout.columns[name]

    def _read(self, expr: Expr) -> Value:
        column = self.column(expr)
        assert column
        if column.kind == "string":
            return self.line(kernels.CODE, column.slot, column.null, kind="string")
        if column.kind == "timestamp" and expr == Field("recorded_on"):
            return self.line(kernels.DAYS_OF, column.slot, column.null, kind="date")
        if column.kind not in ("int", "date", "boolean", "enum", "symbols"):
            raise _unsupported(expr, f"it is {column.kind}")
        return self.line(kernels.NUMBER, column.slot, column.null, kind=column.kind, symbols=column.symbols)

    def line(self, op: int, a: int, b: int = 0, c: int = 0, *, kind: str, symbols: tuple[str, ...] = ()) -> Value:
        """Write a line into a new register."""
        found = self._register(kind, symbols)
        self.lines.append((op, found.register, a, b, c))
        return found

    def _register(self, kind: str, symbols: tuple[str, ...] = ()) -> Value:
        self.registers += 1
        return Value(self.registers - 1, kind, symbols)

    def constant(self, value: int, kind: str) -> Value:
        """Return a register that always holds a value."""
        found = self._register(kind)
        self.constants[found.register] = value
        return found

    def code(self, text: str) -> int:
        """Return the code of a text, which enters the vocabulary."""
        if len(text.encode()) > kernels.LONGEST:
            raise Unsupported(f"a list of codes has {text!r}: the kernel compares at most {kernels.LONGEST} bytes")
        return self.codes.setdefault(text, len(self.codes))

    def table(self, entries: dict[int, int], other: int) -> int:
        """Return the number of a new table: what it gives for some codes, and for all others."""
        self.tables.append((entries, other))
        return len(self.tables) - 1

    def list_of(self, column: Column) -> int:
        """Return the number of an array of texts among those that are read."""
        if column.name not in self.lists:
            self.lists.append(column.name)
        return self.lists.index(column.name)

    def plain(self, beside: Value, expr: Const) -> Value:
        """Return a constant as it lies in a register beside which it is compared."""
        value = expr.value
        if beside.kind == "int" and type(value) is int:
            return self.constant(value, "int")
        if beside.kind == "boolean" and isinstance(value, bool):
            return self.constant(int(value), "boolean")
        if beside.kind == "date" and isinstance(value, date):
            return self.constant(value.toordinal() - EPOCH, "date")
        if beside.kind == "enum" and isinstance(value, str):
            return self.constant(beside.symbols.index(value) if value in beside.symbols else NO_SYMBOL, "enum")
        if beside.kind in ("string", "code") and isinstance(value, str):
            return self.constant(self.code(value), "code")
        raise _unsupported(expr, f"it is compared with {beside.kind}")

    def pair(self, expr: Call) -> tuple[Value, Value]:
        """Return two values of one kind."""
        one, two = expr.args
        if isinstance(one, Const):
            other = self.value(two)
            return self.plain(other, one), other
        first = self.value(one)
        return first, self.plain(first, two) if isinstance(two, Const) else self.value(two)

    def finished(self) -> Parts:
        """Return lines, constants, number of registers, tables, vocabulary and arrays, as a Program has them."""
        lines = np.array(self.lines, np.int64).reshape(-1, 5)
        constants = np.array(list(self.constants.items()), np.int64).reshape(-1, 2)
        width = 1 + max([len(self.codes), *(1 + max(entries, default=0) for entries, _ in self.tables)])
        tables = np.zeros((max(1, len(self.tables)), width), np.int64)
        for row, (entries, other) in zip(tables, self.tables, strict=False):
            row[:] = other
            row[np.array(list(entries), np.int64) + 1] = list(entries.values())
        states = np.concatenate([np.zeros((0, 256), np.int16), *self.states])
        return lines, constants, self.registers, tables, (*_vocabulary(self.codes), states), tuple(self.lists)


def _vocabulary(texts: Iterable[str]) -> tuple[Masks, Int64s]:
    """Return words and codes of texts, a table to search them in."""
    blobs = [np.frombuffer(text.encode(), np.uint8) for text in texts]
    given = np.array([kernels.word_of(blob, 0, len(blob)) for blob in blobs], np.uint64)
    slots = 1 << (4 * len(given) + 1).bit_length()
    words, codes = np.zeros(slots, np.uint64), np.zeros(slots, np.int64)
    kernels.place(given, words, codes)
    return words, codes


def _unsupported(expr: Expr, why: str) -> Unsupported:
    return Unsupported(f"{expr!r} does not compile for the kernel: {why}; teach quality/compiled.py")


def _equal(draft: Draft, expr: Call) -> Value:
    one, two = draft.pair(expr)
    texts = {one.kind, two.kind}
    if one.kind != two.kind and texts != {"string", "code"}:
        raise _unsupported(expr, f"{one.kind} is never {two.kind}")
    if texts == {"string"} or one.kind in ("verdict", "symbols") or (one.symbols and two.symbols):
        raise _unsupported(expr, f"two values of kind {one.kind} are not compared")
    return draft.line(kernels.EQUAL, one.register, two.register, kind="verdict")


def _ordered(draft: Draft, expr: Call) -> Value:
    one, two = draft.pair(expr)
    if one.kind != two.kind or one.kind not in ("int", "date"):
        raise _unsupported(expr, f"{one.kind} and {two.kind} have no order")
    return draft.line(kernels.ORDERED, one.register, two.register, kind="verdict")


def _folded(draft: Draft, expr: Call, *, op: int, kind: str) -> Value:
    found, *others = (draft.of(arg, kind) for arg in expr.args)
    for other in others:
        found = draft.line(op, found.register, other.register, kind=kind)
    return found


def _not(draft: Draft, expr: Call) -> Value:
    return draft.line(kernels.NOT, draft.of(expr.args[0], "verdict").register, kind="verdict")


def _days(draft: Draft, expr: Call) -> Value:
    one, two = (draft.of(arg, "date") for arg in expr.args)
    return draft.line(kernels.LESS, one.register, two.register, kind="int")


def _part_of_day(draft: Draft, expr: Call) -> Value:
    op = {"month": kernels.MONTH, "day": kernels.DAY_OF_MONTH, "weekday": kernels.WEEKDAY}[expr.op]
    return draft.line(op, draft.of(expr.args[0], "date").register, kind="int")


def _missing(draft: Draft, expr: Call) -> Value:
    column = draft.column(expr.args[0])
    if column is None:
        found = draft.of(expr.args[0], "int", "date", "code")
        return draft.line(kernels.MISSING, found.register, kind="verdict")
    if column.null < 0:
        return draft.constant(kernels.FALSE, "verdict")
    return draft.line(kernels.ABSENT, 0, column.null, kind="verdict")


def _among(draft: Draft, expr: Call) -> Value:
    subject, codes = expr.args[0], lists.codes(_name(expr))
    column = draft.column(subject)
    if column and column.op == LIST:
        table = draft.table({draft.code(text): kernels.TRUE for text in sorted(codes)}, kernels.FALSE)
        return draft.line(kernels.ALL_AMONG, draft.list_of(column), table, kind="verdict")
    found = draft.of(subject, "enum", "symbols", "string", "code")
    if found.kind == "symbols":
        allowed = draft.constant(sum(1 << bit for bit, each in enumerate(found.symbols) if each in codes), "symbols")
        return draft.line(kernels.WITHIN, found.register, allowed.register, kind="verdict")
    if found.kind == "enum":
        entries = {index: kernels.TRUE * (each in codes) for index, each in enumerate(found.symbols)}
    else:
        entries = {draft.code(text): kernels.TRUE for text in sorted(codes)}
    return draft.line(kernels.AMONG, found.register, draft.table(entries, kernels.FALSE), kind="verdict")


def _lookup(draft: Draft, expr: Call) -> Value:
    found = draft.of(expr.args[0], "string", "code")
    entries = {draft.code(text): draft.code(other) for text, other in sorted(lists.table(_name(expr)).items())}
    return draft.line(kernels.LOOKUP, found.register, draft.table(entries, kernels.NULL), kind="code")


def _count(draft: Draft, expr: Call) -> Value:
    column = draft.column(expr.args[0])
    if column and column.op == LIST:
        return draft.line(kernels.ITEMS, column.count, column.null, kind="int")
    return draft.line(kernels.BITS, draft.of(expr.args[0], "symbols").register, kind="int")


def _distinct(draft: Draft, expr: Call) -> Value:
    column = draft.column(expr.args[0])
    if column and column.op == LIST:
        return draft.line(kernels.DISTINCT, draft.list_of(column), kind="verdict")
    draft.of(expr.args[0], "symbols")  # the decoder refuses a symbol that comes twice
    return draft.constant(kernels.TRUE, "verdict")


def _has(draft: Draft, expr: Call) -> Value:
    found = draft.of(expr.args[0], "symbols")
    wanted = draft.constant(sum(1 << i for i, each in enumerate(found.symbols) if each == _name(expr)), "symbols")
    return draft.line(kernels.HAS, found.register, wanted.register, kind="verdict")


def _text(draft: Draft, expr: Call) -> Column:
    column = draft.column(expr.args[0])
    if not column or column.kind != "string":
        raise _unsupported(expr, "only of a field of text")
    return column


def _chars(draft: Draft, expr: Call) -> Value:
    column = _text(draft, expr)
    return draft.line(kernels.CHARS, column.slot, column.null, kind="int")


def _matches(draft: Draft, expr: Call) -> Value:
    column, first = _text(draft, expr), sum(map(len, draft.states))
    draft.states.append(automaton(_name(expr)))
    return draft.line(kernels.FINDS, column.slot, column.null, first, kind="verdict")


def _name(expr: Call) -> str:
    name = expr.args[1]
    if not isinstance(name, Const) or not isinstance(name.value, str):
        raise _unsupported(expr, "its second part must be a name or a text")
    return name.value


OPERATIONS: dict[str, Callable[[Draft, Call], Value]] = {
    "eq": _equal,
    "le": _ordered,
    "and": partial(_folded, op=kernels.AND, kind="verdict"),
    "or": partial(_folded, op=kernels.OR, kind="verdict"),
    "not": _not,
    "missing": _missing,
    "sum": partial(_folded, op=kernels.SUM, kind="int"),
    "days": _days,
    "month": _part_of_day,
    "day": _part_of_day,
    "weekday": _part_of_day,
    "among": _among,
    "lookup": _lookup,
    "count": _count,
    "distinct": _distinct,
    "has": _has,
    "chars": _chars,
    "matches": _matches,
}

__all__ = ["OPERATIONS", "Draft", "Value"]
