"""The cut of the faults of the world: network, store, disks and clocks, each judged by what came out.

`python -m tests.chaos --scenario network,objects,disks,clocks` makes all of them, on all stages, before the oracle.
"""

import random
import time
from uuid import uuid4

import pytest
from kafka.admin import ConfigResource, KafkaAdminClient

from infra import launcher
from pipeline.node.entries import NotWritten
from pipeline.node.journal import NO_DIGEST, Entry, Journal
from schemas.errors import Retries, Unreachable
from sinks.store import Store as Door
from sinks.writer import DeltaSink
from tests.chaos.world.clocks import DAY, Clock
from tests.chaos.world.disks import small
from tests.chaos.world.network import Fault, Proxy
from tests.chaos.world.objects import KINDS, PLACES, Store, Storm
from tests.conformance.hub_events import batch
from tests.conformance.sink import log_of
from tests.integration.sinks.faulty import Fault as StoreFault
from tests.integration.sinks.test_faults import assert_exact
from tests.integration.streams.rig import Reader, Rig, Source

SEED, SIZE, RATE = 20261124, 30, 200
TIMES = "message.timestamp.type"
FAULTS = (
    ("reset", "down", "^EndTxn$"),  # committed, and nobody told the worker
    ("reset", "up", "^EndTxn$"),
    ("timeout", "down", "^Produce$"),
    ("limit_data", "up", "^TxnOffsetCommit$"),
    ("slow_close", "up", "^Produce$"),
    ("slicer", "down", "^Fetch$"),
    ("latency", "up", "^EndTxn$"),
    ("bandwidth", "down", "^Produce$"),
)
pytestmark = [
    pytest.mark.chaos,
    pytest.mark.integration,
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    data = tmp_path_factory.mktemp("world")
    try:
        yield launcher.up(data)
    finally:
        launcher.down(data)


@pytest.fixture
def rig(cluster, tmp_path):
    made = Rig(cluster.kafka, tmp_path, f"toy-{uuid4().hex[:8]}")
    admin = KafkaAdminClient(bootstrap_servers=cluster.kafka)
    # As infra/topics.toml says of every topic: else the broker refuses what a worker of another time writes.
    names = (made.source, made.copied, made.refused, made.ledger)
    admin.alter_configs([ConfigResource("TOPIC", name, {TIMES: "LogAppendTime"}) for name in names])
    admin.close()
    yield made
    made.clear()


def behind(rig, address, **options):
    """Start a supervised worker that reaches Kafka at `address`, and return it once it commits."""
    real, rig.kafka = rig.kafka, address
    try:
        worker = rig.worker("a", supervised=1, batch=50, **options)
    finally:
        rig.kafka = real
    worker.wait_for("batch", 4, seconds=120)
    return worker


def goes_on(worker, seconds=120):
    worker.wait_for("batch", len(worker.events("batch")) + 6, seconds)


def judged(rig, source, reader):
    sent = source.finish()
    rig.wait_until_copied(sent, seconds=120)
    rig.judge(sent, reader.finish(sent))


def test_a_network_that_fails_at_any_request_loses_and_doubles_nothing(rig):
    reader, source = Reader(rig, rig.copied), Source(rig, RATE)
    with Proxy(rig.kafka, seed=SEED) as proxy:
        worker = behind(rig, proxy.address)
        for kind, way, match in FAULTS:
            fault = proxy.arm(Fault(kind, way, match, skip=2))
            assert fault.fired.wait(120), f"nothing met {kind} {way} {match}"
            goes_on(worker)
        proxy.partition("down", 2.0, lost=True)
        goes_on(worker)
        judged(rig, source, reader)
        assert proxy.fired == {**{f"{kind} {way}": 1 for kind, way, _ in FAULTS}, "partition down": 1}
    assert len(worker.events("again")) >= 4
    assert {event["error"] for event in worker.events("again")} <= {"Unreachable", "Fenced"}


def test_a_store_that_fails_in_every_way_gets_each_row_once(cluster):
    left = dict.fromkeys(KINDS, 1) | {"lose_the_answer": 2, "claim_a_conflict": 2}
    real = Door(f"http://{cluster.s3}", cluster.access_key, cluster.secret_key, cluster.bucket)
    storm = Storm(SEED, left, every=2)
    with Store(real.endpoint) as store:
        store.stall_seconds, store.fault = 0.5, storm
        door = Door(f"http://{store.address}", cluster.access_key, cluster.secret_key, cluster.bucket)
        while storm.left:
            topic = f"hub.w{uuid4().hex[:8]}"
            live_through(door, topic, [5, 11, 16, 20, 25, SIZE])
            assert_exact(real, topic)
    assert storm.met == left


def live_through(door, topic, ends):
    for _ in range(30):
        try:
            sink = DeltaSink(door, topic, 0)
            while (start := sink.position()) < ends[-1]:
                sink.write(batch(topic, log_of(SIZE), start, next(end for end in ends if end > start)))
        except Retries:
            continue
        return
    raise AssertionError("the sink does not come through")


@pytest.mark.parametrize("place", ["list", "read"])
def test_a_store_with_another_time_names_the_clock(cluster, place):
    real = Door(f"http://{cluster.s3}", cluster.access_key, cluster.secret_key, cluster.bucket)
    with Store(real.endpoint) as store:
        door = Door(f"http://{store.address}", cluster.access_key, cluster.secret_key, cluster.bucket)
        topic = f"hub.w{uuid4().hex[:8]}"
        DeltaSink(door, topic, 0)
        store.fault = StoreFault(f"{PLACES[place]}|{PLACES['list']}", "claim_a_skew", times=10**6)
        with pytest.raises(Unreachable, match=r"set the clock that is wrong, then start this again"):
            DeltaSink(door, topic, 0)


def test_a_worker_whose_disk_is_full_goes_on_and_writes_a_snapshot_when_it_is_not(rig):
    reader, source = Reader(rig, rig.copied), Source(rig, RATE)
    with small(rig.data / "streams" / rig.stage / "snapshots", 1 << 20) as disk:
        worker = behind(rig, rig.kafka, snapshot=100)
        disk.fill()
        worker.wait_for("snapshot_not_saved", 1, seconds=60)
        goes_on(worker)
        assert "free some space" in worker.events("snapshot_not_saved")[0]["why"]
        since = time.time()
        disk.free()
        while not any(path.stat().st_mtime >= since for path in disk.folder.glob("*.snapshot")):
            goes_on(worker)
        judged(rig, source, reader)
        assert not worker.events("restart")
        worker.kill()


def test_a_journal_whose_disk_is_full_keeps_what_it_acknowledged_and_takes_more_when_it_is_not(tmp_path):
    dice = random.Random(SEED)
    entries = [Entry(number, NO_DIGEST, dice.randbytes(300)) for number in range(1, 301)]
    with small(tmp_path / "journal", 1 << 20) as disk:
        with Journal(disk.folder) as journal:
            journal.append(entries[:100])
            disk.fill(leave=20_000)
            with pytest.raises(NotWritten, match="free some space"):
                filled_up(journal, entries)
            acknowledged = journal.last
        disk.free()
        with Journal(disk.folder) as journal:
            assert journal.last >= acknowledged >= 100
            journal.append(entries[journal.last :])
            assert list(journal.read()) == entries


def filled_up(journal, entries):
    while journal.last < len(entries):
        journal.append(entries[journal.last : journal.last + 7])


@pytest.mark.parametrize("seconds", [400 * DAY, -400 * DAY])
def test_a_worker_whose_clock_jumps_goes_on(rig, tmp_path, seconds):
    reader, source, clock = Reader(rig, rig.copied), Source(rig, RATE), Clock(tmp_path / "clock")
    with clock.around():
        worker = behind(rig, rig.kafka)
    for jump in (seconds, -seconds):
        clock.jump(jump)
        time.sleep(2.0)
        goes_on(worker)
    judged(rig, source, reader)
    assert not worker.events("restart")
