"""The requests of our own are the same bytes as kafka-python's."""

import asyncio
import io

import pytest
from kafka.protocol.admin.transactions import DescribeProducersRequest, DescribeProducersResponse
from kafka.protocol.consumer import OffsetFetchRequest, OffsetFetchResponse
from kafka.protocol.producer import (
    EndTxnRequest,
    EndTxnResponse,
    ProduceRequest,
    ProduceResponse,
    TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
)
from kafka.protocol.producer.transaction import WriteTxnMarkersRequest

from schemas.errors import Stops
from streams.client import Broker, name_of
from streams.markers import DescribeProducers, DescribeProducersResponseV0, WriteTxnMarkers
from streams.protocol import EndTxn, Produce, Producer, Reader, StableOffset, TxnOffsetCommit
from streams.wire import (
    EndTxnResponseV5,
    OffsetFetchRequestV7,
    OffsetFetchResponseV7,
    ProduceResponseV12,
    TxnOffsetCommitRequestV5,
    TxnOffsetCommitResponseV5,
)

PRODUCER = Producer("tocsin.refine.raw.A-0", 4_711, 5)


def theirs(reader, topic, partition, offset):
    part = TxnOffsetCommitRequest.TxnOffsetCommitRequestTopic.TxnOffsetCommitRequestPartition(
        partition_index=partition, committed_offset=offset, committed_leader_epoch=-1, committed_metadata=""
    )
    request = TxnOffsetCommitRequest(
        version=5,
        transactional_id=PRODUCER.transactional_id,
        group_id=reader.group,
        producer_id=PRODUCER.id,
        producer_epoch=PRODUCER.epoch,
        generation_id=reader.generation,
        member_id=reader.member,
        group_instance_id=reader.instance,
        topics=[TxnOffsetCommitRequest.TxnOffsetCommitRequestTopic(name=topic, partitions=[part])],
    )
    return request.encode(version=5)


@pytest.mark.parametrize("instance", ["host-1", None])
def test_the_request_is_what_another_client_sends(instance):
    reader = Reader("tocsin.refine", 12, "host-1-0a1b", instance)
    request = TxnOffsetCommit(PRODUCER, reader, "raw.A", 0, 1 << 40)
    ours = request.prepare({28: (0, 5)})
    assert isinstance(ours, TxnOffsetCommitRequestV5)
    assert ours.encode() == bytes(theirs(reader, "raw.A", 0, 1 << 40))


def test_the_answer_is_read_as_another_client_writes_it():
    part = TxnOffsetCommitResponse.TxnOffsetCommitResponseTopic.TxnOffsetCommitResponsePartition(
        partition_index=3, error_code=25
    )
    topic = TxnOffsetCommitResponse.TxnOffsetCommitResponseTopic(name="raw.A", partitions=[part])
    data = TxnOffsetCommitResponse(version=5, throttle_time_ms=0, topics=[topic]).encode(version=5)
    answer = TxnOffsetCommitResponseV5.decode(io.BytesIO(bytes(data)))
    assert answer.topics == [("raw.A", [(3, 25, {})], {})]


def test_records_are_sent_as_another_client_sends_them():
    def partition(index, records):
        return ProduceRequest.TopicProduceData.PartitionProduceData(index=index, records=records)

    topics = [
        ProduceRequest.TopicProduceData(name="accepted", partition_data=[partition(0, b"one"), partition(3, b"two")]),
        ProduceRequest.TopicProduceData(name="ledger.refine", partition_data=[partition(1, b"three")]),
    ]
    name = PRODUCER.transactional_id
    theirs = ProduceRequest(version=12, transactional_id=name, acks=-1, timeout_ms=20_000, topic_data=topics)
    batches = {("accepted", 0): b"one", ("ledger.refine", 1): b"three", ("accepted", 3): b"two"}
    ours = Produce(name, 20.0, batches).prepare({0: (3, 13)})
    assert ours.encode() == bytes(theirs.encode(version=12))


def test_what_became_of_records_is_read_as_another_client_writes_it():
    produced = ProduceResponse.TopicProduceResponse
    partition = produced.PartitionProduceResponse(
        index=3,
        error_code=0,
        base_offset=1 << 40,
        log_append_time_ms=-1,
        log_start_offset=7,
        record_errors=[],
        error_message=None,
    )
    topic = produced(name="accepted", partition_responses=[partition])
    data = ProduceResponse(version=12, responses=[topic], throttle_time_ms=0).encode(version=12)
    answer = ProduceResponseV12.decode(io.BytesIO(bytes(data)))
    assert answer.topics == [("accepted", [(3, 0, 1 << 40, -1, 7, [], None, {})], {})]


@pytest.mark.parametrize("commit", [True, False])
def test_a_transaction_is_ended_as_another_client_ends_it(commit):
    theirs = EndTxnRequest(
        version=5,
        transactional_id=PRODUCER.transactional_id,
        producer_id=PRODUCER.id,
        producer_epoch=PRODUCER.epoch,
        committed=commit,
    )
    assert EndTxn(PRODUCER, commit).prepare({26: (0, 5)}).encode() == bytes(theirs.encode(version=5))


def test_the_next_producer_is_read_as_another_client_writes_it():
    theirs = EndTxnResponse(version=5, throttle_time_ms=0, error_code=0, producer_id=1 << 40, producer_epoch=6)
    answer = EndTxnResponseV5.decode(io.BytesIO(bytes(theirs.encode(version=5))))
    assert (answer.error_code, answer.producer_id, answer.producer_epoch) == (0, 1 << 40, 6)


def test_producers_are_asked_for_as_another_client_asks():
    topics = [
        DescribeProducersRequest.TopicRequest(name="accepted", partition_indexes=[0, 3]),
        DescribeProducersRequest.TopicRequest(name="quarantine", partition_indexes=[0]),
    ]
    ours = DescribeProducers([("accepted", 0), ("quarantine", 0), ("accepted", 3)]).prepare({61: (0, 0)})
    assert ours.encode() == bytes(DescribeProducersRequest(version=0, topics=topics).encode(version=0))


def test_producers_are_read_as_another_client_writes_them():
    described = DescribeProducersResponse.TopicResponse
    state = described.PartitionResponse.ProducerState(
        producer_id=1 << 40,
        producer_epoch=130,
        last_sequence=4,
        last_timestamp=-1,
        coordinator_epoch=64,
        current_txn_start_offset=794,
    )
    partition = described.PartitionResponse(
        partition_index=3, error_code=0, error_message=None, active_producers=[state]
    )
    topic = described(name="accepted", partitions=[partition])
    data = DescribeProducersResponse(version=0, throttle_time_ms=0, topics=[topic]).encode(version=0)
    answer = DescribeProducersResponseV0.decode(io.BytesIO(bytes(data)))
    assert answer.topics == [("accepted", [(3, 0, None, [(1 << 40, 130, 4, -1, 64, 794, {})], {})], {})]


def test_markers_are_written_as_another_client_writes_them():
    marker = WriteTxnMarkersRequest.WritableTxnMarker
    topics = [marker.WritableTxnMarkerTopic(name="accepted", partition_indexes=[0, 3])]
    theirs = marker(producer_id=7, producer_epoch=131, transaction_result=True, topics=topics, coordinator_epoch=64)
    ours = WriteTxnMarkers(7, 131, 64, [("accepted", 0), ("accepted", 3)]).prepare({27: (1, 1)})
    assert ours.encode() == bytes(WriteTxnMarkersRequest(version=1, markers=[theirs]).encode(version=1))


@pytest.mark.parametrize(
    ("request_", "known"),
    [
        (TxnOffsetCommit(PRODUCER, Reader("g", 1, "m", None), "t", 0, 1), {28: (0, 4)}),
        (Produce("t", 1.0, {("t", 0): b""}), {0: (3, 11)}),
        (EndTxn(PRODUCER, True), {26: (0, 4)}),
        (StableOffset("g", "t", 0), {9: (0, 6)}),
    ],
    ids=lambda one: type(one).__name__ if not isinstance(one, dict) else "",
)
def test_a_broker_that_is_too_old_is_named_and_never_asked_in_an_older_version(request_, known):
    class Older:
        async def send(self, node, request, group):
            return request.prepare(known)

    with pytest.raises(Stops, match=f"too old for {type(request_).__name__}; tocsin needs Kafka 4"):
        asyncio.run(Broker("kafka:9092", _client=Older()).ask(0, request_))


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
