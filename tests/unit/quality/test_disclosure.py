import json
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.node.importers.insecurity_insight import InsecurityInsight
from quality.disclosure import LADDER, Unsafe, partition, safe_table
from tests.unit.quality.rows import frame
from tests.unit.quality.test_verdict import real_rows

SCHEMA = {
    "occurred_on": pl.Date,
    "date_precision": pl.String,
    "country": pl.String,
    "admin1": pl.String,
    "verification": pl.String,
}
PLACES = [("COD", "CD61"), ("COD", "CD62"), ("COD", None), ("CAF", "CF11"), ("CAF", None)]


def incident(day, precision, place, verification):
    return (date(2021, 1, 1) + timedelta(days=day), precision, *place, verification)


INCIDENTS = st.lists(
    st.builds(
        incident,
        st.sampled_from([0, 5, 40, 100, 200, 400, 401, 500]),
        st.sampled_from(["day", "week", "month", "quarter", "year"]),
        st.sampled_from(PLACES),
        st.sampled_from(["verified", "report_pending_verification", None]),
    ),
    max_size=80,
)


def table(rows, values=None):
    whole = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    return whole if values is None else whole.with_columns(pl.Series("value", values, pl.Float64))


@settings(max_examples=60, deadline=None)
@given(INCIDENTS, st.sampled_from([(), ("verification",)]), st.sampled_from([2, 3, 5, 10]))
def test_no_cell_is_small_and_every_incident_is_in_one(rows, by, threshold):
    whole = table(rows)
    cells = partition(whole, by, threshold)
    shown = safe_table(whole, by, threshold)
    assert all(count >= threshold and count % threshold == 0 for count in shown["count"])
    assert cells.height == shown.height
    assert all(exact >= threshold for exact in cells["exact"])
    keys = [*by, "period_kind", "period", "area_kind", "area"]
    assert not cells.select(keys).is_duplicated().any()
    large = whole.filter(pl.len().over(list(by)) >= threshold if by else pl.lit(len(rows) >= threshold))
    assert cells["exact"].sum() == large.height, "each incident of a group that may be shown is in exactly one cell"
    assert abs(shown["count"].sum() - large.height) <= shown.height * threshold / 2


@settings(max_examples=40, deadline=None)
@given(INCIDENTS, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(rows, random):
    mixed = list(rows)
    random.shuffle(mixed)
    assert safe_table(table(rows), ("verification",)).equals(safe_table(table(mixed), ("verification",)))


def at(day, n, place=PLACES[0], precision="day", verification="verified"):
    return [incident(day, precision, place, verification)] * n


def cells(rows, **more):
    shown = safe_table(table(rows), **more)
    return shown.select("period", "area", "rest", "count").rows()


def test_a_large_cell_is_shown_as_it_is_and_the_small_one_goes_up():
    rows = at(5, 7) + at(40, 3) + at(45, 3)
    assert cells(rows) == [("2021-01", "CD61", False, 5), ("2021-02", "CD61", False, 5)]
    assert cells(at(5, 7) + at(40, 3) + at(70, 3)) == [
        ("2021-01", "CD61", False, 5),
        ("2021-Q1", "CD61", True, 5),
    ]
    assert cells(at(5, 4) + at(5, 4, PLACES[1])) == [("2021-01", "COD", False, 10)]
    assert cells(at(5, 4) + at(5, 4, PLACES[3]), region="sahel") == [("2021", "sahel", False, 10)]


def test_what_is_left_over_takes_the_coarsest_smallest_cell_with_it():
    rows = at(5, 9) + at(5, 6, PLACES[3]) + at(400, 2, PLACES[2])
    assert cells(rows) == [("2021-01", "CD61", False, 10), ("all", "region", True, 10)]


def test_fewer_than_the_threshold_in_all_are_not_shown():
    assert cells(at(5, 4)) == []
    assert cells([]) == []


def test_a_date_known_coarsely_is_never_shown_finely():
    rows = at(0, 6, precision="year") + at(0, 6, precision="quarter")
    assert cells(rows) == [("2021", "CD61", True, 5), ("2021-Q1", "CD61", False, 5)]


def test_verified_and_unverified_are_never_added():
    rows = at(5, 4) + at(5, 4, verification="report_pending_verification")
    assert safe_table(table(rows), ("verification",)).height == 0


def means(rows, values, **more):
    shown = safe_table(table(rows, values), mean="value", **more)
    return shown.select("period", "count", "value").rows()


def test_a_cell_has_the_mean_of_its_own_incidents_in_steps_of_one_by_the_threshold():
    rows = at(5, 5) + at(70, 6)
    assert means(rows, [0.1, 0.2, 0.3, 0.4, 0.4, *[0.9] * 5, 0.4]) == [("2021-01", 5, 0.2), ("2021-03", 5, 0.8)]
    assert means(at(5, 5), [1] * 5) == [("2021-01", 5, 1)]
    assert means(at(5, 5), [0] * 5) == [("2021-01", 5, 0)]
    assert means(at(5, 2), [0.2, 0.7], threshold=2) == [("2021-01", 2, 0.5)]


def test_what_is_left_over_takes_its_values_with_it():
    rows = at(5, 9) + at(5, 6, PLACES[3]) + at(400, 2, PLACES[2])
    assert means(rows, [0.5] * 9 + [0.4] * 6 + [0] * 2) == [("2021-01", 10, 0.6), ("all", 10, 0.4)]
    assert means(rows, [0.5] * 9 + [0.4] * 6 + [0, 1]) == [("2021-01", 10, 0.6), ("all", 10, 0.4)]
    assert means(rows, [0.5] * 9 + [0.4] * 6 + [1, 1]) == [("2021-01", 10, 0.6), ("all", 10, 0.6)]


def test_fewer_than_the_threshold_have_no_mean():
    assert means(at(5, 4), [0.5] * 4) == []


@pytest.mark.parametrize("where", [0, 8, 14, 16])
def test_a_cell_of_which_one_incident_has_no_value_has_no_mean(where):
    rows = at(5, 9) + at(5, 6, PLACES[3]) + at(400, 2, PLACES[2])
    values = [None if place == where else 0.5 for place in range(17)]
    first, last = (0.6, None) if where > 8 else (None, 0.6)
    assert means(rows, values) == [("2021-01", 10, first), ("all", 10, last)]


def test_verified_incidents_change_no_mean_of_unverified_ones():
    pending = "report_pending_verification"
    rows = at(5, 5, verification=pending) + at(5, 9)
    shown = safe_table(table(rows, [0.5] * 5 + [None] * 9), ("verification",), mean="value")
    assert dict(shown.select("verification", "value").rows()) == {pending: 0.6, "verified": None}
    assert shown.drop("value").equals(safe_table(table(rows), ("verification",)))


@settings(max_examples=60, deadline=None)
@given(INCIDENTS, st.sampled_from([2, 5]), st.randoms(use_true_random=False))
def test_each_value_counts_in_one_cell_and_the_order_of_rows_changes_nothing(rows, threshold, random):
    values = [random.random() for _ in rows]
    whole = table(rows, values)
    cells = partition(whole, (), threshold, mean="value")
    assert cells["total"].sum() == pytest.approx(sum(values) if len(rows) >= threshold else 0)
    assert all(0 <= total <= exact for total, exact in cells.select("total", "exact").rows())
    shown = safe_table(whole, (), threshold, mean="value")
    assert shown.equals(safe_table(whole.sample(fraction=1, shuffle=True, seed=7), (), threshold, mean="value"))
    assert set(shown["value"]) <= {step / threshold for step in range(threshold + 1)}


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from([2, 3, 5, 10]))
def test_a_mean_does_not_tell_how_many_incidents_a_cell_has(one, other, threshold):
    """Whatever values incidents can have, any number of them at or above the threshold can show the same means."""
    possible = []
    for number in range(threshold, threshold + 4):
        cells = [(high, value) for high in range(number + 1) for value in [one] * (number - high) + [other] * high]
        rows = table(at(5, len(cells)), [value for _, value in cells])
        shown = safe_table(
            rows.with_columns(cell=pl.Series([cell for cell, _ in cells])), ("cell",), threshold, mean="value"
        )
        assert shown.height == number + 1
        possible.append(set(shown["value"]))
    assert all(steps == possible[0] for steps in possible)


@pytest.mark.parametrize("threshold", [1, 0, -5])
def test_a_threshold_that_shows_single_persons_is_refused(threshold):
    with pytest.raises(Unsafe, match="at least 2"):
        safe_table(table(at(5, 9)), threshold=threshold)


def test_most_real_incidents_are_shown_at_a_year_and_country_or_finer():
    rows = real_rows(InsecurityInsight(), "crsv_incidents_2020-2022.json")
    whole = frame("incident", rows)
    found = partition(whole, ("verification",), 5)
    fine = found.filter(pl.col("step") <= LADDER.index(("year", "country")))
    assert found["exact"].sum() == len(rows)
    assert fine["exact"].sum() >= 0.8 * len(rows)
    exact = json.loads((Path(__file__).parents[3] / "schemas/data/crsv_incidents_2020-2022.json").read_text())
    assert len(exact) > len(rows)
