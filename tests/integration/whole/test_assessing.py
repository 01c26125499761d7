"""A second node says what it knows of an incident, by the id of a row alone: from its command to the tables and the summary."""

from datetime import date

import pytest

from pipeline.log import read
from pipeline.node.journal import Journal
from pipeline.node.record import Recorder
from pipeline.stores import open_store
from pipeline.trace import TOO_LATE
from schemas import seal
from schemas.rows import read as read_row
from schemas.wire import unframe
from tests.integration.whole.conftest import record
from tests.integration.whole.rig import (
    ERASING,
    REGION,
    Whole,
    done_and_sent,
    event_id,
    forgets,
    rows,
    rows_of,
    tocsin,
    told,
    until,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(420)]
REPORTER, SECOND, THIRD = "SYN-1", "SYN-2", "SYN-3"
TABLE = "assessments"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A node with twelve incidents in the tables, and two others; workers of each kind go on."""
    whole = Whole(tmp_path_factory.mktemp("assessing"), [REPORTER, SECOND, THIRD])
    try:
        whole.create_reporters()
        whole.mine = record(whole, REPORTER, 12)
        for stage in ("refine", "merge", "sink", "receipts"):
            whole.worker(stage, "1")
        tocsin(whole, "node", "sync", "--node", REPORTER)
        until(lambda: len(rows(whole, "incidents")) == 12)
        yield whole
    finally:
        whole.down()


def shown(run, event, region=REGION):
    """The id under which a region shows the incident of an event."""
    return seal.mint(run.secrets[region], event).hex()


def say(run, node, event, how, *more, region=REGION):
    """Have a node corroborate or dispute an incident as it sees it in the region's table, and send that."""
    about = ("--incident", shown(run, event, region), "--region", region, "--source", "primary", "--on", "2024-06-15")
    return done_and_sent(run, node, how, *about, *more)


def of(run, event, region=REGION):
    """The assessments of the incident of an event: node, number and verdict of each row."""
    return sorted((row["node"], row["number"], row["verdict"]) for row in rows_of(run, event, TABLE, region))


def test_what_another_node_says_is_a_row_of_the_region_by_the_month_and_names_no_case(run):
    done = say(run, SECOND, run.mine[0], "corroborate", "--reliability", "B", "--credibility", "2")
    until(lambda: of(run, run.mine[0]) == [(SECOND, 1, "corroborated")])
    [row] = rows_of(run, run.mine[0], TABLE)
    assert row == {
        "incident_id": rows_of(run, run.mine[0], "incidents")[0]["incident_id"],
        "assessment_id": shown(run, event_id(run, SECOND, done["event"])),
        "node": SECOND,
        "number": 1,
        "verdict": "corroborated",
        "source": "primary",
        "reliability": "B",
        "credibility": 2,
        "grounds": "unspecified",
        "assessed_in": date(2024, 6, 1),
    }
    assert [len(rows(run, TABLE, region)) for region in run.secrets if region != REGION] == [0] * (len(run.secrets) - 1)
    entries = [read_row(*unframe(entry.value)) for entry in read(run.kafka, f"raw.{SECOND}")]
    assert {entry["case_ref"] for entry in entries} == {None}


def test_why_and_fates_tell_of_it_and_of_one_that_is_refused(run):
    wrong = {"region": "atlantis", "incident_id": bytes(16), "number": 1, "source": "primary", "reliability": "B"}
    wrong |= {"credibility": 2, "grounds": "unspecified", "assessed_on": date(2024, 6, 15)}
    node = run.reporters[THIRD]
    with Journal(node.journal) as journal, Recorder(node, journal) as recorder:
        refused = recorder.record("IncidentCorroborated", {"assessment": wrong})
    done = say(run, THIRD, run.mine[1], "dispute", "--grounds", "date")
    until(lambda: of(run, run.mine[1]) == [(THIRD, 1, "disputed")])
    story = told(run, "why", event_id(run, THIRD, done["event"]).hex())
    [hub] = story["hubs"]
    assert (hub["region"], hub["verdict"], hub["incident"]) == (REGION, "disputed", shown(run, run.mine[1]))
    assert hub["table"]["file"].startswith(f"s3://tocsin/hub/{REGION}/{TABLE}/")
    assert f"disputed: incident {shown(run, run.mine[1])}" in tocsin(
        run, "why", event_id(run, THIRD, done["event"]).hex()
    )
    assert "assessment.region" in tocsin(run, "why", refused.hex())
    assert [node["sent"] for node in told(run, "hub", "fates", THIRD, "--send")["nodes"]] == [1]
    tocsin(run, "node", "sync", "--node", THIRD)
    said = tocsin(run, "node", "fates", "--number", str(done["event"]), "--node", THIRD)
    assert f"Event {done['event']}, dispute: accepted; now in Great Lakes." in said
    assert "names no region" in tocsin(run, "node", "fates", "--refused", "--node", THIRD)


def test_the_summary_counts_what_stands_of_other_nodes_and_none_below_five(run):
    for event in run.mine[2:9]:
        say(run, SECOND, event, "corroborate")
    for event in run.mine[2:8]:
        last = say(run, THIRD, event, "dispute", "--grounds", "place")["event"]
    say(run, REPORTER, run.mine[9], "corroborate")  # of its own incident
    until(
        lambda: (
            sum(len(of(run, event)) for event in run.mine[2:9]) == 7 + 6
            and (REPORTER, 1, "corroborated") in of(run, run.mine[9])
        )
    )
    state = "report_pending_verification"
    (region,) = told(run, "hub", "summary", REGION)["regions"]
    assert region["assessed"][state]["disputed"] in (0, None)  # as other tests of this file may have said
    assert region["assessed"] == {
        state: region["assessed"][state] | {"corroborated": None, "corroborated_and_disputed": 6}
    }
    said = tocsin(run, "hub", "summary", REGION)
    assert "Incidents assessed by other nodes" in said
    assert "fewer than 5" in said
    done_and_sent(run, THIRD, "take-back", "--event", last)
    say(run, THIRD, run.mine[2], "corroborate")
    until(lambda: (THIRD, 2, "taken_back") in of(run, run.mine[7]) and len(of(run, run.mine[2])) == 3)
    (region,) = told(run, "hub", "summary", REGION)["regions"]
    assert region["assessed"][state]["corroborated_and_disputed"] is None
    assert (SECOND, 1, "corroborated") in of(run, run.mine[7])


def test_an_assessment_may_come_before_its_incident_and_stays_when_that_goes_on(run):
    [event] = record(run, REPORTER, 1)
    say(run, SECOND, event, "corroborate")
    until(lambda: of(run, event) == [(SECOND, 1, "corroborated")])
    assert not rows_of(run, event, "incidents")
    tocsin(run, "node", "sync", "--node", REPORTER)
    until(lambda: len(rows_of(run, event, "incidents")) == 1)
    number = next(n for n in range(12, 16) if event_id(run, REPORTER, n) == event)
    done_and_sent(run, REPORTER, "amend", "--event", number, "--set", "women=2")
    until(lambda: len(rows_of(run, event, "versions")) == 1)
    assert of(run, event) == [(SECOND, 1, "corroborated")]
    [row] = rows_of(run, event, "incidents")
    assert row["version_id"] is not None


def test_a_withdrawn_case_takes_its_assessments_with_it_and_what_comes_later_is_told_to_nobody(run):
    gone = run.mine[10]
    say(run, SECOND, gone, "corroborate")
    until(lambda: len(of(run, gone)) == 1)
    tocsin(run, "node", "withdraw", "--event", "11", "--yes", "--node", REPORTER)
    tocsin(run, "node", "sync", "--node", REPORTER)
    until(lambda: not of(run, gone) and not rows_of(run, gone, "incidents"))
    late = say(run, SECOND, gone, "dispute", "--grounds", "other")["event"]
    say(run, SECOND, run.mine[11], "dispute", "--grounds", "other")
    until(lambda: len(of(run, run.mine[11])) == 1)
    assert not of(run, gone)
    story = told(run, "why", event_id(run, SECOND, late).hex())
    assert ("hubs" in story, story["ends"]) == (False, TOO_LATE)
    until(lambda: forgets(run, "run")["code"] == 0, ERASING)
    for entry in read(run.kafka, f"hub.{REGION}"):
        row = read_row(*unframe(entry.value)) if entry.value else {}
        assert "assessment_id" not in row or row["incident_id"].hex() != shown(run, gone)


def test_tables_made_again_from_the_log_are_equal(run):
    say(run, SECOND, run.mine[9], "dispute", "--grounds", "party")
    until(lambda: (SECOND, "disputed") in {(node, verdict) for node, _, verdict in of(run, run.mine[9])})
    done = told(run, "replay", f"hub.{REGION}", "--into", "again/assessed", "--check")
    store = open_store(run.data)
    for path in store.list("again/"):
        store.remove(path)  # a copy of a table is what no store signs for
    assert done["equal"], done
    assert done["tables"][TABLE]["live_rows"] > 0
