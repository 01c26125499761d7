"""From the moment that a node's sync sends an event until a reader of committed records sees it at its hub.

Each node sends what is due as `tocsin node sync` does: with its producer, keys first, waiting for the broker's answer.
Everything is on one clock.
"""

import math
import threading
import time
from types import SimpleNamespace

from kafka import KafkaConsumer, TopicPartition

from pipeline.keyrings import region_keys
from pipeline.node import sync
from schemas.seal import mint
from tests import synthetic
from tests.bench import broker
from tests.bench.plan import NODES
from tests.bench.run import LEVELS, REGION, Failed, Session, assembled, workers
from tests.integration.whole.rig import send

WARM = 60.0  # seconds at the start that are not counted: the broker's machine code is not made before
PATTERNS = 200
LATEST = 30.0


class Sender(threading.Thread):
    """One node: sends its records when they are due, as its sync would, and keeps the moment for each event."""

    def __init__(self, kafka: str, node: str, records: list, keys: dict, begin: float) -> None:
        super().__init__(daemon=True)
        self.kafka, self.node, self.records, self.keys, self.begin = kafka, node, records, keys, begin
        self.sent: dict[bytes, float] = {}
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            producer = sync._producer(self.kafka, SimpleNamespace(code=self.node))
            self._all(sync._Broker(self.kafka, producer, None, (0, 0), None))
            producer.close(timeout=1)
        except BaseException as error:
            self.error = error

    def _all(self, door) -> None:
        at = 0
        while at < len(self.records):
            time.sleep(max(0.0, self.begin + self.records[at][0] - time.time()))
            now, first = time.time(), at
            while at < len(self.records) and self.begin + self.records[at][0] <= now:
                at += 1
            group = [(key, value) for _, key, value in self.records[first:at]]
            new = [(key, self.keys[key]) for key, _ in group if key in self.keys]
            for _, value in group:
                self.sent.setdefault(value[10:26], now)
            if new:
                door.send(f"keys.{self.node}", new)
            door.send(f"raw.{self.node}", group)


class Watcher(threading.Thread):
    """Reads every hub, committed records only, and keeps when each id was seen first."""

    def __init__(self, kafka: str) -> None:
        super().__init__(daemon=True)
        self.client = KafkaConsumer(
            bootstrap_servers=kafka, isolation_level="read_committed", enable_auto_commit=False, fetch_max_wait_ms=20
        )
        self.client.assign([TopicPartition(f"hub.{region}", 0) for region in broker.REGIONS])
        self.client.seek_to_beginning()
        self.seen: dict[tuple[str, bytes], float] = {}
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            for records in self.client.poll(timeout_ms=50).values():
                now = time.time()
                for record in records:
                    self.seen.setdefault((record.topic, record.key), now)
        self.client.close()


def measure(session: Session, seconds: float, rate: int, processes: int, seed: int = 1) -> dict:
    """Return the figures of one run at `rate` events a second of all nodes together."""
    kafka = session.ends.kafka
    (session.work / "loaded").unlink(missing_ok=True)
    broker.fresh(kafka, whole=True)
    generator = _generator(session, seed)
    records = list(generator.records(int((seconds + WARM) * rate), PATTERNS))
    data, stages = session.folder(), LEVELS["merge"]
    session.say(f"latency at {rate} events a second for {seconds:.0f} s, {processes} process(es) of each stage")
    with workers(data, stages, processes, "sealed", None, data / "gate") as started:
        assembled(started, data / "gate", {"refine": len(NODES), "merge": 4})
        (data / "gate" / "go").touch()
        watcher = Watcher(kafka)
        watcher.start()
        senders = _senders(kafka, records, generator, time.time() + 1.0, rate)
        _until_done(senders, started)
        wanted = _wanted(session, generator)
        until = time.monotonic() + LATEST
        while not wanted.keys() <= watcher.seen.keys() and time.monotonic() < until:
            time.sleep(0.1)
        watcher.over.set()
        watcher.join()
        codes = [worker.stop() for worker in started]
    return _figures(senders, watcher, wanted, seconds, rate, processes, codes)


def _generator(session: Session, seed: int) -> synthetic.Generator:
    public = region_keys(session.data, "public")[REGION]
    epochs = {node: synthetic.new_epoch(node, REGION, public) for node in NODES}
    send(session.ends.kafka, [record for _, record in epochs.values()])
    return synthetic.Generator(seed, list(NODES), {node: key for node, (key, _) in epochs.items()})


def _senders(kafka: str, records: list, generator: synthetic.Generator, begin: float, rate: int) -> list[Sender]:
    keys = {case: value for _, case, value in generator.keys}
    senders = []
    for node in NODES:
        own = [(k / rate, key, value) for k, (topic, key, value) in enumerate(records) if topic == f"raw.{node}"]
        senders.append(Sender(kafka, node, own, keys, begin))
    for sender in senders:
        sender.start()
    return senders


def _until_done(senders: list[Sender], started: list) -> None:
    while any(sender.is_alive() for sender in senders):
        for worker in started:
            for event in worker.news():
                if event["event"] in ("again", "stops"):
                    raise Failed(f"a worker gave up: {event.get('why')}")
        time.sleep(0.2)
    for sender in senders:
        if sender.error is not None:
            raise Failed(f"{sender.node} could not send: {sender.error}") from sender.error


def _wanted(session: Session, generator: synthetic.Generator) -> dict[tuple[str, bytes], bytes]:
    """Return what must be seen: hub and minted id, with the node's id."""
    secrets = region_keys(session.data, "mint")
    return {(f"hub.{region}", mint(secrets[region], event)): event for region, event in generator.truth.shared}


def _figures(senders, watcher, wanted, seconds, rate, processes, codes) -> dict:
    sent = {event: moment for sender in senders for event, moment in sender.sent.items()}
    begin = senders[0].begin + WARM
    counted = [(place, event) for place, event in wanted.items() if sent[event] >= begin]
    took = sorted(watcher.seen[place] - sent[event] for place, event in counted if place in watcher.seen)
    missing = sum(place not in watcher.seen for place in wanted)

    def share(part: float) -> float:
        return round(1000 * took[max(0, math.ceil(part * len(took)) - 1)], 1)

    return {
        "engine": "tocsin",
        "level": "latency",
        "form": "sealed",
        "processes": processes,
        "rate": rate,
        "seconds": seconds,
        "samples": len(took),
        "p50_ms": share(0.5),
        "p95_ms": share(0.95),
        "p99_ms": share(0.99),
        "max_ms": share(1.0),
        "missing": missing,
        "ok": not missing and not any(codes),
    }
