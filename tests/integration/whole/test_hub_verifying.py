"""The hub takes a step of verification: an analyst decides, the node records, the tables show it; nothing else is recorded."""

import pytest

from pipeline.hub.trees import signer
from pipeline.log import ends, read
from pipeline.node import fates
from schemas import decisions
from schemas.decisions import is_decision, read_decision
from tests.integration.whole.conftest import record
from tests.integration.whole.rig import REGION, Whole, done_and_sent, event_id, rows, rows_of, send, tocsin, told, until
from tests.unit.pipeline.node.revised import history

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
NODE, APART = "SYN-1", "SYN-2"
WHO = "H. Analyst"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A node with six incidents, of which a person of its own has verified the first, and one without a network with one."""
    whole = Whole(tmp_path_factory.mktemp("hub-verifying"), [NODE, APART])
    try:
        whole.create_reporters()
        whole.mine, [whole.apart] = record(whole, NODE, 6), record(whole, APART, 1)
        step = ("--state", "verified", "--step", "focal_point", "--by", "A. Name", "--primary", "1")
        tocsin(whole, "node", "verify", "--event", "1", *step, "--node", NODE)
        for stage in ("refine", "merge", "sink"):
            whole.worker(stage, "1")
        for node in (NODE, APART):
            tocsin(whole, "node", "sync", "--node", node)
        until(lambda: len(rows(whole, "incidents")) == 7 and standing(whole, whole.mine[0])["version_id"])
        yield whole
    finally:
        whole.down()


def standing(run, reported):
    """Return the one row that the table has of an incident, when it has one."""
    found = []
    until(lambda: found.append(rows_of(run, reported, "incidents")) or len(found[-1]) == 1)
    return found[-1][0]


def decide(run, reported, *more, code=0, by=WHO):
    """Decide on an incident by the id that its row has."""
    row = standing(run, reported)
    named = ("--region", REGION, "--state", "verified", "--step", "technical", "--primary", "2", "--by", by)
    return tocsin(run, "hub", "verify", row["version_id"] or row["incident_id"], *named, *more, code=code)


def given(run, node=NODE):
    return [entry for entry in read(run.kafka, f"fates.{node}") if is_decision(entry.value or b"")]


def test_the_hub_is_the_second_step_and_the_node_goes_on_from_it(run):
    before = standing(run, run.mine[0])
    assert "Its node records it" in decide(run, run.mine[0], "--send", "--json")
    assert "was sent before" in decide(run, run.mine[0], "--send", code=65)
    line = told(run, "node", "sync", "--node", NODE)
    [settled] = line["decided"]
    event = settled["event"]
    assert (line["events"], line["first"], settled["incident"], settled["reason"]) == (1, event, 1, "")
    until(lambda: standing(run, run.mine[0])["step"] == "technical")
    row = standing(run, run.mine[0])
    assert (row["change"], row["verification"], row["primary_sources"]) == ("verified", "verified", 2)
    assert row["incident_id"] == before["incident_id"]
    assert before["version_id"] in {one["version_id"] for one in rows_of(run, run.mine[0], "versions")}
    (hub,) = told(run, "why", event_id(run, NODE, event).hex())["hubs"]
    assert (hub["id"], hub["incident"]) == (row["version_id"], row["incident_id"])
    shown = tocsin(run, "node", "case", "--event", "1", "--node", NODE)
    assert "verified: technical, verified, by the hub" in shown
    third = ("--state", "verified", "--step", "task_force", "--by", "B. Name")
    done_and_sent(run, NODE, "verify", "--event", "1", *third)
    until(lambda: standing(run, run.mine[0])["step"] == "task_force")


def test_what_is_on_the_topic_tells_no_fact_and_no_person(run):
    decide(run, run.mine[1], "--send")
    tocsin(run, "node", "sync", "--node", NODE)
    entry = given(run)[-1]
    decision, found = read_decision(entry.value), history(run.reporters[NODE], 2)
    assert entry.key == f"decision:{decision.decision_id.hex()}".encode()
    assert decision.case_ref == found.case.ref
    body = decision.open(found.case.key)
    assert (body["incident_id"], body["version_number"], body["step"]) == (run.mine[1], 2, "technical")
    assert not any(hidden in entry.value for hidden in (run.mine[1], body["verifier"], b"verified", b"technical"))
    assert found.events[found.heads[0]].body["decision"] == decision.decision_id
    files = [path for path in run.data.rglob("*") if path.is_file() and "proof" in path.parts]
    assert files
    held = b"".join(
        [*(path.read_bytes() for path in files), *(one.value or b"" for one in read(run.kafka, f"raw.{NODE}"))]
    )
    assert WHO.encode() not in held


def test_a_forged_an_altered_a_foreign_and_a_repeated_decision_do_nothing(run, tmp_path):
    decide(run, run.mine[5], "--send")
    [settled] = told(run, "node", "sync", "--node", NODE)["decided"]
    before = ends(run.kafka, "raw.")[f"raw.{NODE}"]
    good, other = given(run)[-1], signer(tmp_path, None, "tocsin.hub")
    case, decision = history(run.reporters[NODE], 3).case, read_decision(good.value)
    opened = decision.open(history(run.reporters[NODE], 6).case.key)
    body = {**opened, "incident_id": run.mine[2], "incident_number": 3, "version_id": run.mine[2], "version_number": 3}
    forged = decisions.decided(NODE, other.key, case.ref, case.key, body).sign(other.seed)
    ours = signer(run.data / "proof", None, "tocsin.hub")
    sealed_by_nobody = decisions.decided(NODE, ours.key, case.ref, bytes(32), body).sign(ours.seed)
    foreign = decisions.decided(APART, ours.key, case.ref, case.key, body).sign(ours.seed)
    altered = good.value[:-1] + bytes([good.value[-1] ^ 1])
    bad = [forged, sealed_by_nobody, foreign, altered, good.value, b"junk"]
    send(run.kafka, [(f"fates.{NODE}", b"decision:%d" % at, value) for at, value in enumerate(bad)])
    line = told(run, "node", "sync", "--node", NODE)
    assert line["told"]["refused"] == dict.fromkeys(
        ("fates.other_hub", "fates.other_node", "fates.signature", "fates.malformed"), 1
    )
    assert [one["reason"] for one in line["decided"]] == ["decision.unknown_case"]
    assert told(run, "node", "sync", "--node", NODE)["decided"] == []
    assert ends(run.kafka, "raw.")[f"raw.{NODE}"] == before
    assert standing(run, run.mine[2])["version_id"] is None
    until(lambda: standing(run, run.mine[5])["step"] == "technical")
    assert history(run.reporters[NODE], 6).heads == [settled["event"]]


def test_a_decision_on_a_version_that_the_node_has_replaced_is_told_and_can_be_made_anew(run):
    tocsin(run, "node", "amend", "--event", "4", "--set", "women=7", "--node", NODE)
    decide(run, run.mine[3], "--send")
    line = told(run, "node", "sync", "--node", NODE)
    assert [(one["incident"], one["reason"]) for one in line["decided"]] == [(4, "decision.replaced")]
    assert "is not recorded. Another version" in tocsin(run, "node", "case", "--event", "4", "--node", NODE)
    until(lambda: standing(run, run.mine[3])["women"] == 7)
    decide(run, run.mine[3], "--send")
    [settled] = told(run, "node", "sync", "--node", NODE)["decided"]
    assert settled["event"]
    until(lambda: standing(run, run.mine[3])["verification"] == "verified")
    assert standing(run, run.mine[3])["women"] == 7


def test_a_node_without_a_network_takes_it_from_a_file(run):
    file = run.data / "apart.fates"
    assert f"Carry {file} to {APART}" in decide(run, run.apart, "--out", str(file))
    for times in range(2):
        shown = tocsin(run, "node", "fates", "--import", str(file), "--node", APART)
        assert ("The hub has decided on the incident of event 1" in shown) == (times == 0)
    assert fates.read(run.reporters[APART]).decisions[0].event == 2
    tocsin(run, "node", "sync", "--node", APART)
    until(lambda: standing(run, run.apart)["step"] == "technical")


def test_what_cannot_be_decided_is_one_sentence(run):
    assert "No incident has the id" in tocsin(
        run,
        "hub",
        "verify",
        "0" * 32,
        "--region",
        REGION,
        "--state",
        "verified",
        "--step",
        "technical",
        "--by",
        "A",
        code=65,
    )
    row = standing(run, run.mine[4])
    done_and_sent(run, NODE, "withdraw", "--event", "5", "--yes")
    until(lambda: not rows_of(run, run.mine[4], "incidents"))
    named = ("--region", REGION, "--state", "verified", "--step", "technical", "--by", "A", "--primary", "1")
    assert "withdrawn" in tocsin(run, "hub", "verify", row["incident_id"], *named, code=65)


def test_pages_of_fates_come_beside_it_and_tables_made_again_are_equal(run):
    tocsin(run, "hub", "fates", "--send")
    line = told(run, "node", "sync", "--node", NODE)
    assert line["told"] == {"pages": 1, "refused": {}}
    shown = tocsin(run, "node", "fates", "--refused", "--node", NODE)
    assert shown == "None.\n"
    events = [one.event for one in fates.read(run.reporters[NODE]).decisions if one.event]
    assert len(set(events)) == len(events)
    done = told(run, "replay", f"hub.{REGION}", "--into", "again/verified", "--check")
    assert done["equal"], done
