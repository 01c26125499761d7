"""One world of a chaos run: a real Kafka and S3, workers through the tests' own entry, a load, an onlooker.

tests/chaos/base.py says what a scenario may use of it.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from contextlib import suppress
from pathlib import Path

import psutil
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from infra import launcher, table, topics
from infra.cluster import Cluster
from pipeline.keyrings import ensure_keys, region_keys
from schemas.places import regions
from tests import synthetic
from tests.chaos.load import Load, digest
from tests.chaos.nursery import Nursery
from tests.chaos.worker import plan_of, write_plan

ROOT = Path(__file__).parents[2]
REGIONS = [region.code for region in regions()]
HOME = "great-lakes"
STAGES = ("refine", "merge", "sink")
TUNED = "tests.chaos.worker:tuned"


class Worker:
    """See tests/chaos/base.py."""

    def __init__(self, world, stage, name, batch_records=500, until_idle=0.0):
        self.world, self.stage, self.name = world, stage, name
        self.patches, self.environment, self.queue = [], {}, []
        self.settings = (str(batch_records), str(until_idle))
        self.log = world.data / f"{stage}-{name}.jsonl"
        self.process = None
        self._read, self._lines, self._partial = 0, [], b""
        self._life, self._alive = None, False  # pid of the last life that spoke, whether it has committed
        self._lock = threading.Lock()

    def plan(self, queue=()):
        """Write down what each life is to be patched with, and what the next lives are, one after another."""
        patches = [*self.world.patches, *self.patches]
        write_plan(plan_of(self.world.data, self.stage, self.name), {"patches": patches, "queue": list(queue)})

    def queued(self):
        return len(json.loads(plan_of(self.world.data, self.stage, self.name).read_text())["queue"])

    def start(self, queue=()):
        self.plan(queue)
        arguments = [self.stage, str(self.world.data), self.name, *self.settings]
        if not self.environment:
            self.process = self.world.nursery.begin(arguments, self.log)
            return
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.worker", *arguments],
                cwd=ROOT,
                env=os.environ | self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def runs(self):
        return self.process is not None and self.process.poll() is None

    def pid(self):
        if not self.runs():
            return None
        try:
            children = psutil.Process(self.process.pid).children()
        except psutil.NoSuchProcess:
            return None
        return children[0].pid if children else None

    def signal(self, number):
        pid = self.pid()
        if pid is None:
            return False
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True

    def kill_child(self):
        return self.signal(signal.SIGKILL)

    def kill(self):
        if self.runs():
            self.process.kill()
        if self.process is not None:
            self.process.wait()

    def ask(self):
        if self.runs():
            self.process.terminate()

    def stop(self, seconds=60):
        self.ask()
        try:
            return self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def lines(self):
        """Return all events so far; what other programs wrote into the log is no event."""
        with self._lock:
            if self.log.exists():
                with self.log.open("rb") as file:
                    file.seek(self._read)
                    data = file.read()
                self._read += len(data)
                *whole, self._partial = (self._partial + data).split(b"\n")
                for line in (json.loads(one) for one in whole if one.startswith(b"{") and one.endswith(b"}")):
                    self._lines.append(line)
                    if line["event"] == "born":
                        self._life, self._alive = line["pid"], False
                    self._alive |= line["event"] == "batch"
            return self._lines

    def commits(self):
        """Return whether the present life has committed."""
        self.lines()
        return self._alive and self._life == self.pid()

    def events(self, name):
        return [line for line in self.lines() if line["event"] == name]

    def committed(self):
        return len(self.events("batch"))


class Feed(threading.Thread):
    """Sends the load at a bounded rate, keys before the events that need them, each group until it is acknowledged.

    A group that was not acknowledged is sent again whole: the broker may have it twice then, or not at all.
    """

    def __init__(self, world, load, rate):
        super().__init__(daemon=True)
        self.world, self.load, self.rate = world, load, rate
        self.over, self.paused, self.idle = threading.Event(), threading.Event(), threading.Event()
        self.error, self.sent, self.again = None, 0, 0
        self.start()

    def run(self):
        try:
            self._run()
        except BaseException as error:
            self.error = error
            raise

    def _run(self):
        records, since, sent = self.load.records(), time.monotonic(), 0
        producer = None
        while not self.over.is_set():
            if self.paused.is_set():
                self.idle.set()
                time.sleep(0.05)
                since, sent = time.monotonic(), 0
                continue
            self.idle.clear()
            group = [next(records) for _ in range(100)]
            keys, self.load.keys = self.load.keys, []
            producer = self._acknowledged(producer, keys)
            producer = self._acknowledged(producer, group)
            sent += len(group)
            self.sent += len(group)
            time.sleep(max(0.0, sent / self.rate - (time.monotonic() - since)))
        if producer is not None:
            producer.close()

    def _acknowledged(self, producer, group):
        while True:
            try:
                producer = producer or self._producer()
                self._send(producer, group)
            except Exception:
                self.again += 1
                if producer is not None:
                    with suppress(Exception):  # it flushes what cannot be sent
                        producer.close(timeout=0)
                producer = None
                if self.over.is_set():
                    raise
                time.sleep(0.5)
            else:
                return producer

    def _send(self, producer, group):
        futures = [producer.send(topic, value=value, key=key, partition=0) for topic, key, value in group]
        producer.flush(timeout=20)
        for future in futures:
            future.get(timeout=20)

    def _producer(self):
        return KafkaProducer(
            bootstrap_servers=self.world.kafka,
            linger_ms=5,
            batch_size=100_000,
            acks="all",
            max_in_flight_requests_per_connection=1,
            reconnect_backoff_max_ms=1_000,
            request_timeout_ms=15_000,
            delivery_timeout_ms=18_000,
        )

    def rest(self):
        """Pause and wait until nothing is on its way."""
        self.idle.clear()
        self.paused.set()
        until = time.monotonic() + 120
        while not self.idle.wait(0.2):
            assert self.error is None, self.error
            assert time.monotonic() < until, "the feed does not come to rest"


class Onlooker(threading.Thread):
    """Reads committed records while the faults happen and keeps the place and the digest of each."""

    def __init__(self, world, names):
        super().__init__(daemon=True)
        self.world, self.names, self.seen = world, names, []
        self.over, self.error = threading.Event(), None
        self.positions = {}
        self.start()

    def run(self):
        quiet = 0
        while quiet < 6 or not self.over.is_set():
            try:
                for found in self._polled():
                    quiet = 0 if found else quiet + 1
                    if quiet >= 6 and self.over.is_set():
                        break
            except Exception as error:
                self.error = error
                time.sleep(0.5)

    def _polled(self):
        client = KafkaConsumer(
            bootstrap_servers=self.world.kafka,
            isolation_level="read_committed",
            enable_auto_commit=False,
            max_poll_records=5_000,
            reconnect_backoff_max_ms=1_000,
        )
        try:
            places = [TopicPartition(n, p) for n in self.names for p in sorted(client.partitions_for_topic(n) or ())]
            if len({place.topic for place in places}) < len(self.names):
                raise ConnectionError("not every topic is known yet")
            client.assign(places)
            for place in places:
                client.seek(place, self.positions.get(place, 0))
            while True:
                found = [record for records in client.poll(500).values() for record in records]
                for r in found:
                    self.seen.append((r.topic, r.partition, r.offset, digest(r.value or b"")))
                    self.positions[TopicPartition(r.topic, r.partition)] = r.offset + 1
                yield len(found)
        finally:
            client.close()

    def finish(self):
        self.over.set()
        self.join(timeout=120)
        assert not self.is_alive(), f"the onlooker does not come to an end: {self.error}"
        return self.seen


class Sampler(threading.Thread):
    """Notes memory and open descriptors of each worker's life, every second."""

    def __init__(self, world):
        super().__init__(daemon=True)
        self.world, self.rows, self.over = world, [], threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(1.0):
            for worker in list(self.world.workers):
                pid = worker.pid()
                if pid is None:
                    continue
                try:
                    process = psutil.Process(pid)
                    row = (f"{worker.stage}-{worker.name}", pid, time.time(), process.memory_info().rss)
                    self.rows.append((*row, process.num_fds()))
                except (psutil.NoSuchProcess, psutil.AccessDenied):
                    continue


class World:
    """See tests/chaos/base.py."""

    def __init__(self, data, seed, nodes=("SYN-1", "SYN-2", "SYN-3"), rate=500.0, patches=()):
        self.data, self.seed, self.nodes, self.rate = Path(data), seed, list(nodes), rate
        self.patches, self.workers = [*patches], []
        self.last_fault, self.seen_during, self.began = 0.0, 0, time.monotonic()
        self._marks = defaultdict(int)
        self.feed = self.onlooker = self.sampler = None
        self.nursery = Nursery()
        endpoints = launcher.up(self.data)
        self.kafka, self.s3 = endpoints.kafka, endpoints.s3
        ensure_keys(self.data)
        topics.ensure(self.kafka, table.expand(self.nodes, REGIONS))

    def begin(self):
        """Start load, onlooker and sampler."""
        public = region_keys(self.data, "public")[HOME]
        epochs = {node: synthetic.new_epoch(node, HOME, public) for node in self.nodes}
        secrets = region_keys(self.data, "mint")
        self.load = Load(self.seed, self.nodes, {node: key for node, (key, _) in epochs.items()}, secrets=secrets)
        self.load.keys += [record for _, record in epochs.values()]
        self.onlooker = Onlooker(self, ["accepted", *(f"hub.{region}" for region in REGIONS)])
        self.sampler = Sampler(self)
        self.feed = Feed(self, self.load, self.rate)

    def worker(self, stage, name, queue=(), **options):
        worker = Worker(self, stage, name, **options)
        self.workers.append(worker)
        worker.start(queue)
        return worker

    def of(self, stage):
        return [worker for worker in self.workers if worker.stage == stage]

    def at_work(self):
        return [w for w in self.workers if w.runs() and w.committed() > self._marks[w] and w.commits()]

    def hit(self, worker):
        self._marks[worker] = worker.committed()
        self.fault()

    def fault(self):
        """Note that a fault happened now."""
        self.last_fault = time.time()
        self.seen_during = len(self.onlooker.seen)

    def next_at_work(self, dice, stage=None, seconds=120.0):
        until = time.monotonic() + seconds
        while True:
            assert self.feed.error is None, self.feed.error
            busy = [worker for worker in self.at_work() if stage in (None, worker.stage)]
            if busy:
                return dice.choice(busy)
            assert time.monotonic() < until, f"no {stage or 'worker'} was at work for {seconds:.0f} s"
            time.sleep(0.05)

    def progress(self, seconds=60.0):
        before = {stage: sum(w.committed() for w in self.of(stage)) for stage in STAGES}
        since = time.monotonic()
        while any(sum(w.committed() for w in self.of(stage)) <= before[stage] for stage in STAGES if self.of(stage)):
            now = {stage: sum(w.committed() for w in self.of(stage)) for stage in STAGES}
            assert self.feed.error is None, self.feed.error
            assert time.monotonic() - since < seconds, f"no progress in {seconds:.0f} s: {before} then, {now} now"
            time.sleep(0.1)
        return time.monotonic() - since

    def kill_broker(self):
        process = Cluster(self.data.resolve()).process("kafka")
        assert process.alive(), "the broker did not run"
        os.kill(process.pid, signal.SIGKILL)
        while process.alive():
            time.sleep(0.02)
        self.fault()

    def start_broker(self):
        launcher.up(self.data)

    def burst(self, count):
        """Make and send so many records while the feed rests; return them."""
        made, records = [], self.load.records()
        while len(made) < count:
            made.append(next(records))
        keys, self.load.keys = self.load.keys, []
        self.resend(keys)
        self.resend(made)
        return made

    def resend(self, records):
        """Send records in their order; each is acknowledged when this returns."""
        producer = self.feed._acknowledged(None, records)
        producer.close()

    def quiet(self, seconds=120.0):
        """Wait until refine has taken all that was sent."""
        until = time.monotonic() + seconds
        while behind := self._behind():
            assert time.monotonic() < until, f"refine stays behind: {behind}"
            time.sleep(0.2)

    def _behind(self):
        admin = KafkaAdminClient(bootstrap_servers=self.kafka)
        client = KafkaConsumer(bootstrap_servers=self.kafka)
        try:
            found = admin.list_group_offsets("tocsin.refine")
            found = found.get("tocsin.refine", found)
            places = [TopicPartition(f"raw.{node}", 0) for node in self.nodes]
            ends = client.end_offsets(places)
            taken = {place: meta.offset for place, meta in found.items()}
            return {
                place.topic: (taken.get(place, 0), ends[place]) for place in places if taken.get(place, 0) < ends[place]
            }
        finally:
            client.close()
            admin.close()

    def recoveries(self):
        """Return what the workers said of how they recovered: `event` and `event:error`, with counts."""
        found = Counter()
        for worker in self.workers:
            for line in worker.lines():
                found[line["event"]] += 1
                if "error" in line:
                    found[f"{line['event']}:{line['error']}"] += 1
                if "code" in line:
                    found[f"{line['event']}:{line['code']}"] += 1
        return found

    def drain(self, seconds=240.0):
        """End the load, then let one fresh worker of each stage in turn read to the end."""
        self.feed.rest()
        self.feed.over.set()
        self.feed.join(timeout=60)
        assert self.feed.error is None, self.feed.error
        for worker in self.workers:
            worker.ask()
        for worker in self.workers:
            worker.stop()
        for stage in (*STAGES, "receipts"):
            last = self.worker(stage, "last", until_idle=3.0, batch_records=5_000)
            code = last.process.wait(timeout=seconds)
            assert code == 0, f"the last {stage} ended with {code}: {last.log.read_text()[-2000:]}"
        self.onlooker.finish()
        self.sampler.over.set()

    def down(self):
        """End everything; harmless when repeated."""
        if self.feed is not None:
            self.feed.over.set()
        for worker in self.workers:
            if worker.process is not None:
                worker.signal(signal.SIGCONT)
                worker.kill()
        if self.onlooker is not None:
            self.onlooker.over.set()
            self.sampler.over.set()
        self.nursery.close()
        launcher.down(self.data)


def pick(dice: random.Random, low: float, high: float) -> None:
    """Wait a moment by the dice."""
    time.sleep(dice.uniform(low, high))
