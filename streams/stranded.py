"""A transaction that the broker has ended in its book and not in the log, and how its lane ends it there.

A Kafka that comes up again may take a partition whose leader it does not know yet for a deleted one, skip its marker, and
call the transaction complete (KAFKA-20734: in 4.1 to 4.3 at least). Whoever reads committed records stops before it for
good, and the next transaction of the same producer would silently end it too, as that one ends. So after fencing, when no
transaction of a lane can be open, the lane looks whether one is.

Where no partition has got its marker, nobody can have seen anything of it: it is aborted, by a transaction that writes
nothing, since each marker ends all that its producer has open in the partition. The ledger does not have the batch then,
and it is done again. Where some have theirs, the others get the same; a commit is written by WriteTxnMarkers, one partition
independent of the other, so that a crash in between leaves nothing half decided.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from aiokafka.protocol.transaction import AddOffsetsToTxnRequest, AddPartitionsToTxnRequest

from schemas.errors import Stops, Unreachable
from streams import ledgerlog
from streams.client import CONCURRENT, LOADING, Broker, Forbidden, NotYet, by_leader, name_of, patiently
from streams.markers import DescribeProducers, WriteTxnMarkers, by_topic
from streams.protocol import EndTxn, Place, Producer

OFFSETS = "__consumer_offsets"
HIDDEN = frozenset({29})  # the access list does not let a worker read there
CLUSTER = frozenset({31})  # it does not let a worker write markers
LOOK_BACK = 1_000  # offsets, doubled until the marker is found


class Torn(Stops):
    """The broker has committed a part of a transaction and forgotten the rest, and a worker may not mend it."""

    exit_code = 70


@dataclass(frozen=True)
class Held:
    """What a partition knows of a producer: its newest epoch there, whether a transaction is open, and by which coordinator."""

    epoch: int
    open: bool
    coordinator: int


def offsets_partition(group: str, count: int) -> int:
    """Return the partition of `__consumer_offsets`, of `count`, that keeps a group: by Java's hash of its name, made positive."""
    number = 0
    for letter in group:
        number = (31 * number + ord(letter)) & 0xFFFFFFFF
    signed = number - (number >> 31 << 32)
    return 0 if signed == -(1 << 31) else abs(signed) % count


async def settle(broker: Broker, producer: Producer, group: str, topics: Iterable[str]) -> tuple[Producer, int, str]:
    """End what the producer, which was fenced just now, has open in these topics or in the group's offsets.

    Return who the producer is from now on, in how many partitions something was open, and how it was ended: `commit`,
    `abort`, or "" where nothing was.
    """
    places = [(topic, number) for topic in topics for number in await broker.partitions(topic)]
    if count := len(await broker.partitions(OFFSETS)):
        places.append((OFFSETS, offsets_partition(group, count)))
    held = await _held(broker, producer, places)
    stranded = [place for place, one in held.items() if one.open]
    if not stranded:
        return producer, 0, ""
    epoch = max(held[place].epoch for place in stranded)
    # A commit's marker has the epoch after its transaction's; what has a later one has seen others since.
    marked = [place for place, one in held.items() if not one.open and one.epoch == epoch + 1]
    commits = bool(marked) and await _commits(broker, producer, marked[0])
    if commits:
        await _commit(broker, producer, epoch + 1, {place: held[place] for place in stranded})
    else:
        producer = await _abort(broker, producer, group, stranded)
    await patiently(f"markers for {producer.transactional_id}", partial(_ended, broker, producer, stranded))
    return producer, len(stranded), "commit" if commits else "abort"


async def _held(broker: Broker, producer: Producer, places: Iterable[Place]) -> dict[Place, Held]:
    """Return what each partition that knows the producer knows of it."""
    found: dict[Place, Held] = {}
    for node, mine in (await by_leader(broker, places)).items():
        found |= await patiently(f"producers of {mine[0][0]}", partial(_held_at, broker, producer, node, mine))
    return found


async def _held_at(broker: Broker, producer: Producer, node: int, places: list[Place]) -> dict[Place, Held]:
    answer = await broker.ask(node, DescribeProducers(places))
    found: dict[Place, Held] = {}
    for topic, partitions, _ in answer.topics:
        for number, code, _, producers, _ in partitions:
            if code in ledgerlog.MOVED | LOADING:
                await broker.refresh()
                raise NotYet(name_of(code))
            if code in HIDDEN and topic != OFFSETS:
                raise Forbidden(
                    f"The broker's access list hides {topic} from the worker that writes it, which must see whether a "
                    "transaction of its own is open there: give it the right Read on the topic."
                )
            if code and code not in HIDDEN:
                raise Unreachable(f"The producers of {topic}-{number} cannot be asked for ({name_of(code)}).")
            for known, epoch, _, _, coordinator, first, _ in producers:
                if known == producer.id:
                    found[topic, number] = Held(epoch, first >= 0, coordinator)
    return found


async def _ended(broker: Broker, producer: Producer, places: list[Place]) -> None:
    if any(one.open for one in (await _held(broker, producer, places)).values()):
        raise NotYet("a marker is missing")


async def _commits(broker: Broker, producer: Producer, place: Place) -> bool:
    """Return whether the newest marker of the producer in a partition, which is not far from its end, is a commit."""
    end, back = await ledgerlog.bound(broker, place), LOOK_BACK
    while True:
        position = max(end - back, await ledgerlog.bound(broker, place, ledgerlog.EARLIEST))
        marker = await _newest_marker(broker, producer, place, position, end)
        if marker or back >= end:
            return marker == "commit"
        back *= 2


async def _newest_marker(broker: Broker, producer: Producer, place: Place, position: int, end: int) -> str:
    marker = ""
    while position < end:
        _, data = await ledgerlog.fetch(broker, place, position)
        for block in ledgerlog.blocks(data, position):
            position = block.following
            if block.producer == producer.id and block.marker:
                marker = block.marker
    return marker


async def _commit(broker: Broker, producer: Producer, epoch: int, held: Mapping[Place, Held]) -> None:
    """Write a commit into each partition. Torn where that is not allowed."""
    coordinator = max(one.coordinator for one in held.values())
    for node, places in (await by_leader(broker, held)).items():
        answer = await broker.ask(node, WriteTxnMarkers(producer.id, epoch, coordinator, places))
        for _, topics, _ in answer.markers:
            for topic, partitions, _ in topics:
                for number, code, _ in partitions:
                    if code in CLUSTER:
                        raise Torn(
                            f"Kafka has committed a part of a transaction of {producer.transactional_id} and lost the end of "
                            "the rest (KAFKA-20734). Give the worker the right ClusterAction for one start, so that it can mend "
                            "that, and update Kafka."
                        )
                    if code:
                        raise Unreachable(f"A marker cannot be written to {topic}-{number} ({name_of(code)}).")


async def _abort(broker: Broker, producer: Producer, group: str, stranded: list[Place]) -> Producer:
    """Have a transaction without records abort what is open, and return the producer of the next one."""
    coordinator = await broker.transaction_coordinator(producer.transactional_id)
    who = (producer.transactional_id, producer.id, producer.epoch)
    topics = by_topic(stranded)
    if topics.pop(OFFSETS, None):
        request = AddOffsetsToTxnRequest(*who, group)
        await patiently("taking the group's offsets in", partial(_add, broker, coordinator, request))
    if topics:
        request = AddPartitionsToTxnRequest(*who, list(topics.items()))
        await patiently("taking partitions in", partial(_add, broker, coordinator, request))
    answer = await broker.ask(coordinator, EndTxn(producer, commit=False), coordinator=True)
    if answer.error_code:
        raise Unreachable(
            f"A stranded transaction was not ended ({name_of(answer.error_code)}); the worker begins anew."
        )
    return Producer(producer.transactional_id, answer.producer_id, answer.producer_epoch)


async def _add(broker: Broker, coordinator: int, request: AddOffsetsToTxnRequest | AddPartitionsToTxnRequest) -> None:
    answer = await broker.ask(coordinator, request, coordinator=True)
    codes = [answer.error_code] if hasattr(answer, "error_code") else [c for _, each in answer.errors for _, c in each]
    for code in codes:
        if code in LOADING | {CONCURRENT}:
            raise NotYet(name_of(code))
        if code:
            raise Unreachable(f"A stranded transaction cannot be ended ({name_of(code)}); the worker begins anew.")
