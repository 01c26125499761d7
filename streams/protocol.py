"""The requests that aiokafka speaks only in versions too old for us: those of transactions version 2, and OffsetFetch.

With TxnOffsetCommit version 0 the broker never learns which reader commits, so a zombie that makes itself a new
producer rewinds the offset and doubles what follows. Since version 3 (KIP-447) it carries the reader's generation,
member id and instance id, and the broker refuses all but the present reader. With TxnOffsetCommit 5, Produce 12 and
EndTxn 5 (KIP-890) the broker adds to the transaction what is written, unasked, and each end gives the producer a new
epoch: a request that comes late, after its transaction's marker, is refused instead of opening a transaction that nobody
ends. OffsetFetch version 7 asks for stable offsets: a broker that still applies a transaction's end says so, instead
of giving the offset from before it. How they lie on the wire: `streams.wire`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka.protocol.api import Request

from streams.wire import EndTxnRequestV5, OffsetFetchRequestV7, ProduceRequestV12, TxnOffsetCommitRequestV5

Place = tuple[str, int]


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


class TxnOffsetCommit(Request[TxnOffsetCommitRequestV5]):  # type: ignore[misc]
    """Commit one input partition's offset as part of the producer's transaction, in the reader's name."""

    API_KEY = 28

    def __init__(self, producer: Producer, reader: Reader, topic: str, partition: int, offset: int) -> None:
        """Keep what is to be sent; a broker older than 4.0 does not know version 5."""
        self._producer, self._reader = producer, reader
        self._topics: list[Any] = [(topic, [(partition, offset, -1, "", {})], {})]

    def build(self, request_struct_class: type[TxnOffsetCommitRequestV5]) -> TxnOffsetCommitRequestV5:
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


class Produce(Request[ProduceRequestV12]):  # type: ignore[misc]
    """Write one record batch to each place, as part of a transaction, once all replicas in sync have it."""

    API_KEY = 0

    def __init__(self, transactional_id: str, seconds: float, batches: Mapping[Place, bytes]) -> None:
        """Keep what is to be sent; a broker older than 4.0 does not know version 12."""
        self._transactional_id, self._timeout_ms = transactional_id, int(1000 * seconds)
        topics: dict[str, list[tuple[int, bytes, dict[int, bytes]]]] = {}
        for (topic, partition), batch in batches.items():
            topics.setdefault(topic, []).append((partition, batch, {}))
        self._topics: list[Any] = [(topic, partitions, {}) for topic, partitions in topics.items()]

    def build(self, request_struct_class: type[ProduceRequestV12]) -> ProduceRequestV12:
        """Return the struct in the one version there is."""
        return request_struct_class(self._transactional_id, -1, self._timeout_ms, self._topics, {})


class EndTxn(Request[EndTxnRequestV5]):  # type: ignore[misc]
    """Commit the producer's transaction, or abort it."""

    API_KEY = 26

    def __init__(self, producer: Producer, commit: bool) -> None:
        """Keep what is to be sent; a broker older than 4.0 does not know version 5."""
        self._producer, self._commit = producer, commit

    def build(self, request_struct_class: type[EndTxnRequestV5]) -> EndTxnRequestV5:
        """Return the struct in the one version there is."""
        producer = self._producer
        return request_struct_class(producer.transactional_id, producer.id, producer.epoch, self._commit, {})


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
