"""A withdrawn case leaves the ledgers and the snapshots: workers are killed while they write bases, and all else is as it was.

The ledgers are unlocked and folded, and the case is found there before (the positive control).
"""

import threading
import time
from collections import Counter

import pytest

from pipeline.keyrings import ledger_key
from pipeline.log import read
from pipeline.node.journal import Journal, Reader
from pipeline.node.record import Recorder
from pipeline.receipts.given import last_receipt
from schemas.lock import unlock
from streams import held_bytes, ledger, names, refined, snapshot
from streams.held import Held
from streams.line import Line
from streams.merge import Merge
from tests.cutting import cut
from tests.integration.whole.conftest import INCIDENT, record
from tests.integration.whole.rig import REGION, Whole, done_and_sent, rows, rows_of, tocsin, told, until
from tests.integration.whole.test_forgetting import outstanding, stored
from tests.lying import contents

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
STAGES = ("refine", "merge")
NODE, OTHER = "SYN-1", "SYN-2"
NAMED = {
    "refine": refined.named,
    "merge": lambda delta: {ident.astype(">u8").tobytes() for ident in held_bytes.named(delta)},
}


def naming(run, event):
    """Return the records, of aborted transactions too, and snapshots that name an event once they are unlocked, by stage."""
    key, found = ledger_key(run.data), {}
    for stage in STAGES:
        entries = [e for e in read(run.kafka, f"ledger.{stage}", committed=False) if e.key != ledger.ASK]
        deltas = [ledger.read(e.offset, e.value).delta for e in entries]
        folder = run.data / "streams" / stage / "snapshots"
        deltas += [snapshot.load(folder, path.stem)[0].state for path in folder.glob("*.snapshot")]
        found[stage] = sum(event in NAMED[stage](unlock(key, delta)) for delta in deltas)
    return found


def held(run):
    """Return the ids and the parties that the lanes of merge hold, as the ledger gives it."""
    stage, key, lanes, lines = Merge(run.secrets), ledger_key(run.data), {}, {}
    for e in read(run.kafka, "ledger.merge"):
        if e.key == ledger.ASK:
            continue
        one = ledger.read(e.offset, e.value)
        taken = lines.setdefault(one.lane, Line(one.lane)).take(one)
        if taken is not None:
            before = Held() if taken.base else lanes.get(one.lane, Held())
            lanes[one.lane] = stage.restore(before, unlock(key, taken.delta))
    for line in lines.values():
        line.check()
    ids = {row.astype(">u8").tobytes() for lane in lanes.values() for row in lane.incidents.ids[: lane.incident_count]}
    return ids, {party for lane in lanes.values() for party in names.listed(lane.parties)}


def needles(run, event):
    """Return bytes of the record batches that name the event, as the broker keeps them."""
    key, found = ledger_key(run.data), []
    for stage in STAGES:
        for e in read(run.kafka, f"ledger.{stage}"):
            if event in NAMED[stage](unlock(key, ledger.read(e.offset, e.value).delta)):
                found.append(stored(run, (e.topic, e.partition), e.offset))
    return found


def lying(run, found):
    files = [data for path, data in contents(run.data) if "ledger." in str(path)]
    return [sum(needle in data for data in files) for needle in found]


def asked(run, stage):
    return any(e.key == ledger.ASK for e in read(run.kafka, f"ledger.{stage}", committed=False))


def erase(run, workers):
    """Have it erased, and each worker killed once it is asked for its base; return what is said."""

    def killing():
        for stage in STAGES:
            until(lambda stage=stage: asked(run, stage))
            time.sleep(0.5)
            workers[stage].kill_child()

    killer = threading.Thread(target=killing, daemon=True)
    killer.start()
    done = told(run, "forget", "run")
    killer.join()
    return done


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A case with a correction among others of two nodes; snapshots and ledgers hold it; it is withdrawn and erased."""
    whole = Whole(tmp_path_factory.mktemp("ledgers"), [NODE, OTHER])
    try:
        whole.create_reporters()
        workers = {stage: whole.worker(stage, "1") for stage in (*STAGES, "sink", "receipts")}
        with Journal(whole.reporters[NODE].journal) as journal, Recorder(whole.reporters[NODE], journal) as recorder:
            whole.mine = recorder.record("IncidentReported", {"incident": INCIDENT | {"party": "Only theirs"}})
        record(whole, OTHER, 20)
        for code in whole.reporters:
            tocsin(whole, "node", "sync", "--node", code)
        until(lambda: len(rows(whole, "incidents")) == 21)
        done_and_sent(whole, NODE, "amend", "--event", "1", "--set", "women=2")
        until(lambda: (rows(whole, "incidents")["women"] == 2).sum() == 1)
        for stage in STAGES:
            workers[stage].process.terminate()
            workers[stage].wait(60)
            workers[stage].start()
        whole.before, whole.held = naming(whole, whole.mine), held(whole)
        whole.needles = needles(whole, whole.mine)
        whole.lay = lying(whole, whole.needles)
        done_and_sent(whole, NODE, "withdraw", "--event", "1", "--yes")
        until(lambda: outstanding(whole) and all(s["why"].startswith("to be erased") for s in outstanding(whole)))
        whole.status = {one["store"]: one["left"] for one in outstanding(whole)}
        whole.summary = told(whole, "hub", "summary", REGION)
        whole.said = erase(whole, workers)
        whole.left, whole.told = held(whole), told(whole, "hub", "summary", REGION)
        yield whole
    finally:
        whole.down()


def test_before_the_ledgers_and_the_snapshots_held_it(run):
    assert run.before["refine"] >= 2
    assert run.before["merge"] >= 2
    assert run.mine in run.held[0]
    assert b"Only theirs" in run.held[1]
    assert run.status["ledger.refine"] >= 2
    assert run.status["ledger.merge"] >= 2
    assert len(run.needles) >= 2
    assert all(run.lay)


def test_after_no_record_and_no_snapshot_names_it_and_its_bytes_are_on_no_disk(run):
    assert naming(run, run.mine) == dict.fromkeys(STAGES, 0)
    ids, parties = run.left
    assert run.mine not in ids
    assert len(ids) == 20
    assert parties == {INCIDENT["party"].encode()}
    assert not any(lying(run, run.needles))
    signed = {one["store"] for one in run.said["cases"][0]["stores"] if one["erased_on"] and not one["left"]}
    assert signed >= {"ledger.refine", "ledger.merge"}


def test_all_else_is_told_as_before(run):
    assert [run.told[name] for name in ("complete", "nodes", "records")] == [
        run.summary[name] for name in ("complete", "nodes", "records")
    ]
    lanes = Counter(ledger.read(e.offset, e.value).base for e in read(run.kafka, "ledger.refine") if e.value)
    assert lanes[True] >= 2
    story = told(run, "why", run.mine.hex())
    assert story["refine"]["base"]
    assert "all before a base" in tocsin(run, "why", run.mine.hex())
    assert told(run, "top", "--once")["stages"]["refine"]["behind"] == 0


def one_more(run):
    """Record an incident and send it; return its event's id and number once it is in the table."""
    (event,) = record(run, NODE, 1)
    tocsin(run, "node", "sync", "--node", NODE)
    until(lambda: rows_of(run, event, "incidents"))
    return event, max(entry.sequence for entry in Reader(run.reporters[NODE].journal).read())


def test_receipts_go_on_where_the_ledger_is_cut_before_they_have_read_it(run):
    """The worker that gives them stands still meanwhile, as on a machine that is short of time."""
    (given,) = [worker for worker in run.workers if worker.stage == "receipts"]
    (child,) = given.family()
    child.suspend()
    try:
        one_more(run)
        cut(run.kafka, "refine")
    finally:
        child.resume()
    _, last = one_more(run)
    until(lambda: last_receipt(run.kafka, NODE)["through"] == last)
    assert given.process.poll() is None
    assert given.events("stops") == []
    assert "CutWhileRead" in {event["error"] for event in given.events("again")}


def test_the_stages_go_on_exactly(run):
    late, last = one_more(run)
    ids, _ = held(run)
    assert late in ids
    until(lambda: last_receipt(run.kafka, NODE)["through"] == last)
    node = next(one for one in told(run, "hub", "summary", REGION)["nodes"] if one["node"] == NODE)
    assert (node["highest"], node["missing_count"], node["receipted_through"]) == (last, 0, last)
    assert told(run, "replay", f"hub.{REGION}", "--into", "again/ledgers", "--check")["equal"]
