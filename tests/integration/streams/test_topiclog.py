"""Following a topic without a group: all of it, then only what is new, also where its beginning is gone."""

import asyncio

import pytest
from kafka import KafkaAdminClient, TopicPartition

from streams.client import Broker
from streams.topiclog import follow

pytestmark = pytest.mark.integration
MINE = 0  # the partition that is followed; every fourth record is in it


def followed(rig, position):
    """Return the numbers of the records from `position` on, and where to go on."""

    async def read():
        broker = await Broker(rig.kafka).connect()
        numbers, end = [], position
        try:
            async for records in follow(broker, (rig.source, MINE), position):
                numbers += [int(records.values.item(i)) for i in range(len(records))]
                assert records.keys.item(0).startswith(b"k")
                end = records.end
        finally:
            await broker.close()
        return numbers, end

    return asyncio.run(read())


def test_an_empty_topic_ends_at_once(rig):
    assert followed(rig, 0) == ([], 0)


def test_what_is_new_is_read_once(rig):
    rig.produce(4_000)
    numbers, end = followed(rig, 0)
    assert numbers == list(range(0, 4_000, 4))
    assert end == 1_000
    assert followed(rig, end) == ([], end)
    rig.produce(40, first=4_000)
    assert followed(rig, end) == (list(range(4_000, 4_040, 4)), 1_010)


def test_a_beginning_that_is_gone_is_passed_over(rig):
    rig.produce(4_000)
    admin = KafkaAdminClient(bootstrap_servers=rig.kafka)
    admin.delete_records({TopicPartition(rig.source, MINE): 700})
    admin.close()
    assert followed(rig, 0) == (list(range(2_800, 4_000, 4)), 1_000)
