"""Faults of the world around the pipeline: the network, the object store, the disks, the clocks."""

import itertools
import time
from collections import Counter
from contextlib import ExitStack
from typing import ClassVar

import pytest

from infra import launcher
from infra.cluster import Cluster
from schemas.errors import Stops
from tests.chaos.base import Fired, Scenario
from tests.chaos.world.clocks import DAY, HOUR, Clock
from tests.chaos.world.disks import Disk
from tests.chaos.world.network import KINDS, WAYS, Fault, Proxy
from tests.chaos.world.objects import PLACES, Store, Storm
from tests.chaos.world.reach import OwnNode, ways_of

LINKS = ("worker-kafka", "sink-kafka", "sink-s3", "node-kafka")
MOMENTS = ("in the batch", "at the commit")
IN_A_TRANSACTION = ("Produce", "TxnOffsetCommit", "Fetch")
PATIENCE = 240.0
ONE_WAY = "one-way partition"
STORE = {
    "S3 500": "be_broken",
    "S3 503 SlowDown": "be_busy",
    "S3 stall": "stall",
    "S3 answer cut": "cut_the_answer",
    "S3 body cut": "cut_the_body",
    "S3 reset": "reset",
    "S3 applied, answer lost": "lose_the_answer",
    "S3 stale list": "answer_stale",
    "S3 412 wrongly": "claim_a_conflict",
    "S3 403 clock skew": "claim_a_skew",
}
LONG_STALL, LONG_SECONDS = "S3 stall past the client's patience", 31.0
DISKS = ("broker", "snapshots", "journal", "store")
DISK_BYTES = {"broker": 512 << 20, "snapshots": 32 << 20, "journal": 2 << 20, "store": 512 << 20}
JUMPS = {"+400 days": 400 * DAY, "-400 days": -400 * DAY, "+1 h": HOUR, "-1 h": -HOUR}


def waited(what, seconds=PATIENCE):
    """Wait until `what()` is true; what it is stands in its name."""
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until, f"not within {seconds:.0f} s: {what.__name__}"
        time.sleep(0.1)
    return found


class Link:
    """One way of the network on which faults are made one after another, each when the one before is over."""

    def __init__(self, world, proxy, faults):
        self.world, self.proxy, self.faults, self.fault, self.since = world, proxy, list(faults), None, 0.0
        self.before, self.fired, self.places = {}, Counter(), Counter()

    def step(self, dice):
        """Go on; return whether there is nothing left to do."""
        if self.fault is None:
            if not self.faults:
                return True
            kind, way, moment = self.faults.pop()
            self.since = time.monotonic()
            self.begin(dice, kind, way, moment)
        elif self.fault.fired.is_set():
            self.over()
        assert time.monotonic() - self.since < PATIENCE, f"{self.name}: {self.fault} is not over: {self.state()}"
        return False

    def begin(self, dice, kind, way, moment):
        seconds = dice.uniform(0.5, 2.0)
        self.fault = Fault(kind, way, self.match(dice, moment), seconds=seconds, amount=dice.randrange(24))
        self.before = {}
        self.place(self.fault, moment)
        self.what = f"{kind} {way} {moment}"

    def place(self, fault, moment):
        self.proxy.arm(fault)

    def over(self):
        """Let the next fault come when each stage behind the link has committed after this one."""
        now = self.state()
        if not self.before:
            self.before = now
            self.world.fault()
        elif all(now[stage] > self.before[stage] for stage in now):
            self.done()

    def done(self):
        self.fired[self.fault.kind] += 1
        self.places[f"{self.name} {self.what}"] += 1
        self.fault = None

    def state(self):
        return {stage: sum(worker.committed() for worker in self.world.of(stage)) for stage in self.stages}


class WorkerKafka(Link):
    name, stages = LINKS[0], ("refine", "merge")

    def match(self, dice, moment):
        return "^EndTxn$" if moment == MOMENTS[1] else f"^{dice.choice(IN_A_TRANSACTION)}$"


class SinkStore(Link):
    name, stages = LINKS[2], ("sink",)

    def match(self, dice, moment):
        return PLACES["commit" if moment == MOMENTS[1] else "upload"]


class SinkKafka(Link):
    """The sink commits at the store: at that moment its Kafka fails, at whatever passes next."""

    name, stages = LINKS[1], ("sink",)

    def __init__(self, world, proxy, faults, store):
        super().__init__(world, proxy, faults)
        self.store = store

    def match(self, dice, moment):
        return "" if moment == MOMENTS[1] else "^Fetch$"

    def place(self, fault, moment):
        if moment == MOMENTS[0]:
            self.proxy.arm(fault)
        else:
            self.store.arm(Fault("notice", "up", PLACES["commit"], then=lambda: self.proxy.arm(fault)))


class NodeKafka(Link):
    """Each fault meets a sync of its own: at the keys, or at the events, whose acknowledgement moves the node's position."""

    name, stages = LINKS[3], ()

    def __init__(self, world, proxy, faults, node):
        super().__init__(world, proxy, faults)
        self.node, self.process = node, None

    def match(self, dice, moment):
        return "^Produce$"

    def place(self, fault, moment):
        fault.skip = MOMENTS.index(moment)
        assert self.node.record(20)
        self.proxy.arm(fault)
        self.process = self.node.sync(self.proxy.address)

    def step(self, dice):
        if self.process is not None and self.process.poll() is not None:
            if self.node.ended(self.process):
                assert self.fault.fired.is_set(), f"{self.fault} met no sync"
                self.process = None
                self.world.fault()
                self.done()
            else:
                self.process = self.node.sync(self.proxy.address)
        if self.fault is not None:
            assert time.monotonic() - self.since < PATIENCE, f"{self.fault} is not over"
            return False
        return super().step(dice)

    def state(self):
        return self.node.said[-1:]


class Network(Scenario):
    """Seven toxics on four links, both ways, in the batch and at the commit; then one way of a link is cut for a while."""

    name = "network"
    full: ClassVar = dict.fromkeys(KINDS, 16) | {ONE_WAY: 20}
    cut: ClassVar = dict.fromkeys(KINDS, 1) | {ONE_WAY: 1}
    recoveries = ("again:Unreachable", "ready")
    minutes = 12

    def prepare(self, world):
        ways, self.node = ways_of(world), OwnNode(world, world.seed + 1)
        self.proxies = {
            link: Proxy(world.kafka, "kafka", world.seed) for link in ("worker-kafka", "sink-kafka", "node-kafka")
        }
        self.proxies["sink-s3"] = Proxy(ways["sink"].get("s3", world.s3), "http", world.seed)
        for stage in ("refine", "merge"):
            ways[stage]["kafka"] = self.proxies["worker-kafka"].address
        ways["sink"] |= {"kafka": self.proxies["sink-kafka"].address, "s3": self.proxies["sink-s3"].address}

    def planned(self, dice, counts):
        """Return the faults of each link: in full each kind meets each link on each way at each moment.

        Fewer are chosen by the dice, but the lost answer to a commit is always among them.
        """
        chosen = {link: [] for link in LINKS}
        for kind in KINDS:
            places = list(itertools.product(LINKS, WAYS, MOMENTS))
            dice.shuffle(places)
            if kind == "reset":
                places.sort(key=lambda place: place != ("worker-kafka", "down", "at the commit"))
            for place in range(counts.get(kind, 0)):
                link, way, moment = places[place % len(places)]
                chosen[link].append((kind, way, moment))
        for faults in chosen.values():
            dice.shuffle(faults)
        return chosen

    def run(self, world, dice, counts):
        chosen, of = self.planned(dice, counts), self.proxies
        links = [
            WorkerKafka(world, of["worker-kafka"], chosen["worker-kafka"]),
            SinkKafka(world, of["sink-kafka"], chosen["sink-kafka"], of["sink-s3"]),
            SinkStore(world, of["sink-s3"], chosen["sink-s3"]),
            NodeKafka(world, of["node-kafka"], chosen["node-kafka"], self.node),
        ]
        while sum(link.step(dice) for link in links) < len(links):
            assert world.feed.error is None, world.feed.error
            time.sleep(0.05)
        fired = Fired()
        for link in links:
            fired.faults += link.fired
            fired.notes += link.places
        for _ in range(counts.get(ONE_WAY, 0)):
            link, way, lost = dice.choice(LINKS[:3]), dice.choice(WAYS), dice.random() < 0.5
            of[link].partition(way, dice.uniform(2.0, 12.0), lost)
            world.fault()
            world.progress(PATIENCE)
            fired.faults[ONE_WAY] += 1
            fired.notes[f"{link} {way} cut, {'lost' if lost else 'late'}"] += 1
        fired.notes["syncs that said a sentence"] += len(self.node.said)
        self.node.finish()
        return fired

    def finish(self, world):
        for proxy in self.proxies.values():
            proxy.close()


class Objects(Scenario):
    """The store fails at commits, uploads, lists and reads, a quarter of the times again and again at the same place."""

    name = "objects"
    full: ClassVar = dict.fromkeys(STORE, 40) | {"S3 stall": 30, LONG_STALL: 10}
    cut: ClassVar = dict.fromkeys(STORE, 1) | {"S3 applied, answer lost": 2, "S3 412 wrongly": 2}
    recoveries = ("ready",)
    workers: ClassVar = {"refine": 1, "merge": 1, "sink": 2}
    minutes = 10

    def prepare(self, world):
        ways = ways_of(world)
        self.store = Store(f"http://{ways['sink'].get('s3', world.s3)}")
        ways["sink"]["s3"] = self.store.address

    def run(self, world, dice, counts):
        fired = Fired()
        left = {STORE[kind]: count for kind, count in counts.items() if kind in STORE and count}
        fired.notes += self.made(world, Storm(dice.random(), left, every=3), fired)
        if counts.get(LONG_STALL):
            self.store.stall_seconds = LONG_SECONDS
            long = Fired()
            fired.notes += self.made(world, Storm(dice.random(), {"stall": counts[LONG_STALL]}), long)
            fired.faults[LONG_STALL] += long.faults["S3 stall"]
        return fired

    def made(self, world, storm, fired):
        """Let the storm blow until it has made all its faults; return where they were."""
        met, since = -1, time.monotonic()
        self.store.fault = storm
        while storm.left:
            if storm.met.total() != met:
                met, since = storm.met.total(), time.monotonic()
                world.fault()
            assert world.feed.error is None, world.feed.error
            assert time.monotonic() - since < PATIENCE, f"nobody asked the store: {dict(storm.left)} are left"
            time.sleep(0.1)
        world.progress(PATIENCE)
        self.store.fault = None
        names = {kind: name for name, kind in STORE.items()}
        fired.faults += Counter({names[kind]: count for kind, count in storm.met.items()})
        return storm.places

    def finish(self, world):
        self.store.close()


class Disks(Scenario):
    """A disk is full under load, and is freed: one clear sentence, nothing that was acknowledged is lost, nobody deletes."""

    name = "disks"
    full: ClassVar = dict.fromkeys((f"disk full: {name}" for name in DISKS), 10)
    cut: ClassVar = {"disk full: snapshots": 1, "disk full: journal": 1}
    recoveries = ("snapshot_not_saved", "ready")
    minutes = 20

    def __init__(self, which=DISKS):
        self.which, self.disks = which, {}

    def prepare(self, world):
        self.node = OwnNode(world, world.seed + 2, "SYN-8")
        folders = {
            "broker": world.data / "kafka" / "log",
            "snapshots": world.data / "streams" / "refine" / "snapshots",
            "journal": self.node.node.journal,
            "store": world.data / "s3" / "data",
        }
        with ExitStack() as stack:
            if {"broker", "store"} & set(self.which):
                launcher.down(world.data)
                stack.callback(launcher.up, world.data)
            for name in self.which:
                self.disks[name] = Disk(folders[name], DISK_BYTES[name])

    def run(self, world, dice, counts):
        fired, due = Fired(), [kind for kind, count in counts.items() for _ in range(count)]
        dice.shuffle(due)
        for kind in due:
            name = kind.rpartition(" ")[2]
            getattr(self, f"_{name}")(world, self.disks[name], fired)
            world.fault()
            world.progress(PATIENCE)
            fired.faults[kind] += 1
        self.node.finish()
        return fired

    def _snapshots(self, world, disk, fired):
        """The worker goes on without a snapshot and says so; once there is space it writes one."""

        def said():
            return [event for worker in world.of("refine") for event in worker.events("snapshot_not_saved")]

        def the_disk_is_said_to_be_full():
            return len(said()) > before

        def a_snapshot_is_written_again():
            return any(path.stat().st_mtime > since for path in disk.folder.glob("*.snapshot"))

        before = len(said())
        disk.fill()
        waited(the_disk_is_said_to_be_full)
        assert "free some space" in said()[-1]["why"]
        world.fault()
        world.progress(PATIENCE)
        since = time.time()
        disk.free()
        waited(a_snapshot_is_written_again)

    def _journal(self, world, disk, fired):
        """What was acknowledged before is there; what was refused is written again once there is space."""
        assert self.node.record(50)
        disk.fill(leave=4096)
        refusals = len(self.node.said)
        while self.node.record(20):
            fired.notes["groups that still fitted"] += 1
        assert "free some space" in self.node.said[refusals]
        disk.free()
        assert self.node.record(20)
        waited(lambda: self.node.ended(self.node.sync(world.kafka)))

    def _broker(self, world, disk, fired):
        """Kafka ends, `up` names its log while the disk is full, and is enough once there is space."""
        process = Cluster(world.data.resolve()).process("kafka")

        def the_broker_ends():
            return not process.alive()

        disk.fill()
        waited(the_broker_ends)
        world.fault()
        if not fired.notes["`up` on a full disk is a sentence"]:
            with pytest.raises(Stops, match="its log is"):
                launcher.up(world.data)
            fired.notes["`up` on a full disk is a sentence"] += 1
        disk.free()
        world.start_broker()

    def _store(self, world, disk, fired):
        """The sink says that the store takes no write; the store takes them again once there is space."""

        def said():
            return [event["why"] for worker in world.of("sink") for event in worker.events("again")]

        def the_sink_says_so():
            return len(said()) > before

        before = len(said())
        disk.fill()
        waited(the_sink_says_so)
        assert "run `tocsin status`, then start this again" in said()[-1] or "try again" in said()[-1], said()[-1]
        disk.free()
        world.start_broker()

    def finish(self, world):
        if {"broker", "store"} & set(self.disks):
            launcher.down(world.data)
        for disk in self.disks.values():
            disk.close()


class Clocks(Scenario):
    """The wall clock of workers, sink, broker or node jumps while they work, and jumps back in the middle of a batch."""

    name = "clocks"
    full: ClassVar = dict.fromkeys(JUMPS, 10)
    cut: ClassVar = {"+400 days": 1, "-400 days": 1}
    recoveries = ("ready",)
    minutes = 12

    def __init__(self, whose=("refine", "merge", "sink", "broker", "node")):
        self.whose = whose

    def prepare(self, world):
        self.node = OwnNode(world, world.seed + 3, "SYN-7")
        self.clocks = {name: Clock(world.data / f"clock-{name}") for name in self.whose}

    def run(self, world, dice, counts):
        self.begin(world)
        fired, due = Fired(), dict(counts)
        turn = itertools.cycle(self.whose)
        while any(count > 0 for count in due.values()):
            there = max(due, key=lambda kind: (due[kind], dice.random()))
            back = next(kind for kind, seconds in JUMPS.items() if seconds == -JUMPS[there])
            whose = next(turn)
            getattr(self, f"_{whose}", self._worker)(world, whose, JUMPS[there], dice)
            for kind in (there, back):
                fired.faults[kind] += 1
                due[kind] = due.get(kind, 0) - 1
            fired.notes[f"{whose} {there} and back"] += 1
            world.progress(PATIENCE)
        self.node.finish()
        return fired

    def begin(self, world):
        """Give each its clock."""
        self.node.environment = self.clocks["node"].environment if "node" in self.clocks else {}
        for worker in world.workers:
            if worker.stage in self.clocks:
                worker.kill()
                worker.environment |= self.clocks[worker.stage].environment
                worker.start()
        if "broker" in self.clocks:
            world.kill_broker()
            with self.clocks["broker"].around():
                world.start_broker()
        world.progress(PATIENCE)

    def _jumped(self, world, whose, seconds):
        self.clocks[whose].jump(seconds)
        time.sleep(2.0)
        world.fault()

    def _worker(self, world, whose, seconds, dice):
        """Nothing depends on it: all goes on."""
        self._jumped(world, whose, seconds)
        world.progress(PATIENCE)
        time.sleep(dice.uniform(0.0, 1.0))
        self._jumped(world, whose, -seconds)

    def _sink(self, world, whose, seconds, dice):
        """The store refuses signatures of another time: one sentence names the clock, and that is all."""

        def the_clock_is_named():
            found = [event["why"] for worker in world.of("sink") for event in worker.events("again")]
            return len(found) > before and "clock" in found[-1]

        before = sum(len(worker.events("again")) for worker in world.of("sink"))
        self._jumped(world, whose, seconds)
        waited(the_clock_is_named)
        self._jumped(world, whose, -seconds)

    def _broker(self, world, whose, seconds, dice):
        """What nobody has read yet is past its retention when the broker's clock leaps ahead: so all is read before."""
        if seconds > 0:
            world.feed.rest()
            world.quiet()
            time.sleep(5.0)
        self._jumped(world, whose, seconds)
        world.feed.paused.clear()
        world.progress(PATIENCE)
        self._jumped(world, whose, -seconds)

    def _node(self, world, whose, seconds, dice):
        assert self.node.record(50)
        sync = self.node.sync(world.kafka)
        time.sleep(dice.uniform(0.0, 1.0))
        self._jumped(world, whose, seconds)
        while not self.node.ended(sync):
            sync = self.node.sync(world.kafka)
        assert self.node.record(50)
        assert self.node.ended(self.node.sync(world.kafka)), self.node.said[-1]
        self._jumped(world, whose, -seconds)

    def finish(self, world):
        """The clocks end with the processes that live by them."""
