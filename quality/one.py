"""The rules on one record, in plain Python: what a mission node can run. The slow twin of `quality.verdict`."""

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeAlias

from quality import lists
from quality.expr import Call, Const, Expr, Field
from quality.rule import Applies, Severity
from quality.rules import rules_for

Check: TypeAlias = Callable[[Mapping[str, Any]], Any]


def broken(applies: Applies, row: Mapping[str, Any], severity: Severity | None = None) -> list[str]:
    """Return the codes of the rules that a row breaks, in the order of `RULES`.

    The row is an Incident or a Pattern as `schemas.rows.read` gives it, and `recorded_on` (a date) beside its fields;
    a key that is absent counts as null. With a severity, only the rules of that severity.
    """
    return [code for code, check in _checks(applies, severity) if check(row) is not True]


def compiled(expr: Expr) -> Check:
    """Return the function that says what an expression is for a row; null is None."""
    if isinstance(expr, Field):
        name = expr.name
        return lambda row: row.get(name)
    if isinstance(expr, Const):
        constant = expr.value
        return lambda _row: constant
    assert isinstance(expr, Call)
    args = tuple(map(compiled, expr.args))
    if of_nulls := _OF_NULLS.get(expr.op):
        return lambda row: of_nulls([arg(row) for arg in args])
    return _strict(_OF_VALUES[expr.op], args)


def _strict(operation: Callable[..., Any], args: tuple[Check, ...]) -> Check:
    """Return an operation that gives null where one of its arguments is null."""

    def run(row: Mapping[str, Any]) -> Any:
        values = [arg(row) for arg in args]
        return None if None in values else operation(*values)

    return run


@cache
def _checks(applies: Applies, severity: Severity | None) -> tuple[tuple[str, Check], ...]:
    """Return code and function of the rules."""
    return tuple((rule.code, compiled(rule.check)) for rule in rules_for(applies, severity))


def _and(args: list[Any]) -> bool | None:
    return False if False in args else None if None in args else True


def _or(args: list[Any]) -> bool | None:
    return True if True in args else None if None in args else False


def _among(item: str | list[str], name: str) -> bool:
    codes = lists.codes(name)
    return all(each in codes for each in item) if isinstance(item, list) else item in codes


_OF_NULLS: dict[str, Callable[[list[Any]], bool | None]] = {
    "and": _and,
    "or": _or,
    "not": lambda args: None if args[0] is None else not args[0],
    "missing": lambda args: args[0] is None,
}
_OF_VALUES: dict[str, Callable[..., Any]] = {
    "eq": lambda a, b: a == b,
    "le": lambda a, b: a <= b,
    "sum": lambda *numbers: sum(numbers),
    "days": lambda a, b: (a - b).days,
    "month": lambda day: day.month,
    "day": lambda day: day.day,
    "weekday": lambda day: day.isoweekday(),
    "among": _among,
    "lookup": lambda text, name: lists.table(name).get(text),
    "count": len,
    "distinct": lambda items: len(set(items)) == len(items),
    "has": lambda items, item: item in items,
    "chars": len,
    "matches": lambda text, pattern: re.search(pattern, text) is not None,
}

__all__ = ["Check", "broken", "compiled"]
