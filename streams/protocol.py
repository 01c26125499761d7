"""The two requests that aiokafka speaks only in versions too old for us (both KIP-447).

With TxnOffsetCommit version 0 the broker never learns which reader commits, so a zombie that makes itself a new
producer rewinds the offset and doubles what follows. Version 3 carries the reader's generation, member id and instance
id, and the broker refuses all but the present reader. OffsetFetch version 7 asks for stable offsets: a broker that
still applies a transaction's end says so, instead of giving the offset from before it.
Sources: TxnOffsetCommitRequest.json, OffsetFetchRequest.json and OffsetFetchResponse.json of Apache Kafka.
"""

from dataclasses import dataclass
from typing import Any

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields


@dataclass(frozen=True)
class Reader:
    """Who reads, as the group's coordinator knows it; `instance` is the static member's id, None without one."""

    group: str
    generation: int
    member: str
    instance: str | None


@dataclass(frozen=True)
class Producer:
    """Who writes, as the transaction's coordinator knows it."""

    transactional_id: str
    id: int
    epoch: int


def _by_topic(*partition: Any) -> tuple[str, CompactArray]:
    """Return the field that lists topics and, of each, partitions as `partition` describes one."""
    partitions = ("partitions", CompactArray(*partition))
    return "topics", CompactArray(("topic", CompactString("utf-8")), partitions, ("tags", TaggedFields))


class TxnOffsetCommitResponseV3(Response):  # type: ignore[misc]
    """What became of each partition's offset."""

    API_KEY = 28
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        _by_topic(("partition", Int32), ("error_code", Int16), ("tags", TaggedFields)),
        ("tags", TaggedFields),
    )


class TxnOffsetCommitRequestV3(RequestStruct):  # type: ignore[misc]
    """The request as it goes over the wire."""

    API_KEY = 28
    API_VERSION = 3
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = TxnOffsetCommitResponseV3
    SCHEMA = Schema(
        ("transactional_id", CompactString("utf-8")),
        ("group_id", CompactString("utf-8")),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("generation_id", Int32),
        ("member_id", CompactString("utf-8")),
        ("group_instance_id", CompactString("utf-8")),
        _by_topic(
            ("partition", Int32),
            ("offset", Int64),
            ("leader_epoch", Int32),
            ("metadata", CompactString("utf-8")),
            ("tags", TaggedFields),
        ),
        ("tags", TaggedFields),
    )


class TxnOffsetCommit(Request[TxnOffsetCommitRequestV3]):  # type: ignore[misc]
    """Commit one input partition's offset as part of the producer's transaction, in the reader's name."""

    API_KEY = 28

    def __init__(self, producer: Producer, reader: Reader, topic: str, partition: int, offset: int) -> None:
        """Keep what is to be sent; a broker older than 2.5 does not know version 3 and the request fails."""
        self._producer, self._reader = producer, reader
        self._topics: list[Any] = [(topic, [(partition, offset, -1, "", {})], {})]

    def build(self, request_struct_class: type[TxnOffsetCommitRequestV3]) -> TxnOffsetCommitRequestV3:
        """Return the struct in the one version there is."""
        producer, reader = self._producer, self._reader
        return request_struct_class(
            producer.transactional_id,
            reader.group,
            producer.id,
            producer.epoch,
            reader.generation,
            reader.member,
            reader.instance,
            self._topics,
            {},
        )


class OffsetFetchResponseV7(Response):  # type: ignore[misc]
    """What the group has committed; `error_code` is the whole group's."""

    API_KEY = 9
    API_VERSION = 7
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        _by_topic(
            ("partition", Int32),
            ("offset", Int64),
            ("leader_epoch", Int32),
            ("metadata", CompactString("utf-8")),
            ("error_code", Int16),
            ("tags", TaggedFields),
        ),
        ("error_code", Int16),
        ("tags", TaggedFields),
    )


class OffsetFetchRequestV7(RequestStruct):  # type: ignore[misc]
    """The request as it goes over the wire."""

    API_KEY = 9
    API_VERSION = 7
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = OffsetFetchResponseV7
    SCHEMA = Schema(
        ("group_id", CompactString("utf-8")),
        _by_topic(Int32),
        ("require_stable", Boolean),
        ("tags", TaggedFields),
    )


class StableOffset(Request[OffsetFetchRequestV7]):  # type: ignore[misc]
    """Ask for the committed offset of one partition, once no transaction on it is under way any more."""

    API_KEY = 9

    def __init__(self, group: str, topic: str, partition: int) -> None:
        """Keep what is asked; a broker older than 2.5 does not know version 7 and the request fails."""
        self._group = group
        self._topics: list[Any] = [(topic, [partition], {})]

    def build(self, request_struct_class: type[OffsetFetchRequestV7]) -> OffsetFetchRequestV7:
        """Return the struct in the one version there is."""
        return request_struct_class(self._group, self._topics, True, {})
