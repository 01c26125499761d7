"""The requests of our own are the same bytes as kafka-python's."""

import io

import pytest
from kafka.protocol.consumer import OffsetFetchRequest, OffsetFetchResponse
from kafka.protocol.producer import TxnOffsetCommitRequest, TxnOffsetCommitResponse

from streams.client import name_of
from streams.protocol import (
    OffsetFetchRequestV7,
    OffsetFetchResponseV7,
    Producer,
    Reader,
    StableOffset,
    TxnOffsetCommit,
    TxnOffsetCommitRequestV3,
    TxnOffsetCommitResponseV3,
)

PRODUCER = Producer("tocsin.refine.raw.A-0", 4_711, 5)


def theirs(reader, topic, partition, offset):
    part = TxnOffsetCommitRequest.TxnOffsetCommitRequestTopic.TxnOffsetCommitRequestPartition(
        partition_index=partition, committed_offset=offset, committed_leader_epoch=-1, committed_metadata=""
    )
    request = TxnOffsetCommitRequest(
        version=3,
        transactional_id=PRODUCER.transactional_id,
        group_id=reader.group,
        producer_id=PRODUCER.id,
        producer_epoch=PRODUCER.epoch,
        generation_id=reader.generation,
        member_id=reader.member,
        group_instance_id=reader.instance,
        topics=[TxnOffsetCommitRequest.TxnOffsetCommitRequestTopic(name=topic, partitions=[part])],
    )
    return request.encode(version=3)


@pytest.mark.parametrize("instance", ["host-1", None])
def test_the_request_is_what_another_client_sends(instance):
    reader = Reader("tocsin.refine", 12, "host-1-0a1b", instance)
    request = TxnOffsetCommit(PRODUCER, reader, "raw.A", 0, 1 << 40)
    ours = request.prepare({28: (0, 5)})
    assert isinstance(ours, TxnOffsetCommitRequestV3)
    assert ours.encode() == bytes(theirs(reader, "raw.A", 0, 1 << 40))


def test_the_answer_is_read_as_another_client_writes_it():
    part = TxnOffsetCommitResponse.TxnOffsetCommitResponseTopic.TxnOffsetCommitResponsePartition(
        partition_index=3, error_code=25
    )
    topic = TxnOffsetCommitResponse.TxnOffsetCommitResponseTopic(name="raw.A", partitions=[part])
    data = TxnOffsetCommitResponse(version=3, throttle_time_ms=0, topics=[topic]).encode(version=3)
    answer = TxnOffsetCommitResponseV3.decode(io.BytesIO(bytes(data)))
    assert answer.topics == [("raw.A", [(3, 25, {})], {})]


def test_a_broker_that_is_too_old_is_an_error_and_never_version_0():
    request = TxnOffsetCommit(PRODUCER, Reader("g", 1, "m", None), "t", 0, 1)
    with pytest.raises(NotImplementedError):
        request.prepare({28: (0, 2)})


def test_codes_without_a_name_in_the_library_have_one_here():
    assert [name_of(code) for code in (25, 82, 88, 90)] == [
        "UnknownMemberId",
        "FencedInstanceId",
        "UnstableOffsetCommit",
        "ProducerFenced",
    ]


def test_a_stable_offset_is_asked_for_as_another_client_asks():
    topic = OffsetFetchRequest.OffsetFetchRequestTopic(name="raw.A", partition_indexes=[3])
    theirs = OffsetFetchRequest(version=7, group_id="tocsin.refine", topics=[topic], require_stable=True)
    ours = StableOffset("tocsin.refine", "raw.A", 3).prepare({9: (1, 9)})
    assert isinstance(ours, OffsetFetchRequestV7)
    assert ours.encode() == bytes(theirs.encode(version=7))


def test_a_stable_offset_is_read_as_another_client_writes_it():
    part = OffsetFetchResponse.OffsetFetchResponseTopic.OffsetFetchResponsePartition(
        partition_index=3, committed_offset=1 << 40, committed_leader_epoch=-1, metadata="", error_code=88
    )
    topic = OffsetFetchResponse.OffsetFetchResponseTopic(name="raw.A", partitions=[part])
    data = OffsetFetchResponse(version=7, throttle_time_ms=0, topics=[topic], error_code=0).encode(version=7)
    answer = OffsetFetchResponseV7.decode(io.BytesIO(bytes(data)))
    assert answer.topics == [("raw.A", [(3, 1 << 40, -1, "", 88, {})], {})]
    assert answer.error_code == 0
