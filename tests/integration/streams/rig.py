"""What the stream tests share: topics of a test's own, a steady source, workers to kill, and the judge."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from schemas import rows
from schemas.wire import unframe
from streams import ledger

ROOT = Path(__file__).parents[3]
TOY = Path(__file__).with_name("toy.py")
LANES = 4


class Worker:
    """A toy worker as a process, its lines in a file."""

    def __init__(self, rig, name, **options):
        self.name, self.log = name, rig.data / f"{name}-{time.monotonic_ns()}.jsonl"
        self.read, self.lines = 0, []
        flags = [part for key, value in options.items() for part in (f"--{key}", str(value))]
        command = [sys.executable, str(TOY), rig.kafka, str(rig.data), rig.stage, name, *flags]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)

    def events(self, kind=None):
        """Return the lines so far; only what is new is read, a line that is not whole yet is left."""
        with self.log.open("rb") as file:
            file.seek(self.read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self.read += len(whole)
        self.lines += [json.loads(line) for line in whole.splitlines() if line.startswith(b"{")]
        return [line for line in self.lines if kind in (None, line["event"])]

    def wait_for(self, kind, count=1, seconds=40):
        until = time.monotonic() + seconds
        while len(self.events(kind)) < count:
            assert time.monotonic() < until, f"{self.name}: no {kind} in {seconds} s: {self.log.read_text()[-2000:]}"
            assert self.process.poll() is None, f"{self.name} ended: {self.log.read_text()[-2000:]}"
            time.sleep(0.02)

    def signal(self, number):
        os.kill(self.process.pid, number)

    def stops(self, seconds=40):
        """Return the exit code and the last sentence."""
        code = self.process.wait(timeout=seconds)
        return code, (self.events("stops") or self.events("again") or [{"why": ""}])[-1]["why"]

    def kill(self):
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
        self.process.wait()


class Reader(threading.Thread):
    """A read-committed reader that looks on while the faults happen."""

    def __init__(self, rig, topic):
        super().__init__(daemon=True)
        self.rig, self.topic, self.seen, self.over = rig, topic, [], threading.Event()
        rig.threads.append(self)
        self.start()

    def run(self):
        consumer = self.rig.consumer(self.topic)
        while not self.over.is_set():
            for records in consumer.poll(200).values():
                self.seen += [record.value for record in records]
        consumer.close()

    def finish(self, count, seconds=60):
        until = time.monotonic() + seconds
        while len(self.seen) < count and time.monotonic() < until:
            time.sleep(0.1)
        self.over.set()
        self.join()
        return self.seen


class Source(threading.Thread):
    """Sends numbered records at a steady rate until told to stop."""

    def __init__(self, rig, rate):
        super().__init__(daemon=True)
        self.rig, self.rate, self.sent, self.over = rig, rate, 0, threading.Event()
        rig.threads.append(self)
        self.start()

    def run(self):
        producer = KafkaProducer(bootstrap_servers=self.rig.kafka, linger_ms=5)
        began = time.monotonic()
        try:
            while not self.over.is_set():
                while self.sent < (time.monotonic() - began) * self.rate:
                    producer.send(self.rig.source, b"%09d" % self.sent, partition=self.sent % LANES)
                    self.sent += 1
                time.sleep(0.02)
            producer.flush()
        finally:
            producer.close()

    def finish(self):
        self.over.set()
        self.join()
        return self.sent


class Rig:
    """One stage of a test's own: its topics, its group, its data folder."""

    def __init__(self, kafka, data, stage):
        self.kafka, self.data, self.stage = kafka, data, stage
        self.workers, self.threads = [], []
        self.source, self.copied = f"{stage}.source", f"{stage}.copied"
        self.refused, self.ledger = f"{stage}.refused", f"ledger.{stage}"
        admin = KafkaAdminClient(bootstrap_servers=kafka)
        sizes = {self.source: LANES, self.copied: 2, self.refused: 2, self.ledger: 4}
        admin.create_topics([NewTopic(name=n, num_partitions=p, replication_factor=1) for n, p in sizes.items()])
        admin.close()

    def consumer(self, topic, level="read_committed"):
        consumer = KafkaConsumer(
            bootstrap_servers=self.kafka,
            isolation_level=level,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            reconnect_backoff_max_ms=1_000,
        )
        consumer.assign([TopicPartition(topic, p) for p in sorted(consumer.partitions_for_topic(topic))])
        consumer.seek_to_beginning()
        return consumer

    def produce(self, count, first=0, size=0):
        producer = KafkaProducer(bootstrap_servers=self.kafka, linger_ms=20, batch_size=200_000)
        for i in range(first, first + count):
            producer.send(self.source, b"%09d" % i + b"." * size, key=b"k%d" % (i % 7), partition=i % LANES)
        producer.flush()
        producer.close()

    def worker(self, name, **options):
        worker = Worker(self, name, **options)
        self.workers.append(worker)
        return worker

    def ask(self):
        """Ask every lane for a base."""
        producer = KafkaProducer(bootstrap_servers=self.kafka)
        for partition in range(4):
            producer.send(self.ledger, key=ledger.ASK, partition=partition)
        producer.flush()
        producer.close()

    def read(self, topic, level="read_committed"):
        """Return the records of a topic up to where it ends now."""
        consumer = self.consumer(topic, level)
        parts = list(consumer.assignment())
        ends, found = consumer.end_offsets(parts), []
        while any(consumer.position(part) < ends[part] for part in parts):
            for records in consumer.poll(500).values():
                found += records
        consumer.close()
        return found

    def ledger_of(self):
        """Return the committed ranges of each lane in ledger order; the first base that is there counts as the range from 0 on."""
        lanes = {}
        for record in self.read(self.ledger):
            if record.value is None:
                continue
            release, body = unframe(record.value)
            value = rows.read(release, body)
            ranges = lanes.setdefault(value["lane"], [])
            if "parts" in value and not any(start == 0 for start, *_ in ranges):
                ranges[:] = [(0, value["end"], value["counts"])] if value["part"] + 1 == value["parts"] else []
            elif "parts" in value:
                assert value["end"] == ranges[-1][1]
            else:
                ranges.append((value["start"], value["end"], value["counts"]))
        return lanes

    def committed(self):
        admin = KafkaAdminClient(bootstrap_servers=self.kafka)
        group = f"tocsin.{self.stage}"
        offsets = admin.list_group_offsets(group)
        admin.close()
        found = offsets.get(group, offsets)
        return {f"{part.topic}-{part.partition}": meta.offset for part, meta in found.items()}

    def wait_until_copied(self, count, seconds=60):
        """Wait until the ledger says that so many records are done."""
        until = time.monotonic() + seconds
        while True:
            done = sum(sum(counts.values()) for ranges in self.ledger_of().values() for _, _, counts in ranges)
            if done >= count:
                return
            assert time.monotonic() < until, f"{done} of {count} after {seconds} s; {self.last_words()}"
            time.sleep(0.3)

    def last_words(self):
        """Return the last lines of each worker that are not about a batch."""
        told = {w.name: [event for event in w.events() if event["event"] != "batch"][-4:] for w in self.workers}
        return f"workers: {told}, ended: {[w.name for w in self.workers if w.process.poll() is not None]}"

    def judge(self, count, seen=None):
        """Each record once in the copy, for a reader now and one during the faults; ranges abut; offsets agree."""
        expected = Counter(b"%09d" % i for i in range(count))
        copied = Counter(record.value[:9] for record in self.read(self.copied))
        assert copied == expected, difference(copied, expected)
        if seen is not None:
            during = Counter(value[:9] for value in seen)
            assert during == expected, difference(during, expected)
        committed = self.committed()
        for lane, ranges in self.ledger_of().items():
            following = 0
            for start, end, _ in ranges:
                assert start == following, (lane, start, following)
                following = end
            assert committed[lane] == following, (lane, committed[lane], following)

    def clear(self):
        for worker in self.workers:
            worker.kill()
        for thread in self.threads:
            thread.over.set()
            thread.join()


def difference(found, expected):
    doubled = {key: count for key, count in found.items() if count > 1}
    return f"lost {len(expected - found)}, foreign or doubled {len(found - expected)}: {list(doubled.items())[:5]}"


def kill_at_random(rig, kills, seed, seconds, **options):
    """Run two workers, kill either at a random moment and start it again; return how many had committed a batch."""
    dice, workers, useful = random.Random(seed), {}, 0
    due = {}
    until = time.monotonic() + seconds
    done = 0
    while done < kills:
        assert time.monotonic() < until, f"{done} kills in {seconds} s"
        for name in ("a", "b"):
            if name not in workers:
                workers[name] = rig.worker(name, **options)
                patient = dice.random() < 0.8
                due[name] = ("ready", dice.uniform(0, 1.2)) if patient else ("start", dice.uniform(0, 3))
            worker = workers[name]
            kind, wait = due[name]
            happened = worker.events(kind)
            if happened and time.time() - happened[0]["t"] >= wait:
                worker.kill()
                useful += bool(worker.events("batch"))
                del workers[name]
                done += 1
            elif worker.process.poll() is not None:
                assert worker.process.returncode in (75, 69), worker.log.read_text()[-2000:]
                del workers[name]
        time.sleep(0.03)
    for worker in workers.values():
        worker.kill()
    return useful
