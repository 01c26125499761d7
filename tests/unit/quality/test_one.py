"""How null counts, in plain Python; the differential tests hold the other two renderings to it."""

import pytest

from quality.expr import Const, Field, either, every, total, when
from quality.one import broken, compiled
from quality.rules import RULES, fields_of, rules_for
from tests.unit.quality.rows import GOOD
from tests.unit.quality.test_rules import EXAMPLES

A, B = Field("a"), Field("b")


@pytest.mark.parametrize(
    ("expr", "row", "value"),
    [
        (A.eq(1), {"a": 1}, True),
        (A.eq(1), {"a": None}, None),
        (A.eq(1), {}, None),
        (A.missing(), {}, True),
        (A.missing(), {"a": 0}, False),
        (every(A.eq(1), B.eq(1)), {"a": 2, "b": None}, False),
        (every(A.eq(1), B.eq(1)), {"a": 1, "b": None}, None),
        (either(A.eq(1), B.eq(1)), {"a": 1, "b": None}, True),
        (either(A.eq(1), B.eq(1)), {"a": 2, "b": None}, None),
        (A.eq(1).negated(), {"a": None}, None),
        (when(A.eq(1), B.eq(1)), {"a": 2, "b": None}, True),
        (when(A.eq(1), B.eq(1)), {"a": None, "b": 1}, True),
        (total(A, B), {"a": 1, "b": None}, None),
        (total(A, B, Const(3)), {"a": 1, "b": 2}, 6),
        (A.between(1, 3), {"a": 3}, True),
        (A.lookup("country_of_admin1"), {"a": "CD61"}, "COD"),
        (A.lookup("country_of_admin1"), {"a": "COD"}, None),
        (A.among("Form"), {"a": ["rape", "no_such_code"]}, False),
        (A.among("Form"), {"a": []}, True),
        (A.part("chars"), {"a": "été"}, 3),
    ],
)
def test_what_an_expression_is_for_a_row(expr, row, value):
    assert compiled(expr)(row) is value or compiled(expr)(row) == value


OPTIONAL = {"admin1", "party", "prevalence"}


@pytest.mark.parametrize("code", [code for code, change in EXAMPLES.items() if change])
def test_a_null_in_a_required_field_never_heals_a_broken_row(code):
    (rule,) = (rule for rule in RULES if rule.code == code)
    row = GOOD[rule.applies] | EXAMPLES[code]
    for name in fields_of(rule.check) - OPTIONAL:
        assert code in broken(rule.applies, row | {name: None}), name


@pytest.mark.parametrize("name", sorted(OPTIONAL))
def test_an_optional_field_may_be_null(name):
    applies = "incident" if name in GOOD["incident"] else "pattern"
    assert broken(applies, GOOD[applies] | {name: None}) == []


def test_an_empty_row_breaks_every_rule_about_required_fields():
    codes = broken("incident", {})
    assert {"incident.country_not_monitored", "incident.persons_none", "incident.before_1946"} <= set(codes)
    assert len(codes) < len(rules_for("incident"))
