"""kill -9 at random moments, while a file is imported and while events are sent."""

import json
import random
import time
from collections import Counter

import pytest

from pipeline import log
from pipeline.hub.proof import Evidence, examine
from pipeline.node.journal import Reader
from pipeline.node.node import load
from pipeline.node.sent import read as sent
from schemas.rows import read
from schemas.wire import unframe

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
ROWS = 4_000


def killed(process, seconds):
    """Kill a command after some seconds, however far it is; return whether it was still running."""
    time.sleep(seconds)
    running = process.poll() is None
    process.kill()
    process.communicate()
    return running


def test_an_import_killed_at_any_moment_loses_and_doubles_nothing(desk, rows):
    path, chance, hits = rows(ROWS), random.Random(5), 0
    desk.init("TEST-1")
    reader, seen = Reader(desk.journal("TEST-1")), 0
    for _ in range(10):
        hits += killed(desk.start("import", path), chance.uniform(0.3, 1.2))
        events = [(entry.sequence, entry.digest) for entry in reader.read()]
        assert [sequence for sequence, _ in events] == list(range(1, len(events) + 1))
        assert len(events) >= seen  # what was safe stays
        seen = len(events)
    assert hits
    status, said, line = desk.run("import", path, "--json")
    assert (status, line["accepted"] + line["already"], line["rejected"]) == (0, ROWS, {}), said
    events = list(reader.read())
    assert [entry.sequence for entry in events] == list(range(1, ROWS + 1))
    assert len({entry.digest for entry in events}) == ROWS
    keys = {key for _, key, _ in reader.key_records()}
    assert all(read(*unframe(entry.envelope))["case_ref"] in keys for entry in events)


def test_a_sync_killed_at_any_moment_only_repeats(desk, rows, cluster, node_topics):
    code, chance, hits = "KILLED-SYNC", random.Random(7), 0
    folder = desk.init(code)
    node_topics(code)
    assert desk.run("import", rows(ROWS), "--json")[2]["accepted"] == ROWS
    for _ in range(8):
        hits += killed(desk.start("sync", "--kafka", cluster.kafka), chance.uniform(0.3, 2.0))
        numbers = [read(*unframe(entry.value))["sequence"] for entry in log.read(cluster.kafka, f"raw.{code}")]
        assert set(range(1, sent(load(folder)).events + 1)) <= set(numbers)  # what counts as sent is there
    assert hits
    status, said, line = desk.run("sync", "--kafka", cluster.kafka, "--json")
    assert (status, line["last"] or ROWS) == (0, ROWS), said
    entries = list(log.read(cluster.kafka, f"raw.{code}"))
    assert {entry.value for entry in entries} == {entry.envelope for entry in Reader(folder / "journal").read()}
    numbers = [read(*unframe(entry.value))["sequence"] for entry in entries]
    assert set(numbers) == set(range(1, ROWS + 1))
    first = list(dict.fromkeys(numbers))
    assert first == sorted(first)  # nothing is seen before its predecessor
    assert json.loads((folder / "sent.json").read_text())["events"] == ROWS
    assert max(Counter(numbers).values()) <= hits + 1
    heads = [entry.value for entry in log.read(cluster.kafka, f"heads.{code}")]
    verdict = examine(Evidence(code, [entry.value for entry in entries], heads, load(folder).public))
    assert (verdict.complete, verdict.through, verdict.findings) == (True, ROWS, [])
