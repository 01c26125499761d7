"""The benchmark's own way to a broker: ready batches in, whole topics out, as fast as the broker gives them."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.structs import TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import CoordinatorLoadInProgressError, CoordinatorNotAvailableError

from infra import table, topics
from schemas.places import regions
from tests.bench import batches
from tests.bench.plan import NODES

FETCH = 8 << 20
WAIT = 30.0
REGIONS = [region.code for region in regions()]
GROUPS = ("tocsin.refine", "tocsin.merge", "tocsin.sink")
PASSING = frozenset({3, 5, 6, 7, 14})  # a topic that was just made has no leader yet


class Wire:
    """One connection; used as `async with`."""

    def __init__(self, kafka: str) -> None:
        self.kafka = kafka

    async def __aenter__(self) -> Self:
        self._client = AIOKafkaClient(bootstrap_servers=self.kafka, request_timeout_ms=60_000)
        await self._client.bootstrap()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def _leader(self, topic: str, partition: int) -> int:
        for _ in range(200):
            node = self._client.cluster.leader_for_partition(TopicPartition(topic, partition))
            if node is not None and node >= 0:
                return node
            self._client.add_topic(topic)
            await self._client.force_metadata_update()
            await asyncio.sleep(0.05)
        raise RuntimeError(f"{topic}-{partition} has no leader after ten seconds: see the broker's log")

    async def write(self, sent: dict[str, bytes]) -> None:
        """Append one batch to partition 0 of each topic; a topic that was just made is asked again."""
        for _ in range(200):
            leaders = [await self._leader(topic, 0) for topic in sent]  # all the same: one broker
            topics = [(topic, [(0, data)]) for topic, data in sent.items()]
            answer = await self._client.send(leaders[0], ProduceRequest(None, -1, 30_000, topics))
            codes = {topic: code for topic, partitions in answer.topics for _, code, *_ in partitions if code}
            if not codes:
                return
            if set(codes.values()) - PASSING:
                break
            sent = {topic: sent[topic] for topic in codes}
            await self._client.force_metadata_update()
            await asyncio.sleep(0.05)
        raise RuntimeError(f"the broker refused a batch of these topics: {codes}")

    async def end(self, topic: str, partition: int = 0, committed: bool = True) -> int:
        """Return the last stable offset, or the high watermark."""
        for _ in range(200):
            node = await self._leader(topic, partition)
            answer = await self._client.send(node, OffsetRequest(-1, int(committed), [(topic, [(partition, -1)])]))
            _, code, *rest = answer.topics[0][1][0]
            if not code:
                return int(rest[1])
            if code not in PASSING:
                break
            await self._client.force_metadata_update()
            await asyncio.sleep(0.05)
        raise RuntimeError(f"the broker does not say where {topic}-{partition} ends (code {code})")

    async def read(self, topic: str, partition: int = 0) -> AsyncIterator[batches.Opened]:
        """Yield the committed batches of a partition as they stand now."""
        end, at = await self.end(topic, partition), 0
        node = await self._leader(topic, partition)
        aborted: list[tuple[int, int]] = []
        while at < end:
            request = FetchRequest(500, 1, FETCH, 1, [(topic, [(partition, at, FETCH)])])
            answer = await self._client.send(node, request)
            _, code, _, _, *rest = answer.topics[0][1][0]
            if code:
                raise RuntimeError(f"the broker refused to read {topic}-{partition} at {at} (code {code})")
            transactions, data = rest[0] if len(rest) == 2 else rest[1], bytes(rest[-1] or b"")
            aborted += [(producer, first) for producer, first in transactions or []]
            before = at
            for first, last in batches.cut(data):
                batch = batches.Opened(data, first, last)
                if batch.following <= at:
                    continue
                at = batch.following
                if batch.control:
                    aborted = [one for one in aborted if one[0] != batch.producer or one[1] > batch.base]
                elif not any(one[0] == batch.producer and one[1] <= batch.base for one in aborted):
                    yield batch
            if at == before:
                raise RuntimeError(f"{topic}-{partition} gives nothing at offset {at} although it ends at {end}")


async def load(kafka: str, folder: Path, prefix: str) -> None:
    """Send the ready batches of `prefix`.<node> of every node, side by side."""
    held = {f"{prefix}.{node}": (folder / f"{prefix}.{node}").read_bytes() for node in NODES}
    turns = {topic: batches.cut(data) for topic, data in held.items()}
    async with Wire(kafka) as wire:
        while turns:
            sent = {}
            for topic in list(turns):
                place = next(turns[topic], None)
                if place is None:
                    del turns[topic]
                else:
                    sent[topic] = held[topic][place[0] : place[1]]
            if sent:
                await wire.write(sent)


def forget(kafka: str, *prefixes: str) -> None:
    """Delete every topic that begins with one of the prefixes, and wait until it is gone."""
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    try:
        names = {name for name in admin.list_topics() if name.startswith(prefixes)}
        if names:
            admin.delete_topics(sorted(names))
        until = time.monotonic() + WAIT
        while names & set(admin.list_topics()):
            if time.monotonic() > until:
                raise RuntimeError(f"the broker still has {sorted(names)} after {WAIT:.0f} seconds: see its log")
            time.sleep(0.05)
        known = set(_groups(admin)) & set(GROUPS)
        if known:
            admin.delete_groups(sorted(known))
    finally:
        admin.close()


def _groups(admin: KafkaAdminClient) -> list[str]:
    """Return the groups' names; a broker that has just started may not know them yet."""
    until = time.monotonic() + WAIT
    while True:
        try:
            return [group["group_id"] for group in admin.list_groups()]
        except (CoordinatorLoadInProgressError, CoordinatorNotAvailableError):
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def fresh(kafka: str, whole: bool) -> None:
    """Make every topic of the stages empty, with `whole` the nodes' too, and forget the groups."""
    forget(kafka, "accepted", "quarantine", "hub.", "ledger.", *(("raw.", "keys.") if whole else ()))
    topics.ensure(kafka, table.expand(list(NODES), REGIONS))
