"""A whole tocsin of a test's own: Kafka, S3, keys, topics, workers to kill, tables to read."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import polars as pl
import psutil
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from kafka import KafkaProducer

from infra import launcher, table, topics
from pipeline.hub.casekeys import case_keys
from pipeline.keyrings import PrivateKeys, ensure_keys, region_keys
from pipeline.log import consumer, read
from pipeline.node import journal
from pipeline.node import node as nodes
from schemas import seal
from schemas.places import regions
from schemas.rows import read as read_row
from schemas.wire import unframe
from tests import synthetic

ROOT = Path(__file__).parents[3]
REGIONS = [region.code for region in regions()]
REGION = "great-lakes"
SOON, ERASING = 90, 240


class Whole:
    """One data folder with everything running; `nodes` are the test's own."""

    def __init__(self, data, nodes):
        self.data, self.nodes, self.workers, self.threads = data, nodes, [], []
        self.endpoints = launcher.up(data)
        self.kafka = self.endpoints.kafka
        topics.ensure(self.kafka, table.expand(nodes, REGIONS))
        ensure_keys(data)
        self.secrets = region_keys(data, "mint")

    def down(self):
        for thread in self.threads:
            thread.over.set()
        for worker in self.workers:
            worker.kill()
        for thread in self.threads:
            thread.join()
        launcher.down(self.data)

    def worker(self, stage, name, *options):
        worker = Worker(self.data, stage, name, options)
        self.workers.append(worker)
        return worker

    def create_reporters(self):
        """Make each node, as a person would; they are in `reporters` by their codes."""
        public = region_keys(self.data, "public")[REGION]
        folders = {code: self.data / "nodes" / code for code in self.nodes}
        self.reporters = {code: nodes.create(folder, code, REGION, public) for code, folder in folders.items()}

    def generator(self, seed):
        """Return a generator whose nodes' epoch keys are published already."""
        public = region_keys(self.data, "public")[REGION]
        epochs = {node: synthetic.new_epoch(node, REGION, public) for node in self.nodes}
        send(self.kafka, [record for _, record in epochs.values()])
        return synthetic.Generator(seed, self.nodes, {node: key for node, (key, _) in epochs.items()})

    def files(self, path):
        """Return the paths of the data files of a table as it is now."""
        return [
            Path(uri)
            for uri in DeltaTable(f"s3://{self.endpoints.bucket}/{path}", storage_options=self.options()).file_uris()
        ]

    def table(self, path):
        """Return a table's rows, of a newer version where the sink has exchanged a file while it was read."""
        for _ in range(3):
            with suppress(FileNotFoundError):
                return self.scanned(path)
        return self.scanned(path)

    def scanned(self, path):
        return pl.scan_delta(f"s3://{self.endpoints.bucket}/{path}", storage_options=self.options()).collect()

    def options(self):
        e = self.endpoints
        return {
            "AWS_ENDPOINT_URL": f"http://{e.s3}",
            "AWS_ACCESS_KEY_ID": e.access_key,
            "AWS_SECRET_ACCESS_KEY": e.secret_key,
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }

    def values(self, *names, committed=True):
        return [entry.value for entry in read(self.kafka, *names, committed=committed)]


class Worker:
    """`tocsin worker` as a process: a supervisor and the worker that it keeps running."""

    def __init__(self, data, stage, name, options):
        self.data, self.stage, self.name, self.options = data, stage, name, options
        self.log = data / f"{stage}-{name}.jsonl"
        self.start()

    def start(self):
        command = [sys.executable, "-m", "pipeline.cli", "worker", self.stage, "--name", self.name, "--json"]
        environment = os.environ | {"TOCSIN_DATA": str(self.data)}
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*command, *self.options], cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
            )

    def family(self):
        return psutil.Process(self.process.pid).children(recursive=True)

    def kill_child(self):
        """kill -9 the worker itself; its supervisor starts it again. True where there was one to kill."""
        children = self.family()
        for child in children:
            os.kill(child.pid, signal.SIGKILL)
        return bool(children)

    def kill(self):
        """kill -9 the supervisor; its worker dies with it."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def wait(self, seconds):
        code = self.process.wait(timeout=seconds)
        assert code == 0, self.log.read_text()[-3000:]

    def committed(self):
        """Return the number of batches committed so far."""
        return self.log.read_bytes().count(b'"event": "batch"')

    def events(self, name):
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{") and line.endswith("}")]
        return [event for event in map(json.loads, lines) if event["event"] == name]


def tocsin(run, *arguments, code=0):
    """Run a command over a run's data folder; return what it prints, to standard error where it is to fail.

    `code` None is any exit status.
    """
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *arguments],
        cwd=ROOT,
        env=os.environ | {"TOCSIN_DATA": str(run.data), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert code in (None, done.returncode), done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


def told(run, *arguments):
    return json.loads(tocsin(run, *arguments, "--json").strip().split("\n")[-1])


def forgets(run, *arguments):
    """Return what `tocsin forget` says, by default of its status, with its exit status."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "forget", *(arguments or ("status",)), "--json"],
        cwd=ROOT,
        env=os.environ | {"TOCSIN_DATA": str(run.data)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout) | {"code": done.returncode}


def openable(run, node):
    """Return the cases of a node that whoever has the regions' keys can open, by what `keys.<node>` holds now."""
    held = case_keys(read(run.kafka, f"keys.{node}", committed=False), PrivateKeys(run.data))
    return {ref.tobytes() for ref, epoch in zip(held.refs, held.epochs, strict=True) if epoch >= 0}


def done_and_sent(run, node, *arguments):
    """Run a command of a node and send what it recorded; return what it says."""
    done = told(run, "node", *map(str, arguments), "--node", node)
    tocsin(run, "node", "sync", "--node", node)
    return done


def envelope(run, node, number):
    """Return the event of a node with this number, as it was recorded."""
    return next(
        entry.envelope for entry in journal.Reader(run.reporters[node].journal).read() if entry.sequence == number
    )


def event_id(run, node, number):
    """Return the id of the event of a node with this number."""
    return read_row(*unframe(envelope(run, node, number)))["event_id"]


def rows(run, name, region=REGION):
    return run.table(f"hub/{region}/{name}")


def rows_of(run, event_id, name, region=REGION):
    """Return the rows of a table about the incident that an event reported."""
    minted = seal.mint(run.secrets[region], event_id).hex()
    return [row for row in rows(run, name, region).to_dicts() if row["incident_id"] == minted]


def until(found, seconds=SOON):
    """Wait until it is so; a table that is not there yet is not so."""
    began = time.monotonic()
    while not _so(found):
        assert time.monotonic() - began < seconds, "nothing came of it"
        time.sleep(0.3)


def _so(found):
    try:
        return found()
    except (TableNotFoundError, OSError):
        return False


def send(kafka, records):
    """Send (topic, key, value) in order."""
    producer = KafkaProducer(bootstrap_servers=kafka, linger_ms=20, batch_size=200_000)
    for topic, key, value in records:
        producer.send(topic, value=value, key=key, partition=0)
    producer.flush()
    producer.close()


class Feed(threading.Thread):
    """Sends what a generator makes at a bounded rate: keys before the events that need them."""

    def __init__(self, kafka, generator, events, patterns, rate):
        super().__init__(daemon=True)
        self.kafka, self.generator, self.events, self.patterns, self.rate = kafka, generator, events, patterns, rate
        self.error, self.over = None, threading.Event()
        self.start()

    def run(self):
        try:
            self._run()
        except BaseException as error:
            self.error = error
            raise

    def _run(self):
        producer = KafkaProducer(bootstrap_servers=self.kafka, linger_ms=20, batch_size=200_000)
        group, began, sent = [], time.monotonic(), 0
        for record in self.generator.records(self.events, self.patterns):
            group.append(record)
            if self.over.is_set():
                break
            if len(group) == 500:
                sent += self._send(producer, group)
                time.sleep(max(0.0, sent / self.rate - (time.monotonic() - began)))
        self._send(producer, group)
        producer.close()

    def _send(self, producer, group):
        for keys_first in (self.generator.keys, group):
            for topic, key, value in keys_first:
                producer.send(topic, value=value, key=key, partition=0)
            producer.flush()
        count = len(group)
        group.clear()
        self.generator.keys.clear()
        return count


class Reader(threading.Thread):
    """A read-committed reader that looks on while the faults happen; it keeps place and digest of what it sees."""

    def __init__(self, kafka, names):
        super().__init__(daemon=True)
        self.client = consumer(kafka)
        self.places = [place for name in names for place in sorted(partitions(self.client, name))]
        self.client.assign(self.places)
        self.client.seek_to_beginning()
        self.seen, self.over = [], threading.Event()
        self.start()

    def run(self):
        quiet = 0
        try:
            while quiet < 5 or not self.over.is_set():
                records = [record for batch in self.client.poll(200).values() for record in batch]
                quiet = 0 if records else quiet + 1
                self.seen += [(record.topic, record.partition, record.offset, hash(record.value)) for record in records]
        finally:
            self.client.close()

    def finish(self):
        self.over.set()
        self.join()
        return self.seen


def partitions(client, name):
    from kafka import TopicPartition

    return [TopicPartition(name, number) for number in client.partitions_for_topic(name)]


def kill_at_random(workers, kills, seed, feed):
    """kill -9 a random worker that has committed since it was started, 0 to 2 s later; every third time its supervisor too.

    A kill before a worker's first commit would test nothing.
    """
    rng = random.Random(seed)
    before = dict.fromkeys(workers, 0)
    idle = time.monotonic()
    done = 0
    while done < kills:
        assert feed.error is None
        assert time.monotonic() - idle < 180, f"only {done} kills found a worker at work"
        busy = [worker for worker in workers if worker.committed() > before[worker]]
        if not busy:
            time.sleep(0.05)
            continue
        worker = rng.choice(busy)
        time.sleep(rng.uniform(0.0, 2.0))
        if rng.random() < 1 / 3:
            worker.kill()
            worker.start()
        else:
            worker.kill_child()
        before[worker] = worker.committed()
        idle = time.monotonic()
        done += 1
