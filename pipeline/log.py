"""Reading the log for people: topics from their beginning to where they end now, decoded by the contracts.

For looking, tracing and counting; the workers have their own way of reading. kafka-python reads about
70,000 records a second.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kafka import TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.errors import KafkaError, OffsetOutOfRangeError

from pipeline.patient import Patient
from schemas.errors import CutWhileRead, Unreachable

WAIT_MS = 500
LEDGERS = "ledger."
RECONNECT_MS = 1_000  # at most between tries; by its default, kafka-python may stay away for half a minute


def _aborts(_: Any, batch: Any) -> bool:
    """Return whether a batch is the marker of an aborted transaction; one that compaction has emptied is none.

    So it is in Java's client (KAFKA-7467). kafka-python 3.0.12 takes the marker to be there, and stops at a topic that was compacted.
    """
    return bool(batch.is_control_batch and (record := next(batch, None)) and record.abort)


Fetcher.PartitionRecords._contains_abort_marker = _aborts  # noqa: SLF001


@dataclass(frozen=True)
class Entry:
    """One record where it stands; `value` is None for a tombstone, `timestamp` is UTC milliseconds."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes
    value: bytes | None


def consumer(kafka: str, committed: bool = True, reset: str = "earliest") -> Any:
    """Return a consumer without a group; `committed` hides what no transaction has committed.

    Where the log begins later than it is read, it reads on from there; with a `reset` of "none" `polled` says so.
    """
    level = "read_committed" if committed else "read_uncommitted"
    try:
        return Patient(
            bootstrap_servers=kafka,
            isolation_level=level,
            enable_auto_commit=False,
            auto_offset_reset=reset,
            max_poll_records=5_000,
            reconnect_backoff_max_ms=RECONNECT_MS,
        )
    except KafkaError as error:
        raise Unreachable(f"Kafka at {kafka} does not answer ({error}); run `tocsin status`.") from error


def topics(kafka: str, prefix: str = "") -> list[str]:
    """Return the names of the topics that begin so, sorted; none of Kafka's own."""
    client = consumer(kafka)
    try:
        return sorted(name for name in client.topics() if name.startswith(prefix) and not name.startswith("__"))
    finally:
        client.close()


def ends(kafka: str, prefix: str) -> dict[str, int]:
    """Return how many offsets each topic holds whose name begins so, over all its partitions, by name."""
    client = consumer(kafka)
    try:
        names = sorted(name for name in client.topics() if name.startswith(prefix))
        places = [
            TopicPartition(name, part) for name in names for part in sorted(client.partitions_for_topic(name) or ())
        ]
        found = client.end_offsets(places)
        return {name: sum(end for place, end in found.items() if place.topic == name) for name in names}
    finally:
        client.close()


def since(kafka: str, prefix: str, *moments: int) -> list[dict[str, tuple[int, int | None]]]:
    """Return for each moment, UTC milliseconds from 0 on, the first record of each topic whose time is that or later.

    As (offset, timestamp) by topic, of topics of one partition whose name begins so. One that has no such record is there
    with its end and None.
    """
    client = consumer(kafka)
    try:
        ends = client.end_offsets([TopicPartition(name, 0) for name in client.topics() if name.startswith(prefix)])
        return [_first(ends, client.offsets_for_times(dict.fromkeys(ends, moment))) for moment in moments]
    except KafkaError as error:
        raise Unreachable(f"Kafka at {kafka} does not answer ({error}); run `tocsin status`.") from error
    finally:
        client.close()


def _first(
    ends: Mapping[TopicPartition, int], found: Mapping[TopicPartition, Any]
) -> dict[str, tuple[int, int | None]]:
    return {at.topic: (one.offset, one.timestamp) if (one := found[at]) else (end, None) for at, end in ends.items()}


def read(kafka: str, *names: str, committed: bool = True, from_end: int | None = None) -> Iterator[Entry]:
    """Yield the topics' records up to where they end now; `from_end` starts that many offsets before each end.

    CutWhileRead where a ledger is cut before it is read: then it has to be taken from its beginning. Of other topics what is there
    is yielded.
    """
    client = consumer(kafka, committed, reset="none")
    try:
        partitions = [TopicPartition(t, p) for t in names for p in sorted(client.partitions_for_topic(t) or ())]
        client.assign(partitions)
        ends = client.end_offsets(partitions)
        starts = client.beginning_offsets(partitions)
        for partition in partitions:
            first = starts[partition] if from_end is None else max(starts[partition], ends[partition] - from_end)
            client.seek(partition, first)
        yield from _until(client, ends)
    finally:
        client.close()


def _until(client: Any, ends: dict[TopicPartition, int]) -> Iterator[Entry]:
    while any(client.position(partition) < end for partition, end in ends.items()):
        try:
            found = polled(client, WAIT_MS)
        except CutWhileRead as error:
            if any(topic.startswith(LEDGERS) for topic in error.topics):
                raise
        else:
            yield from found


def polled(client: Any, wait_ms: int, limit: int | None = None) -> list[Entry]:
    """Return what a consumer gets within the wait, at most `limit` records; nothing where nothing came.

    CutWhileRead where the log begins later than a consumer reads that does not reset: it reads on from there when it is asked
    again, and so does one that is beyond the end of a log which was put back.
    """
    try:
        found = client.poll(timeout_ms=wait_ms, max_records=limit)
    except OffsetOutOfRangeError as error:
        begins = client.beginning_offsets(list(error.args[0]))
        for place, offset in begins.items():
            client.seek(place, offset)
        if cut := {place.topic for place, begin in begins.items() if begin > error.args[0][place]}:
            raise CutWhileRead(sorted(cut)) from error
        return []
    return [
        Entry(r.topic, r.partition, r.offset, r.timestamp, r.key or b"", r.value)
        for records in found.values()
        for r in records
    ]


def follow(kafka: str, topic: str) -> Iterator[Entry]:
    """Yield the topic's records from now on, for ever."""
    client = consumer(kafka)
    try:
        client.assign([TopicPartition(topic, p) for p in sorted(client.partitions_for_topic(topic) or ())])
        client.seek_to_end()
        while True:
            yield from polled(client, WAIT_MS)
    finally:
        client.close()
