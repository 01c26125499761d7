from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quality import lists
from schemas.consent import BASIS, Consent, refusal, scopes, wider

GIVEN = Consent(BASIS, "headquarters", date(2024, 3, 31), date(2024, 3, 1), date(2024, 4, 1))
SCOPES = st.sampled_from(scopes())


def test_each_audience_includes_those_before_it_and_they_are_the_contracts():
    assert scopes() == ("hub", "headquarters", "public")
    assert set(scopes()) == set(lists.codes("SharingScope"))
    assert BASIS in lists.codes("SharingBasis")


@given(SCOPES, st.lists(SCOPES, min_size=1, max_size=4))
def test_wider_is_further_than_all_before(scope, before):
    assert wider(scope, before) == (scopes().index(scope) > max(map(scopes().index, before)))


@given(SCOPES, st.lists(SCOPES, max_size=4))
def test_no_consent_is_narrower_than_what_it_takes_the_place_of(scope, before):
    narrower = any(scopes().index(each) > scopes().index(scope) for each in before)
    assert refusal(before, replace(GIVEN, scope=scope)) == ("consent.narrower" if narrower else "")


def test_a_consent_is_on_the_basis_of_consent():
    others = set(lists.codes("SharingBasis")) - {BASIS}
    assert others
    for basis in others:
        assert refusal(["hub"], replace(GIVEN, basis=basis)) == "consent.basis"


@pytest.mark.parametrize(
    ("field", "last"), [("occurred_on", GIVEN.given_on), ("given_on", GIVEN.recorded_on + timedelta(days=1))]
)
def test_the_days_follow_one_another(field, last):
    assert refusal([], replace(GIVEN, **{field: last})) == ""
    assert refusal([], replace(GIVEN, **{field: last + timedelta(days=1)})) == "consent.day"


def test_the_last_day_that_there_is_can_be_recorded():
    assert refusal([], replace(GIVEN, given_on=date.max, recorded_on=date.max)) == ""
