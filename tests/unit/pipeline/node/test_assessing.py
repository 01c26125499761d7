from dataclasses import replace
from datetime import date, timedelta

import pytest

from pipeline.node import assessing
from pipeline.node.assessing import Incident, Source
from pipeline.node.journal import Journal, Reader
from pipeline.node.record import today
from schemas.assessments import Assessment, refusal
from schemas.errors import BadInput
from schemas.released import by_fingerprint, by_id, latest
from schemas.rows import read
from schemas.wire import unframe
from tests.unit.pipeline.node.revised import last, report

ONE, OTHER = (bytes([first]) * 16 for first in (7, 8))
DAY = date(2024, 2, 29)
SEEN, SOURCE = Incident("sahel", ONE), Source("primary", "B", 2)


def run(record, node, *arguments, **named):
    with Journal(node.journal) as journal:
        return record(node, journal, *arguments, **named)


def assess(node, about=SEEN, source=SOURCE, grounds=None, on=DAY):
    return run(assessing.assess, node, about, source, grounds, on)


def envelope(node, number):
    return unframe(next(Reader(node.journal).read(number)).envelope)


def body(node, number):
    row = read(*envelope(node, number))
    return row["kind"], read(by_fingerprint(row["body_schema"]), row["body"])


def refused(node, match, record, *arguments):
    before = last(node)
    with pytest.raises(BadInput, match=match):
        record(node, *arguments)
    assert last(node) == before


def test_a_corroboration_is_in_clear_about_no_case_and_holds_codes_and_a_day(node):
    done = assess(node)
    known = Assessment("sahel", ONE, 1, "primary", "B", 2, "unspecified", DAY)
    assert (done.event, done.verdict, done.known, done.replaced) == (1, "corroborated", known, 0)
    assert read(*envelope(node, 1))["case_ref"] is None
    kind, said = body(node, 1)
    assert (kind, set(said), said["assessment"]) == ("IncidentCorroborated", {"recorded_at", "assessment"}, vars(known))
    assert all(key.startswith(b"epoch") for _, key, _ in Reader(node.journal).key_records())


def test_a_dispute_says_on_which_grounds(node):
    done = assess(node, grounds="did_not_occur", source=Source("secondary"))
    assert body(node, 1) == ("IncidentDisputed", {**body(node, 1)[1], "assessment": vars(done.known)})
    assert (done.known.grounds, done.known.reliability, done.known.credibility) == ("did_not_occur", "F", 6)


def test_a_later_one_counts_in_place_of_the_one_before_for_the_same_incident_alone(node):
    report(node, 2)
    numbers = [assess(node).known.number, assess(node, grounds="date").known.number]
    others = [Incident("sahel", OTHER), Incident("great-lakes", ONE)]
    assert numbers == [1, 2]
    assert [assess(node, other).known.number for other in others] == [1, 1]
    done = assess(node)
    assert (done.event, done.known.number, done.replaced) == (7, 3, 4)
    assert [one.event for one in assessing.said(Reader(node.journal), ONE, "sahel")] == [3, 4, 7]


def test_it_is_taken_back_and_may_be_said_anew(node):
    first = assess(node).event
    done = run(assessing.take_back, node, first)
    assert (done.event, done.verdict, done.replaced, done.known.number) == (2, "taken_back", 1, 2)
    assert (done.known.source, done.known.grounds, done.known.assessed_on) == ("unspecified", "unspecified", today())
    assert body(node, 2)[0] == "AssessmentTakenBack"
    refused(node, "had been taken back by event 2", lambda node: run(assessing.take_back, node, first))
    refused(node, "had been taken back by event 2", lambda node: run(assessing.take_back, node, 2))
    again = assess(node, grounds="place")
    assert (again.known.number, again.replaced) == (3, 0)


def test_only_what_counts_is_taken_back(node):
    report(node, 1)
    assess(node)
    assess(node)
    for number in (1, 99):
        refused(
            node,
            f"Event {number} of MONUSCO assesses no incident",
            lambda node, n=number: run(assessing.take_back, node, n),
        )
    refused(node, "Event 3 counts in place of event 2", lambda node: run(assessing.take_back, node, 2))


@pytest.mark.parametrize(
    ("about", "source", "grounds", "on", "match"),
    [
        (Incident("atlantis", ONE), SOURCE, None, DAY, "names no region"),
        (SEEN, Source("rumour"), None, DAY, "primary or a secondary source"),
        (SEEN, Source("unspecified"), None, DAY, "primary or a secondary source"),
        (SEEN, SOURCE, "hearsay", DAY, "Grounds belong to a dispute"),
        (SEEN, Source("primary", "B", 7), None, DAY, "none of 1 to 6"),
        (SEEN, SOURCE, None, today() + timedelta(days=2), "after the day"),
    ],
)
def test_what_the_hub_would_refuse_is_refused_here_in_the_nodes_language(node, about, source, grounds, on, match):
    refused(node, match, assess, about, source, grounds, on)
    with pytest.raises(BadInput) as told:
        assess(replace(node, lang="fr"), about, source, grounds, on)
    assert match not in str(told.value)


def test_tomorrow_is_taken_since_east_of_greenwich_the_day_begins_earlier(node):
    assert assess(node, on=today() + timedelta(days=1)).event == 1


def test_what_is_taken_back_says_nothing_else():
    nothing = Assessment("sahel", ONE, 2, "unspecified", "F", 6, "unspecified", DAY)
    assert refusal(nothing, "taken_back", DAY) == ""
    assert refusal(replace(nothing, source="primary"), "taken_back", DAY) == "assessment.source"
    assert refusal(replace(nothing, grounds="place"), "taken_back", DAY) == "assessment.grounds"
    assert refusal(nothing, "corroborated", DAY) == "assessment.source"


def test_an_event_travels_in_the_first_envelope_that_names_its_kind(node):
    report(node, 1)
    assess(node)
    assert [envelope(node, number)[0] for number in (1, 2)] == [by_id(1), latest("Envelope")]
