"""The kernel's rendering equals the plain one and Polars', also where a contract would allow nulls and other codes."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality import expr, rule_kernels
from quality.compiled import compiled, program, refused
from quality.expr import Call, Const, Field, every, total
from quality.one import broken
from quality.rules import rules_for
from quality.verdict import verdicts
from schemas import rows as codec
from schemas.columns import Blob, compile, decode  # noqa: A004
from schemas.limits import DATE
from schemas.released import Release, latest
from schemas.walk import Unsupported
from tests.unit.quality.rows import ENUMS, GOOD, LISTS, choices, frame, random_rows, reasons
from tests.unit.quality.test_rules import EXAMPLES

CONTRACT = {"incident": "IncidentReported", "pattern": "PatternObserved"}
# The decoder refuses a symbol that comes twice before any rule sees it.
REFUSED_BEFORE = {f"{sort}.{name}_repeated" for sort in CONTRACT for name in ("forms", "nexus")}


def widened(applies):
    """Return the contract, but every field may be null and every enumeration has a code more."""
    schema = latest(CONTRACT[applies]).schema
    facts = next(one["type"] for one in schema["fields"] if one["name"] == applies)
    inner = [{"name": one["name"], "type": wide(one["type"])} for one in facts["fields"]]
    recorded = {"name": "recorded_at", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}]}
    record = {"type": "record", "name": "Facts", "fields": inner}
    fields = [recorded, {"name": applies, "type": record}]
    return Release(0, "Widened", 0, b"", {"type": "record", "name": "Widened", "fields": fields})


def wide(kind):
    if isinstance(kind, list):
        return kind
    if isinstance(kind, dict) and kind["type"] == "array":
        return {"type": "array", "items": more(kind["items"])}
    return ["null", more(kind)]


def more(kind):
    if not isinstance(kind, dict) or kind["type"] != "enum":
        return kind
    return {"type": "enum", "name": kind["name"], "symbols": [*kind["symbols"], "no_such_code"]}


WIDE = {applies: widened(applies) for applies in CONTRACT}


def bodies(applies, rows, release):
    """Return the decoded columns of rows."""
    encoded = Blob.of([codec.write(release, value(applies, row)) for row in rows])
    columns = decode(compile(release, (applies,)), encoded.data, encoded.starts, encoded.ends)
    assert not columns.status.any()
    return columns


def value(applies, row):
    day = row["recorded_on"]
    recorded = day and int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000) + 86_399_999
    return {"recorded_at": recorded, applies: {name: row[name] for name in row if name != "recorded_on"}}


def masks_of(applies, rows, release):
    columns = bodies(applies, rows, release)
    judge = compiled(columns.layout, applies)
    return [judge.reasons(mask) for mask in judge.run(columns).tolist()]


def decodable(row):
    """Return whether the widened contract can say a row: no array is null, no symbol comes twice."""
    arrays = [row[name] for name in LISTS if name in row]
    symbols = [row["forms"], row["nexus"]]
    return None not in arrays and all(len(set(each)) == len(each) for each in symbols)


@pytest.mark.parametrize("applies", ["incident", "pattern"])
@pytest.mark.parametrize("seed", range(3))
def test_the_kernel_says_what_python_and_polars_say_of_random_rows(applies, seed):
    rows = [row for row in random_rows(applies, 2_000, 100 + seed) if decodable(row)]
    wanted = [broken(applies, row) for row in rows]
    assert masks_of(applies, rows, WIDE[applies]) == wanted
    assert reasons(verdicts(applies, frame(applies, rows))) == wanted
    met = Counter(code for codes in wanted for code in codes)
    assert set(met) | REFUSED_BEFORE >= {rule.code for rule in rules_for(applies)}, "a rule is not compared"
    assert wanted.count([]) > 100


NUMBERS = st.one_of(st.integers(-3, 10), st.integers(4_998, 5_002), st.integers(-(2**31), 2**31 - 1))
LONG = st.tuples(st.sampled_from(["x", "é", "حز"]), st.integers(98, 202)).map(lambda pair: pair[0] * pair[1])
TEXTS = st.one_of(st.text(max_size=9), st.text(st.sampled_from("0123456789 @é"), max_size=20), LONG)
DAYS = st.one_of(st.dates(), st.dates(date(2024, 6, 10), date(2024, 6, 20)))


def some(name):
    """Return a strategy for a field: what it may hold, or anything of its type."""
    if name in LISTS:
        codes = st.sampled_from(["no_such_code", *GOOD_CODES[name]]) if name != "areas" else AREAS
        return st.lists(codes, max_size=5, unique=name != "areas")
    known = st.sampled_from(choices(name))
    if name in ENUMS or name == "un_eyewitness":
        return st.none() | known
    days = name.endswith("_on") or name.startswith("period_")
    other = DAYS if days else TEXTS if name in ("country", "admin1", "party") else NUMBERS
    return st.none() | known | other


GOOD_CODES = {"forms": ["rape", "unspecified", "forced_pregnancy"], "nexus": ["trafficking", "detention"]}
AREAS = st.sampled_from(["CD61", "CAF", "COD", "XX99", ""]) | st.text(max_size=9)
ROWS = {
    applies: st.fixed_dictionaries({}, optional={name: some(name) for name in good}).map(
        lambda row, g=good: {**g, **row}
    )
    for applies, good in GOOD.items()
}


@pytest.mark.parametrize("applies", ["incident", "pattern"])
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_the_kernel_says_what_python_says_of_anything(applies, data):
    rows = data.draw(st.lists(ROWS[applies], min_size=1, max_size=4))
    assert masks_of(applies, rows, WIDE[applies]) == [broken(applies, row) for row in rows]


@pytest.mark.parametrize("code", [code for code, change in EXAMPLES.items() if change is not None])
def test_each_rule_is_found_by_the_row_that_breaks_it(code):
    applies = code.partition(".")[0]
    row = GOOD[applies] | EXAMPLES[code]
    if code in REFUSED_BEFORE or code.endswith("codes_unknown"):
        with pytest.raises(Exception, match=r"twice|avro|symbol|enum"):
            bodies(applies, [row], latest(CONTRACT[applies]))
        return
    assert masks_of(applies, [GOOD[applies], row], latest(CONTRACT[applies])) == [[], [code]]


@pytest.mark.parametrize("applies", ["incident", "pattern"])
def test_every_rule_of_every_severity_has_its_bit(applies):
    layout = compile(latest(CONTRACT[applies]), (applies,))
    for severity in (None, "refuse", "warn"):
        judge = compiled(layout, applies, severity)
        assert judge.codes == tuple(rule.code for rule in rules_for(applies, severity))
        bits = judge.lines[judge.lines[:, 0] == rule_kernels.BROKEN, 3]
        assert sorted(bits.tolist()) == list(range(len(judge.codes)))


def test_refused_names_rows_and_all_their_reasons_but_no_warning_and_no_bad_row():
    rows = [GOOD["incident"], GOOD["incident"] | {"forms": [], "deaths": 6001}, GOOD["incident"] | {"deaths": 2}]
    columns = bodies("incident", rows, latest("IncidentReported"))
    where, codes = refused("incident", columns)
    assert (where.dtype, where.tolist()) == (np.int64, [1])
    assert codes == [["incident.deaths_out_of_range", "incident.forms_missing"]]
    columns.status[1] = 1
    assert refused("incident", columns)[1] == []


def test_no_rows_no_reasons():
    where, codes = refused("pattern", bodies("pattern", [], latest("PatternObserved")))
    assert (where.tolist(), codes) == ([], [])


def test_every_operation_of_the_language_is_compiled():
    from quality import rule_compiler

    assert set(rule_compiler.OPERATIONS) == set(get_args(expr.Op))


COUNTRY, WOMEN, DAY = Field("country"), Field("women"), Field("occurred_on")


@pytest.mark.parametrize("check", [
    Call("between", (WOMEN,)), Field("nowhere").missing(), COUNTRY.eq(Field("party")), COUNTRY.eq(WOMEN), COUNTRY, WOMEN,
    COUNTRY.at_most("COD"), WOMEN.eq("COD"), WOMEN.eq(True), WOMEN.eq(1.5), DAY.eq(1), Field("un_eyewitness"),
    Field("un_eyewitness").eq(1), Field("setting").eq(Field("tactic")), Field("forms").eq(Field("nexus")),
    every(WOMEN.at_least(1), WOMEN), total(WOMEN, DAY).eq(1), WOMEN.days_after(DAY).eq(1), WOMEN.part("month").eq(1),
    WOMEN.part("chars").eq(1), COUNTRY.matches("a*"), WOMEN.among("Form"), Field("forms").lookup("country_of_admin1"),
    Field("setting").has("home"), COUNTRY.part("count").eq(1), COUNTRY.part("distinct"), COUNTRY.eq("too long a text"),
    Const(value=True), Call("among", (COUNTRY, WOMEN)), Field("forms").part("month").eq(1), every(WOMEN.eq(1)).missing(),
])  # fmt: skip
def test_what_cannot_be_expressed_is_said_when_compiling(check):
    with pytest.raises(Unsupported):
        program({"a.rule": check}, compile(latest("IncidentReported"), ("incident",)), "incident")


def test_more_rules_than_bits_are_refused():
    checks = {f"rule {i}": WOMEN.eq(i) for i in range(65)}
    with pytest.raises(Unsupported, match="two programs"):
        program(checks, compile(latest("IncidentReported"), ("incident",)), "incident")


def test_the_calendar_is_that_of_python():
    rng = np.random.default_rng(5)
    leaps = [
        date(year, month, day) for year in (1, 4, 1900, 2000, 2024, 9999) for month, day in ((2, 28), (3, 1), (12, 31))
    ]
    numbers = [
        *rng.integers(*DATE, 20_000).tolist(),
        *DATE,
        *(each.toordinal() - date(1970, 1, 1).toordinal() for each in leaps),
    ]
    for number in numbers:
        day = date(1970, 1, 1) + timedelta(days=number)
        assert rule_kernels.civil(number) == (day.month, day.day)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, 400, 1_000])
def test_a_long_list_is_searched_for_repeats(n):
    items = [f"A{i}" for i in range(n)]
    rows = [GOOD["pattern"] | {"areas": areas} for areas in (items, [*items[: n - 1], *items[:1]], items)]
    found = masks_of("pattern", rows, latest("PatternObserved"))
    assert ["pattern.areas_repeated" in codes for codes in found] == [False, n > 1, False]
