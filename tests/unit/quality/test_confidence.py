from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality.confidence import COLUMN, faded, with_confidence
from schemas.confidence import CREDIBILITY, RELIABILITY, Scale, default
from tests.unit.quality.rows import GOOD, frame

DAY = date(2024, 6, 30)
DAYS = st.dates(date(1946, 1, 1), date(2100, 1, 1))
PENDING = "report_pending_verification"


def confidences(*rows, scale=None, day=DAY):
    """The confidence in rows of (reliability, credibility, occurred_on, state of verification)."""
    names = ("source_reliability", "information_credibility", "occurred_on", "verification")
    facts = [GOOD["incident"] | dict(zip(names, (*row, PENDING)[:4], strict=True)) for row in rows]
    return with_confidence(frame("incident", facts), scale or default(), day)[COLUMN].to_list()


def confidence(reliability, credibility, age, **more):
    return confidences((reliability, credibility, DAY - timedelta(days=age)), **more)[0]


@pytest.mark.parametrize("reliability", RELIABILITY)
def test_it_begins_with_the_base(reliability):
    rows = [(reliability, credibility, DAY) for credibility in CREDIBILITY]
    assert tuple(confidences(*rows)) == default().base[reliability]


def test_it_halves_with_each_half_life():
    assert confidence("B", 2, 365) == pytest.approx(default().base["B"][1] / 2)
    assert confidence("B", 2, 730) == pytest.approx(default().base["B"][1] / 4)
    short = Scale(default().base, {"unverified_report": 10})
    assert confidence("B", 2, 30, scale=short) == pytest.approx(default().base["B"][1] / 8)


def test_in_between_it_is_the_power_of_two():
    assert confidence("A", 1, 100) == pytest.approx(0.5 ** (100 / 365), rel=1e-12)


def test_far_in_the_past_next_to_nothing_is_left():
    assert 0 < confidence("A", 1, 10_000) < 1e-8
    tiny = Scale(default().base, {"unverified_report": 1})
    assert confidences(("A", 1, date(1, 1, 1)), scale=tiny, day=date(9999, 12, 31)) == [0]


def test_a_report_of_a_later_day_is_as_new_as_one_of_that_day():
    assert confidence("C", 3, -400) == confidence("C", 3, 0)


@pytest.mark.parametrize(
    ("since", "day", "age"),
    [
        (date(2024, 2, 28), date(2024, 3, 1), 2),
        (date(2023, 2, 28), date(2023, 3, 1), 1),
        (date(2024, 2, 29), date(2025, 2, 28), 365),
        (date(2020, 1, 1), date(2021, 1, 1), 366),
        (date(1900, 2, 28), date(1900, 3, 1), 1),
    ],
)
def test_an_age_is_counted_in_days_over_leap_days_too(since, day, age):
    assert confidences(("A", 1, since), day=day) == confidences(("A", 1, DAY - timedelta(days=age)))


@pytest.mark.parametrize("state", ["verified", "not_in_scope", "did_not_occur", None])
def test_only_a_report_that_waits_for_verification_has_one(state):
    assert confidences(("A", 1, DAY, state), ("A", 1, DAY, PENDING)) == [None, 1]


def test_where_a_code_is_missing_or_is_none_there_is_none():
    rows = [(None, 1, DAY), ("A", None, DAY), ("A", 7, DAY), ("G", 1, DAY), ("A", 1, None), ("A", 1, DAY)]
    assert confidences(*rows) == [None, None, None, None, None, 1]


def test_a_table_without_rows_has_the_column():
    empty = with_confidence(frame("incident", []), default(), DAY)
    assert empty.schema[COLUMN] == pl.Float64


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(RELIABILITY), st.sampled_from(CREDIBILITY), DAYS, st.lists(DAYS, min_size=2, max_size=9))
def test_it_never_rises_with_age(reliability, credibility, day, days):
    found = confidences(*((reliability, credibility, since) for since in sorted(days)), day=day)
    assert found == sorted(found)


@settings(max_examples=60, deadline=None)
@given(DAYS, DAYS)
def test_a_better_code_has_no_less(since, day):
    by_source = [confidences(*((code, n, since) for code in "EDCBA"), day=day) for n in CREDIBILITY]
    by_content = [confidences(*((code, n, since) for n in (5, 4, 3, 2, 1)), day=day) for code in RELIABILITY]
    for found in by_source + by_content:
        assert found == sorted(found)
        assert 0 <= found[0] < found[-1] <= 1


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(RELIABILITY), st.sampled_from(CREDIBILITY), DAYS, DAYS, st.integers(1, 36_525))
def test_it_is_what_the_formula_says(reliability, credibility, since, day, half_life):
    scale = Scale(default().base, {"unverified_report": half_life})
    expected = default().base[reliability][credibility - 1] * 0.5 ** (max((day - since).days, 0) / half_life)
    assert confidences((reliability, credibility, since), scale=scale, day=day) == [pytest.approx(expected, rel=1e-9)]


def test_anything_else_fades_by_the_same_function():
    fading = pl.DataFrame({"weight": [0.8, 0.8, 0.4], "age": [0, 30, 60]})
    assert fading.select(faded(pl.col("weight"), pl.col("age"), 30)).to_series().to_list() == pytest.approx(
        [0.8, 0.4, 0.1]
    )
