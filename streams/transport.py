"""Faust's transport in batches: an event is one fetched batch of one partition, as `Records`.

Faust gives the agents, the group and the rebalances. What it would commit is neutralised here: an offset moves only
within a lane's transaction. Written against faust-streaming 0.15.3 and aiokafka 0.14, whose insides it uses.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

import aiokafka
import aiokafka.consumer.fetcher
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.consumer.group_coordinator import OffsetCommitRequest
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.record.memory_records import MemoryRecords
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage, Message

from schemas.errors import Fenced
from streams.attempt import part
from streams.base import Records
from streams.fetched import unpack
from streams.protocol import Reader

DEFAULT_GENERATION_ID = OffsetCommitRequest.DEFAULT_GENERATION_ID
POLL = 0.5  # seconds to wait for data before looking at the world again


class Gate(Protocol):
    """What the transport asks of its worker: which partitions may be fed, and what to do when they come and go."""

    fetch_wait_ms: int
    fetch_bytes: int
    batch_records: int

    epoch: int
    thread: Any

    def feeds(self, tp: TP) -> bool:
        """Return whether the partition may be given one more batch now."""

    def taken(self, tp: TP, records: int) -> None:
        """Count a batch of the partition, of so many records, that is on its way."""

    async def revoked(self) -> None:
        """Let go of all partitions."""

    def assigned(self, tps: Iterable[TP], reader: Reader) -> None:
        """Begin to open these partitions, in the name of `reader`."""

    def failed(self, error: BaseException) -> None:
        """End the worker."""


@dataclass(frozen=True)
class Fetched:
    """A batch and the assignment (by its number, `epoch`) under which it was read: after another one it is stale."""

    epoch: int
    records: Records


class Kept(MemoryRecords):  # type: ignore[misc]
    """What aiokafka makes of a fetched piece of log, which here keeps the bytes: they are read as a whole."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data


aiokafka.consumer.fetcher.MemoryRecords = Kept


class Listener(driver.ConsumerRebalanceListener):  # type: ignore[misc]
    """Notes, with each assignment, who reads: offsets of a batch are committed in the name under which it was read."""

    def on_partitions_revoked(self, revoked: Iterable[Any]) -> Any:
        """Leave where the group has forgotten this member: what it holds is stale, and to join again as new hides that."""
        if revoked and self._thread._consumer._coordinator.generation == DEFAULT_GENERATION_ID:
            self._thread.lost()
        return super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        """Take generation and member id before anything else can change them."""
        coordinator = self._thread._consumer._coordinator
        consumer = self._thread._consumer
        self._thread.reader = Reader(
            coordinator.group_id, coordinator.generation, coordinator.member_id, consumer._group_instance_id
        )
        await super().on_partitions_assigned(assigned)


class Thread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """The thread that owns aiokafka's consumer."""

    reader: Reader | None = None

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        conf, gate = self.app.conf, self.app.gate
        self._assignor = RoundRobinPartitionAssignor
        self._carried: dict[Any, tuple[int, int]] = {}
        self._rest: dict[Any, tuple[FetchResult, Records]] = {}
        self._wake = asyncio.Event()
        return aiokafka.AIOKafkaConsumer(
            bootstrap_servers=driver.server_list(transport.url, transport.default_port),
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_partition_fetch_bytes=gate.fetch_bytes,
            fetch_max_wait_ms=gate.fetch_wait_ms,
            session_timeout_ms=int(1000 * conf.broker_session_timeout),
            rebalance_timeout_ms=int(1000 * conf.broker_rebalance_timeout),
            heartbeat_interval_ms=int(1000 * conf.broker_heartbeat_interval),
            request_timeout_ms=int(1000 * conf.broker_request_timeout),
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
        )

    async def on_start(self) -> None:
        """Start the consumer; a partition whose lane is busy must not keep others from being fetched."""
        await super().on_start()
        self._ensure_consumer()._fetcher._prefetch_backoff = 0

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Do nothing: a lane says where to read, see `seek_to`."""
        return {}

    async def seek_to(self, tp: TP, offset: int) -> None:
        """Read the partition from `offset` on."""
        await self.call_thread(self._seek_to, tp, offset)

    async def _seek_to(self, tp: TP, offset: int) -> None:
        self._carried.pop(tp, None)
        self._rest.pop(tp, None)
        self._ensure_consumer().seek(driver.ensure_aiokafka_TP(tp), offset)

    def reads_as(self, reader: Reader, topic: str, partition: int) -> bool:
        """Return whether the partition is assigned now, to the same member in the same generation."""
        consumer = self._ensure_consumer()
        coordinator = consumer._coordinator
        same = (coordinator.generation, coordinator.member_id) == (reader.generation, reader.member)
        return same and TP(topic, partition) in self.assignment()

    def wake(self) -> None:
        """Look again which partitions may be fed; from any thread."""
        self.thread_loop.call_soon_threadsafe(self._wake.set)

    def lost(self) -> None:
        """End the worker, since the group does not know it any more; called in the consumer's thread."""
        error = Fenced(
            "The group does not know this worker any more: it slept past its session, or another worker bears its name; "
            "the worker begins anew."
        )
        self.parent_loop.call_soon_threadsafe(self.app.gate.failed, error)

    async def leave(self) -> None:
        """Leave the group now, so that others need not wait for the session to time out."""
        await self.call_thread(self._leave)

    async def _leave(self) -> None:
        coordinator = self._ensure_consumer()._coordinator
        coordinator._group_instance_id = None  # aiokafka lets no static member leave
        await coordinator.close()

    async def batches(self) -> list[Fetched]:
        """Return what was fetched, at most one batch a partition; nothing after POLL seconds without data."""
        fetched: list[Fetched] = await self.call_thread(self._batches)
        return fetched

    async def _batches(self) -> list[Fetched]:
        fetcher = self._ensure_consumer()._fetcher
        subscriptions = fetcher._subscriptions
        with subscriptions.fetch_context():
            self._wake.clear()
            ready = [] if subscriptions.reassignment_in_progress else list(self._drained(fetcher))
            if not ready:
                await self._something(fetcher)
            return ready

    async def _something(self, fetcher: Any) -> None:
        waiters = {asyncio.ensure_future(self._wake.wait()), fetcher._create_fetch_waiter()}
        done, pending = await asyncio.wait(waiters, timeout=POLL, return_when=asyncio.FIRST_COMPLETED)
        for one in pending:
            one.cancel()
        for one in done:
            one.result()

    def _drained(self, fetcher: Any) -> Iterable[Fetched]:
        for tp in list(fetcher._records):
            if not fetcher._subscriptions.is_assigned(tp):
                del fetcher._records[tp]
                self._rest.pop(tp, None)
            elif self.app.gate.feeds(TP(tp.topic, tp.partition)):
                epoch = self.app.gate.epoch
                batch = self._taken(fetcher, tp)
                if batch is not None:
                    self.app.gate.taken(TP(tp.topic, tp.partition), len(batch))
                    yield Fetched(epoch, batch)

    def _taken(self, fetcher: Any, tp: Any) -> Records | None:
        """Take one batch; what lies between the last one and this (markers, aborted records) belongs to its range."""
        result = fetcher._records[tp]
        if not isinstance(result, FetchResult):
            del fetcher._records[tp]
            fetcher._notify(fetcher._wait_consume_future)
            result.check_raise()
            return None
        state = result._assignment.state_value(tp)
        start = state.position
        found = self._piece(result, tp) if result.check_assignment(tp) else None
        if not result.has_more():
            del fetcher._records[tp]
            fetcher._notify(fetcher._wait_consume_future)
        carried = self._carried.pop(tp, None)
        if carried is not None and carried[1] == start:
            start = carried[0]
        if found:
            return replace(found, start=start)
        if state.position > start:
            self._carried[tp] = (start, state.position)
        return None

    def _piece(self, result: FetchResult, tp: Any) -> Records:
        """Return the next records of what was fetched, as many as a batch may have, and move the position after them."""
        whole, left = self._rest.pop(tp, (None, None))
        read, limit = result._partition_records, self.app.gate.batch_records
        if left is None or whole is not result:
            read._records_iterator = None  # aiokafka's way of reading, not begun; it would keep the bytes
            data, aborted = read._records.data, read._aborted_transactions
            left = unpack(tp.topic, tp.partition, data, aborted, read.next_fetch_offset)
        piece = part(left, 0, min(limit, len(left)))
        read.next_fetch_offset = piece.end
        result._update_position()
        if len(left) > limit:
            self._rest[tp] = result, part(left, limit, len(left))
        else:
            result._partition_records = None
        return piece

    def caught_up(self, tps: Iterable[TP]) -> bool:
        """Return whether each partition was read to its high watermark as of the last fetch."""
        assignment = self._ensure_consumer()._subscription.subscription.assignment
        states = [assignment.state_value(driver.ensure_aiokafka_TP(tp)) for tp in tps] if assignment else [None]
        return all(
            state is not None
            and state.has_valid_position
            and state.highwater is not None
            and state.position >= state.highwater
            for state in states
        )


class Consumer(driver.Consumer):  # type: ignore[misc]
    """Faust's consumer, which here neither commits nor seeks nor counts gaps."""

    RebalanceListener: ClassVar[type[driver.ConsumerRebalanceListener]] = Listener
    _thread: Thread

    def _new_consumer_thread(self) -> Thread:
        thread = Thread(self, loop=self.loop, beacon=self.beacon)
        self.app.gate.thread = thread
        return thread

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Let the lanes finish and close before Faust hears of it."""
        await self.app.gate.revoked()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Start the agents, then tell the worker; it opens the lanes outside of this callback, while heartbeats go on."""
        await super().on_partitions_assigned(assigned, generation_id)
        reader = self._thread.reader
        assert reader is not None
        self.app.gate.assigned(assigned, reader)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:
        """Yield one message for each batch fetched."""
        del timeout
        if not self.flow_active:
            await self.wait_first(self.can_resume_flow.wait(), timeout=POLL)
            return
        for fetched in await self._thread.batches():
            tp = TP(fetched.records.topic, fetched.records.partition)
            yield tp, self._message(tp, fetched)

    def _message(self, tp: TP, fetched: Fetched) -> ConsumerMessage:
        last = fetched.records.end - 1
        # Without the generation Faust skips the message.
        generation = self.app.consumer_generation_id
        return ConsumerMessage(
            tp.topic, tp.partition, last, 0.0, 0, [], None, fetched, None, 0, 0, tp, generation_id=generation
        )

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self.should_stop or fetcher.should_stop):
                async for _, message in self.getmany(timeout=POLL):
                    await self.callback(message)
        except Exception as error:
            self.app.gate.failed(error)
            raise

    async def perform_seek(self) -> None:
        """Do nothing: a lane says where to read."""

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit nothing."""
        del topics, start_new_transaction
        return False

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit nothing."""
        del topics, start_new_transaction
        return False

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        del offsets
        return False

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        del tp, offset_from, offset_to

    def ack(self, message: Message) -> bool:
        """Let go of the message; nothing is remembered, since nothing is committed from here."""
        message.acked = True
        self._unacked_messages.discard(message)
        return False

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Say nothing: Faust would complain that it never commits."""
        del now, tp


class Transport(driver.Transport):  # type: ignore[misc]
    """Faust's transport with this consumer."""

    Consumer: ClassVar[type[Any]] = Consumer
