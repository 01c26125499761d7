"""The way back on the real thing: every number that a node has sent has one fate, the right one, online and by file."""

import shutil

import pytest

from infra import table, topics
from pipeline.hub.telling import Teller
from pipeline.hub.trees import signer
from pipeline.keyrings import ledger_key, region_keys
from pipeline.log import read
from pipeline.node import node as nodes
from pipeline.node.journal import Journal, Reader
from pipeline.node.record import Recorder
from schemas import rows
from schemas.fates import read_page
from schemas.released import latest
from schemas.wire import single_object, unframe
from tests.integration.whole.conftest import INCIDENT, PATTERN, record
from tests.integration.whole.rig import REGION, Whole, send, tocsin, told, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
NODE, OTHER = "SYN-1", "SYN-2"
LATE, WAITS = 9, 10  # the event that does not come, and the one that follows it


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A node whose events meet every fate, told of them twice: while one number is missing, and when it has come."""
    whole = Whole(tmp_path_factory.mktemp("fates"), [NODE, OTHER])
    try:
        whole.create_reporters()
        load(whole)
        for stage in ("refine", "merge"):
            whole.worker(stage, "1")
        tocsin(whole, "node", "sync", "--node", OTHER)
        send_by_hand(whole)
        until(lambda: tell(whole) == (COUNTS, {2, 3, 6, 12}))
        whole.copy, whole.file = whole.data.parent / "copy", whole.data.parent / "node.fates"
        shutil.copytree(whole.reporters[NODE].folder, whole.copy)
        whole.sent = told(whole, "hub", "fates", NODE, "--send", "--out", str(whole.file))["nodes"]
        whole.shown = tocsin(whole, "hub", "fates", "--send")
        whole.pages = [len(whole.values(f"fates.{node}")) for node in (NODE, OTHER)]
        whole.synced = told(whole, "node", "sync", "--node", NODE)
        whole.first = fates(whole)
        until(lambda: not tell(whole)[0].keys() & {"missing", "waiting"})
        yield whole
    finally:
        whole.down()


def load(run):
    """Record 12 events: reports, one of them refused, a pattern, changes of which two are in conflict, a withdrawal."""
    record(run, NODE, 3)
    with Journal(run.reporters[NODE].journal) as journal, Recorder(run.reporters[NODE], journal) as recorder:
        recorder.record("IncidentReported", {"incident": INCIDENT | {"women": 0}})
        recorder.record("PatternObserved", {"pattern": PATTERN})
    for seen in ((), ("--seen", "1")):
        tocsin(run, "node", "amend", "--event", "1", "--set", f"women={3 + len(seen)}", *seen, "--node", NODE)
    record(run, NODE, 2)
    tocsin(run, "node", "amend", "--event", str(LATE), "--set", "women=2", "--node", NODE)
    tocsin(run, "node", "withdraw", "--event", "8", "--yes", "--node", NODE)
    record(run, NODE, 1)
    record(run, OTHER, 1)


def send_by_hand(run):
    """Send all but one event, one event twice, and another one with a number that was used."""
    reader = Reader(run.reporters[NODE].journal)
    send(run.kafka, [(f"keys.{NODE}", key, value or None) for _, key, value in reader.key_records()])
    records = {entry.sequence: entry.envelope for entry in reader.read()}
    fork = rows.read(*unframe(records[2])) | {"event_id": bytes(16)}
    again = [records[1], single_object(latest("Envelope"), rows.write(latest("Envelope"), fork))]
    values = [value for number, value in records.items() if number != LATE] + again
    send(run.kafka, [(f"raw.{NODE}", b"", value) for value in values])


def tell(run):
    """Return what the hub would tell the node: numbers by fate, and those linked to a pattern in its region."""
    by = signer(run.data / "proof", None, "tocsin.hub")
    found = Teller(run.kafka, ledger_key(run.data), run.secrets).tell(NODE, by)
    each = [
        (number, fate) for record in found.records.values() for number, fate in enumerate(read_page(record).fates, 1)
    ]
    return dict(found.counts), {n for n, fate in each if any(r.patterns for r in fate.regions if r.code == REGION)}


def fates(run, *arguments):
    """Return the fate of each number that the node's command tells, each told once."""
    line = told(run, "node", "fates", *arguments, *(() if arguments else ("--node", NODE)))
    numbers = [(number, one) for one in line["fates"] for number in range(one["first"], one["last"] + 1)]
    assert len(dict(numbers)) == len(numbers)
    return dict(numbers)


COUNTS = {"accepted": 6, "replaced": 1, "in_conflict": 1, "refused": 1, "waiting": 1, "withdrawn": 1, "missing": 1}
FIRST = {
    1: ("replaced", "report", ["6"]),
    2: ("accepted", "report", []),
    3: ("accepted", "report", []),
    4: ("refused", "report", ["incident.persons_none"]),
    5: ("accepted", "pattern", []),
    6: ("accepted", "amendment", []),
    7: ("in_conflict", "amendment", ["6"]),
    8: ("withdrawn", "report", []),
    LATE: ("missing", "", []),
    WAITS: ("waiting", "amendment", [str(LATE)]),
    11: ("accepted", "withdrawal", []),
    12: ("accepted", "report", []),
}


def plain(found):
    return {number: (one["fate"], one["kind"], one["details"]) for number, one in found.items()}


def test_every_number_has_one_fate_and_the_right_one(run):
    assert plain(run.first) == FIRST
    assert [number for number, one in run.first.items() if one["forked"]] == [2]


def test_an_accepted_number_says_where_it_is_linked_and_probably_a_duplicate(run):
    for number, one in run.first.items():
        here = [region for region in one["regions"] if region["code"] == REGION]
        assert bool(here) == (number in {2, 3, 5, 6, 7, 12})
        expected = {"patterns": int(number in {2, 3, 6, 12}), "duplicate": number in {2, 3, 12}}
        assert here in ([], [{"code": REGION, **expected}])


def test_the_hub_counts_by_fate_and_sends_only_what_changed(run):
    (mine,) = run.sent
    assert (mine["highest"], mine["pages"], mine["changed"], mine["sent"]) == (12, 1, 1, 1)
    assert mine["fates"] == COUNTS
    assert run.pages == [1, 1]
    assert run.synced["told"] == {"pages": 1, "refused": {}}
    assert all(word in run.shown for word in ("in conflict", NODE, OTHER, "Signed by tocsin.hub."))


def test_a_copy_without_a_network_is_told_the_same_by_file(run):
    assert "Pages taken that say something new: 1." in tocsin(
        run, "node", "fates", "--node", str(run.copy), "--import", str(run.file)
    )
    assert plain(fates(run, "--node", str(run.copy))) == FIRST
    said = tocsin(run, "node", "fates", "--node", str(run.copy), "--waiting")
    assert f"Event {WAITS}, amendment: waits for {LATE}" in said
    refused = tocsin(run, "node", "fates", "--node", str(run.copy), "--refused")
    assert "incident.persons_none: " in refused


def test_what_has_come_is_told_by_the_next_sync(run):
    assert [node["sent"] for node in told(run, "hub", "fates", NODE, "--send")["nodes"]] == [1]
    told(run, "node", "sync", "--node", NODE)
    now = {LATE: ("replaced", "report", [str(WAITS)]), WAITS: ("accepted", "amendment", [])}
    found = plain(fates(run))
    assert {number: found[number] for number in FIRST} == FIRST | now


def test_what_others_put_on_the_topic_is_not_taken_and_stops_nothing(run):
    before = fates(run)
    entry = list(read(run.kafka, f"fates.{NODE}"))[-1]
    record(run, NODE, 1)
    send(
        run.kafka,
        [
            (f"fates.{NODE}", entry.key, entry.value[:-1] + bytes([entry.value[-1] ^ 1])),
            (f"fates.{NODE}", b"1", b"junk"),
        ],
    )
    line = told(run, "node", "sync", "--node", NODE)
    assert (line["events"], line["told"]) == (1, {"pages": 0, "refused": {"fates.signature": 1, "fates.malformed": 1}})
    after = fates(run)
    assert after.pop(13)["fate"] == "unknown"
    assert after == before


def test_a_cluster_of_an_older_tocsin_is_told_what_to_run(run):
    older = [topic for topic in table.expand(["SYN-3"], []) if topic.name != "fates.SYN-3"]
    topics.ensure(run.kafka, older)
    public = region_keys(run.data, "public")[REGION]
    run.reporters["SYN-3"] = nodes.create(run.data / "nodes" / "SYN-3", "SYN-3", REGION, public)
    record(run, "SYN-3", 1)
    line = told(run, "node", "sync", "--node", "SYN-3")
    assert (line["events"], line["told"]) == (1, {"pages": 0, "refused": {"fates.no_topic": 1}})
    assert "no topic fates.SYN-3; run `tocsin up`" in tocsin(run, "hub", "fates", "--send", code=78)
