"""A real process is killed with SIGKILL at the worst places; the next one goes on and the rows are exact."""

import json
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import polars as pl
import pytest

from sinks.tables import of_topic
from tests.conformance.sink import expected

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
ROOT = Path(__file__).resolve().parents[3]
SIZE = 60

PROGRAM = """
import json, os, signal, sys
from sinks.store import Store
from sinks.writer import DeltaSink
from tests.conformance.hub_events import batch
from tests.conformance.sink import log_of
given = json.load(sys.stdin)

def reached(point):
    if point.startswith(given["point"]):
        given["visit"] -= 1
        if given["visit"] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

sink = DeltaSink(Store(*given["store"]), given["topic"], 0, reached=reached)
while (start := sink.position()) < given["size"]:
    end = min(start + given["cut"], given["size"])
    sink.write(batch(given["topic"], log_of(given["size"]), start, end))
print(sink.position())
"""


def live(store, topic, point, visit, cut):
    keys = [store.endpoint, store.access_key, store.secret_key, store.bucket]
    given = {"store": keys, "topic": topic, "point": point, "visit": visit, "cut": cut, "size": SIZE}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        check=False,
        input=json.dumps(given),
        text=True,
        capture_output=True,
        timeout=60,
        cwd=ROOT,
    )


def test_killed_twice_and_exact(store):
    topic = f"hub.k{uuid4().hex[:8]}"
    for point, visit, cut in (("uploaded", 3, 9), ("committed", 6, 13)):
        assert live(store, topic, point, visit, cut).returncode == -9
    done = live(store, topic, "nowhere", 0, 25)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", f"{SIZE}\n")
    found = {}
    for path, shape in of_topic(topic).items():
        frame = pl.scan_delta(store.uri(path), storage_options=store.delta_options()).collect()
        assert frame.select(shape.order).is_unique().all()
        found[shape.name] = frame.height
    assert found == {"versions": 0, "referrals": 0, "assessments": 0, **expected(SIZE)}
