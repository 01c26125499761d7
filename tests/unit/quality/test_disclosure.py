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


def table(rows):
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


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
