from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from pipeline.node import receipts, referring, revising, withdrawing
from pipeline.node.journal import Journal, Reader
from pipeline.node.receipts import Receipted
from pipeline.node.revising import Decision
from pipeline.node.story import Line, story
from schemas import codes, lifecycle
from schemas.errors import BadInput
from schemas.referrals import Referral
from schemas.released import by_fingerprint
from schemas.rows import read
from schemas.wire import unframe
from tests.unit.pipeline.node.revised import history, last, report
from tests.unit.pipeline.node.test_record import INCIDENT

DAY = date(2024, 2, 29)


@pytest.fixture
def recorded(node):
    """A node with two incidents, events 1 and 2."""
    return report(node, 2)


def run(record, node, *arguments, **named):
    with Journal(node.journal) as journal:
        return record(node, journal, *arguments, **named)


def refer(node, number, service="medical", on=DAY, **more):
    return run(referring.refer, node, number, service, on, **more)


def follow_up(node, number, outcome="service_received", on=DAY):
    return run(referring.follow_up, node, number, outcome, on)


def refused(node, match, record, *arguments, **named):
    before = last(node), (node.journal / "keys.log").read_bytes()
    with pytest.raises(BadInput, match=match):
        record(node, *arguments, **named)
    assert (last(node), (node.journal / "keys.log").read_bytes()) == before


def test_a_referral_names_its_incident_its_area_and_nothing_else(recorded):
    done = refer(recorded, 1)
    known = Referral("medical", DAY, consented=True, outcome="pending")
    assert (done.event, done.referral, done.incident, done.known) == (3, 3, 1, known)
    event = history(recorded, 1).referrals[3]
    assert {name: value for name, value in event.body.items() if name != "recorded_at"} == {
        "incident_id": history(recorded, 1).reported.event_id,
        "incident_number": 1,
        "area": INCIDENT["admin1"] or INCIDENT["country"],
        "referral": vars(known),
    }
    assert history(recorded, 1).heads == [1]


def test_a_follow_up_says_all_anew_and_names_what_was_said_last(recorded):
    refer(recorded, 1, "legal")
    follow_up(recorded, 3, "service_ongoing")
    done = follow_up(recorded, 3)
    assert (done.event, done.referral, done.incident) == (5, 3, 1)
    assert done.known == Referral("legal", DAY, consented=True, outcome="service_received", followed_up_on=DAY)
    found = history(recorded, 5).referrals
    assert lifecycle.entries(found[5].body["replaces"]) == [(found[4].event_id, 4)]
    assert (found[5].body["referral_id"], found[5].body["referral_number"]) == (found[3].event_id, 3)
    assert follow_up(recorded, 4, "not_reached").event == 6


def test_referrals_of_one_incident_are_kept_apart(recorded):
    refer(recorded, 1, "medical")
    refer(recorded, 1, "legal")
    follow_up(recorded, 3)
    assert follow_up(recorded, 4).known.service == "legal"
    assert history(recorded, 6).referrals[6].follows == (4,)


def test_what_she_declines_is_recorded_and_not_followed_up(recorded):
    assert refer(recorded, 1, consented=False).known.outcome == "declined"
    refused(recorded, "She has declined this referral", follow_up, 3)
    refer(recorded, 1)
    follow_up(recorded, 4, "declined")
    refused(recorded, "She has declined this referral", follow_up, 4)


def test_the_area_is_that_of_the_incident_as_it_is_now_and_stays_that_of_the_referral(recorded):
    run(revising.amend, recorded, 1, {"country": "CAF", "admin1": None})
    refer(recorded, 1)
    run(revising.amend, recorded, 1, {"country": "COD", "admin1": "CD61"})
    follow_up(recorded, 4)
    assert [event.body["area"] for event in history(recorded, 1).referrals.values()] == ["CAF", "CAF"]


@pytest.mark.parametrize("lang", codes.LANGUAGES)
def test_an_impossible_day_is_said_in_the_language_of_the_node(recorded, lang):
    node, tomorrow = replace(recorded, lang=lang), datetime.now(UTC).date() + timedelta(days=3)
    sentence = codes.sentence("referral.day", lang)
    refused(node, sentence, refer, 1, on=INCIDENT["occurred_on"] - timedelta(days=1))
    refused(node, sentence, refer, 1, on=tomorrow)
    refer(node, 1)
    refused(node, sentence, follow_up, 3, on=DAY - timedelta(days=1))
    refused(node, sentence, follow_up, 3, on=tomorrow)
    assert abs(follow_up(node, 3, on=None).known.followed_up_on - datetime.now(UTC).date()) <= timedelta(days=1)


def test_what_is_about_no_referral_names_those_that_there_are(recorded):
    refused(recorded, "make one by `tocsin node refer` first", follow_up, 1)
    refer(recorded, 1)
    refer(recorded, 2)
    refer(recorded, 1)
    refused(
        recorded, "Event 1 is about no referral that stands: its incident's referrals are of events 3, 5", follow_up, 1
    )
    refused(recorded, "Event 9 of MONUSCO is about no case", follow_up, 9)


def test_what_the_hub_refused_is_made_again(recorded):
    refer(recorded, 1)
    follow_up(recorded, 3)
    receipts.write(recorded, Receipted(position=1, refused={(4, 5): "referral.outcome"}))
    refused(recorded, "Event 4 is about no referral that stands", follow_up, 4)
    assert lifecycle.entries(history(recorded, follow_up(recorded, 3).event).referrals[5].body["replaces"])[0][1] == 3


@pytest.mark.parametrize("end", ["retract", "verify"])
def test_an_incident_that_no_region_has_gets_no_referral_and_an_open_one_is_followed_up(recorded, end):
    refer(recorded, 1)
    if end == "retract":
        run(revising.retract, recorded, 1, "error")
    else:
        run(revising.verify, recorded, 1, Decision("did_not_occur", "technical", "A. Name"))
    refused(recorded, "is not shared", refer, 1)
    assert follow_up(recorded, 3).event == 5


def test_a_withdrawn_case_has_no_further_referral_and_all_that_was_said_is_named(recorded):
    refer(recorded, 1)
    follow_up(recorded, 3)
    run(withdrawing.withdraw, recorded, [3], step=lambda _: None)
    refused(recorded, "was withdrawn by event 5", refer, 1)
    refused(recorded, "was withdrawn by event 5", follow_up, 3)
    found = {entry.sequence: read(*unframe(entry.envelope)) for entry in Reader(recorded.journal).read()}
    body = read(by_fingerprint(found[5]["body_schema"]), found[5]["body"])
    assert body["incidents"] == b"".join(found[number]["event_id"] for number in (1, 3, 4))


def test_the_story_of_an_incident_tells_its_referrals(recorded):
    refer(recorded, 1)
    run(revising.amend, recorded, 1, {"women": 3})
    follow_up(recorded, 3)
    refer(recorded, 1, "shelter", consented=False)
    found = story(recorded, Reader(recorded.journal), 5)
    assert [replace(line, recorded_on="") for line in found.lines] == [
        Line(1, "", "reported"),
        Line(3, "", "referred", (), ("medical", "pending")),
        Line(4, "", "amended", (1,), ("women",)),
        Line(5, "", "followed_up", (3,), ("medical", "service_received")),
        Line(6, "", "referred", (), ("shelter", "declined")),
    ]
    assert (found.state, found.newest) == ("current", (4,))


def test_open_are_those_that_stand_and_of_which_nothing_has_come_or_a_service_goes_on(recorded):
    for service in ("medical", "legal", "shelter", "security"):  # events 3 to 6
        refer(recorded, 1, service)
    refer(recorded, 1, "livelihood", consented=False)
    follow_up(recorded, 3, "service_ongoing")
    follow_up(recorded, 4)
    receipts.write(recorded, Receipted(position=1, refused={(6, 5): "referral.day"}))
    found = history(recorded, 1)
    assert referring.outcomes(found) == {3: "service_ongoing", 4: "service_received", 5: "pending", 7: "declined"}
    assert referring.unsettled(found) == [3, 5]
    receipts.write(recorded, Receipted(position=1, refused={(8, 5): "referral.day"}))
    assert referring.outcomes(history(recorded, 1))[3] == "pending"
