"""A survivor takes her consent back: what was shared of her case leaves every table, and nothing brings it back."""

import pytest

from pipeline.log import read
from pipeline.node.journal import Journal
from pipeline.node.record import Recorder
from schemas import seal
from schemas.places import region_codes_of
from tests.integration.whole.conftest import PATTERN, record
from tests.integration.whole.rig import REGION, Whole, rows, tocsin, told, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
TABLES = ("incidents", "links", "duplicates")


def naming(run, event_id, region=REGION):
    """Return how many rows of each table name an incident."""
    minted = seal.mint(run.secrets[region], event_id).hex()
    return {name: sum(minted in row for row in map(str, rows(run, name, region).rows())) for name in TABLES}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two nodes with six like incidents each and a pattern; the first case is withdrawn when all is in the tables."""
    whole = Whole(tmp_path_factory.mktemp("withdrawing"), ["SYN-1", "SYN-2"])
    try:
        whole.create_reporters()
        whole.mine, whole.theirs = record(whole, "SYN-1", 6), record(whole, "SYN-2", 6)
        node = whole.reporters["SYN-1"]
        with Journal(node.journal) as journal, Recorder(node, journal) as recorder:
            recorder.record("PatternObserved", {"pattern": PATTERN})
        for stage in ("refine", "merge", "sink"):
            whole.worker(stage, "1")
        for code in whole.reporters:
            tocsin(whole, "node", "sync", "--node", code)
        until(lambda: [len(rows(whole, name)) for name in TABLES] == [12, 12, 36])
        whole.before = naming(whole, whole.mine[0])
        whole.done = told(whole, "node", "withdraw", "--event", "1", "--node", "SYN-1", "--yes")
        tocsin(whole, "node", "sync", "--node", "SYN-1")
        for region in region_codes_of("COD"):
            until(lambda region=region: not sum(naming(whole, whole.mine[0], region).values()))
        yield whole
    finally:
        whole.down()


def test_a_withdrawn_case_leaves_the_tables_of_every_region_with_all_that_names_it(run):
    assert run.before == {"incidents": 1, "links": 1, "duplicates": 6}
    assert [one["incidents"] for one in run.done["withdrawn"]] == [1]
    for region in region_codes_of("COD"):
        assert not sum(naming(run, run.mine[0], region).values())
        assert all(naming(run, kept, region)["links"] == 1 for kept in (run.mine[1], run.theirs[0]))


def test_why_says_that_it_is_no_longer_shared(run):
    story = told(run, "why", run.mine[0].hex())
    assert {hub["region"] for hub in story["hubs"]} == set(region_codes_of("COD"))
    assert all("removed" in hub and "table" not in hub for hub in story["hubs"])
    assert "no longer shared" in tocsin(run, "why", run.mine[0].hex())
    assert "table" in told(run, "why", run.mine[1].hex())["hubs"][0]


def test_the_key_has_a_tombstone_and_the_node_has_no_key(run):
    node = run.reporters["SYN-1"]
    again = told(run, "node", "withdraw", "--event", "1", "--node", "SYN-1", "--yes")["withdrawn"]
    assert [one["before"] for one in again] == [True]
    ref = bytes.fromhex(again[0]["case_ref"])
    assert [entry.value for entry in read(run.kafka, "keys.SYN-1") if entry.key == ref][-1] is None
    with Journal(node.journal) as journal:
        assert not any(value for _, key, value in journal.key_records() if key == ref)


def test_a_node_that_sends_all_again_and_a_replay_from_the_log_bring_nothing_back(run):
    tocsin(run, "node", "sync", "--node", "SYN-1", "--again")
    late = record(run, "SYN-1", 1)
    tocsin(run, "node", "sync", "--node", "SYN-1")
    until(lambda: naming(run, late[0])["incidents"] == 1)
    assert sum(naming(run, run.mine[0]).values()) == 0
    done = told(run, "replay", f"hub.{REGION}", "--into", "again/withdrawn", "--check")
    assert done["equal"], done
    minted = seal.mint(run.secrets[REGION], run.mine[0]).hex()
    assert minted not in str(run.table("again/withdrawn/incidents").rows())


def test_a_case_withdrawn_before_it_was_ever_sent_is_never_seen(run):
    [unsent] = record(run, "SYN-2", 1)
    number = told(run, "node", "status", "--node", "SYN-2")["last"]
    told(run, "node", "withdraw", "--event", str(number), "--node", "SYN-2", "--yes")
    marker = record(run, "SYN-2", 1)
    tocsin(run, "node", "sync", "--node", "SYN-2")
    until(lambda: naming(run, marker[0])["incidents"] == 1)
    held = [entry.value for entry in read(run.kafka, "accepted", f"hub.{REGION}") if entry.value]
    assert not [value for value in held if unsent in value and b"SYN-2" in value and len(value) > 60]
    assert not [value for value in held if seal.mint(run.secrets[REGION], unsent) in value]
