"""Readers of the log that go on from where they were, and whether something has gone past an offset."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError

from pipeline.log import Entry, consumer, polled
from schemas.errors import CutWhileRead, NotSetUp, Unreachable

WAIT_MS = 200

Place = tuple[str, int]


@contextmanager
def answering(kafka: str) -> Iterator[None]:
    """Make every error of Kafka one of ours."""
    try:
        yield
    except KafkaError as error:
        raise Unreachable(f"Kafka at {kafka} does not answer ({error}); the worker begins anew.") from error


class Tail:
    """A read-committed reader of whole topics, without a group; `back` begins that many offsets before each end.

    Where something is deleted before it was read, it goes on with what is there, and `cut` says so.
    """

    def __init__(self, kafka: str, *names: str, back: int | None = None) -> None:
        self._client, self.cut = consumer(kafka, reset="none"), False
        self._places = [place for name in names for place in _partitions(self._client, name)]
        self._client.assign(self._places)
        first = self._client.beginning_offsets(self._places)
        ends = self._client.end_offsets(self._places)
        self._first = {p: first[p] if back is None else max(first[p], ends[p] - back) for p in self._places}
        self.whole = self._first == first
        for place, offset in self._first.items():
            self._client.seek(place, offset)

    def some(self, limit: int, wait_ms: int = WAIT_MS) -> list[Entry]:
        """Return what comes next, at most `limit` records; nothing where nothing came within the wait."""
        try:
            return polled(self._client, wait_ms, limit)
        except CutWhileRead:
            self.cut = True
            return []

    def until(self, ends: dict[Place, int]) -> Iterator[Entry]:
        """Yield everything before these ends."""
        while not self.reached(ends):
            yield from self.some(5_000)

    def reached(self, ends: Mapping[Place, int]) -> bool:
        """Return whether everything before these ends was read."""
        return all(self._client.position(TopicPartition(*place)) >= end for place, end in ends.items())

    def ended(self) -> bool:
        """Return whether all that is committed by now was read."""
        return all(self._client.position(place) >= end for place, end in self._client.end_offsets(self._places).items())

    def close(self) -> None:
        """Let go of the broker."""
        self._client.close()


class Probe:
    """Asks the broker where partitions end, and whether records lie between two offsets."""

    def __init__(self, kafka: str) -> None:
        self._client = consumer(kafka, committed=True)
        self._raw = consumer(kafka, committed=False)

    def ends(self, names: Iterable[str]) -> dict[Place, int]:
        """Return the high watermark of every partition: all that is committed by now lies before it."""
        places = [place for name in names for place in _partitions(self._raw, name)]
        return {(place.topic, place.partition): end for place, end in self._raw.end_offsets(places).items()}

    def passed(self, place: Place, position: int, end: int) -> bool:
        """Return whether no record between `position` and `end` is, or may yet become, visible.

        Markers of transactions and what was aborted take offsets too, so a reader that has everything may stand
        before the end.
        """
        if position >= end:
            return True
        at = TopicPartition(*place)
        self._client.assign([at])
        self._client.seek(at, position)
        while self._client.position(at) < end:
            before = self._client.position(at)
            if found := polled(self._client, WAIT_MS, 1):
                return bool(found[0].offset >= end)
            if self._client.position(at) == before:
                return False  # a transaction is open there
        return True

    def close(self) -> None:
        """Let go of the broker."""
        self._client.close()
        self._raw.close()


def record_at(kafka: str, place: Place, offset: int) -> Entry | None:
    """Return the one record at an offset; None where the log does not have it any more."""
    client = consumer(kafka)
    at = TopicPartition(*place)
    try:
        client.assign([at])
        client.seek(at, max(offset, client.beginning_offsets([at])[at]))
        return next((entry for entry in polled(client, 10_000, 1) if entry.offset == offset), None)
    finally:
        client.close()


def _partitions(client: Any, name: str) -> list[TopicPartition]:
    found = client.partitions_for_topic(name)
    if not found:
        raise NotSetUp(f"Kafka has no topic {name}; run `tocsin up` to make it.")
    return [TopicPartition(name, number) for number in sorted(found)]
