"""The rules on columns, in Polars: the twin of `quality.one` for whole tables. Refine runs `quality.compiled`.

The frame has the columns that `quality.rules.fields` names, as `Columns.arrow` gives them: enumerations as text (plain,
categorical or enum), `forms`, `nexus` and `areas` as lists of text, dates as dates. A null counts as stated in
`quality.expr`. Expressions are built once for each kind of column.
"""

from functools import cache, reduce
from operator import add

import polars as pl

from quality import lists
from quality.expr import Call, Const, Expr, Field
from quality.rule import Applies, Severity
from quality.rules import fields, rules_for


def verdicts(applies: Applies, frame: pl.DataFrame, severity: Severity | None = None) -> pl.DataFrame:
    """Return one boolean column for each rule, named by its code: True where the row breaks it; never null."""
    plan = _plan(applies, severity, tuple(name for name in fields(applies) if frame.schema[name] == pl.List))
    return frame.select(plan)


@cache
def _plan(applies: Applies, severity: Severity | None, listed: tuple[str, ...]) -> list[pl.Expr]:
    """Return the expressions of the rules; `listed` are the columns that hold lists."""
    return [
        (~render(rule.check, frozenset(listed))).fill_null(value=True).alias(rule.code)
        for rule in rules_for(applies, severity)
    ]


def render(expr: Expr, listed: frozenset[str]) -> pl.Expr:
    """Return what an expression is for columns."""
    if isinstance(expr, Field):
        return pl.col(expr.name)
    if isinstance(expr, Const):
        return pl.lit(expr.value)
    assert isinstance(expr, Call)
    if expr.op in ("among", "lookup", "has", "matches"):
        subject, name = expr.args
        assert isinstance(name, Const)
        many = isinstance(subject, Field) and subject.name in listed
        return _named(expr, render(subject, listed), str(name.value), many)
    return _plain(expr, [render(arg, listed) for arg in expr.args])


def _named(call: Call, value: pl.Expr, name: str, many: bool) -> pl.Expr:
    """Return an operation whose second argument is a name or a text."""
    if call.op == "lookup":
        table = lists.table(name)
        return value.replace_strict(list(table), list(table.values()), default=None, return_dtype=pl.String)
    if call.op == "has":
        return value.list.contains(name)
    if call.op == "matches":
        return value.str.contains(name)
    codes = sorted(lists.codes(name))
    return value.list.eval(pl.element().is_in(codes)).list.all() if many else value.is_in(codes)


def _plain(call: Call, args: list[pl.Expr]) -> pl.Expr:
    """Return an operation on columns alone."""
    first = args[0]
    match call.op:
        case "eq":
            return first == args[1]
        case "le":
            return first <= args[1]
        case "and":
            return pl.all_horizontal(args)
        case "or":
            return pl.any_horizontal(args)
        case "not":
            return ~first
        case "missing":
            return first.is_null()
        case "sum":
            return reduce(add, (arg.cast(pl.Int64) for arg in args))
        case "days":
            return first.cast(pl.Int64) - args[1].cast(pl.Int64)
        case "month":
            return first.dt.month()
        case "day":
            return first.dt.day()
        case "weekday":
            return first.dt.weekday()
        case "count":
            return first.list.len()
        case "distinct":
            return first.list.n_unique() == first.list.len()
        case "chars":
            return first.str.len_chars()
    raise KeyError(call.op)


__all__ = ["render", "verdicts"]
