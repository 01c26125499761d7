"""Two requests about what is open in a log: who has a transaction open there, and its end (KIP-664).

Sources: the requests' and answers' JSON of Apache Kafka 4.
"""

from collections.abc import Iterable
from typing import Any

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Boolean, CompactArray, Int16, Int32, Int64, Schema

from streams.protocol import Place
from streams.wire import TAGS, TEXT, _by_topic


class DescribeProducersResponseV0(Response):  # type: ignore[misc]
    """Who has written to each partition; `first` is where the producer's open transaction begins, -1 where none is."""

    API_KEY = 61
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        _by_topic(
            ("partition", Int32),
            ("error_code", Int16),
            ("error_message", TEXT),
            (
                "producers",
                CompactArray(
                    ("producer_id", Int64),
                    ("producer_epoch", Int32),
                    ("last_sequence", Int32),
                    ("last_timestamp", Int64),
                    ("coordinator_epoch", Int32),
                    ("first", Int64),
                    TAGS,
                ),
            ),
            TAGS,
        ),
        TAGS,
    )


class DescribeProducersRequestV0(RequestStruct):  # type: ignore[misc]
    """The request as it goes over the wire."""

    API_KEY = 61
    API_VERSION = 0
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = DescribeProducersResponseV0
    SCHEMA = Schema(_by_topic(Int32), TAGS)


class WriteTxnMarkersResponseV1(Response):  # type: ignore[misc]
    """What became of each marker."""

    API_KEY = 27
    API_VERSION = 1
    SCHEMA = Schema(
        (
            "markers",
            CompactArray(
                ("producer_id", Int64),
                _by_topic(("partition", Int32), ("error_code", Int16), TAGS),
                TAGS,
            ),
        ),
        TAGS,
    )


class WriteTxnMarkersRequestV1(RequestStruct):  # type: ignore[misc]
    """The request as it goes over the wire."""

    API_KEY = 27
    API_VERSION = 1
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = WriteTxnMarkersResponseV1
    SCHEMA = Schema(
        (
            "markers",
            CompactArray(
                ("producer_id", Int64),
                ("producer_epoch", Int16),
                ("committed", Boolean),
                _by_topic(Int32),
                ("coordinator_epoch", Int32),
                TAGS,
            ),
        ),
        TAGS,
    )


class DescribeProducers(Request[DescribeProducersRequestV0]):  # type: ignore[misc]
    """Ask who has written to partitions that one node leads, and with a transaction open."""

    API_KEY = 61

    def __init__(self, places: Iterable[Place]) -> None:
        """Keep what is asked; a broker older than 2.8 does not know the request."""
        self._topics = _listed(places)

    def build(self, request_struct_class: type[DescribeProducersRequestV0]) -> DescribeProducersRequestV0:
        """Return the struct in the one version there is."""
        return request_struct_class(self._topics, {})


class WriteTxnMarkers(Request[WriteTxnMarkersRequestV1]):  # type: ignore[misc]
    """Commit what a producer has open in partitions that one node leads: what else only the coordinator does."""

    API_KEY = 27

    def __init__(self, producer_id: int, epoch: int, coordinator_epoch: int, places: Iterable[Place]) -> None:
        """Keep what is to be sent: the markers' `epoch` is the one after the open transaction's."""
        self._markers: list[Any] = [(producer_id, epoch, True, _listed(places), coordinator_epoch, {})]

    def build(self, request_struct_class: type[WriteTxnMarkersRequestV1]) -> WriteTxnMarkersRequestV1:
        """Return the struct in the one version there is."""
        return request_struct_class(self._markers, {})


def by_topic(places: Iterable[Place]) -> dict[str, list[int]]:
    """Return the partitions of each topic."""
    topics: dict[str, list[int]] = {}
    for topic, partition in places:
        topics.setdefault(topic, []).append(partition)
    return topics


def _listed(places: Iterable[Place]) -> list[Any]:
    return [(topic, partitions, {}) for topic, partitions in by_topic(places).items()]
