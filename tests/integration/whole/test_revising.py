"""An incident goes on after its report: its versions, from the node's command to the tables and back to the person."""

import pytest

from pipeline.log import read
from pipeline.node.journal import Journal, Reader
from pipeline.node.record import Recorder
from schemas import seal
from tests.integration.whole.conftest import PATTERN, record
from tests.integration.whole.rig import REGION, Whole, done_and_sent, event_id, rows, rows_of, send, tocsin, told, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
NODE = "SYN-1"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A node with five incidents and a pattern that they all fit, in the tables; workers of each kind go on."""
    whole = Whole(tmp_path_factory.mktemp("revising"), ["SYN-1", "SYN-2"])
    try:
        whole.create_reporters()
        whole.mine = record(whole, NODE, 5)
        with Journal(whole.reporters[NODE].journal) as journal, Recorder(whole.reporters[NODE], journal) as recorder:
            recorder.record("PatternObserved", {"pattern": PATTERN})
        for stage in ("refine", "merge", "sink"):
            whole.worker(stage, "1")
        tocsin(whole, "node", "sync", "--node", NODE)
        until(lambda: [len(rows(whole, name)) for name in ("incidents", "links")] == [5, 5])
        yield whole
    finally:
        whole.down()


def revise(run, *arguments):
    return done_and_sent(run, NODE, *arguments)


def of(run, number, name):
    """Return the rows of a table about the incident of the node's event with this number."""
    return rows_of(run, run.mine[number - 1], name)


def version(run, number):
    """Return the id that the region knows the version of an event by."""
    return seal.mint(run.secrets[REGION], event_id(run, NODE, number)).hex()


def test_a_verified_incident_has_one_row_and_its_links_name_the_version(run):
    event = revise(
        run,
        "verify",
        "--event",
        "1",
        "--state",
        "verified",
        "--step",
        "focal_point",
        "--by",
        "A. Name",
        "--primary",
        "1",
    )["event"]
    until(lambda: [row["verification"] for row in of(run, 1, "incidents")] == ["verified"])
    [row], [before], [link] = (of(run, 1, name) for name in ("incidents", "versions", "links"))
    assert (row["version_id"], row["change"], row["step"]) == (version(run, event), "verified", "focal_point")
    assert row["late_verification"] is True
    assert (before["version_id"], before["ending"], before["verification"]) == (
        None,
        "verified",
        "report_pending_verification",
    )
    assert link["version_id"] == row["version_id"]
    story = told(run, "why", event_id(run, NODE, event).hex())
    (hub,) = story["hubs"]
    assert (hub["id"], hub["incident"]) == (row["version_id"], row["incident_id"])
    assert hub["linked_to"] == [link["pattern_id"]]
    assert "a version of" in tocsin(run, "why", event_id(run, NODE, event).hex())
    held = b"".join(entry.value or b"" for entry in read(run.kafka, f"hub.{REGION}", "accepted", "raw.SYN-1"))
    assert b"A. Name" not in held


def test_a_conflict_is_kept_aside_until_somebody_has_seen_both(run):
    first = revise(run, "amend", "--event", "2", "--set", "women=2")["event"]
    until(lambda: [row["women"] for row in of(run, 2, "incidents")] == [2])
    second = revise(run, "amend", "--event", "2", "--set", "women=3", "--seen", "2")["event"]
    until(lambda: len(of(run, 2, "versions")) == 2)
    assert [row["women"] for row in of(run, 2, "incidents")] == [2]
    [aside] = [row for row in of(run, 2, "versions") if row["ended_on"] is None]
    assert (aside["version_id"], aside["women"]) == (version(run, second), 3)
    assert "in conflict" in tocsin(run, "node", "case", "--event", "2", "--node", NODE)
    third = revise(run, "amend", "--event", "2", "--set", "women=4")
    assert (third["resolves"], third["conflicts"]) == ([first, second], [])
    until(lambda: [row["women"] for row in of(run, 2, "incidents")] == [4])
    assert all(row["ended_on"] for row in of(run, 2, "versions"))
    assert len(of(run, 2, "versions")) == 3


def test_an_amendment_that_moves_an_incident_moves_its_links(run):
    revise(run, "amend", "--event", "3", "--set", "country=CAF", "--set", "admin1=")
    until(lambda: [row["country"] for row in of(run, 3, "incidents")] == ["CAF"])
    until(lambda: not of(run, 3, "links"))
    revise(run, "amend", "--event", "3", "--set", "country=COD")
    until(lambda: len(of(run, 3, "links")) == 1)
    assert [row["country"] for row in of(run, 3, "incidents")] == ["COD"]


def test_a_retracted_incident_is_no_current_one_and_stays_in_its_history(run):
    revise(run, "retract", "--event", "4", "--reason", "duplicate", "--yes")
    until(lambda: not of(run, 4, "incidents"))
    assert [row["ending"] for row in of(run, 4, "versions")] == ["duplicate"]
    assert not of(run, 4, "links")
    story = told(run, "why", run.mine[3].hex())
    assert {hub["closed"]["ending"] for hub in story["hubs"]} == {"duplicate"}


def test_what_comes_before_what_it_follows_is_named_and_released_by_it(run):
    node = run.reporters["SYN-2"]
    [reported] = record(run, "SYN-2", 1)
    amended = told(run, "node", "amend", "--event", "1", "--set", "girls=7", "--node", "SYN-2")["event"]
    reader = Reader(node.journal)
    [late] = [entry.envelope for entry in reader.read() if entry.sequence == amended]
    keys = [("keys.SYN-2", key, value) for _, key, value in reader.key_records()]
    send(run.kafka, keys)
    send(run.kafka, [("raw.SYN-2", b"", late)])
    until(lambda: told(run, "ledger", "waiting")["waiting"] == [{"node": "SYN-2", "event": amended, "needs": [1]}])
    assert f"event {amended} waits for 1" in tocsin(run, "ledger", "waiting")
    tocsin(run, "node", "sync", "--node", "SYN-2")
    minted = seal.mint(run.secrets[REGION], reported).hex()
    until(lambda: [row["girls"] for row in rows(run, "incidents").to_dicts() if row["incident_id"] == minted] == [7])
    assert told(run, "ledger", "waiting")["waiting"] == []


def test_tables_made_again_from_the_log_are_equal(run):
    done = told(run, "replay", f"hub.{REGION}", "--into", "again/revised", "--check")
    assert done["equal"], done


def test_the_summary_tells_of_versions_below_no_threshold(run):
    page = told(run, "hub", "summary", REGION)
    (region,) = page["regions"]
    assert {region["revised"], region["in_conflict"]} <= {None, 0}
    assert {node["node"]: node["waiting"] for node in page["nodes"]}[NODE] == []
    assert "in conflict" in tocsin(run, "hub", "summary", REGION)


def test_a_withdrawn_case_leaves_its_history_too(run):
    revise(run, "amend", "--event", "5", "--set", "women=2")
    until(lambda: [len(of(run, 5, name)) for name in ("incidents", "versions", "links")] == [1, 1, 1])
    revise(run, "withdraw", "--event", "5", "--yes")
    until(lambda: not any(of(run, 5, name) for name in ("incidents", "versions", "links")))
    assert told(run, "node", "case", "--event", "5", "--node", NODE)["state"] == "withdrawn"
