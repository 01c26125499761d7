"""One transactional id, one transaction at a time: offsets, records and their end, each request sent once.

The order is fence, then for each batch: offsets (with the reader's generation, see `streams.protocol`), records,
end. Offsets go first: on Kafka 3.7 and later records before offsets fail (aio-libs/aiokafka#1004). After any fault
within `commit` the outcome may be unknown and the transaction is never used again: leave the process, fence anew,
read the ledger, and only then know whether the batch is done.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    EndTxnRequest,
    InitProducerIdRequest,
)

from schemas.errors import Fenced, Retries, Stops, Unreachable
from streams.client import LOADING, Broker, NotYet, name_of, patiently
from streams.protocol import Producer, Reader, TxnOffsetCommit
from streams.recordbatch import Draft

Place = tuple[str, int]
Batches = Mapping[Place, Sequence[Draft]]

CONCURRENT = 51  # the markers of the transaction before are still being written
REFUSED = frozenset({22, 25, 47, 48, 82, 90})  # generation, member, epoch, state, instance, producer: not ours any more
TOO_LARGE = frozenset({10, 18})
MOVED = frozenset({3, 5, 6})  # no such topic yet, no leader, not the leader
FORBIDDEN = frozenset({29, 30, 53})


class TooLarge(Stops):
    """A record batch is longer than the topic allows."""


class Forbidden(Stops):
    """The broker's access list does not allow what a worker must do."""


class Transactions:
    """The transactions of one lane, in the name of `transactional_id`."""

    def __init__(self, broker: Broker, transactional_id: str, timeout: float = 60.0) -> None:
        """Touch nothing yet; `timeout` in seconds is how long the broker keeps a transaction that nobody ends."""
        self._broker, self._id, self._timeout = broker, transactional_id, timeout
        self._producer: Producer | None = None
        self._sequences: dict[Place, int] = defaultdict(int)
        self._coordinator = -1

    async def fence(self) -> None:
        """Become the one producer of this id: others are refused from now on, what they left open is ended.

        When this returns, each transaction under this id has its marker in each partition that it touched.
        """
        self._coordinator = await self._broker.transaction_coordinator(self._id)
        self._producer = await patiently(f"fencing {self._id}", self._init)
        self._sequences.clear()

    async def _init(self) -> Producer:
        request = InitProducerIdRequest(self._id, int(1000 * self._timeout))
        answer = await self._broker.ask(self._coordinator, request, coordinator=True)
        if answer.error_code in LOADING | {CONCURRENT}:
            self._coordinator = await self._broker.transaction_coordinator(self._id)
            raise NotYet(name_of(answer.error_code))
        _check(answer.error_code, "InitProducerId", self._id)
        return Producer(self._id, answer.producer_id, answer.producer_epoch)

    async def commit(
        self, reader: Reader, source: Place, offset: int, batches: Batches, now: int
    ) -> Mapping[Place, int]:
        """Make `offset` of `source` and all batches visible together; return the offset after the last record of each place.

        `now` in UTC milliseconds is the records' timestamp. Fenced where the broker says that reader or producer are
        not the present ones: nothing became visible. Retries otherwise: what became visible, only the ledger knows.
        """
        producer, self._producer = self._producer, None
        if producer is None:
            raise Fenced(f"{self._id} was used after a fault or before fencing; the process must begin anew.")
        try:
            await self._offsets(producer, reader, source, offset)
            ends = await self._records(producer, batches, now)
            await self._end(producer, commit=True)
        except (Fenced, Stops) as refusal:
            await self._abort(producer, refusal)
            raise
        self._producer = producer
        return ends

    async def _offsets(self, producer: Producer, reader: Reader, source: Place, offset: int) -> None:
        await patiently(f"beginning {self._id}", lambda: self._add_group(producer, reader.group))
        node = await self._broker.group_coordinator(reader.group)
        request = TxnOffsetCommit(producer, reader, source[0], source[1], offset)
        answer = await self._broker.ask(node, request, coordinator=True)
        for _, partitions, _ in answer.topics:
            for _, code, _ in partitions:
                _check(code, "TxnOffsetCommit", self._id)

    async def _add_group(self, producer: Producer, group: str) -> None:
        request = AddOffsetsToTxnRequest(producer.transactional_id, producer.id, producer.epoch, group)
        answer = await self._broker.ask(self._coordinator, request, coordinator=True)
        if answer.error_code == CONCURRENT:
            raise NotYet(name_of(CONCURRENT))
        _check(answer.error_code, "AddOffsetsToTxn", self._id)

    async def _records(self, producer: Producer, batches: Batches, now: int) -> Mapping[Place, int]:
        by_topic: dict[str, list[int]] = defaultdict(list)
        for topic, partition in batches:
            by_topic[topic].append(partition)
        request = AddPartitionsToTxnRequest(
            producer.transactional_id, producer.id, producer.epoch, list(by_topic.items())
        )
        answer = await self._broker.ask(self._coordinator, request, coordinator=True)
        for _, partitions in answer.errors:
            for _, code in partitions:
                _check(code, "AddPartitionsToTxn", self._id)
        ends: dict[Place, int] = {}
        for turn in range(max(len(drafts) for drafts in batches.values())):
            ends |= await self._produce(producer, {p: d[turn] for p, d in batches.items() if turn < len(d)}, now)
        return ends

    async def _produce(self, producer: Producer, turn: Mapping[Place, Draft], now: int) -> Mapping[Place, int]:
        """Send one batch to each place: a partition takes one batch a request.

        A broker that answers that it does not lead the partition has written nothing: the same bytes go to the leader.
        """
        sealed = {place: self._sealed(producer, place, draft, now) for place, draft in turn.items()}
        ends: dict[Place, int] = {}

        async def attempt() -> None:
            for node, places in (await self._by_leader(place for place in sealed if place not in ends)).items():
                answer = await self._broker.ask(node, self._request({place: sealed[place] for place in places}))
                for topic, partitions in answer.topics:
                    for partition, code, base, *_ in partitions:
                        if code not in MOVED:
                            _check(code, f"writing to {topic}-{partition}", self._id)
                            ends[topic, partition] = base + turn[topic, partition].count
            if len(ends) < len(sealed):
                await self._broker.refresh()
                raise NotYet("the partition's leader moved")

        await patiently(f"writing for {self._id}", attempt)
        return ends

    async def _by_leader(self, places: Iterable[Place]) -> Mapping[int, list[Place]]:
        nodes: dict[int, list[Place]] = defaultdict(list)
        for place in places:
            nodes[await self._broker.leader(*place)].append(place)
        return nodes

    def _sealed(self, producer: Producer, place: Place, draft: Draft, now: int) -> bytes:
        sequence = self._sequences[place]
        self._sequences[place] = (sequence + draft.count) % (1 << 31)
        return draft.sealed(producer.id, producer.epoch, sequence, now)

    def _request(self, sealed: Mapping[Place, bytes]) -> ProduceRequest:
        topics: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
        for (topic, partition), data in sealed.items():
            topics[topic].append((partition, data))
        return ProduceRequest(self._id, -1, int(1000 * self._broker.timeout), list(topics.items()))

    async def _end(self, producer: Producer, commit: bool) -> None:
        request = EndTxnRequest(producer.transactional_id, producer.id, producer.epoch, commit)
        answer = await self._broker.ask(self._coordinator, request, coordinator=True)
        _check(answer.error_code, "EndTxn", self._id)

    async def _abort(self, producer: Producer, refusal: Exception) -> None:
        """End what is open; where that is refused too, the next owner's fence ends it."""
        try:
            await self._end(producer, commit=False)
        except Retries as again:
            refusal.add_note(f"Its abort was refused too: {again}")


def _check(code: int, what: str, transactional_id: str) -> None:
    if code == 0:
        return
    if code in REFUSED:
        raise Fenced(
            f"{what} of {transactional_id} was refused ({name_of(code)}): another worker owns the partition now."
        )
    if code in TOO_LARGE:
        raise TooLarge(
            f"{what} of {transactional_id}: the batch is longer than max.message.bytes; raise it in infra/topics.toml."
        )
    if code in FORBIDDEN:
        raise Forbidden(f"{what} of {transactional_id} is forbidden ({name_of(code)}); give the worker that right.")
    raise Unreachable(f"{what} of {transactional_id} failed ({name_of(code)}); the worker begins anew.")
