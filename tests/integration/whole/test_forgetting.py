"""Erasing for good: bytes of a withdrawn case are in no file of any store any more, and each store has signed for it.

For each store bytes are taken as they lie on the disk, and found there before (the positive control).
"""

import asyncio
import os
import signal
import subprocess
import sys
import time

import polars as pl
import pytest
from kafka.admin import ConfigResource, KafkaAdminClient

from infra import table, topics
from infra.erasing import CLOSING, COMPACTING
from pipeline.keyrings import ledger_key
from pipeline.log import read
from pipeline.node.journal import Journal
from pipeline.node.record import Recorder
from pipeline.stores import open_store
from schemas import seal
from schemas.lock import unlock
from schemas.places import region_codes_of
from schemas.released import latest
from schemas.rows import read as read_row
from schemas.rows import write
from schemas.wire import single_object, unframe
from streams import held_bytes, ledger
from streams.client import Broker
from streams.ledgerlog import fetch
from tests.integration.whole.conftest import INCIDENT, PATTERN
from tests.integration.whole.rig import REGION, REGIONS, ROOT, Whole, forgets, rows, send, tocsin, told, until
from tests.lying import contents

pytestmark = [pytest.mark.integration, pytest.mark.timeout(420)]
HOMES = region_codes_of("UGA")
MINE = INCIDENT | {"country": "UGA"}
OTHER = MINE | {"party": "Another party"}
TABLES = ("incidents", "links", "duplicates")
NEEDLE, DEADLINE = 40, 120


def where(run, needles):
    """Return for each needle in how many files it lies."""
    files = [data for _, data in contents(run.data)]
    return {name: sum(needle in data for data in files) for name, needle in needles.items()}


def stored(run, place, offset):
    """Return bytes of the record batch that holds an offset, as the broker keeps it."""

    async def look():
        broker = await Broker(run.kafka).connect()
        try:
            return (await fetch(broker, place, offset))[1]
        finally:
            await broker.close()

    batch = asyncio.run(look())
    length = int.from_bytes(batch[8:12], "big") + 12
    return batch[length - NEEDLE - 4 : length - 4]


def needles(run, event):
    """Return bytes of each store that hold the case, by the store's name."""
    found = {}
    for topic in ("accepted", *(f"hub.{region}" for region in HOMES)):
        ids = [event, *(seal.mint(run.secrets[region], event) for region in HOMES)]
        (entry,) = [e for e in read(run.kafka, topic) if INCIDENT["party"].encode() in (e.value or b"")]
        assert any(each in entry.value for each in ids)
        found[topic] = stored(run, (topic, entry.partition), entry.offset)
    ref = next(e.key for e in read(run.kafka, "raw.SYN-1") if event in (e.value or b""))
    (key,) = [e for e in read(run.kafka, "keys.SYN-1") if e.key == ref]
    found["keys.SYN-1"] = key.value[-NEEDLE:]
    (epoch,) = [e for e in read(run.kafka, "keys.SYN-1") if e.key == b"epoch:1"]
    found["the epoch's key in keys.SYN-1"] = epoch.value[-NEEDLE:]
    for entry in merged(run):
        if event in named(run, entry):
            found["ledger.merge"] = stored(run, ("ledger.merge", entry.partition), entry.offset)
    store = open_store(run.data)
    for region in HOMES:
        minted = seal.mint(run.secrets[region], event).hex()
        for path in [path for name in TABLES for path in store.list(f"hub/{region}/{name}/part-")]:
            content = store.get(path)
            if minted in str(pl.read_parquet(content).rows()):
                found[path] = content[60 : 60 + NEEDLE]
    return ref, found


def merged(run):
    """Return the records of merge's ledger, of aborted transactions too."""
    return [e for e in read(run.kafka, "ledger.merge", committed=False) if e.key != ledger.ASK]


def named(run, entry):
    """Return the ids that a record of merge's ledger names, once it is unlocked."""
    delta = unlock(ledger_key(run.data), ledger.read(entry.offset, entry.value).delta)
    return {ident.astype(">u8").tobytes() for ident in held_bytes.named(delta)}


def settings(run, *names):
    """Return the settings of topics that the eraser changes."""
    admin = KafkaAdminClient(bootstrap_servers=run.kafka)
    try:
        asked = [ConfigResource("TOPIC", name) for name in names]
        found = admin.describe_configs(asked, config_filter="all")["topic"]
        return {name: {key: found[name][key]["value"] for key in COMPACTING} for name in names}
    finally:
        admin.close()


def others(run, *gone):
    """Return what the hubs hold of all else: offset and bytes, but for tombstones."""
    held = read(run.kafka, *(f"hub.{region}" for region in HOMES))
    return {(e.topic, e.offset, e.value) for e in held if e.value and not any(each in e.value for each in gone)}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One case that is withdrawn, with like ones of two nodes and a pattern; its turn is killed in the midst, then made."""
    whole = Whole(tmp_path_factory.mktemp("forgetting"), ["SYN-1", "SYN-2"])
    try:
        whole.create_reporters()
        for code in whole.reporters:
            node = whole.reporters[code]
            with Journal(node.journal) as journal, Recorder(node, journal) as recorder:
                if code == "SYN-1":
                    whole.mine = recorder.record("IncidentReported", {"incident": MINE})
                    recorder.record("PatternObserved", {"pattern": PATTERN | {"areas": ["UGA"]}})
                for _ in range(5):
                    whole.kept = recorder.record("IncidentReported", {"incident": OTHER})
        workers = {stage: whole.worker(stage, "1") for stage in ("refine", "merge", "sink", "receipts")}
        for code in whole.reporters:
            tocsin(whole, "node", "sync", "--node", code)
        for region in HOMES:
            until(lambda region=region: [len(rows(whole, name, region)) for name in TABLES] == [11, 11, 25])
        whole.ref, whole.needles = needles(whole, whole.mine)
        whole.before = where(whole, whole.needles)
        whole.minted = [seal.mint(whole.secrets[region], whole.mine) for region in HOMES]
        kept = ("accepted", "keys.SYN-1", "ledger.refine", "ledger.merge")
        whole.settings = settings(whole, *kept, *(f"hub.{region}" for region in HOMES))
        told(whole, "node", "withdraw", "--event", "1", "--node", "SYN-1", "--yes")
        whole.others = others(whole, *whole.minted)
        told(whole, "node", "renew", "--node", "SYN-1")
        tocsin(whole, "node", "sync", "--node", "SYN-1")
        for stage in ("merge", "sink"):
            workers[stage].kill_child()
        until(lambda: outstanding(whole) and all(s["why"].startswith("to be erased") for s in outstanding(whole)))
        whole.status = forgets(whole)
        begun = time.monotonic()
        killed(whole)
        whole.said = told(whole, "forget", "run")
        whole.seconds = time.monotonic() - begun
        whole.after, whole.left = where(whole, whole.needles), others(whole, *whole.minted)
        whole.rows = [len(rows(whole, name, region)) for region in HOMES for name in TABLES]
        yield whole
    finally:
        whole.down()


def outstanding(run, at=0):
    case = (forgets(run)["cases"] or [{"stores": []}])[at]
    return [one for one in case["stores"] if one["erased_on"] is None]


def killed(run):
    """Begin to erase and be killed in the midst."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "forget", "run"],
        cwd=ROOT,
        env=os.environ | {"TOCSIN_DATA": str(run.data)},
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        said = process.stderr.readline()
        time.sleep(0.5)
        process.send_signal(signal.SIGKILL)
    assert "to go" in said


def test_before_it_lay_in_eight_stores_and_more(run):
    assert len(run.before) >= 8
    assert all(run.before.values()), run.before


def test_no_file_of_any_store_holds_it_any_more(run):
    assert not any(run.after.values()), run.after
    assert run.seconds < DEADLINE
    tag = INCIDENT["party"].encode()
    assert not [path for path, data in contents(run.data) if tag in data]
    assert not [entry for entry in merged(run) if run.mine in named(run, entry)]
    names = ["accepted", "quarantine", *(f"hub.{region}" for region in REGIONS)]
    held = [e for e in read(run.kafka, *names, committed=False) if e.value]
    assert not [
        e for e in held if tag in e.value or (run.mine in e.value and e.topic == "accepted" and len(e.value) > 60)
    ]


def test_all_else_is_as_it_was(run):
    assert run.left == run.others
    assert run.rows == [10, 10, 25] * len(HOMES)
    assert settings(run, *run.settings) == run.settings
    assert topics.ensure(run.kafka, table.expand(["SYN-1", "SYN-2"], REGIONS)) == []


def test_each_store_has_signed_and_anyone_can_check_it(run, tmp_path):
    assert run.status["code"] == 75
    (before,), (after,) = run.status["cases"], run.said["cases"]
    assert before["case"] == after["case"] == run.ref.hex()
    stores = [one["store"] for one in after["stores"]]
    assert len(stores) == 4 + 2 * len(REGIONS) + 1
    assert all(one["erased_on"] and not one["left"] and one["why"] is None for one in after["stores"])
    held = {one["store"]: one["left"] for one in before["stores"]}
    assert (held["accepted"], held["ledger.merge"]) == (1, 2)
    assert all(held[f"hub.{region}"] == 2 and not held[f"tables of {region}"] for region in HOMES), held
    assert held["keys.SYN-1"] >= 1  # the key of the epoch that has ended, the case's own if it is there still
    text = tocsin(run, "forget", "receipts", run.ref.hex()[:8])
    (tmp_path / "receipts.txt").write_text(text, encoding="utf-8")
    name = (run.data / "proof" / "name").read_text().strip()
    key = tocsin(run, "hub", "checkpoint").rpartition(name + "+")[2].split()[0]
    checker = [sys.executable, "docs/check_receipts.py", run.ref.hex(), f"{name}+{key}", str(tmp_path / "receipts.txt")]
    assert subprocess.run([*checker, *stores], cwd=ROOT, check=False, capture_output=True).returncode == 0
    (tmp_path / "receipts.txt").write_text(text.replace("hub.sahel", "hub.lake"), encoding="utf-8")
    assert subprocess.run(checker, cwd=ROOT, check=False, capture_output=True).returncode == 1


def test_the_stages_go_on_and_nothing_is_left_to_do(run):
    node = run.reporters["SYN-2"]
    with Journal(node.journal) as journal, Recorder(node, journal) as recorder:
        late = recorder.record("IncidentReported", {"incident": OTHER})
    tocsin(run, "node", "sync", "--node", "SYN-2")
    until(lambda: seal.mint(run.secrets[REGION], late).hex() in rows(run, "incidents")["incident_id"].to_list())
    held = {(e.topic, e.offset) for e in read(run.kafka, f"hub.{REGION}")}
    again = forgets(run, "run")["cases"][0]
    assert all(one["erased_on"] for one in again["stores"])
    assert {(e.topic, e.offset) for e in read(run.kafka, f"hub.{REGION}")} == held
    assert told(run, "replay", f"hub.{REGION}", "--into", "again/forgotten", "--check")["equal"]
    story = told(run, "why", run.mine.hex())
    assert {hub["region"] for hub in story["hubs"]} == set(HOMES)
    assert all("removed" in hub and "table" not in hub for hub in story["hubs"])
    assert "erased there" in tocsin(run, "why", run.mine.hex())
    assert "accepted" not in told(run, "why", run.kept.hex()) or told(run, "why", run.kept.hex())["hubs"]
    assert all(e.value is None for e in read(run.kafka, "accepted") if e.key == CLOSING)


def test_a_case_that_nobody_withdrew_is_said_in_a_sentence(run):
    assert "0 withdrawn cases begin with" in tocsin(run, "forget", "status", "ffffffff", code=65)


def test_a_withdrawal_that_refine_refused_erases_nothing(run):
    """It comes with a number that was used before, as of a second copy of the node; its case stands, and stays."""
    framed = next(e.value for e in read(run.kafka, "raw.SYN-2"))
    envelope = read_row(*unframe(framed))
    release = latest("ConsentWithdrawn")
    said = {"recorded_at": 1, "scope": "all", "incidents": envelope["event_id"], "cause": "consent"}
    body = write(release, said)
    other = {"event_id": os.urandom(16), "kind": release.name, "body_schema": release.fingerprint, "body": body}
    forged = single_object(latest("Envelope"), write(latest("Envelope"), envelope | other))
    before = others(run, b"nothing")
    send(run.kafka, [("raw.SYN-2", envelope["case_ref"], forged)])
    until(lambda: len(forgets(run)["cases"]) == 2 and "receipt" not in outstanding(run, 1)[-1]["why"])
    found = forgets(run, "run")
    assert found["code"] == 75
    (case,) = [one for one in found["cases"] if one["case"] == envelope["case_ref"].hex()]
    left = {one["store"]: one["left"] for one in case["stores"] if one["erased_on"] is None}
    assert left.keys() >= {f"keys.{envelope['node']}", *(f"hub.{region}" for region in HOMES)}
    assert all(left[f"tables of {region}"] for region in HOMES)
    assert others(run, b"nothing") == before
    assert [e for e in read(run.kafka, "keys.SYN-2") if e.key == envelope["case_ref"]][-1].value
