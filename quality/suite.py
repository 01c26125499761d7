"""The rules as a Great Expectations suite.

Each rule becomes expectations on the table's own columns where Great Expectations has such an expectation: ranges, sets
of codes, lengths and patterns of text, two columns in order, each also under a condition, and "not null" for each field
that the rule needs. What it has no expectation for (sums, items of lists, parts of dates, look-ups) is one boolean
column for each rule, computed by `quality.verdict`, that must be true throughout; `page()` says which rule is which.

Great Expectations is imported by the functions that need it: it takes seconds.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import polars as pl

from quality import lists
from quality.expr import Call, Const, Expr, Field, Plain
from quality.rule import Applies, Rule, Severity
from quality.rules import rules_for
from quality.verdict import verdicts

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations import ExpectationSuite


@dataclass(frozen=True)
class Expected:
    """One expectation as data: its class, its arguments, the rules it stands for.

    `where` restricts it to the rows whose field has the value, or none at all.
    """

    kind: str
    arguments: tuple[tuple[str, Any], ...]
    where: tuple[str, Plain] | None = None
    severity: Severity = "refuse"
    rules: tuple[str, ...] = ()


def expected(applies: Applies) -> tuple[Expected, ...]:
    """Return the expectations of all rules, each once, with the rules it stands for."""
    merged: dict[tuple[Any, ...], Expected] = {}
    for rule in rules_for(applies):
        for each in native(rule) or (_derived(rule),):
            key = (each.kind, each.arguments, each.where)
            known = merged.get(key)
            codes = (*known.rules, rule.code) if known else (rule.code,)
            severe: Severity = "refuse" if "refuse" in (rule.severity, known and known.severity) else "warn"
            merged[key] = Expected(*key, severity=severe, rules=codes)
    return tuple(merged.values())


@cache
def native(rule: Rule) -> tuple[Expected, ...] | None:
    """Return a rule as expectations on the table's own columns; None where one derived column has to stand for it."""
    return _native(rule.check, where=None, required=True)


def prepared(applies: Applies, frame: pl.DataFrame) -> "pd.DataFrame":
    """Return what the suite looks at: the table's own columns that it names, and a boolean for each other rule."""
    own = {value for each in expected(applies) for name, value in each.arguments if name.startswith("column")}
    own |= {each.where[0] for each in expected(applies) if each.where}
    derived = [rule.code for rule in rules_for(applies) if native(rule) is None]
    holds = verdicts(applies, frame).select(~pl.col(derived))
    kept = frame.select(name for name in frame.columns if name in own)
    return pl.concat([kept, holds], how="horizontal").to_pandas()


def build(name: str, expectations: Iterable[Expected]) -> "ExpectationSuite":
    """Return the suite of the expectations; their rules stand in `meta`."""
    from great_expectations import ExpectationSuite

    return ExpectationSuite(name=name, expectations=[_made(each) for each in expectations])


def page() -> str:
    """Return the section of `docs/reference/rules.md` that says on which columns each rule is rendered."""
    head = "\n## In Great Expectations\n\n| rule | looks at |\n|---|---|\n"
    rules = (rule for applies in ("incident", "pattern") for rule in rules_for(applies))
    return head + "".join(
        f"| `{rule.code}` | {'the own columns of the table' if native(rule) else 'one derived column'} |\n"
        for rule in rules
    )


def _made(each: Expected) -> Any:
    """Return an expectation of Great Expectations."""
    import great_expectations.expectations as gxe
    from great_expectations.expectations.row_conditions import Column

    where = {}
    if each.where:
        column, value = Column(each.where[0]), each.where[1]
        where = {"row_condition": (column == value) | column.is_null()}
    severity = "critical" if each.severity == "refuse" else "warning"
    meta = {"rules": list(each.rules)}
    arguments = {name: _stamp(value) for name, value in each.arguments}
    return getattr(gxe, each.kind)(**arguments, **where, severity=severity, meta=meta)


def _stamp(value: Any) -> Any:
    """Return a date as the midnight it begins with: pandas compares no date with its time stamps."""
    return datetime(value.year, value.month, value.day) if isinstance(value, date) else value  # noqa: DTZ001


def _derived(rule: Rule) -> Expected:
    return Expected("ExpectColumnValuesToBeInSet", (("column", rule.code), ("value_set", (True,))))


def _native(expr: Expr, where: tuple[str, Plain] | None, *, required: bool) -> tuple[Expected, ...] | None:
    """Return an expression as expectations; `required` adds that its fields are never null."""
    match expr:
        case Call("and", parts):
            each = [_native(part, where, required=required) for part in parts]
            return None if None in each else tuple(one for part in each if part for one in part)
        case Call("or", (Call("not", (Call("eq", (Field(name), Const(value))),)), then)) if where is None:
            return _native(then, (name, value), required=required)
        case Call("or", (Call("missing", (Field(name),)), then)) if where is None and _fields(then) == {name}:
            return _native(then, None, required=False)
    found = _leaf(expr)
    if found is None:
        return None
    kind, arguments = found
    needed = [Expected("ExpectColumnValuesToNotBeNull", (("column", n),), where) for n in sorted(_fields(expr))]
    return (Expected(kind, tuple(arguments.items()), where), *(needed if required else ()))


def _fields(expr: Expr) -> set[str]:
    if isinstance(expr, Field):
        return {expr.name}
    return set().union(*map(_fields, expr.args)) if isinstance(expr, Call) else set()


def _leaf(expr: Expr) -> tuple[str, dict[str, Any]] | None:
    """Return the class and the arguments for one comparison."""
    match expr:
        case Call("le", (Field(name), Const(value))):
            return "ExpectColumnValuesToBeBetween", {"column": name, "max_value": value}
        case Call("le", (Const(value), Field(name))):
            return "ExpectColumnValuesToBeBetween", {"column": name, "min_value": value}
        case Call("le", (Field(low), Field(high))):
            names = {"column_A": high, "column_B": low}
            return "ExpectColumnPairValuesAToBeGreaterThanB", {**names, "or_equal": True}
        case Call("eq", (Field(name), Const(value))):
            return "ExpectColumnValuesToBeInSet", {"column": name, "value_set": (value,)}
        case Call("not", (Call("eq", (Field(name), Const(value))),)):
            return "ExpectColumnValuesToNotBeInSet", {"column": name, "value_set": (value,)}
        case Call("among", (Field(name), Const(value))) if name not in ("forms", "nexus", "areas"):
            codes = tuple(sorted(lists.codes(str(value))))
            return "ExpectColumnValuesToBeInSet", {"column": name, "value_set": codes}
        case Call("not", (Call("matches", (Field(name), Const(value))),)):
            return "ExpectColumnValuesToNotMatchRegex", {"column": name, "regex": value}
        case Call("le", (Const(value), Call("chars", (Field(name),)))):
            return "ExpectColumnValueLengthsToBeBetween", {"column": name, "min_value": value}
        case Call("le", (Call("chars", (Field(name),)), Const(value))):
            return "ExpectColumnValueLengthsToBeBetween", {"column": name, "max_value": value}
    return None


__all__ = ["Expected", "build", "expected", "native", "page", "prepared"]
