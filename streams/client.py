"""One door to the broker for a worker's lanes: each request is sent once, and a missing answer is an error.

aiokafka's producer repeats a request whose answer was lost. Within a transaction that is what must not happen
(an EndTxn that was lost may have committed), so lanes speak to the broker through this, and leave on any fault.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.errors import KafkaError, for_code
from aiokafka.structs import TopicPartition

from schemas.errors import NotSetUp, Retries, Stops, Unreachable

T = TypeVar("T")
PATIENCE = 30.0
ABSENT_SECONDS = 10.0  # for which a partition may be unknown before it is believed that there is none
WAIT = (0.002, 0.1)  # seconds between two attempts, first and longest

# Codes that aiokafka 0.14 has no name for. Source: org.apache.kafka.common.protocol.Errors.
NEWER = {
    82: "FencedInstanceId",
    88: "UnstableOffsetCommit",
    90: "ProducerFenced",
    115: "TransactionalIdNotFound",
    120: "TransactionAbortable",
}
LOADING = frozenset({14, 15, 16})  # coordinator: loads, not available, moved
CONCURRENT = 51  # the markers of the transaction before are still being written
NO_TOPIC = 3


class TooOld(Stops):
    """The broker does not know a request that a worker needs."""


class Forbidden(Stops):
    """The broker's access list does not allow what a worker must do."""


class NotYet(Retries):
    """The broker says "not now"; within `patiently` it is asked again, outside of it the process begins anew."""


def name_of(code: int) -> str:
    """Return the name of one of Kafka's error codes."""
    return NEWER.get(code) or for_code(code).__name__.removesuffix("Error")


async def patiently(what: str, attempt: Callable[[], Awaitable[T]], patience: float = PATIENCE) -> T:
    """Return the attempt's answer; on NotYet try again, at first soon, until `patience` seconds have passed."""
    pause, until = WAIT[0], time.monotonic() + patience
    while True:
        try:
            return await attempt()
        except NotYet as error:
            if time.monotonic() > until:
                raise Unreachable(f"{what}: {error} for {patience:.0f} s; see the broker's log.") from error
        await asyncio.sleep(pause)
        pause = min(2 * pause, WAIT[1])


@dataclass
class Broker:
    """A connection to the cluster at `kafka` (`host:port`, several by comma), used by all lanes of one worker."""

    kafka: str
    timeout: float = 20.0
    _client: Any = field(default=None, repr=False)
    _groups: dict[str, int] = field(default_factory=dict, repr=False)

    async def connect(self, patience: float = 0.0) -> "Broker":
        """Connect, for `patience` seconds again and again; Unreachable where nobody answers."""
        until = time.monotonic() + patience
        while True:
            client = AIOKafkaClient(bootstrap_servers=self.kafka, request_timeout_ms=int(1000 * self.timeout))
            try:
                await client.bootstrap()
            except KafkaError as error:
                await client.close()
                if time.monotonic() >= until:
                    raise Unreachable(f"Kafka at {self.kafka} does not answer; run `tocsin status`.") from error
                await asyncio.sleep(WAIT[1])
            else:
                self._client = client
                return self

    async def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    async def ask(self, node: int, request: Any, coordinator: bool = False) -> Any:
        """Send one request once and return its answer.

        Unreachable after a timeout or a lost connection; TooOld where the broker does not know the request.
        """
        group = ConnectionGroup.COORDINATION if coordinator else ConnectionGroup.DEFAULT
        try:
            return await self._client.send(node, request, group=group)
        except (KafkaError, OSError, TimeoutError) as error:
            what = type(request).__name__
            raise Unreachable(f"Kafka at {self.kafka} gave no answer to {what} ({error!r}).") from error
        except NotImplementedError as error:
            raise TooOld(
                f"Kafka at {self.kafka} is too old for {type(request).__name__}; tocsin needs Kafka 4.0 or later."
            ) from error

    async def refresh(self) -> None:
        """Learn anew who leads what."""
        await self._client.force_metadata_update()

    async def leader(self, topic: str, partition: int) -> int:
        """Return the node that leads the partition; NotSetUp where there is no such partition."""
        until = time.monotonic() + ABSENT_SECONDS
        return await patiently(f"leader of {topic}-{partition}", lambda: self._leader(topic, partition, until))

    async def _leader(self, topic: str, partition: int, until: float) -> int:
        cluster = self._client.cluster
        node = cluster.leader_for_partition(TopicPartition(topic, partition))
        if node is not None and node >= 0:
            return int(node)
        self._client.add_topic(topic)
        await self._client.force_metadata_update()
        known = cluster.partitions_for_topic(topic)
        if known is None or partition not in known:
            # An update that was under way when the topic was added may not have asked for it.
            if time.monotonic() < until:
                raise NotYet("unknown")
            raise NotSetUp(f"Kafka at {self.kafka} has no partition {topic}-{partition}; run `tocsin up` to make it.")
        if cluster.leader_for_partition(TopicPartition(topic, partition)) in (None, -1):
            raise NotYet("no leader")
        return await self._leader(topic, partition, until)

    async def partitions(self, topic: str) -> list[int]:
        """Return the numbers of a topic's partitions; none where there is no such topic."""
        cluster = self._client.cluster
        if cluster.partitions_for_topic(topic) is None:
            self._client.add_topic(topic)
            await self._client.force_metadata_update()
        return sorted(cluster.partitions_for_topic(topic) or ())

    async def group_coordinator(self, group: str) -> int:
        """Return the node that keeps the group; it is asked for once, until `doubt_coordinator`."""
        if group not in self._groups:
            self._groups[group] = await self._coordinator(CoordinationType.GROUP, group)
        return self._groups[group]

    def doubt_coordinator(self, group: str, code: int) -> None:
        """Ask anew who keeps the group, where by its answer the node that was asked does not, or not now."""
        if code in LOADING:
            self._groups.pop(group, None)

    async def transaction_coordinator(self, transactional_id: str) -> int:
        """Return the node that keeps the transactional id."""
        return await self._coordinator(CoordinationType.TRANSACTION, transactional_id)

    async def _coordinator(self, kind: Any, key: str) -> int:
        async def look_up() -> int:
            try:
                return int(await self._client.coordinator_lookup(kind, key))
            except KafkaError as error:
                if getattr(error, "errno", None) in LOADING:
                    raise NotYet(name_of(error.errno)) from error
                raise Unreachable(f"Kafka at {self.kafka} names no coordinator for {key} ({error!r}).") from error

        return await patiently(f"coordinator of {key}", look_up)


async def by_leader(broker: Broker, places: Iterable[tuple[str, int]]) -> dict[int, list[tuple[str, int]]]:
    """Return the partitions that each node leads."""
    nodes: dict[int, list[tuple[str, int]]] = {}
    for place in places:
        nodes.setdefault(await broker.leader(*place), []).append(place)
    return nodes
