"""A worker that slept through its session, or thinks it still owns a lane, makes no record visible."""

import asyncio
import signal
import time

import numpy as np
import pytest
from kafka.admin import KafkaAdminClient

from schemas.columns import Blob
from schemas.errors import Fenced, LedgerGap
from streams.base import Records
from streams.client import Broker
from streams.lane import KafkaLane, Membership
from streams.protocol import Reader as GroupReader
from streams.worker import instance_id
from tests.integration.streams.rig import Reader, Source
from tests.integration.streams.toy import Copy, lane_settings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
SESSION = 6


def test_a_worker_stopped_past_its_session_wakes_to_nothing(rig):
    source, reader = Source(rig, rate=400), Reader(rig, rig.copied)
    sleeper = rig.worker("a", batch=20, session=SESSION)
    sleeper.wait_for("batch", 3)
    other = rig.worker("b", batch=20, session=SESSION)
    other.wait_for("batch", 3)
    sleeper.signal(signal.SIGSTOP)
    slept = time.monotonic()
    while not any(len(event["lanes"]) == 4 for event in other.events("ready")):
        assert time.monotonic() - slept < 45
        time.sleep(0.2)
    assert time.monotonic() - slept > SESSION / 2
    other.wait_for("batch", len(other.events("batch")) + 20)
    sleeper.signal(signal.SIGCONT)
    time.sleep(3)
    sent = source.finish()
    rig.wait_until_copied(sent)
    rig.judge(sent, reader.finish(sent))


def records(rig, partition, start, values):
    blob = Blob.of(values)
    offsets = np.arange(start, start + len(values), dtype=np.int64)
    keys = Blob.of([b""] * len(values))
    return Records(
        rig.source, partition, start, start + len(values), offsets, np.zeros(len(values), np.int64), blob, keys
    )


def member_of(rig):
    """Return the one member of the group and its generation, as the worker's own log of lanes says."""
    admin = KafkaAdminClient(bootstrap_servers=rig.kafka)
    described = admin.describe_groups([f"tocsin.{rig.stage}"])
    admin.close()
    (group,) = described.values() if isinstance(described, dict) else described
    (member,) = group["members"] if isinstance(group, dict) else group.members
    return member["member_id"] if isinstance(member, dict) else member.member_id


def intrude(rig, reader, partition, values):
    """Open a lane as `reader`, sure to own it, and process `values`; return what that raises."""

    async def attempt():
        broker = await Broker(rig.kafka).connect()
        try:
            membership = Membership(reader, broker, lambda topic, partition: True)
            settings = lane_settings(rig.data / "intruder", rig.stage)
            lane = KafkaLane(Copy(rig.stage), None, rig.source, partition, membership, settings)
            start = await lane.open()
            await lane.process(records(rig, partition, start, values))
        finally:
            await broker.close()

    return asyncio.run(attempt())


@pytest.fixture
def owned(rig):
    """A stage whose 4,000 records one worker has copied; it still runs."""
    rig.produce(4_000)
    owner = rig.worker("a", batch=500)
    rig.wait_until_copied(4_000)
    generation = owner.events("ready")[-1]["generation"]
    return rig, owner, generation, member_of(rig)


@pytest.mark.parametrize(
    ("who", "refusal"),
    [("stranger", "UnknownMemberId"), ("earlier", "IllegalGeneration"), ("namesake", "FencedInstanceId")],
)
def test_a_zombie_that_makes_itself_a_new_producer_is_refused_by_the_broker(owned, who, refusal):
    rig, owner, generation, member = owned
    group, name = f"tocsin.{rig.stage}", instance_id("a", [rig.source])
    zombie = {
        "stranger": GroupReader(group, generation, "gone-for-long", None),
        "earlier": GroupReader(group, generation - 1, member, name),
        "namesake": GroupReader(group, generation, "gone-for-long", name),
    }[who]
    with pytest.raises(Fenced, match=refusal):
        intrude(rig, zombie, 0, [b"%09d" % 4_000_000])
    rig.judge(4_000)
    # The zombie fenced the owner's producer on its way: the owner leaves, begins anew, and goes on exactly.
    rig.produce(400, first=4_000)
    assert owner.stops()[0] == 75
    rig.worker("a", batch=500)
    rig.wait_until_copied(4_400)
    rig.judge(4_400)


def test_the_present_member_is_not_refused(owned):
    """The control: with the right generation the same intrusion is accepted, so the refusals above mean something."""
    rig, owner, generation, member = owned
    owner.signal(signal.SIGSTOP)
    intrude(
        rig,
        GroupReader(f"tocsin.{rig.stage}", generation, member, instance_id("a", [rig.source])),
        0,
        [b"%09d" % 4_000],
    )
    assert len(rig.read(rig.copied)) == 4_001


def test_a_lane_refuses_a_batch_that_is_not_the_next(rig):
    async def attempt(start):
        broker = await Broker(rig.kafka).connect()
        try:
            membership = Membership(
                GroupReader(f"tocsin.{rig.stage}", -1, "", None), broker, lambda topic, partition: True
            )
            lane = KafkaLane(Copy(rig.stage), None, rig.source, 0, membership, lane_settings(rig.data, rig.stage))
            assert await lane.open() == 0
            await lane.process(records(rig, 0, start, [b"x"]))
        finally:
            await broker.close()

    with pytest.raises(LedgerGap, match=r"begins at 5, and 0 is next"):
        asyncio.run(attempt(5))
    assert rig.read(rig.copied, "read_uncommitted") == []


def test_a_lane_that_is_not_assigned_fences_nobody(rig):
    async def attempt():
        broker = await Broker(rig.kafka).connect()
        try:
            membership = Membership(GroupReader("g", 1, "m", None), broker, lambda topic, partition: False)
            await KafkaLane(Copy(rig.stage), None, rig.source, 0, membership, lane_settings(rig.data, rig.stage)).open()
        finally:
            await broker.close()

    with pytest.raises(Fenced, match="taken away"):
        asyncio.run(attempt())
