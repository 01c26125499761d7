"""Send what the node recorded: keys first, then events in their order, each group acknowledged before the next.

After each group goes a signed head, by which anyone can tell later that it is there as it was sent.

At least once from here: killed at any moment, `sync` sends a group again and the hub drops the repeat by number and id.
An event is kept until its receipt: where the hub's log ends before what it had acknowledged, or a receipt names numbers
as missing, what has no receipt is sent again. Everything is bounded in time; a broker that does not answer is one
sentence.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, islice, takewhile
from typing import Any, TypeVar

from pipeline.node import deciding, epochs, fates, receipts, sent
from pipeline.node.deciding import Settled
from pipeline.node.fates import Taken
from pipeline.node.handover import owning
from pipeline.node.heads import Heads
from pipeline.node.journal import Busy, Entry, Lock, Reader
from pipeline.node.node import Node
from pipeline.node.receipts import Receipted
from schemas.errors import BadInput, NotSetUp, Unreachable
from schemas.rows import read
from schemas.wire import unframe

GROUP = 1_000
SECONDS = 30
T = TypeVar("T")


@dataclass(frozen=True)
class Outcome:
    """What was sent and acknowledged: events `first` to `last` (0, 0 for none) and the number of key records.

    `again` counts events that the hub had acknowledged before and has lost, or may have; `told` are the pages of fates that
    were read before, `decided` is what came of the hub's decisions among them.
    """

    events: int
    first: int
    last: int
    keys: int
    again: int = 0
    told: Taken = field(default_factory=Taken)
    decided: tuple[Settled, ...] = ()


def sync(node: Node, kafka: str, again: bool = False, step: Callable[[int], None] = lambda _: None) -> Outcome:
    """Send all that is safe on the disk and was not acknowledged, or with `again` all; `step` hears of each group.

    What the hub has decided is recorded before, and sent with the rest. Errors: BadInput (it was handed over),
    Busy (another sync of this node), NotSetUp (no such topics), Unreachable (within about a minute),
    OlderThanSent (an old copy of the journal was put back).
    """
    if owning.left(node.folder, Reader(node.journal)):
        raise BadInput(
            f"{node.code} was handed over: its successor sends, also what was not sent before. Nothing was sent."
        )
    lock = Lock(node.folder / "sync.lock", f"Another `tocsin node sync` of {node.code} is running; wait for it.")
    try:
        _settle(node)
        with _broker(kafka, node) as broker:
            sent.check(node, Reader(node.journal).mark.last, broker.receipted.through)
            decided = deciding.record(node)
            epochs.check(node, broker.ends.epoch)
            start, more = _start(node, broker.receipted, broker.ends, again)
            return replace(_send(node, start, broker, step, more), told=broker.told, decided=decided)
    finally:
        lock.close()


def _settle(node: Node) -> None:
    """Cut a torn tail and count what is whole behind the mark; an import that runs now has done so."""
    try:
        sent.open_journal(node).close()
    except Busy:
        return


def _start(node: Node, known: Receipted, ends: "Ends", again: bool) -> tuple[sent.Sent, list[range]]:
    """Return from where to send, and what to send again before it; `ends` are those of the node's topics now.

    A hub that has read beyond the end of a log that lost its tail reads on only where it had stopped. So the log is
    filled with repeats until it is as long as it was, and a group more for what was never acknowledged.
    """
    if again:
        return sent.Sent(), []
    kept = sent.read(node)
    acknowledged = min(max(kept.events, known.through), Reader(node.journal).mark.last)
    lacking = max(kept.end, known.end) - ends.raw
    keys, heads = (kept.keys if ends.keys >= kept.keys_end else 0), (kept.heads if ends.heads >= kept.heads_end else 0)
    if lacking <= 0 and kept.refill:
        return sent.Sent(kept.events, keys, heads=heads), [range(kept.refill, kept.events + 1)]
    if lacking <= 0:
        mending = known.missing if known.end >= kept.mended else ()
        numbers = [range(first, min(last, kept.events) + 1) for first, last in mending]
        return sent.Sent(kept.events, keys, heads=heads), [one for one in numbers if one]
    fill = lacking + GROUP
    first = max(1, min(known.first_unsettled(), acknowledged + 1 - fill, kept.refill or acknowledged))
    rounds = -(-max(fill - (acknowledged + 1 - first), 0) // acknowledged) if acknowledged else 0
    return sent.Sent(acknowledged, 0), [range(1, acknowledged + 1)] * rounds + [range(first, acknowledged + 1)]


def _send(
    node: Node, start: sent.Sent, broker: "_Broker", step: Callable[[int], None], again: Iterable[range] = ()
) -> Outcome:
    reader = Reader(node.journal)
    # The end is read first: the keys of the events up to there are on the disk, those of later events may not be.
    last = reader.mark.last
    heads = Heads(node.folder, node.code, node.secret("sign"))
    sent.check(node, last, heads.through)
    if start.heads > heads.size:  # the file was lost or is an older one: what it has now is sent from its beginning
        start = replace(start, heads=0)
        sent.write(node, replace(sent.read(node), heads=0))
    keys, position, repeated = 0, start, 0
    if (
        start != sent.Sent() and start.keys < sent.read(node).keys
    ):  # the hub lost them: after a stop it goes on from here
        sent.write(node, replace(sent.read(node), keys=0))
    for records in _groups(_keys(node, reader, start.keys, broker)):
        end = broker.send(f"keys.{node.code}", [(key, value or None) for _, key, value in records])
        position = replace(position, keys=records[-1][0], keys_end=end)
        sent.write(node, _furthest(node, position))
        keys += len(records)
    again = list(again)
    if again:
        sent.refill(node, min(numbers.start for numbers in again))
    for events in _groups(chain.from_iterable(_numbered(reader, numbers) for numbers in again)):
        end = broker.send(f"raw.{node.code}", [_keyed(entry) for entry in events])
        repeated += len(events)
        position = replace(position, end=end, mended=end)
    if again:
        sent.write(node, _furthest(node, position))
        sent.refill(node, 0)
    heads.cover_through(reader, start.events, GROUP)
    position = _send_heads(node, heads, position, broker)
    for events in _groups(takewhile(lambda entry: entry.sequence <= last, reader.read(start.events + 1))):
        end = broker.send(f"raw.{node.code}", [_keyed(entry) for entry in events])
        position = replace(position, events=events[-1].sequence, end=end)
        sent.write(node, _furthest(node, position))
        heads.cover(events)
        position = _send_heads(node, heads, position, broker)
        step(len(events))
    count = position.events - start.events
    return Outcome(count, start.events + 1 if count else 0, position.events if count else 0, keys, repeated)


def _keys(node: Node, reader: Reader, position: int, broker: "_Broker") -> Iterator[tuple[int, bytes, bytes]]:
    """Yield the records of keys after a position, but no epoch's key in place of one that the hub may have sealed anew."""
    records = list(reader.key_records(position))
    doubtful = epochs.doubtful(node, reader, (key for _, key, _ in records))
    there = doubtful & broker.epochs() if doubtful else set()
    return (record for record in records if epochs.number_of(record[1]) not in there)


def _send_heads(node: Node, heads: Heads, position: sent.Sent, broker: "_Broker") -> sent.Sent:
    """Send the heads of what was acknowledged; return the position after them."""
    for records in _groups(heads.unsent(position.heads, position.events)):
        end = broker.send(f"heads.{node.code}", [(node.code.encode(), record) for _, record in records])
        position = replace(position, heads=records[-1][0], heads_end=end)
        sent.write(node, _furthest(node, position))
    return position


def _numbered(reader: Reader, numbers: range) -> Iterator[Entry]:
    return islice(reader.read(numbers.start), len(numbers))


def _furthest(node: Node, position: sent.Sent) -> sent.Sent:
    """Return the position, not before the one that is kept: sending again takes nothing back."""
    kept = sent.read(node)
    return sent.Sent(**{name: max(value, getattr(position, name)) for name, value in asdict(kept).items()})


def _groups(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while group := list(islice(iterator, GROUP)):
        yield group


def _keyed(entry: Entry) -> tuple[bytes, bytes]:
    """Return the record of an event: its case's reference as the key, empty where it is about no case."""
    return read(*unframe(entry.envelope))["case_ref"] or b"", entry.envelope


@dataclass(frozen=True)
class Ends:
    """Where raw.<node>, keys.<node> and heads.<node> end now, and the newest `epoch` that came to the keys since."""

    raw: int = 0
    keys: int = 0
    heads: int = 0
    epoch: int = 0


@dataclass(frozen=True)
class _Broker:
    """What the broker has now: `receipted`, the `ends` of the node's topics, what was `told`; and the way to send more."""

    kafka: str
    node: Node
    producer: Any
    receipted: Receipted
    ends: Ends
    told: Taken

    def send(self, topic: str, records: list[tuple[bytes, bytes | None]]) -> int:
        """Send the records to the topic's one partition, wait until the broker has them all, and return the offset after them."""
        with _answering(self.kafka):
            futures = [self.producer.send(topic, value=value, key=key, partition=0) for key, value in records]
            self.producer.flush(timeout=SECONDS)
            return max(int(future.get(timeout=SECONDS).offset) for future in futures) + 1

    def epochs(self) -> set[int]:
        """Return the epochs that have a key in the node's topic."""
        with _answering(self.kafka), _consumer(self.kafka, self.node) as client:
            return epochs.living(self.node, client, SECONDS)


@contextmanager
def _broker(kafka: str, node: Node) -> Iterator[_Broker]:
    """Yield a broker that has the node's topics, behind an idempotent producer."""
    from kafka.errors import KafkaError

    logging.getLogger("kafka").setLevel(logging.CRITICAL + 1)
    with _answering(kafka):
        _check_topics(kafka, node)
        receipted, ends, told = _read(kafka, node)
        producer = _producer(kafka, node)
    try:
        yield _Broker(kafka, node, producer, receipted, ends, told)
    finally:
        with suppress(KafkaError):  # it flushes once more, and what is wrong was told already
            producer.close(timeout=1)


def _read(kafka: str, node: Node) -> tuple[Receipted, Ends, Taken]:
    """Return the node's receipts, where its topics end, and what it was told."""
    from kafka import TopicPartition

    with _consumer(kafka, node) as client:
        places = {name: TopicPartition(f"{name}.{node.code}", 0) for name in ("raw", "keys", "heads")}
        found = client.end_offsets(list(places.values()))
        newest = epochs.newest(node, client, SECONDS)
        ends = Ends(**{name: found[place] for name, place in places.items()}, epoch=newest)
        return receipts.follow(node, client, SECONDS), ends, fates.follow(node, client, SECONDS)


@contextmanager
def _consumer(kafka: str, node: Node) -> Iterator[Any]:
    from pipeline.patient import Patient

    client = Patient(
        bootstrap_servers=kafka,
        client_id=f"tocsin.node.{node.code}",
        enable_auto_commit=False,
        bootstrap_timeout_ms=SECONDS * 500,
        request_timeout_ms=SECONDS * 500,
    )
    try:
        yield client
    finally:
        client.close()


@contextmanager
def _answering(kafka: str) -> Iterator[None]:
    """Make every error of Kafka and of the network one of ours."""
    from kafka.errors import KafkaError

    try:
        yield
    except (KafkaError, OSError, ValueError) as error:  # ValueError: a HOST:PORT that is none
        raise Unreachable(
            f"Kafka at {kafka} does not answer ({type(error).__name__}); what it acknowledged is kept. "
            "Check the network and `tocsin status`, then run `tocsin node sync` again."
        ) from error


def _producer(kafka: str, node: Node) -> Any:
    from kafka import KafkaProducer

    return KafkaProducer(
        bootstrap_servers=kafka,
        client_id=f"tocsin.node.{node.code}",
        enable_idempotence=True,
        acks="all",
        allow_auto_create_topics=False,
        batch_size=256 << 10,
        linger_ms=5,
        bootstrap_timeout_ms=SECONDS * 500,
        max_block_ms=SECONDS * 500,
        request_timeout_ms=SECONDS * 500,
        delivery_timeout_ms=SECONDS * 1_000,
    )


def _check_topics(kafka: str, node: Node) -> None:
    from kafka.admin import KafkaAdminClient

    admin = KafkaAdminClient(
        bootstrap_servers=kafka, bootstrap_timeout_ms=SECONDS * 500, request_timeout_ms=SECONDS * 500
    )
    try:
        missing = {f"{name}.{node.code}" for name in ("raw", "keys", "heads", "receipts")} - set(admin.list_topics())
    finally:
        admin.close()
    if missing:
        raise NotSetUp(
            f"Kafka at {kafka} has no topic {min(missing)}; run `tocsin up` there to make the topics of {node.code}."
        )
