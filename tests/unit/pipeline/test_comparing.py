import polars as pl
import pytest

from pipeline.comparing import compare, digest

ROWS = [("a", 1, ["x", "y"]), ("b", None, ["x"]), ("b", None, ["x"]), ("c", 3, [])]


def frame(rows):
    return pl.DataFrame(rows, schema={"id": pl.String, "n": pl.Int32, "forms": pl.List(pl.String)}, orient="row")


def test_the_order_of_rows_says_nothing():
    found = compare(frame(ROWS), frame(ROWS[::-1]))
    assert (found.equal, found.examples, found.live_rows) == (True, (), 4)
    assert found.live_digest == found.replayed_digest


@pytest.mark.parametrize(
    ("other", "only_live", "only_replayed", "examples"),
    [
        (ROWS[:3], 1, 0, ("c",)),
        ([*ROWS, ("a", 1, ["x", "y"])], 0, 1, ("a",)),
        ([*ROWS[:2], ROWS[3]], 1, 0, ("b",)),
        ([("a", 2, ["x", "y"]), *ROWS[1:]], 1, 1, ("a", "a")),
        ([("a", 1, ["y", "x"]), *ROWS[1:]], 1, 1, ("a", "a")),
        ([], 4, 0, ("a", "b", "c")),
    ],
)
def test_where_they_differ_is_told(other, only_live, only_replayed, examples):
    found = compare(frame(ROWS), frame(other))
    assert (found.only_live, found.only_replayed, found.examples) == (only_live, only_replayed, examples)
    assert not found.equal
    assert digest(frame(ROWS)) != digest(frame(other))


def test_two_empty_tables_are_equal():
    assert compare(frame([]), frame([])).equal
