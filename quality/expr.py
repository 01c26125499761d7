"""The small language in which a rule's check is written down as data.

An expression is a tree of `Field`, `Const` and `Call`; it computes nothing by itself. `quality.one`, `quality.verdict`,
`quality.compiled` and `quality.suite` each give it a meaning, and differential tests hold the four together.

Null: every operation on a null gives null, but for `missing` (never null) and the three-valued `and`, `or` and `not`
(Kleene's: null or true is true, null and false is false). A rule holds only where its check is true: false and null
both break it, so that a field that a rule needs and a row lacks is never passed over in silence. A rule about a field
that may be absent says so with `missing`.
"""

from dataclasses import dataclass
from datetime import date
from typing import Literal, TypeAlias

Op: TypeAlias = Literal[
    "eq",  # two values are equal
    "le",  # the first is at most the second (numbers, dates)
    "and",
    "or",
    "not",
    "missing",  # the value is null
    "sum",  # of numbers
    "days",  # from the second date to the first, whole days
    "month",  # of a date, 1 to 12
    "day",  # of a date, 1 to 31
    "weekday",  # of a date, Monday is 1
    "among",  # a value, or each item of a list, stands in the named list of codes
    "lookup",  # what the named table gives for a text; null where it has no entry
    "count",  # items of a list
    "distinct",  # no item of a list comes twice
    "has",  # a list has this item
    "chars",  # characters (code points) of a text
    "matches",  # the pattern is found in a text; ASCII classes only, they mean the same everywhere
]
Plain: TypeAlias = str | int | bool | date


@dataclass(frozen=True)
class Expr:
    """A node of a check; its methods build larger nodes."""

    def eq(self, other: "Expr | Plain") -> "Call":
        """Ask whether the two are equal."""
        return Call("eq", (self, _lift(other)))

    def ne(self, other: "Expr | Plain") -> "Call":
        """Ask whether the two differ."""
        return self.eq(other).negated()

    def at_most(self, other: "Expr | Plain") -> "Call":
        """Ask whether this is not larger than the other."""
        return Call("le", (self, _lift(other)))

    def at_least(self, other: "Expr | Plain") -> "Call":
        """Ask whether this is not smaller than the other."""
        return Call("le", (_lift(other), self))

    def between(self, low: Plain, high: Plain) -> "Call":
        """Ask whether this lies within the two, both included."""
        return every(self.at_least(low), self.at_most(high))

    def negated(self) -> "Call":
        """Negate this."""
        return Call("not", (self,))

    def missing(self) -> "Call":
        """Ask whether this is null."""
        return Call("missing", (self,))

    def among(self, codes: str) -> "Call":
        """Ask whether this, or each item of it, stands in the named list of codes."""
        return Call("among", (self, Const(codes)))

    def lookup(self, table: str) -> "Call":
        """Look this up in the named table."""
        return Call("lookup", (self, Const(table)))

    def has(self, item: str) -> "Call":
        """Ask whether this list has the item."""
        return Call("has", (self, Const(item)))

    def matches(self, pattern: str) -> "Call":
        """Ask whether the pattern is found in this text."""
        return Call("matches", (self, Const(pattern)))

    def days_after(self, other: "Expr") -> "Call":
        """Count the whole days from the other date to this one."""
        return Call("days", (self, other))

    def part(self, op: Op) -> "Call":
        """Apply an operation on a single value: month, day, weekday, count, distinct, chars."""
        return Call(op, (self,))


@dataclass(frozen=True)
class Field(Expr):
    """A field of the row, by its name in the contract (without the record's prefix), or `recorded_on`."""

    name: str


@dataclass(frozen=True)
class Const(Expr):
    """A constant."""

    value: Plain


@dataclass(frozen=True)
class Call(Expr):
    """An operation on other nodes; see `Op`."""

    op: Op
    args: tuple[Expr, ...]


def every(*checks: Expr) -> Call:
    """Ask whether all of them hold."""
    return Call("and", checks)


def either(*checks: Expr) -> Call:
    """Ask whether at least one of them holds."""
    return Call("or", checks)


def when(condition: Expr, then: Expr) -> Call:
    """Ask that where the condition holds, the other does too."""
    return Call("or", (Call("not", (condition,)), then))


def total(*numbers: Expr) -> Call:
    """Add numbers up."""
    return Call("sum", numbers)


def _lift(value: Expr | Plain) -> Expr:
    """Make a plain value a constant."""
    return value if isinstance(value, Expr) else Const(value)


__all__ = ["Call", "Const", "Expr", "Field", "either", "every", "total", "when"]
