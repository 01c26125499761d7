"""Receipts on the real thing: nothing is receipted before it is in the tables, and what became of each is told."""

import json
import time
from collections import Counter
from datetime import date

import pytest
from kafka.admin import KafkaAdminClient

from infra import table, topics
from pipeline.hub.summary import summary
from pipeline.keyrings import ledger_key, region_keys
from pipeline.log import read as read_log
from pipeline.node import node as nodes
from pipeline.node import sent
from pipeline.node.record import Recorder
from pipeline.node.status import status
from pipeline.node.sync import sync
from pipeline.receipts.given import last_receipt
from pipeline.stores import open_store
from schemas import confidence
from schemas.rows import read
from schemas.wire import unframe
from tests.integration.whole.conftest import INCIDENT
from tests.integration.whole.rig import REGION, Whole, send

pytestmark = [pytest.mark.integration, pytest.mark.timeout(480)]
NODES = ["SYN-1", "SYN-2"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two nodes' events on their way; the receipts worker runs before anything is in a table, and is killed twice."""
    whole = Whole(tmp_path_factory.mktemp("receipts"), NODES)
    try:
        generator = whole.generator(11)
        records = list(generator.records(2_000, 60))
        send(whole.kafka, generator.keys)
        send(whole.kafka, records)
        whole.truth = generator.truth
        whole.before = {}
        for stage in ("refine", "merge"):
            whole.worker(stage, "1", "--until-idle", "2", "--batch-records", "300").wait(180)
            whole.worker("receipts", "1", "--until-idle", "2").wait(180)
            whole.before[stage] = [last_receipt(whole.kafka, node) for node in NODES]
        whole.worker("sink", "1", "--until-idle", "2").wait(180)
        for name in ("1", "2", "3"):
            worker = whole.worker("receipts", name, "--until-idle", "3")
            if name != "3":
                worker.kill()
        whole.workers[-1].wait(180)
        yield whole
    finally:
        whole.down()


def rows(run, node):
    return [read(*unframe(value)) for value in run.values(f"receipts.{node}")]


def test_nothing_is_receipted_before_it_is_in_the_tables(run):
    assert run.before == {"refine": [None, None], "merge": [None, None]}


def test_everything_is_receipted_through_the_last_number(run):
    for node in NODES:
        last = rows(run, node)[-1]
        sent = sum(1 for topic, _ in run.truth.quarantined if topic == f"raw.{node}")
        assert last["end"] == len(run.values(f"raw.{node}"))
        assert (last["through"], last["missing_count"]) == (last["highest"], 0)
        assert last["counts"]["quarantined"] == sent


def test_the_counts_are_the_truth(run):
    total = Counter()
    for node in NODES:
        total.update(rows(run, node)[-1]["counts"])
    assert total == run.truth.counts


def test_each_refused_record_is_named_with_its_reasons(run):
    found = {}
    for node in NODES:
        for row in rows(run, node):
            for offset, reasons in zip(row["refused_offsets"], row["refused_reasons"], strict=True):
                found[f"raw.{node}", offset] = set(reasons.split())
    assert found.keys() == run.truth.quarantined.keys()
    for place, reasons in run.truth.quarantined.items():
        assert reasons == {"*"} or found[place] == reasons


def test_receipts_go_on_from_one_another_and_never_back(run):
    for node in NODES:
        found = rows(run, node)
        assert [row["start"] for row in found] == [0, *(row["end"] for row in found[:-1])]
        assert all(row["start"] <= row["end"] for row in found)


def test_a_worker_tells_of_each_receipt(run):
    told = [event for worker in run.workers for event in worker.events("batch") if event["stage"] == "receipts"]
    assert {event["lane"] for event in told} == {"raw.SYN-1-0", "raw.SYN-2-0"}
    assert all(json.dumps(event) for event in told)


@pytest.fixture(scope="module")
def torn(tmp_path_factory):
    """A node whose topic loses its tail twice: before refine has read it, and after everything was receipted."""
    whole = Whole(tmp_path_factory.mktemp("torn"), ["SYN-1"])
    try:
        public = region_keys(whole.data, "public")[REGION]
        node = nodes.create(whole.data / "nodes" / "SYN-1", "SYN-1", REGION, public, "fr")
        whole.node, whole.outcomes = node, []
        record(node, 30)
        whole.outcomes.append(sync(node, whole.kafka))
        cut(whole, 12)
        whole.outcomes.append(sync(node, whole.kafka))
        work(whole)
        whole.outcomes.append(sync(node, whole.kafka))
        whole.first = status(node)
        length = len(whole.values("raw.SYN-1"))
        cut(whole, length - 7)
        record(node, 5)
        whole.outcomes.append(sync(node, whole.kafka))
        work(whole)
        whole.outcomes.append(sync(node, whole.kafka))
        yield whole
    finally:
        whole.down()


def record(node, count):
    """So many good incidents, and before them one that the rules refuse."""
    with sent.open_journal(node) as journal, Recorder(node, journal) as recorder:
        recorder.record("IncidentReported", {"incident": INCIDENT | {"women": 0}})
        for _ in range(count - 1):
            recorder.record("IncidentReported", {"incident": INCIDENT})


def cut(whole, keep):
    """Leave only the first records of the node's topic, as a broker does that lost what was not on its disk."""
    kept = [("raw.SYN-1", entry.key, entry.value) for entry in read_log(whole.kafka, "raw.SYN-1")][:keep]
    admin = KafkaAdminClient(bootstrap_servers=whole.kafka)
    admin.delete_topics(["raw.SYN-1"], timeout_ms=30_000)
    while "raw.SYN-1" in admin.list_topics():
        time.sleep(0.1)
    admin.close()
    topics.ensure(whole.kafka, table.expand(["SYN-1"], []))
    send(whole.kafka, kept)


def work(whole):
    for stage in ("refine", "merge", "sink", "receipts"):
        whole.worker(stage, "1", "--until-idle", "3").wait(180)


def test_what_the_log_lost_is_sent_again_and_accepted_once(torn):
    numbers = Counter(read(*unframe(value))["sequence"] for value in torn.values("accepted"))
    assert numbers == Counter(set(range(1, 36)) - {1, 31})
    assert [outcome.events for outcome in torn.outcomes] == [30, 0, 0, 5, 0]
    first, second = torn.outcomes[1].again, torn.outcomes[3].again
    assert (first > 18, second > 7, [torn.outcomes[at].again for at in (0, 2, 4)]) == (True, True, [0, 0, 0])


def test_the_node_knows_what_became_of_its_events(torn):
    assert (torn.first.receipted, torn.first.refused) == (30, [(1, ["incident.persons_none"])])
    now = status(torn.node)
    assert (now.last, now.receipted, now.sent) == (35, 35, 35)
    assert [number for number, _ in now.refused] == [1, 31]


def test_the_summary_says_how_far_a_node_is_receipted(torn):
    store, key = open_store(torn.data), ledger_key(torn.data)
    page = summary(torn.kafka, store, key, [REGION], confidence.default(), date(2026, 1, 1))
    assert [node["receipted_through"] for node in page["nodes"]] == [35]
