from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from pipeline.node import receipts, revising, withdrawing
from pipeline.node.journal import Journal, Reader
from pipeline.node.receipts import Receipted
from pipeline.node.revising import Decision
from pipeline.node.story import Line, story
from schemas.errors import BadInput
from tests.unit.pipeline.node.revised import report


def today():
    return datetime.now(UTC).date().isoformat()


def told(node, number):
    found = story(node, Reader(node.journal), number)
    assert {line.recorded_on for line in found.lines} == {today()}
    return replace(found, lines=tuple(replace(line, recorded_on="") for line in found.lines))


@pytest.fixture
def recorded(node):
    report(node, 2)
    with Journal(node.journal) as journal:
        revising.amend(node, journal, 1, {"women": 2, "admin1": None})
        revising.verify(node, journal, 1, Decision("verified", "technical", "A. Name", primary=1))
    return node


def test_each_event_says_what_it_did_and_after_which(recorded):
    found = told(recorded, 4)
    assert (found.node, found.incident, found.state, found.newest) == ("MONUSCO", 1, "current", (4,))
    assert found.lines == (
        Line(1, "", "reported"),
        Line(3, "", "amended", (1,), ("admin1", "women")),
        Line(4, "", "verified", (3,), ("technical", "verified")),
    )


def test_a_conflict_names_the_newest_versions(recorded):
    with Journal(recorded.journal) as journal:
        revising.amend(recorded, journal, 1, {"women": 3}, [3])
    found = told(recorded, 1)
    assert (found.state, found.newest) == ("in conflict", (4, 5))
    assert found.lines[-1] == Line(5, "", "amended", (3,), ("women",))


def test_a_consent_says_its_audience_and_day(recorded):
    with Journal(recorded.journal) as journal:
        revising.grant(recorded, journal, 1, "headquarters", date(2024, 2, 29))
    found = told(recorded, 1)
    assert (found.state, found.newest) == ("current", (5,))
    assert found.lines[-1] == Line(5, "", "consent_given", (4,), ("headquarters", "2024-02-29"))


@pytest.mark.parametrize("state", ["did_not_occur", "not_in_scope"])
def test_what_was_found_not_to_be_one_is_no_longer_shared(recorded, state):
    with Journal(recorded.journal) as journal:
        revising.verify(recorded, journal, 1, Decision(state, "task_force", "B. Name"))
    found = told(recorded, 1)
    assert (found.state, found.newest) == ("no longer shared", (5,))


def test_a_retraction_says_its_reason(recorded):
    with Journal(recorded.journal) as journal:
        revising.retract(recorded, journal, 1, "duplicate")
    found = told(recorded, 5)
    assert (found.state, found.newest, found.lines[-1]) == (
        "retracted",
        (),
        Line(5, "", "retracted", (4,), ("duplicate",)),
    )


def test_of_a_withdrawn_case_only_what_the_envelopes_say_is_told(recorded):
    with Journal(recorded.journal) as journal:
        withdrawing.withdraw(recorded, journal, [1], lambda _: None)
    found = told(recorded, 3)
    assert (found.incident, found.state, found.newest) == (1, "withdrawn", ())
    assert [(line.event, line.change, line.details) for line in found.lines] == [
        (1, "reported", ()),
        (3, "amended", ()),
        (4, "verified", ()),
        (5, "withdrawn", ()),
    ]


def test_what_the_hub_refused_is_marked(recorded):
    receipts.write(recorded, Receipted(position=1, refused={(4, 3): "revision.step"}))
    found = told(recorded, 1)
    assert (found.newest, [line.refused for line in found.lines]) == ((3,), [False, False, True])


def test_an_event_of_no_case_is_one_sentence(recorded):
    with pytest.raises(BadInput, match="about no case"):
        told(recorded, 99)
