"""How the requests of `streams.protocol` and their answers lie on the wire, in the one version of each that is spoken.

Sources: the requests' and answers' JSON of Apache Kafka 4.
"""

from typing import Any

from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactBytes,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

TEXT = CompactString("utf-8")
TAGS = ("tags", TaggedFields)


def _by_topic(*partition: Any) -> tuple[str, CompactArray]:
    """Return the field that lists topics and, of each, partitions as `partition` describes one."""
    partitions = ("partitions", CompactArray(*partition))
    return "topics", CompactArray(("topic", TEXT), partitions, TAGS)


class TxnOffsetCommitResponseV5(Response):  # type: ignore[misc]
    """What became of each partition's offset."""

    API_KEY = 28
    API_VERSION = 5
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        _by_topic(("partition", Int32), ("error_code", Int16), TAGS),
        TAGS,
    )


class TxnOffsetCommitRequestV5(RequestStruct):  # type: ignore[misc]
    """The request as it goes over the wire."""

    API_KEY = 28
    API_VERSION = 5
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = TxnOffsetCommitResponseV5
    SCHEMA = Schema(
        ("transactional_id", TEXT),
        ("group_id", TEXT),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("generation_id", Int32),
        ("member_id", TEXT),
        ("group_instance_id", TEXT),
        _by_topic(
            ("partition", Int32),
            ("offset", Int64),
            ("leader_epoch", Int32),
            ("metadata", TEXT),
            TAGS,
        ),
        TAGS,
    )


class ProduceResponseV12(Response):  # type: ignore[misc]
    """What became of each partition's batch; `base` is the offset of its first record."""

    API_KEY = 0
    API_VERSION = 12
    SCHEMA = Schema(
        _by_topic(
            ("partition", Int32),
            ("error_code", Int16),
            ("base", Int64),
            ("log_append_time", Int64),
            ("log_start_offset", Int64),
            (
                "record_errors",
                CompactArray(("batch_index", Int32), ("message", TEXT), TAGS),
            ),
            ("error_message", TEXT),
            TAGS,
        ),
        ("throttle_time_ms", Int32),
        TAGS,
    )


class ProduceRequestV12(RequestStruct):  # type: ignore[misc]
    """The request as it goes over the wire."""

    API_KEY = 0
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = ProduceResponseV12
    SCHEMA = Schema(
        ("transactional_id", TEXT),
        ("acks", Int16),
        ("timeout_ms", Int32),
        _by_topic(("partition", Int32), ("records", CompactBytes), TAGS),
        TAGS,
    )


class EndTxnResponseV5(Response):  # type: ignore[misc]
    """Whether the transaction ends, and as whom the producer goes on."""

    API_KEY = 26
    API_VERSION = 5
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        TAGS,
    )


class EndTxnRequestV5(RequestStruct):  # type: ignore[misc]
    """The request as it goes over the wire."""

    API_KEY = 26
    API_VERSION = 5
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = EndTxnResponseV5
    SCHEMA = Schema(
        ("transactional_id", TEXT),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("committed", Boolean),
        TAGS,
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
            ("metadata", TEXT),
            ("error_code", Int16),
            TAGS,
        ),
        ("error_code", Int16),
        TAGS,
    )


class OffsetFetchRequestV7(RequestStruct):  # type: ignore[misc]
    """The request as it goes over the wire."""

    API_KEY = 9
    API_VERSION = 7
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = OffsetFetchResponseV7
    SCHEMA = Schema(
        ("group_id", TEXT),
        _by_topic(Int32),
        ("require_stable", Boolean),
        TAGS,
    )
