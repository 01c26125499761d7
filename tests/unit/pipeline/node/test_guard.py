import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.node.importers.guard import guard, unguard

CELL = st.text(st.sampled_from("'=+-@\t\r\n \u00a0a1＝"), max_size=12)


@settings(deadline=None)
@given(st.one_of(CELL, st.text()))
def test_a_guarded_cell_comes_back_as_it_was(cell):
    assert unguard(guard(cell)) == cell


@settings(deadline=None)
@given(st.one_of(CELL, st.text()))
def test_no_line_of_a_guarded_cell_begins_as_a_formula(cell):
    guarded = guard(cell)
    for line in guarded.replace("\r", "\n").split("\n"):
        assert line.strip()[:1] not in {*"=+-@＝＋－＠"}
    assert guarded[:1] not in {"\t", "\r"}


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1", "-2", "@SUM(A1)", "\t=1", "\r=1", " =1", "\u00a0=1", "a\n=1", "'=1", "a\r\n@b"]
)
def test_the_known_attacks_are_guarded(cell):
    assert guard(cell) != cell


@pytest.mark.parametrize("cell", ["", "Rape, SexualAssault", "d'Ivoire", "'quoted'", "a=b", "1-2", "North Kivu"])
def test_an_ordinary_cell_stays_as_it_is(cell):
    assert guard(cell) == unguard(cell) == cell
