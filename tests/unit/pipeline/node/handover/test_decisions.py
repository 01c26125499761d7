"""A hub's decision about a case of a node that changes hands: only who owns the node records it, as soon as the case opens."""

import pytest

from pipeline.node import deciding, fates
from pipeline.node import node as nodes
from tests.unit.pipeline.node.handover.papers import Log, events, handing, send
from tests.unit.pipeline.node.test_deciding import decided


@pytest.fixture
def made(tmp_path):
    return handing(tmp_path)


@pytest.mark.parametrize("told", ["before", "after"])
def test_a_decision_waits_for_the_survivors_consent(made, told):
    record = decided(made.old, 2)
    log = send(made.old, Log())
    if told == "before":
        fates.take(made.old, [record])  # kept, and not yet recorded when the node is handed over
    new = made.through()
    if told == "after":
        fates.take(new, [record])
    assert [(one.event, one.reason) for one in deciding.record(new)] == [(0, "decision.not_entrusted")]
    made.take(made.entrusted(made.ask(2), send(new, log)).text)
    (settled,) = deciding.record(nodes.load(made.new))
    assert (settled.reason, settled.incident) == (
        "decision.replaced",
        2,
    )  # her consent is a version that the hub has not seen


def test_a_decision_about_a_case_that_is_public_is_recorded_by_the_successor(made):
    record = decided(made.old, 4)
    new = made.through()
    fates.take(new, [record])
    (settled,) = deciding.record(new)
    assert (settled.reason, settled.event) == ("", 8)


def test_the_team_that_left_records_none_and_its_sync_goes_on(made):
    record = decided(made.old, 4)
    made.through("close")
    before = events(made.old)
    fates.take(made.old, [record])
    assert deciding.record(made.old) == ()
    assert events(made.old) == before
