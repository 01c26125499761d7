"""What a broker and an object store do to erase.

Of the broker, a topic is compacted at once, or what was read of it deleted; then its settings are put back.

Compaction leaves of each key the last record, and of a tombstone nothing; it passes over the segment that is written to.
Segments are a second long meanwhile, so that the next record closes one; whoever erases writes that record too.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kafka import KafkaProducer, TopicPartition
from kafka.admin import AlterConfigOp, ConfigResource, KafkaAdminClient
from kafka.errors import KafkaError

from infra.objects import ObjectsFailed
from infra.table import Topic
from schemas.errors import Unreachable

SECONDS, SEGMENT_SECONDS, ASK_SECONDS = 30, 1.2, 4.0
ROLLING = {"segment.ms": "1000", "file.delete.delay.ms": "1000"}
COMPACTING = ROLLING | {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.001",
    "min.compaction.lag.ms": "0",
    "max.compaction.lag.ms": "1000",
    "delete.retention.ms": "0",
}
GARBAGE, VACUUM_SECONDS, VACUUM_PAUSE = (
    1e-9,
    120.0,
    3.0,
)  # a volume of which more than this share was deleted is written anew
CLOSING = b"close"
"""The key of a tombstone that says nothing: it closes the segment before it."""


def vacuum(master: int) -> None:
    """Have every volume written anew without what was deleted; returns when that is done. ObjectsFailed where it is not."""
    import urllib3

    time.sleep(VACUUM_PAUSE)  # the store marks what was deleted a second later
    url = f"http://127.0.0.1:{master}/vol/vacuum?garbageThreshold={GARBAGE}"
    try:
        answer = urllib3.PoolManager(timeout=urllib3.Timeout(VACUUM_SECONDS), retries=False).request("GET", url)
    except urllib3.exceptions.HTTPError as error:
        raise ObjectsFailed(
            f"The object store does not write its volumes anew ({error}); see `tocsin status`."
        ) from error
    if answer.status != 200:
        raise ObjectsFailed(f"The object store does not write its volumes anew (status {answer.status}); see its log.")


class Erasing:
    """A broker's hand; to be closed. Unreachable where it does not answer, or refuses."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        with self._answering():
            self._admin: Any = KafkaAdminClient(bootstrap_servers=bootstrap, bootstrap_timeout_ms=SECONDS * 1000)

    def close(self) -> None:
        """Let go of the broker."""
        self._admin.close()

    @contextmanager
    def compacting(self, topic: Topic) -> Iterator[Callable[[list[bytes]], None]]:
        """Have a topic of one partition compacted at once, within; yields what writes a tombstone for each key, and one that closes."""
        with self._answering(), self._set(topic, COMPACTING):
            producer: Any = KafkaProducer(bootstrap_servers=self._bootstrap, enable_idempotence=True, acks="all")
            try:
                yield lambda keys: self._bury(producer, topic.name, keys)
            finally:
                producer.close()

    def purge(self, topic: Topic, group: str, done: Callable[[], bool]) -> str | None:
        """Delete what a group has read of a topic, and return when the broker has taken its bytes from the disk.

        A segment goes as a whole, and the one that is written to stays: a tombstone in each partition closes it, and the
        group has to have read that, too, and whoever reads after it must be `done`. Else nothing is deleted, and the
        sentence that is returned says why.
        """
        with self._answering(), self._set(topic, ROLLING):
            time.sleep(SEGMENT_SECONDS)
            closed = self._close_segments(topic, CLOSING, range(topic.partitions))
            if not _within(SECONDS, lambda: self._read(group, topic, closed)):
                return f"{group} does not read it: is that worker running?"
            if not _within(SECONDS, done):
                return "there is no receipt yet for all that was read of it: is `tocsin worker receipts` running?"
            smaller = self._smaller(topic, {part for part, end in closed.items() if end})
            self._admin.delete_records({TopicPartition(topic.name, part): end for part, end in closed.items()})
            if not _within(self._looks_every() + SECONDS, smaller):
                return "the broker has not deleted its segments yet: run this again"
            time.sleep(SEGMENT_SECONDS)  # the broker removes them a second later
            return None

    def write(self, topic: str, records: Iterable[tuple[int, bytes, bytes | None]]) -> None:
        """Write records, each as its partition, key and value, None for a tombstone; returns when the broker has them."""
        with self._answering():
            producer: Any = KafkaProducer(bootstrap_servers=self._bootstrap, enable_idempotence=True, acks="all")
            try:
                for sent in [producer.send(topic, value, key, partition=part) for part, key, value in records]:
                    sent.get(timeout=SECONDS)
            finally:
                producer.close()

    def cut(self, topic: Topic, key: bytes, ends: Callable[[Mapping[int, int]], Mapping[int, int]]) -> str | None:
        """Delete what lies before the offsets that `ends` gives, and return when the broker has taken its bytes from the disk.

        A tombstone with this key in each partition asks for them, and closes the segment before it; `ends` is told their
        offsets and gives one where it was answered. It is asked again for a while; where there is no answer, nothing is
        deleted, and the sentence that is returned says why.
        """
        with self._answering(), self._set(topic, ROLLING):
            time.sleep(SEGMENT_SECONDS)
            asked = self._close_segments(topic, key, range(topic.partitions))
            until, pause = time.monotonic() + SECONDS, ASK_SECONDS
            while not _within(pause, lambda: len(ends(asked)) == topic.partitions) and time.monotonic() < until:
                self._close_segments(topic, key, asked.keys() - ends(asked).keys())
                pause *= 2  # a lane with a large state takes a while
            found = dict(ends(asked))
            smaller = self._smaller(topic, {part for part in found if asked[part]})
            if found:
                self._admin.delete_records({TopicPartition(topic.name, part): end for part, end in found.items()})
            gone = _within(self._looks_every() + SECONDS, smaller)
        if len(found) < topic.partitions:
            return "a lane of it has not written its base: is `tocsin worker {stage}` running?"
        return None if gone else "the broker has not deleted its segments yet: run this again"

    def reached(self, group: str, topics: Iterable[str]) -> dict[str, int]:
        """Return how far a group has read topics of one partition each, 0 where it has read nothing."""
        places = [TopicPartition(topic, 0) for topic in topics]
        with self._answering():
            found = self._admin.list_group_offsets({group: places})[group]
        return {place.topic: max(int(one.offset), 0) for place, one in found.items()}

    def replicated(self, topics: Iterable[str]) -> list[str]:
        """Return the topics of which another broker has a copy: what lies there cannot be looked at."""
        with self._answering():
            found = self._admin.describe_topics(list(topics))
        return [one["name"] for one in found if any(len(part["replica_nodes"]) > 1 for part in one["partitions"])]

    def _bury(self, producer: Any, topic: str, keys: list[bytes]) -> None:
        for sent in [producer.send(topic, None, key, partition=0) for key in (*keys, CLOSING)]:
            sent.get(timeout=SECONDS)

    def _close_segments(self, topic: Topic, key: bytes, parts: Iterable[int]) -> dict[int, int]:
        """Write a tombstone with this key to each of these partitions; return their offsets."""
        producer: Any = KafkaProducer(bootstrap_servers=self._bootstrap, enable_idempotence=True, acks="all")
        try:
            sent = {part: producer.send(topic.name, None, key, partition=part) for part in parts}
            return {part: each.get(timeout=SECONDS).offset for part, each in sent.items()}
        finally:
            producer.close()

    def _read(self, group: str, topic: Topic, ends: Mapping[int, int]) -> bool:
        """Return whether a group has read a record of each partition, by its offset."""
        places = [TopicPartition(topic.name, part) for part in ends]
        found = self._admin.list_group_offsets({group: places})[group]
        return all(found[place].offset > ends[place.partition] for place in places)

    def _sizes(self, topic: Topic) -> dict[int, int]:
        """Return the bytes of each partition on the broker's disk."""
        folders = [one for broker in self._admin.describe_log_dirs() for one in broker["log_dirs"]]
        topics = [each for folder in folders for each in folder["topics"] if each["name"] == topic.name]
        return {part["partition_index"]: part["partition_size"] for each in topics for part in each["partitions"]}

    def _smaller(self, topic: Topic, parts: set[int]) -> Callable[[], bool]:
        """Return what says whether each of these partitions has lost segments: asked often, also while more is written."""
        last, waiting = self._sizes(topic), set(parts)

        def smaller() -> bool:
            now = self._sizes(topic)
            waiting.difference_update([part for part in waiting if now[part] < last[part]])
            last.update(now)
            return not waiting

        return smaller

    def _looks_every(self) -> float:
        """Return after how many seconds the broker looks again for segments to delete."""
        broker = str(self._admin.describe_cluster()["brokers"][0]["broker_id"])
        found = self._admin.describe_configs([ConfigResource("BROKER", broker)], config_filter="all")["broker"][broker]
        return int(found["log.retention.check.interval.ms"]["value"]) / 1000

    def put_back(self, topics: Iterable[Topic]) -> None:
        """Have the settings that are changed here be as the table states them, others as the broker has them.

        It mends what an eraser that was killed has left.
        """
        with self._answering():
            for topic in topics:
                self._put_back(topic)

    def _put_back(self, topic: Topic) -> None:
        asked = [ConfigResource("TOPIC", topic.name)]
        found = self._admin.describe_configs(asked, config_filter="modified")["topic"][topic.name]
        set_to = {name: found[name]["value"] for name in COMPACTING if name in found}
        stated = {name: topic.config[name] for name in COMPACTING if name in topic.config}
        changes: dict[str, tuple[Any, str | None]] = dict.fromkeys(
            set_to.keys() - stated.keys(), (AlterConfigOp.DELETE, None)
        )
        changes |= {name: (AlterConfigOp.SET, value) for name, value in stated.items() if set_to.get(name) != value}
        if changes:
            self._alter(topic.name, changes)

    @contextmanager
    def _set(self, topic: Topic, settings: Mapping[str, str]) -> Iterator[None]:
        """Change a topic's settings, within."""
        self._alter(topic.name, {name: (AlterConfigOp.SET, value) for name, value in settings.items()})
        try:
            yield
        finally:
            self._put_back(topic)

    def _alter(self, topic: str, changes: Mapping[str, tuple[Any, str | None]]) -> None:
        self._admin.alter_configs([ConfigResource("TOPIC", topic, dict(changes))])

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except (KafkaError, OSError, ValueError) as error:
            raise Unreachable(f"Kafka at {self._bootstrap} does not do it ({error}); see `tocsin status`.") from error


def _within(seconds: float, so: Callable[[], bool]) -> bool:
    """Wait until it is so, and return whether it is."""
    until = time.monotonic() + seconds
    while not so():
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True
