"""One transactional id, one transaction at a time: offsets, records and their end, each request sent once.

The order is fence, then for each batch: offsets (with the reader's generation, see `streams.protocol`), records,
end. Offsets go first: who is not the reader any more has written nothing. After any fault within `commit` the outcome
may be unknown and the transaction is never used again: leave the process, fence anew, read the ledger, and only then
know whether the batch is done.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from aiokafka.protocol.transaction import InitProducerIdRequest

from schemas.errors import Fenced, Retries, Stops, Unreachable
from streams import stranded
from streams.client import CONCURRENT, LOADING, Broker, Forbidden, NotYet, by_leader, name_of, patiently
from streams.protocol import EndTxn, Place, Produce, Producer, Reader, TxnOffsetCommit
from streams.recordbatch import Draft

Batches = Mapping[Place, Sequence[Draft]]

FEW_REPLICAS = 19  # also where the broker could not ask the transaction's coordinator
NOT_NOW = LOADING | {CONCURRENT, FEW_REPLICAS}  # nothing was done: the same request goes again
REFUSED = frozenset({22, 25, 47, 48, 82, 90})  # generation, member, epoch, state, instance, producer: not ours any more
TOO_LARGE = frozenset({10, 18})
MOVED = frozenset({3, 5, 6})  # no such topic yet, no leader, not the leader
LATER = MOVED | NOT_NOW
FORBIDDEN = frozenset({29, 30, 53})


class TooLarge(Stops):
    """A record batch is longer than the topic allows."""


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

        When this returns, each transaction under this id has its marker in each partition that it touched, unless the
        broker has forgotten some: `settle` ends those.
        """
        self._coordinator = await self._broker.transaction_coordinator(self._id)
        self._producer = await patiently(f"fencing {self._id}", self._init)
        self._sequences.clear()

    async def settle(self, group: str, topics: Iterable[str]) -> tuple[int, str]:
        """End what the broker has left open of the id's transactions, see `streams.stranded`; to be called after `fence`.

        Return in how many partitions something was open, and how it was ended.
        """
        assert self._producer is not None, "fence first"
        self._producer, count, how = await stranded.settle(self._broker, self._producer, group, topics)
        return count, how

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
            following = await self._end(producer, commit=True)
        except (Fenced, Stops) as refusal:
            await self._abort(producer, refusal)
            raise
        self._producer = following
        return ends

    async def _offsets(self, producer: Producer, reader: Reader, source: Place, offset: int) -> None:
        request = TxnOffsetCommit(producer, reader, source[0], source[1], offset)

        async def attempt() -> None:
            node = await self._broker.group_coordinator(reader.group)
            answer = await self._broker.ask(node, request, coordinator=True)
            for _, partitions, _ in answer.topics:
                for _, code, _ in partitions:
                    if code in NOT_NOW:
                        self._broker.doubt_coordinator(reader.group, code)
                        raise NotYet(name_of(code))
                    _check(code, "TxnOffsetCommit", self._id)

        await patiently(f"beginning {self._id}", attempt)

    async def _records(self, producer: Producer, batches: Batches, now: int) -> Mapping[Place, int]:
        ends: dict[Place, int] = {}
        for turn in range(max(len(drafts) for drafts in batches.values())):
            ends |= await self._produce(producer, {p: d[turn] for p, d in batches.items() if turn < len(d)}, now)
        return ends

    async def _produce(self, producer: Producer, turn: Mapping[Place, Draft], now: int) -> Mapping[Place, int]:
        """Send one batch to each place: a partition takes one batch a request.

        A broker that answers that it does not lead the partition, or not now, has written nothing there: the same bytes
        go again.
        """
        sealed = {place: self._sealed(producer, place, draft, now) for place, draft in turn.items()}
        ends: dict[Place, int] = {}

        async def attempt() -> None:
            later: set[int] = set()
            for node, places in (
                await by_leader(self._broker, [place for place in sealed if place not in ends])
            ).items():
                batches = {place: sealed[place] for place in places}
                answer = await self._broker.ask(node, Produce(self._id, self._broker.timeout, batches))
                for topic, partitions, _ in answer.topics:
                    for partition, code, base, *_ in partitions:
                        if code in LATER:
                            later.add(code)
                            continue
                        _check(code, f"writing to {topic}-{partition}", self._id)
                        ends[topic, partition] = base + turn[topic, partition].count
            if later & MOVED:
                await self._broker.refresh()
            if later:
                raise NotYet(", ".join(name_of(code) for code in sorted(later)))

        await patiently(f"writing for {self._id}", attempt)
        return ends

    def _sealed(self, producer: Producer, place: Place, draft: Draft, now: int) -> bytes:
        sequence = self._sequences[place]
        self._sequences[place] = (sequence + draft.count) % (1 << 31)
        return draft.sealed(producer.id, producer.epoch, sequence, now)

    async def _end(self, producer: Producer, commit: bool) -> Producer:
        """End the transaction and return the producer of the next one, whose sequences begin anew."""
        answer = await self._broker.ask(self._coordinator, EndTxn(producer, commit), coordinator=True)
        _check(answer.error_code, "EndTxn", self._id)
        self._sequences.clear()
        return Producer(self._id, answer.producer_id, answer.producer_epoch)

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
