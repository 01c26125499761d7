"""Bases on a real broker: cut off anywhere, by a killed worker, a lost answer or a new owner, nothing is lost or doubled."""

import asyncio
import shutil
import threading
import time

import pytest
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient

from pipeline import log
from schemas import rows
from schemas.errors import CutWhileRead, Fenced, Unreachable
from schemas.wire import unframe
from streams import ledger
from streams.client import Broker
from tests.cutting import cut
from tests.integration.streams.rig import LANES, Source, kill_at_random
from tests.integration.streams.test_faults import STEPS, Deaf, batch, lane_on

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


def bases(rig, level="read_committed"):
    """Return lane, end and counts of the bases in the ledger, one for each last part."""
    found = [rows.read(*unframe(record.value)) for record in rig.read(rig.ledger, level) if record.value]
    return [
        (each["lane"], each["end"], each["counts"])
        for each in found
        if "parts" in each and each["part"] + 1 == each["parts"]
    ]


def begins_after_a_cut(rig):
    """Have each lane write a base and the ledger deleted before; return where it begins, by partition."""
    cut(rig.kafka, rig.stage)
    consumer = rig.consumer(rig.ledger)
    begins = {place.partition: offset for place, offset in consumer.beginning_offsets(consumer.assignment()).items()}
    consumer.close()
    return begins


def run(rig, course, first):
    """Run a course with two brokers, of which the first is given; both are closed."""

    async def whole():
        other = Broker(rig.kafka)
        try:
            await course(rig, first, other)
        finally:
            await first.close()
            await other.close()

    asyncio.run(whole())


async def asked_through(rig, broker, other):
    """Commit a batch, fail in the base after it, begin anew with a new lane and commit another."""
    lane, start = await lane_on(rig, broker)
    step, broker.step = broker.step, ""
    await lane.process(batch(rig, start, 10))
    rig.ask()
    broker.step = step
    with pytest.raises(Unreachable):
        await lane.tend()
    again, start = await lane_on(rig, other)
    assert (start, again._state.tolist()) == (10, [10, 90])
    rig.ask()
    await again.tend()
    assert again._state.tolist() == [10, 90]
    await again.process(batch(rig, start, 10))


@pytest.mark.parametrize("sent", [True, False], ids=["answer", "request"])
@pytest.mark.parametrize("step", STEPS)
def test_a_base_whose_request_or_answer_is_lost_is_there_or_not_and_changes_nothing(rig, step, sent):
    run(rig, asked_through, Deaf(rig.kafka, step, sent))
    assert sorted(record.value for record in rig.read(rig.copied)) == [b"%09d" % i for i in range(20)]
    assert [(start, end) for start, end, _ in rig.ledger_of()[f"{rig.source}-0"]] == [(0, 10), (10, 20)]
    assert bases(rig) == [(f"{rig.source}-0", 10, {"copied": 10})] * (2 if (step, sent) == ("EndTxn", True) else 1)


@pytest.mark.parametrize("goes_on", [True, False])
def test_a_lane_that_another_worker_has_writes_no_base(rig, goes_on):
    async def attempt(rig, first, other):
        zombie, start = await lane_on(rig, first)
        await zombie.process(batch(rig, start, 10))
        owner, start = await lane_on(rig, other)
        if goes_on:
            await owner.process(batch(rig, start, 10))
        rig.ask()
        with pytest.raises(Fenced):
            await zombie.tend()
        assert bases(rig) == []
        await owner.tend()

    run(rig, attempt, Broker(rig.kafka))
    assert [(lane, end) for lane, end, _ in bases(rig)] == [(f"{rig.source}-0", 20 if goes_on else 10)]


@pytest.mark.parametrize("size", [{"part": 5}, {"padding": 2 * ledger.PART_BYTES}], ids=["many parts", "large parts"])
def test_after_a_cut_a_worker_without_snapshots_goes_on(rig, size):
    rig.produce(2_000)
    worker = rig.worker("a", batch=50, tend=0.2, **size)
    rig.wait_until_copied(2_000)
    begins = begins_after_a_cut(rig)
    assert any(begins.values())
    found = {lane: (end, counts) for lane, end, counts in bases(rig)}
    assert found == {f"{rig.source}-{part}": (500, {"copied": 500}) for part in range(LANES)}
    worker.kill()
    shutil.rmtree(rig.data / "streams" / rig.stage / "snapshots")
    rig.produce(2_000, first=2_000)
    again = rig.worker("a", batch=50, padding=size.get("padding", 0))
    rig.wait_until_copied(4_000)
    assert not again.events("snapshot_discarded")
    rig.judge(4_000)


@pytest.mark.parametrize("ours", [True, False], ids=["ledger", "other"])
def test_who_reads_a_topic_that_is_cut_meanwhile_is_told_of_a_ledger_and_else_reads_on(rig, ours, monkeypatch):
    rig.produce(200)
    first = TopicPartition(rig.source, 0)
    looked = log.polled

    def cut_before(client, *arguments):
        admin = KafkaAdminClient(bootstrap_servers=rig.kafka)
        admin.delete_records({first: 10})
        admin.close()
        monkeypatch.setattr(log, "polled", looked)
        return looked(client, *arguments)

    monkeypatch.setattr(log, "polled", cut_before)
    monkeypatch.setattr(log, "LEDGERS", rig.source if ours else "ledger.")
    if ours:
        with pytest.raises(CutWhileRead, match=f"{rig.source} was cut while it was read"):
            list(log.read(rig.kafka, rig.source))
    else:
        found = [(entry.partition, entry.offset) for entry in log.read(rig.kafka, rig.source)]
        assert len(found) == len(set(found)) == 190


def test_workers_killed_while_they_write_bases_lose_and_double_nothing(rig):
    """Two workers, killed at random, are asked all the time, in 16 parts a base, and the ledger is cut in between."""
    source, over = Source(rig, rate=300), threading.Event()

    def asking():
        while not over.is_set():
            rig.ask()
            time.sleep(0.5)

    asker = threading.Thread(target=asking, daemon=True)
    asker.start()
    try:
        kill_at_random(rig, kills=6, seed=5, seconds=90, batch=20, session=6, tend=0.05, part=1)
    finally:
        over.set()
        asker.join()
    sent = source.finish()
    rig.worker("a", batch=50, tend=0.2, part=1)
    rig.wait_until_copied(sent)
    written = bases(rig)
    assert len(written) > LANES
    assert any(begins_after_a_cut(rig).values())
    rig.judge(sent)
    assert len(bases(rig, "read_uncommitted")) < len(written)
