"""A survivor lets an incident be shared further: from the node's command to the tables, and no further than she said."""

from datetime import date

import pytest

from pipeline.log import read
from pipeline.node import versions
from pipeline.node.journal import Journal, Reader
from pipeline.node.record import Recorder
from schemas import lifecycle
from schemas.rows import read as read_row
from schemas.wire import unframe
from tests.integration.whole.conftest import INCIDENT, record
from tests.integration.whole.rig import REGION, Whole, done_and_sent, envelope, rows, rows_of, send, tocsin, told, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
NODE, LATE = "SYN-1", "SYN-2"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A node with four incidents, shared with their hub, in the tables; workers of each kind go on."""
    whole = Whole(tmp_path_factory.mktemp("granting"), [NODE, LATE])
    try:
        whole.create_reporters()
        whole.mine = record(whole, NODE, 4)
        for stage in ("refine", "merge", "sink", "receipts"):
            whole.worker(stage, "1")
        tocsin(whole, "node", "sync", "--node", NODE)
        until(lambda: len(rows(whole, "incidents")) == 4)
        yield whole
    finally:
        whole.down()


def sent(run, *arguments):
    return done_and_sent(run, NODE, *arguments)


def scopes(run, event_id):
    return [row["sharing_scope"] for row in rows_of(run, event_id, "incidents")]


def test_the_tables_say_how_far_an_incident_may_go_and_how_far_it_could_before(run):
    event = sent(run, "grant", "--event", "1", "--scope", "headquarters", "--on", "2024-06-01")["event"]
    until(lambda: scopes(run, run.mine[0]) == ["headquarters"])
    [row], [before] = (rows_of(run, run.mine[0], name) for name in ("incidents", "versions"))
    assert (row["change"], row["step"], row["verified_on"]) == ("consent_given", None, None)
    assert (before["version_id"], before["sharing_scope"], before["ending"]) == (None, "hub", "consent_given")
    assert "consent given: headquarters, 2024-06-01" in tocsin(run, "node", "case", "--event", "1", "--node", NODE)
    event_id = read_row(*unframe(envelope(run, NODE, event)))["event_id"]
    (hub,) = told(run, "why", event_id.hex())["hubs"]
    assert (hub["id"], hub["incident"]) == (row["version_id"], row["incident_id"])
    assert date(2024, 6, 1) not in row.values()


def test_what_comes_before_the_report_is_named_and_released_by_it(run):
    [reported] = record(run, LATE, 1)
    event = told(run, "node", "grant", "--event", "1", "--scope", "public", "--node", LATE)["event"]
    keys = [(f"keys.{LATE}", key, value) for _, key, value in Reader(run.reporters[LATE].journal).key_records()]
    send(run.kafka, keys)
    send(run.kafka, [(f"raw.{LATE}", b"", envelope(run, LATE, event))])
    until(lambda: told(run, "ledger", "waiting")["waiting"] == [{"node": LATE, "event": event, "needs": [1]}])
    tocsin(run, "node", "sync", "--node", LATE)
    until(lambda: scopes(run, reported) == ["public"])


def test_a_narrower_audience_is_refused_and_the_node_is_told_what_to_do(run):
    node = run.reporters[NODE]
    sent(run, "grant", "--event", "2", "--scope", "public")
    with Journal(node.journal) as journal, Recorder(node, journal) as recorder:
        found = versions.history(node, journal, 2)
        newest = found.events[found.heads[-1]]
        naming = {"incident_id": found.reported.event_id, "incident_number": found.reported.number}
        naming["replaces"] = lifecycle.replaces([(newest.event_id, newest.number)])
        recorder.follow(found.case, "ConsentGiven", {**naming, "given_on": date(2024, 6, 1), "incident": INCIDENT})
    tocsin(run, "node", "sync", "--node", NODE)
    until(lambda: told(run, "hub", "summary", REGION)["quarantined"] == {"consent.narrower": 1})
    until(lambda: scopes(run, run.mine[1]) == ["public"])

    def known():
        tocsin(run, "node", "sync", "--node", NODE)
        return "consent.narrower" in tocsin(run, "node", "status", "--node", NODE)

    until(known)
    assert "tocsin node withdraw" in tocsin(run, "node", "status", "--node", NODE)


def test_a_case_that_is_withdrawn_leaves_with_every_audience_it_had(run):
    sent(run, "grant", "--event", "3", "--scope", "headquarters")
    until(lambda: scopes(run, run.mine[2]) == ["headquarters"])
    sent(run, "withdraw", "--event", "3", "--yes")
    until(lambda: not any(rows_of(run, run.mine[2], name) for name in ("incidents", "versions")))
    tocsin(run, "node", "grant", "--event", "3", "--scope", "public", "--node", NODE, code=65)


def test_consent_that_is_taken_back_for_the_public_narrows_the_audience_and_leaves_the_row(run):
    [mine] = record(run, NODE, 1)
    number = told(run, "node", "status", "--node", NODE)["last"]
    sent(run, "grant", "--event", number, "--scope", "public")
    until(lambda: scopes(run, mine) == ["public"])
    sent(run, "withdraw", "--event", number, "--scope", "public")
    until(lambda: scopes(run, mine) == ["headquarters"])
    sent(run, "grant", "--event", number, "--scope", "public")
    until(lambda: scopes(run, mine) == ["public"])


def test_no_day_of_a_consent_leaves_refine(run):
    sent(run, "grant", "--event", "4", "--scope", "headquarters", "--on", "2024-06-01")
    until(lambda: scopes(run, run.mine[3]) == ["headquarters"])
    told = [read_row(*unframe(entry.value)) for entry in read(run.kafka, "accepted", f"hub.{REGION}")]
    consents = [row for row in told if row.get("change") == "consent_given"]
    assert len(consents) >= 2
    assert not any(date(2024, 6, 1) in row.values() for row in consents)


def test_tables_made_again_from_the_log_are_equal(run):
    done = told(run, "replay", f"hub.{REGION}", "--into", "again/granted", "--check")
    assert done["equal"], done
