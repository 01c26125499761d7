"""Hand-written: confluent-kafka, fastavro, a set, transactions; several processes of it are one consumer group.

The set of a partition is built anew from the log when the partition is assigned, up to the committed offset.
"""

import os
import time

from common import KAFKA, RUN, TOPICS, area, broken, decode, mark
from confluent_kafka import Consumer, Producer, TopicPartition

COMMIT_SECONDS, BATCH = 1.0, 5_000


class Program:
    def __init__(self) -> None:
        self.seen: dict[str, set] = {}
        self.next: dict[str, int] = {}
        self.open, self.since = False, 0.0
        settings = {"bootstrap.servers": KAFKA, "enable.auto.commit": False, "isolation.level": "read_committed"}
        self.rebuilder = settings | {"group.id": f"{RUN}-again"}
        self.consumer = Consumer(
            settings
            | {"group.id": RUN, "auto.offset.reset": "earliest", "partition.assignment.strategy": "roundrobin"}
            | {"fetch.min.bytes": 100_000, "fetch.wait.max.ms": 50, "queued.min.messages": 200_000}
        )
        self.producer = Producer(
            {
                "bootstrap.servers": KAFKA,
                "transactional.id": f"{RUN}-{os.environ['BENCH_NUMBER']}",
                "linger.ms": 50,
                "batch.size": 1 << 20,
                "compression.type": "lz4",
                "queue.buffering.max.messages": 500_000,
            }
        )
        self.producer.init_transactions(30)
        self.consumer.subscribe(TOPICS, on_assign=self.assigned, on_revoke=self.revoked, on_lost=self.lost)

    def assigned(self, consumer, places) -> None:
        for place in consumer.committed([TopicPartition(p.topic, p.partition) for p in places], 10):
            held, end = set(), max(place.offset, 0)
            self.seen[place.topic], self.next[place.topic] = held, end
            if end:
                self.again(place, held, end)

    def again(self, place, held: set, end: int) -> None:
        reader, at = Consumer(self.rebuilder), 0
        reader.assign([TopicPartition(place.topic, place.partition, 0)])
        while at < end:
            for message in reader.consume(BATCH, 1.0):
                at = message.offset() + 1
                found = decode(message.value()) if at <= end else None
                if found:
                    held.add(found["event_id"])
        reader.close()

    def revoked(self, consumer, places) -> None:
        if self.open:
            self.commit()
        for place in places:
            del self.seen[place.topic], self.next[place.topic]

    def lost(self, consumer, places) -> None:
        if self.open:
            self.producer.abort_transaction(30)
            self.open = False
        for place in places:
            del self.seen[place.topic], self.next[place.topic]

    def commit(self) -> None:
        offsets = [TopicPartition(topic, 0, offset) for topic, offset in self.next.items()]
        self.producer.send_offsets_to_transaction(offsets, self.consumer.consumer_group_metadata(), 30)
        self.producer.commit_transaction(30)
        self.open = False

    def one(self, message) -> None:
        topic, value = message.topic(), message.value()
        if message.offset() < self.next[topic]:
            return
        self.next[topic] = message.offset() + 1
        found = decode(value)
        if found is None:
            self.producer.produce("quarantine", value, b"undecodable")
            return
        if found["event_id"] in self.seen[topic]:
            return
        self.seen[topic].add(found["event_id"])
        why = broken(found)
        if why:
            self.producer.produce("quarantine", value, why.encode())
        else:
            self.producer.produce("accepted", value, area(found))

    def run(self) -> None:
        while True:
            messages = self.consumer.consume(BATCH, 0.2)
            if messages:
                mark()
                if not self.open:
                    self.producer.begin_transaction()
                    self.open, self.since = True, time.time()
                for message in messages:
                    if message.error():
                        raise RuntimeError(message.error())
                    self.one(message)
                self.producer.poll(0)
            if self.open and time.time() - self.since >= COMMIT_SECONDS:
                self.commit()


Program().run()
