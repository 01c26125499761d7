from dataclasses import replace
from datetime import date, timedelta

import pytest

from schemas.referrals import DECLINED, PENDING, Referral, outcomes, refusal, services
from schemas.released import latest

DAY = date(2024, 3, 31)
MADE = Referral("medical", DAY, consented=True, outcome=PENDING)
FOLLOWED = replace(MADE, outcome="service_received", followed_up_on=DAY)
LATER = timedelta(days=1)


def refused(known, area="CD61", recorded=DAY):
    return refusal(known, area, recorded)


def test_the_lists_are_the_contracts_without_what_stands_for_something_newer():
    assert "unspecified" not in {*services(), *outcomes()}
    assert PENDING not in outcomes()
    assert DECLINED in outcomes()
    assert len(services()) == len(set(services())) == 7
    fields = {field["name"] for field in latest("Referral").schema["fields"]}
    assert fields == set(vars(MADE))


def test_what_can_be_recorded_is_not_refused():
    assert refused(MADE) == refused(FOLLOWED) == refused(replace(MADE, consented=False, outcome=DECLINED)) == ""
    assert all(refused(replace(FOLLOWED, outcome=outcome)) == "" for outcome in outcomes())
    assert all(refused(replace(MADE, service=service)) == "" for service in services())
    assert refused(MADE, "COD") == ""


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        (replace(MADE, service="unspecified"), "referral.service"),
        (replace(MADE, outcome="service_received"), "referral.outcome"),
        (replace(MADE, outcome=DECLINED), "referral.outcome"),
        (replace(MADE, consented=False), "referral.outcome"),
        (replace(FOLLOWED, outcome=PENDING), "referral.outcome"),
        (replace(FOLLOWED, outcome="unspecified"), "referral.outcome"),
        (replace(FOLLOWED, consented=False), "referral.outcome"),
        (replace(FOLLOWED, consented=False, outcome=DECLINED), "referral.outcome"),
        (replace(FOLLOWED, followed_up_on=DAY - LATER), "referral.day"),
        (replace(FOLLOWED, followed_up_on=DAY + 2 * LATER), "referral.day"),
        (replace(MADE, referred_on=DAY + 2 * LATER), "referral.day"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_reason(known, reason):
    assert refused(known) == reason


def test_a_day_is_one_behind_at_most_and_an_area_is_one_that_is_monitored():
    assert refused(replace(MADE, referred_on=DAY + LATER)) == ""
    assert refused(MADE, "CHE") == refused(MADE, "") == refused(MADE, "CD6101") == "referral.area"
