"""Transactions that the broker has forgotten, made on the real Kafka: what a coordinator never hears of stays open."""

import asyncio
import os
import time

import numpy as np
import pytest
from aiokafka.protocol.produce import ProduceRequest
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewTopic

from schemas.columns import Blob
from streams.client import Broker
from streams.markers import WriteTxnMarkers
from streams.recordbatch import drafts
from streams.transaction import Transactions

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
SWITCH = "transaction.partition.verification.enable"


def one(value):
    (draft,) = drafts(Blob.of([b"key"]), Blob.of([value]), np.zeros(1, np.int64), 1 << 20)
    return draft


@pytest.fixture
def topics(cluster):
    """Two topics, and a broker that takes transactional records without asking the coordinator."""
    admin = KafkaAdminClient(bootstrap_servers=cluster.kafka)
    names = [f"stranded-{os.urandom(4).hex()}-{i}" for i in range(2)]
    admin.create_topics([NewTopic(name, 2, 1) for name in names])
    turn(admin, "false")
    yield names
    turn(admin, "true")
    admin.delete_topics(names)
    admin.close()


def turn(admin, value):
    admin.alter_configs([ConfigResource(ConfigResourceType.BROKER, "1", {SWITCH: value})])
    time.sleep(1)


def values(kafka, names):
    """Return what a read-committed reader sees of each topic, and whether it sees it to the end."""
    places = [TopicPartition(name, number) for name in names for number in range(2)]
    committed = KafkaConsumer(bootstrap_servers=kafka, isolation_level="read_committed", enable_auto_commit=False)
    every = KafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False)
    try:
        committed.assign(places)
        committed.seek_to_beginning()
        stable, high = committed.end_offsets(places), every.end_offsets(places)
        found, until = [], time.monotonic() + 3
        while time.monotonic() < until:
            found += [record.value for batch in committed.poll(200).values() for record in batch]
        return sorted(found), stable == high
    finally:
        committed.close()
        every.close()


async def write(broker, producer, places, value, sequence=0):
    """Write to places as a client does that never tells the coordinator."""
    now = int(time.time() * 1000)
    for topic, number in places:
        data = one(value).sealed(producer.id, producer.epoch, sequence, now)
        request = ProduceRequest(producer.transactional_id, -1, 10_000, [(topic, [(number, data)])])
        answer = await broker.ask(await broker.leader(topic, number), request)
        assert answer.topics[0][1][0][1] == 0, answer


async def settled(kafka, name, topics, mark=()):
    """Strand a transaction in three partitions, some of them `mark`ed as committed; return what settling it did."""
    broker = await Broker(kafka).connect()
    try:
        lane = Transactions(broker, name)
        await lane.fence()
        places = [(topics[0], 0), (topics[0], 1), (topics[1], 0)]
        producer = lane._producer
        await write(broker, producer, places, b"stranded")
        for place in mark:
            request = WriteTxnMarkers(producer.id, producer.epoch + 1, 0, [place])
            await broker.ask(await broker.leader(*place), request)
        before = await asyncio.to_thread(values, kafka, topics)
        following = Transactions(broker, name)
        await following.fence()
        did = await following.settle("stranded", topics)
        assert await following.settle("stranded", topics) == (0, "")
        await again(broker, following, topics)
        return before, did
    finally:
        await broker.close()


async def again(broker, lane, topics):
    """Write one record in a transaction of the usual kind."""
    ends = await lane._records(lane._producer, {(topics[1], 1): [one(b"later")]}, int(time.time() * 1000))
    assert ends
    await lane._end(lane._producer, commit=True)


def test_a_transaction_without_any_marker_is_aborted_and_the_lane_goes_on(cluster, topics):
    before, did = asyncio.run(settled(cluster.kafka, f"lane-{os.urandom(4).hex()}", topics))
    assert before == ([], False)
    assert did == (3, "abort")
    assert values(cluster.kafka, topics) == ([b"later"], True)


def test_a_transaction_that_is_committed_in_part_is_committed_in_all(cluster, topics):
    mark = [(topics[0], 1)]
    before, did = asyncio.run(settled(cluster.kafka, f"lane-{os.urandom(4).hex()}", topics, mark))
    assert before == ([b"stranded"], False)
    assert did == (2, "commit")
    assert values(cluster.kafka, topics) == ([b"later", *[b"stranded"] * 3], True)
