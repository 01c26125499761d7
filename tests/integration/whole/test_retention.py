"""Cases that were kept as long as their rule says leave every table, and no key opens them any more; all others stay."""

from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest

from pipeline.log import read
from pipeline.node import record as recording
from pipeline.node import referring, revising
from pipeline.node.journal import Journal, Reader
from pipeline.node.record import Recorder
from pipeline.node.revising import Decision
from schemas import seal
from schemas.places import region_codes_of
from schemas.rows import read as read_row
from schemas.wire import unframe
from tests.integration.whole.conftest import PATTERN, record
from tests.integration.whole.rig import (
    ERASING,
    REGION,
    Whole,
    envelope,
    event_id,
    forgets,
    openable,
    rows,
    rows_of,
    tocsin,
    told,
    until,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
NODE, OTHER = "SYN-1", "SYN-2"
AGO = timedelta(days=800)  # more than 24 months
REPORTED, GOES, HELD, STAYS = range(1, 7), (2, 3, 6), 5, (1, 4, 5)
TABLES = ("incidents", "versions", "referrals", "links", "duplicates")
RULES = """class,months,why
verified_by_consent,,
verified_public,,
unverified_by_consent,24,the rule of this node
unverified_public,24,the rule of this node
not_in_scope,12,
did_not_occur,12,
retracted,12,
refused,12,
not_opened,,
no_case,,
"""


def fill(run):
    """Record six cases, long ago: 1 is verified, 2 did not occur, 3 is retracted, 4 is amended today, 5 has an open referral."""
    node, then = run.reporters[NODE], int((datetime.now(UTC) - AGO).timestamp() * 1_000_000_000)
    with mock.patch.object(recording.time, "time_ns", return_value=then):
        record(run, NODE, len(REPORTED))
        with Journal(node.journal) as journal:
            for number, state in ((1, "verified"), (2, "did_not_occur")):
                revising.verify(node, journal, number, Decision(state, "technical", "A. Name", primary=1))
            revising.retract(node, journal, 3, "error")
            referring.refer(node, journal, HELD, "medical")
    with Journal(node.journal) as journal:
        revising.amend(node, journal, 4, {"women": 2})
        with Recorder(node, journal) as recorder:
            recorder.record("PatternObserved", {"pattern": PATTERN})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A node with cases of several classes and rules of its own, and another with cases like them; all is in the tables."""
    whole = Whole(tmp_path_factory.mktemp("retention"), [NODE, OTHER])
    try:
        whole.create_reporters()
        fill(whole)
        whole.theirs = record(whole, OTHER, 2)
        (whole.reporters[NODE].folder / "retention.csv").write_text(RULES)
        for stage in ("refine", "merge", "sink", "receipts"):
            whole.worker(stage, "1")
        for code in whole.reporters:
            tocsin(whole, "node", "sync", "--node", code)
        until(lambda: len(rows(whole, "incidents")) == 6 and len(rows(whole, "referrals")) == 1)
        whole.ids = {number: event_id(whole, NODE, number) for number in REPORTED}
        whole.refs = {number: case_ref(whole, number) for number in REPORTED}
        until(lambda: openable(whole, NODE) == set(whole.refs.values()))
        whole.before = {number: standing(whole, number) for number in REPORTED}
        apply(whole)
        yield whole
    finally:
        whole.down()


def case_ref(run, number):
    return read_row(*unframe(envelope(run, NODE, number)))["case_ref"]


def standing(run, number, region=REGION):
    """Return how many rows each table of a region has of a case."""
    minted = seal.mint(run.secrets[region], run.ids[number]).hex()
    return {name: sum(minted in row for row in map(str, rows(run, name, region).rows())) for name in TABLES}


def plan(run, *arguments):
    return told(run, "node", "retention", "--node", NODE, *arguments)


def going(found):
    return {part["name"]: part["goes"] for part in found["parts"] if part["goes"]}


def apply(run):
    """Look twice, be refused once, then apply and send; what was said and what the journal was is kept for the tests."""
    run.journals = [journal(run)]
    run.planned, run.ahead = plan(run), plan(run, "--on", f"{datetime.now(UTC).year + 3}-01-01")
    run.refused = tocsin(run, "node", "retention", "--apply", "--node", NODE, code=65)
    run.journals.append(journal(run))
    run.done = plan(run, "--apply", "--yes")["forgotten"]
    tocsin(run, "node", "sync", "--node", NODE)
    for region in region_codes_of("COD"):
        until(lambda region=region: not any(sum(standing(run, number, region).values()) for number in GOES))


def journal(run):
    return {path: path.read_bytes() for path in run.reporters[NODE].journal.iterdir()}


def test_a_dry_run_lists_exactly_what_goes_and_changes_nothing(run):
    found = run.planned
    assert going(found) == {"did_not_occur": [2], "retracted": [3], "unverified_by_consent": [6]}
    held = [one for part in found["parts"] for one in part["held"]]
    assert held == [{"event": HELD, "referrals": [10], "offered": ""}]
    stays = {part["name"]: part["stay"] for part in found["parts"] if part["stay"]}
    assert stays == {"verified_by_consent": 1, "unverified_by_consent": 1, "no_case": 1}
    assert "by retention.csv" in tocsin(run, "node", "retention", "--node", NODE)
    assert going(run.ahead)["unverified_by_consent"] == [4, 6]
    assert run.refused.count("add --yes") == 1
    assert run.journals[0] == run.journals[1]


def test_what_is_applied_leaves_every_region_and_the_others_stay(run):
    assert run.before[6] == {"incidents": 1, "versions": 0, "referrals": 0, "links": 1, "duplicates": 2}
    assert run.before[2]["versions"] == run.before[3]["versions"] == 1
    assert {one["case_ref"] for one in run.done} == {run.refs[number].hex() for number in GOES}
    for region in region_codes_of("COD"):
        assert not any(sum(standing(run, number, region).values()) for number in GOES)
        assert all(standing(run, number, region)["incidents"] == 1 for number in STAYS)
        assert all(len(rows_of(run, theirs, "incidents", region)) == 1 for theirs in run.theirs)
    assert standing(run, HELD)["referrals"] == standing(run, HELD)["links"] == 1
    assert standing(run, 4)["versions"] == run.before[4]["versions"] == 1


def test_their_keys_have_tombstones_and_the_others_open(run):
    newest = {entry.key: entry.value for entry in read(run.kafka, f"keys.{NODE}")}
    assert all(newest.get(run.refs[number]) is None for number in GOES)
    assert openable(run, NODE) & set(run.refs.values()) == {run.refs[number] for number in STAYS}
    held = Reader(run.reporters[NODE].journal).keys()
    assert {number for number in REPORTED if held[run.refs[number]]} == set(STAYS)


def test_node_and_hub_say_that_it_was_kept_as_long_as_the_rule_said(run):
    said = "kept as long as the rule said"
    assert said in tocsin(run, "node", "case", "--event", "2", "--node", NODE)
    story = told(run, "why", run.ids[6].hex())
    assert story["withdrawn"]["cause"] == "retention"
    assert all("removed" in hub for hub in story["hubs"])
    assert said in tocsin(run, "why", run.ids[6].hex())
    assert "withdrawn" not in told(run, "why", run.ids[1].hex())
    tocsin(run, "hub", "fates", NODE, "--send")
    tocsin(run, "node", "sync", "--node", NODE)
    assert said in tocsin(run, "node", "fates", "--number", "6", "--node", NODE)


def test_run_again_and_sent_again_it_changes_nothing(run):
    last = told(run, "node", "status", "--node", NODE)["last"]
    assert plan(run, "--apply", "--yes")["forgotten"] == []
    tocsin(run, "node", "sync", "--node", NODE, "--again")
    [marker] = record(run, NODE, 1)
    tocsin(run, "node", "sync", "--node", NODE)
    until(lambda: len(rows_of(run, marker, "incidents")) == 1)
    assert not any(sum(standing(run, number).values()) for number in GOES)
    assert told(run, "node", "status", "--node", NODE)["last"] == last + 1


def test_its_bytes_are_erased_and_each_store_signs_as_for_a_withdrawal(run):
    until(lambda: forgets(run, "run")["code"] == 0, ERASING)
    found = forgets(run)
    assert {(one["case"], one["cause"]) for one in found["cases"]} == {
        (run.refs[number].hex(), "retention") for number in GOES
    }
    assert all(store["erased_on"] for one in found["cases"] for store in one["stores"])
    assert "kept as long as the rule said" in tocsin(run, "forget", "status")
