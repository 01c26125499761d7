"""`tocsin replay`, `tocsin top` and what a worker refuses at its start, on a small run."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from kafka.admin import KafkaAdminClient, NewTopic

from sinks.tables import HUB
from tests.integration.whole.rig import REGION, ROOT
from tests.integration.whole.test_looking import tocsin

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def test_a_replay_equals_the_live_tables(small):
    report = json.loads(tocsin(small, "replay", f"hub.{REGION}", "--into", "replays/one", "--check", "--json"))
    assert report["equal"]
    assert (report["records"], report["rows"]["incidents"], report["rows"]["links"]) == (24, 10, 10)
    for name in HUB:
        found = report["tables"][name]
        assert (found["live_rows"], found["live_digest"]) == (found["replayed_rows"], found["replayed_digest"])
        live, again = small.table(f"hub/{REGION}/{name}"), small.table(f"replays/one/{name}")
        assert sorted(live.rows(), key=str) == sorted(again.rows(), key=str)
    said = tocsin(small, "replay", f"hub.{REGION}", "--into", "replays/one", code=65)
    assert "name another place by --into" in said


@pytest.mark.parametrize("arguments", [["sahel", "--into", "x"], [f"hub.{REGION}", "--into", "hub/x"]])
def test_what_cannot_be_replayed_is_one_sentence(small, arguments):
    assert tocsin(small, "replay", *arguments, code=65).count("\n") == 1


def test_top_tells_that_everything_was_read_and_nothing_is_open(small):
    now = json.loads(tocsin(small, "top", "--once", "--json"))
    assert {stage: now["stages"][stage]["behind"] for stage in ("refine", "merge", "sink")} == {
        "refine": 0,
        "merge": 0,
        "sink": 0,
    }
    assert now["stages"]["receipts"]["lag"] == {"raw.SYN-1-0": 24}
    assert (now["open"], now["silent"], now["never"]) == ({}, {}, 0)


def test_top_names_a_silent_node_and_is_readable(small):
    time.sleep(2)
    now = json.loads(tocsin(small, "top", "--once", "--json", "--silent", "0.0001"))
    assert set(now["silent"]) == {"SYN-1"}
    page = tocsin(small, "top", "--once")
    assert "receipts" in page
    assert "Open transactions: none." in page


def test_a_worker_serves_its_metrics_on_this_machine(small):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    worker = small.worker("sink", "metrics", "--metrics", str(port), "--until-idle", "60")
    until = time.monotonic() + 120
    while not worker.events("metrics"):
        assert time.monotonic() < until, worker.log.read_text()
        time.sleep(0.2)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert 'tocsin_notes_total{event="metrics"} 1' in answer.read().decode()
    worker.kill()


def test_a_topic_with_other_partitions_stops_a_worker_with_one_sentence(small):
    admin = KafkaAdminClient(bootstrap_servers=small.kafka)
    admin.create_topics([NewTopic("raw.SYN-WIDE", 2, 1)])
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", "worker", "refine", "--name", "wide", "--once"],
            cwd=ROOT,
            env=os.environ | {"TOCSIN_DATA": str(small.data)},
            capture_output=True,
            text=True,
            timeout=120,
        )
    finally:
        admin.delete_topics(["raw.SYN-WIDE"])
        admin.close()
    assert done.returncode == 78, done.stderr
    assert "Topic raw.SYN-WIDE has 2 partitions and the table states 1" in done.stderr
