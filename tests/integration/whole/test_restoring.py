"""A hub is put back to a copy from before withdrawals, and a node to an old one of its folder: nothing comes back.

Two cases are withdrawn and erased; then all of the hub's folder is as it was before. One is erased again by its receipt,
which was kept elsewhere, the other by the next sync of its node. An old copy of the node then sends all that it has.
"""

import os
import shutil
import subprocess
import sys
import time

import pytest

from infra import launcher
from pipeline.log import ends
from pipeline.node.journal import Journal, Reader
from pipeline.node.node import load
from pipeline.node.record import Recorder
from pipeline.receipts.given import last_receipt
from schemas import seal
from schemas.places import region_codes_of
from schemas.rows import read as read_row
from schemas.wire import unframe
from tests.chaos.scan import Canary, Scan
from tests.integration.whole.conftest import INCIDENT, PATTERN
from tests.integration.whole.rig import ROOT, Whole, forgets, openable, rows, send, tocsin, told, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
NODE, STAGES, REGION = "SYN-1", ("refine", "merge", "sink", "receipts"), "sahel"
HOMES = region_codes_of("TCD")
PATIENCE = 240
TAGS = ["Canary " + letter * 24 for letter in "abz"]


def report(whole):
    """Record three cases and a pattern; return what to look for of each."""
    node = whole.reporters[NODE]
    with Journal(node.journal) as journal, Recorder(node, journal) as recorder:
        facts = [INCIDENT | {"country": "TCD", "party": tag} for tag in TAGS]
        events = [recorder.record("IncidentReported", {"incident": each}) for each in facts]
        recorder.record("PatternObserved", {"pattern": PATTERN | {"areas": ["TCD"]}})
    reader = Reader(node.journal)
    keys = reader.keys()
    refs = [read_row(*unframe(entry.envelope))["case_ref"] for entry in reader.read()][:3]
    return [
        Canary(ref, keys[ref], tag.encode(), {home: seal.mint(whole.secrets[home], event) for home in HOMES})
        for ref, tag, event in zip(refs, TAGS, events, strict=True)
    ]


def shown(whole, canary, name="links"):
    """In how many regions a case is in a table."""
    return sum(canary.minted[home].hex() in set(rows(whole, name, home)["incident_id"]) for home in HOMES)


def settled(whole):
    """Whether all that the node has sent is in the tables."""
    found = last_receipt(whole.kafka, NODE)
    return found and found["end"] == ends(whole.kafka, f"raw.{NODE}")[f"raw.{NODE}"]


def stop(whole):
    for worker in whole.workers:
        worker.kill()
    launcher.down(whole.data)


def put_back(whole, copy):
    """Put all of the hub's folder back; the nodes are elsewhere, and stay as they are."""
    stop(whole)
    nodes = whole.data.with_name("nodes")
    shutil.move(whole.data / "nodes", nodes)
    shutil.rmtree(whole.data)
    shutil.copytree(copy, whole.data)
    shutil.rmtree(whole.data / "nodes")
    shutil.move(nodes, whole.data / "nodes")
    launcher.up(whole.data)


def erased(whole, *command):
    """Run a command of `tocsin forget` until nothing is outstanding; return what it said last."""
    until = time.monotonic() + PATIENCE
    while (found := forgets(whole, *command))["code"]:
        assert time.monotonic() < until, found
    return found


def restored_by_receipt(whole, receipt):
    """Erase again what a receipt names: keys first, rows when workers run; return what is seen before they do and after."""
    command = [sys.executable, "-m", "pipeline.cli", "forget", "again", str(receipt), "--hub", whole.key, "--json"]
    with subprocess.Popen(
        command, cwd=ROOT, env=os.environ | {"TOCSIN_DATA": str(whole.data)}, stdout=subprocess.PIPE, text=True
    ) as process:
        until(lambda: whole.cases[0].ref not in openable(whole, NODE))
        whole.waiting = forgets(whole), openable(whole, NODE), shown(whole, whole.cases[0])
        for worker in whole.workers:
            worker.start()
        process.communicate()
    whole.again = erased(whole, "run")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    home = tmp_path_factory.mktemp("restoring")
    whole = Whole(home / "hub", [NODE])
    try:
        whole.create_reporters()
        whole.cases = report(whole)
        for stage in STAGES:
            whole.worker(stage, "1")
        tocsin(whole, "node", "sync", "--node", NODE)
        until(lambda: all(shown(whole, case) == len(HOMES) for case in whole.cases) and settled(whole))
        stop(whole)
        shutil.copytree(whole.data, home / "copy", ignore=shutil.ignore_patterns("*.sock"))
        launcher.up(whole.data)
        for worker in whole.workers:
            worker.start()
        tocsin(whole, "node", "withdraw", "--event", "1", "--event", "2", "--node", NODE, "--yes")
        tocsin(whole, "node", "sync", "--node", NODE)
        until(lambda: forgets(whole)["cases"] and settled(whole))
        erased(whole, "run")
        whole.erased = Scan(whole.data, whole.cases)
        whole.key = told(whole, "hub", "checkpoint")["key"]
        receipt = home / "receipts.txt"
        receipt.write_text(tocsin(whole, "forget", "receipts", whole.cases[0].ref.hex()), encoding="utf-8")
        put_back(whole, home / "copy")
        whole.restored = Scan(whole.data, whole.cases), openable(whole, NODE), forgets(whole)
        restored_by_receipt(whole, receipt)
        whole.first = Scan(whole.data, whole.cases), shown(whole, whole.cases[1])
        tocsin(whole, "node", "sync", "--node", NODE)
        until(lambda: settled(whole) and not shown(whole, whole.cases[1]))
        whole.by_sync = openable(whole, NODE)
        whole.last = erased(whole, "run")
        old_node(whole, home / "copy" / "nodes" / NODE)
        erased(whole, "run")
        whole.after = Scan(whole.data, whole.cases), openable(whole, NODE)
        yield whole
    finally:
        whole.down()


def old_node(whole, folder):
    """Let an old copy of the node sync, which is refused, and send all that it has all the same, twice.

    The first time nobody watches the keys but `tocsin forget run`, the second time the worker of receipts does.
    """
    now = whole.data / "nodes" / NODE
    shutil.move(now, now.with_name("away"))
    shutil.copytree(folder, now)
    whole.refused = tocsin(whole, "node", "sync", "--node", NODE, "--again", code=70)
    shutil.rmtree(now)
    shutil.move(now.with_name("away"), now)
    outbox = Reader(load(folder).journal)
    keys = [(f"keys.{NODE}", key, value) for _, key, value in outbox.key_records()]
    events = [(f"raw.{NODE}", read_row(*unframe(e.envelope))["case_ref"] or b"", e.envelope) for e in outbox.read()]
    receipts = whole.workers[STAGES.index("receipts")]
    receipts.kill()
    send(whole.kafka, [*keys, *events])
    whole.relapsed = openable(whole, NODE)
    forgets(whole, "run")
    whole.buried = openable(whole, NODE)
    receipts.start()
    send(whole.kafka, keys)
    until(lambda: receipts.events("key_buried") and openable(whole, NODE) == whole.buried and settled(whole))


def refs(run, *numbers):
    return {run.cases[number].ref for number in numbers}


def test_what_was_erased_is_there_again_in_eight_stores_after_the_restore(run):
    scan, keys, status = run.restored
    for case in run.cases[:2]:
        assert not run.erased.of(case.ref)
        assert len([store for store in scan.of(case.ref) if not store.startswith("bytes")]) >= 8
    assert keys == refs(run, 0, 1, 2)
    assert status == {"cases": [], "outstanding": 0, "code": 0}


def test_a_receipt_closes_the_key_before_any_worker_runs(run):
    status, keys, there = run.waiting
    assert keys == refs(run, 1, 2)
    assert there == len(HOMES)
    [case] = status["cases"]
    assert (case["case"], case["node"], case["event"]) == (run.cases[0].ref.hex(), NODE, None)
    assert all(one["why"].startswith("the log has lost") for one in case["stores"] if one["left"])
    assert status["code"] == 75


def test_a_receipt_erases_its_case_again_and_no_other(run):
    scan, other = run.first
    assert all(one["erased_on"] for one in run.again["cases"][0]["stores"])
    assert scan.of(run.cases[0].ref) == set()
    assert scan.of(run.cases[1].ref) >= {
        f"{kind} of {home}" for kind in ("rows", "rows that name others") for home in HOMES
    }
    assert other == len(HOMES)


def test_the_next_sync_of_the_node_brings_the_erasure_back_by_itself(run):
    assert run.by_sync == refs(run, 2)
    found = {case["case"]: case["event"] for case in run.last["cases"]}
    assert found.keys() == {run.cases[0].ref.hex(), run.cases[1].ref.hex()}
    assert sorted(found.values()) == [5, 6]


def test_an_old_copy_of_the_node_is_refused_and_what_it_sends_brings_nothing_back(run):
    assert "Restore the newest backup" in run.refused
    assert run.relapsed == refs(run, 0, 1, 2)
    assert run.buried == refs(run, 2)
    scan, keys = run.after
    assert keys == refs(run, 2)
    buried = {event["key"] for event in run.workers[-1].events("key_buried")}
    assert buried == {case.ref.hex() for case in run.cases[:2]}
    assert not scan.of(run.cases[0].ref) | scan.of(run.cases[1].ref)
    assert scan.of(run.cases[2].ref) >= {f"hub.{home}" for home in HOMES}
    assert [shown(run, case) for case in run.cases] == [0, 0, len(HOMES)]


def test_a_replay_from_zero_brings_nothing_back_into_the_tables_that_it_makes(run):
    assert told(run, "replay", f"hub.{REGION}", "--into", "again/restored", "--check")["equal"]
    made = {name: str(run.table(f"again/restored/{name}").rows()) for name in ("incidents", "links")}
    minted = [case.minted[REGION].hex() for case in run.cases]
    assert all([ident in rows for ident in minted] == [False, False, True] for rows in made.values())
    scan = Scan(run.data, run.cases)
    assert not scan.of(run.cases[0].ref) | scan.of(run.cases[1].ref)


def test_what_is_no_receipt_names_no_case(run, tmp_path):
    (tmp_path / "forged.txt").write_text("tocsin erasure/v1\ncase 00\n", encoding="utf-8")
    assert "holds no" in tocsin(run, "forget", "again", str(tmp_path / "forged.txt"), code=65)
