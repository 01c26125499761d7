"""One schedule: workers, brokers, disks and a network that fails, all decided by one seed.

The workers run the real lanes (`streams.lanes`, `streams.lane`, `streams.transaction`, the ledger, the snapshots); in
memory are only the broker, the group and the disk. First a storm, then calm, in which all must end well.
"""

import asyncio
import random
import zlib
from bisect import bisect_left
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
from faust.types import TP

from schemas.columns import Blob
from schemas.errors import Fenced, Retries, Unreachable
from streams.base import Records
from streams.lane import KafkaLane, LaneSettings
from streams.lanes import SMALL, Lanes, WorkerSettings
from streams.protocol import Reader
from tests.simulation import judge
from tests.simulation.broker import Cluster
from tests.simulation.disk import Disk, Path
from tests.simulation.eraser import Eraser
from tests.simulation.group import NAME, Group
from tests.simulation.loop import Loop, Owner
from tests.simulation.toy import Copy, Input

SOURCE = "in"
TOGETHER, APART = (1, 2), (0, 1)  # partitions whose ledgers lie in one partition, or not
TIMEOUT = 20.0
LIMIT = 4_000  # events after which a schedule that has not ended never will


@dataclass(slots=True)
class Message:
    """A request on its way, or its answer."""

    worker: object
    request: object
    future: object
    answer: object = None
    answered: bool = False


@dataclass
class Weather:
    """How bad it gets, drawn for each schedule."""

    events: int
    loss: float
    replay: float
    death: float
    sleep: float
    churn: float
    hiccup: float
    restart: float
    disk: float

    @classmethod
    def drawn(cls, chance):
        pick = chance.choice
        return cls(
            events=chance.randrange(30, 110),
            loss=pick((0.0, 0.0, 0.05, 0.15, 0.3)),
            replay=pick((0.0, 0.25, 0.5)),
            death=pick((0.0, 0.01, 0.03, 0.06)),
            sleep=pick((0.0, 0.01, 0.03)),
            churn=pick((0.0, 0.01, 0.04)),
            hiccup=pick((0.0, 0.0, 0.02, 0.05)),
            restart=pick((0.0, 0.0, 0.01, 0.03)),
            disk=pick((0.0, 0.05, 0.3)),
        )


class Door:
    """The broker as one worker's lanes see it; see `streams.client.Broker`."""

    timeout = TIMEOUT

    def __init__(self, worker):
        self._worker = worker

    async def ask(self, node, request, coordinator=False):
        del node, coordinator
        message = Message(self._worker, request, asyncio.get_running_loop().create_future())
        self._worker.world.flying.append(message)
        return await message.future

    async def refresh(self):
        """Know already: there is one node."""

    async def leader(self, topic, partition):
        return 0

    async def partitions(self, topic):
        return sorted(number for name, number in self._worker.world.cluster.logs if name == topic)

    async def group_coordinator(self, group):
        return 0

    def doubt_coordinator(self, group, code):
        """Know no other: there is one node."""

    async def transaction_coordinator(self, transactional_id):
        return 0


class Worker:
    """One process: the real `Lanes` between a group and agents; also the consumer's thread as `Lanes` knows it."""

    def __init__(self, world, instance):
        self.world, self.instance = world, instance
        self.owner = Owner(world.loop, instance)
        self.member, self.view, self.leaving, self.waiting = "", None, False, False
        self.positions, self.wakes, self.agents = {}, {}, []
        self.hearing = world.chance.choice((0.1, 0.5, 0.9))  # how often a heartbeat comes through
        self.ended, self.revoked, self.joined = (world.loop.create_future() for _ in range(3))
        self.owner.start(self._main())

    async def _main(self):
        folder = Path(self.world.disks[self.world.host(self.instance)], "snapshots")
        lanes = LaneSettings(
            folder, lambda seen: None, self.world.note, snapshot_bytes=self.world.snapshot_bytes, tail_bytes=0
        )

        def lane(topic, partition, membership):
            return KafkaLane(self.world.stage(), self.world.side(), topic, partition, membership, lanes)

        settings = WorkerSettings("sim", [SOURCE], lane, "", self.instance, None)
        self.lanes = Lanes(settings, Door(self), self.ended)
        self.lanes.thread = self  # what Lanes asks of the consumer's thread is below
        membership, tending = asyncio.ensure_future(self._membership()), asyncio.ensure_future(self._tending())
        end = await self.ended
        membership.cancel()
        tending.cancel()
        self.world.over(self, end)

    async def _membership(self):
        try:
            while True:
                await self._turn()
        except Exception as error:
            self.lanes.failed(error)

    async def _tending(self):
        """Tend the lanes now and then while anybody may ask for bases, and compare their states with the input."""
        while self.world.tends and (self.world.storm or self.world.eraser.asked):
            await asyncio.sleep(self.world.chance.choice((0.001, 0.01, 0.1) if self.world.storm else (1.0, 5.0)))
            await self.lanes.tend()
            for tp, lane in [*self.lanes._lanes.items()]:
                self.world.check_state(self, tp, lane._next)

    async def _turn(self):
        """Join, work, and let go again."""
        loop = asyncio.get_running_loop()
        joined, self.revoked, self.waiting = loop.create_future(), loop.create_future(), True
        self.joined = joined
        self.answer = lambda view: joined.done() or joined.set_result(view)
        self.world.group.join(self.instance, self.member, self.answer)
        self.view, self.waiting = await joined, False
        self.member = self.view.member
        tps = [TP(*place) for place in self.view.places]
        self.positions, self.wakes = {}, {tp: asyncio.Event() for tp in tps}
        self.lanes.assigned(tps, Reader(NAME, self.view.generation, self.member, self.instance))
        for tp in tps:
            self.agents.append(asyncio.ensure_future(self._agent(tp, self.lanes.epoch)))
        await self.revoked
        self.view = None
        await self.lanes.revoked()

    async def _agent(self, tp, epoch):
        """Hand over what was fetched, also when it is late: a stream of Faust knows of no assignment."""
        lanes = self.lanes
        while epoch == lanes.epoch:
            taken = []
            while lanes.feeds(tp) and len(taken) < 2 and (records := self._fetched(tp)) is not None:
                lanes.taken(tp, SMALL)  # so that two may be on their way
                taken.append(SimpleNamespace(epoch=lanes.epoch, records=records))
            if not taken:
                self.wakes[tp].clear()
                await self.wakes[tp].wait()
            for number, fetched in enumerate(taken):
                if number and self.world.chance.random() < 0.3:
                    await asyncio.sleep(self.world.chance.choice((0.005, 0.02)))
                await lanes.process(fetched)
                if not self.ended.done() and fetched.epoch == lanes.epoch:
                    self.world.check_state(self, tp, fetched.records.end)

    def _fetched(self, tp):
        position = self.positions.get(tp)
        records = None if position is None else self.world.cut(tp, position)
        if records is not None:
            self.positions[tp] = records.end
        return records

    # What `Lanes` asks of the consumer's thread.

    def wake(self):
        for event in self.wakes.values():
            event.set()

    async def seek_to(self, tp, offset):
        self.positions[tp] = offset
        self.world.check_state(self, tp, offset)

    def reads_as(self, reader, topic, partition):
        view = self.view
        same = view is not None and (view.generation, view.member) == (reader.generation, reader.member)
        return same and (topic, partition) in view.places

    def hear(self):
        """Have a heartbeat answered: the group knows nothing of this member, or wants it to join again."""
        if self.ended.done() or not (self.member or self.waiting):
            return
        if self.waiting:
            if self.instance not in self.world.group.waiting and not self.joined.done():
                self.world.group.join(self.instance, "", self.answer)
        elif not self.world.group.knows(self.instance, self.member):
            self.lanes.failed(Fenced("The group does not know this worker any more."))
        elif self.world.group.rebalancing and not self.revoked.done():
            self.revoked.set_result(None)


@dataclass
class Result:
    """What a schedule came to: `violations` in words, `counts` of what happened, a digest of the whole course."""

    seed: int
    violations: list = field(default_factory=list)
    counts: dict = field(default_factory=dict)
    digest: int = 0
    trace: list = field(default_factory=list)


class World:
    """A schedule on its way."""

    stage = Copy

    def __init__(self, seed, traced=False):
        self.chance, self.result, self.traced = random.Random(seed), Result(seed), traced
        chance = self.chance
        self.loop, self.weather = Loop(), Weather.drawn(chance)
        self.places = self.make_places()
        self.inputs = self.make_inputs()
        self.group = Group(self.places, chance.choice)
        self.cluster = Cluster(self.group, self.loop, lambda: chance.randrange(1, 8))
        self.disks = [Disk(chance), Disk(chance)]
        self.snapshot_bytes = chance.choice((0, 8, 1 << 20))
        self.most = chance.choice((1, 3, 8))
        self.flying, self.late, self.seen, self.workers = [], [], [], {}
        self.events, self.storm = 0, True
        self.tends, self.eraser = chance.random() < 0.6, Eraser(self)

    def make_places(self):
        partitions = self.chance.choice((APART[:1], TOGETHER, TOGETHER, APART))
        return [(SOURCE, partition) for partition in partitions]

    def side(self):
        """Return what the stage may look up."""

    def wanted(self):
        """Return the values that must be committed, by topic."""
        sources = self.inputs.values()
        return {
            "sim.copied": [value for source in sources for value in source.copied],
            "sim.refused": [value for source in sources for value in source.refused],
        }

    def make_inputs(self):
        return {place: Input(place, self.chance, self.chance.randrange(3, 10)) for place in self.places}

    # --- what happened ---

    def note(self, event, **more):
        self.count(event)
        self.say(event, *more.values())

    def count(self, what):
        self.result.counts[what] = self.result.counts.get(what, 0) + 1

    def say(self, *what):
        """Put a line into the course of the schedule where one is asked for."""
        if self.traced:
            self.result.trace.append(f"{self.events} {self.loop.now:.3f} {' '.join(map(str, what))}")

    def violation(self, what):
        self.result.violations.append(what)

    def over(self, worker, end):
        """Have a process end by itself; anything but a passing fault is a violation."""
        self.say(worker.instance, "ends", type(end).__name__, end)
        self.count(f"ended by {type(end).__name__}")
        if not isinstance(end, Retries):
            self.violation(f"{worker.instance} ended with {type(end).__name__}: {end}")
        self.bury(worker)

    def check_state(self, worker, tp, offset):
        """Compare a lane's state with the fold of the input up to `offset`."""
        lane, source = worker.lanes._lanes.get(tp), self.inputs[tp]
        if lane is None or lane._state is None:
            return
        wanted = source.states[bisect_left(source.offsets, offset)]
        if lane._state != wanted:
            self.violation(f"{worker.instance} has the state {lane._state} of {tp} at {offset}, not {wanted}")

    # --- input ---

    def cut(self, tp, position):
        """Return the next batch of a partition, of a length that chance decides; None at the end."""
        source = self.inputs[tp]
        first = bisect_left(source.offsets, position)
        if first == len(source.offsets):
            return None
        last = min(first + self.chance.randrange(self.most) + 1, len(source.offsets))
        end = source.offsets[last - 1] + 1
        if last < len(source.offsets) and self.chance.random() < 0.5:
            end = source.offsets[last]
        offsets = np.array(source.offsets[first:last], np.int64)
        values, keys = Blob.of(source.values[first:last]), Blob.of(source.keys[first:last])
        return Records(tp[0], tp[1], position, end, offsets, offsets, values, keys)

    # --- processes ---

    def host(self, instance):
        return instance == "w2"

    def spawn(self, instance):
        self.workers[instance] = Worker(self, instance)

    def bury(self, worker):
        """End a process; what it had sent may be on its way still."""
        worker.owner.die()
        for message in [one for one in self.flying if one.worker is worker]:
            self.flying.remove(message)
            if not message.answered and self.chance.random() < 0.7:
                self.late.append(message.request)
        if self.workers.get(worker.instance) is worker:
            del self.workers[worker.instance]

    def _died(self, worker):
        """Notice a process that died while it wrote to its disk."""
        if self.workers.get(worker.instance) is worker:
            self.kill(worker)

    def kill(self, worker):
        self.say("kill", worker.instance)
        self.count("killed")
        self.bury(worker)
        if self.chance.random() < 0.3:
            self.count("machine lost")
            disk = self.disks[self.host(worker.instance)]
            before = disk.torn
            disk.crash()
            if disk.torn > before:
                self.count("torn write")

    # --- the course ---

    def run(self):
        """Run to the end and return the result."""
        asyncio._set_running_loop(self.loop)
        try:
            for instance in ("w0", "w1", "w2")[: self.chance.choice((1, 2, 2, 3))]:
                self.spawn(instance)
            while not self.result.violations and not self._done():
                self._turn()
                if self.events > LIMIT:
                    self.violation(f"no end after {LIMIT} events")
            if not self.result.violations:
                judge.final(self)
        finally:
            self.loop.close()
            asyncio._set_running_loop(None)
        self.result.counts["events"] = self.events
        self.result.digest = zlib.crc32("\n".join(self.result.trace).encode())
        return self.result

    def _done(self):
        if self.storm or self.eraser.asked or self.flying or self.cluster.markers or self.cluster.applying:
            return False
        if any(w.owner.ready or w.owner.asleep for w in self.workers.values()):
            return False
        if any(log.open for log in self.cluster.logs.values()):
            return False  # what the broker has forgotten is not ended yet
        return all(self.cluster.offsets.get((NAME, place)) == self.inputs[place].end for place in self.places)

    def _turn(self):
        self.events += 1
        self.loop.now += 0.001
        for worker in [*self.workers.values()]:
            worker.owner.run()
            if not worker.owner.alive:
                self._died(worker)
        if self.storm:
            self._chaos()
            if self.events > self.weather.events:
                self._calm()
        elif not self.workers or self.chance.random() < 0.3:
            self._wake()
            self._restore()
        elif self.eraser.asked and self.chance.random() < 0.1:
            self.eraser.turn(calm=True)
        self._advance()

    def _chaos(self):
        chance, weather, r = self.chance, self.weather, self.chance.random()
        workers = [*self.workers.values()]
        if (r := r - weather.death) < 0 and workers:
            self.kill(chance.choice(workers))
        elif (r := r - weather.sleep) < 0 and workers:
            self._sleep(chance.choice(workers))
        elif (r := r - weather.churn) < 0:
            self._churn()
        elif (r := r - weather.hiccup) < 0:
            self.count("hiccup")
            self.cluster.absent.extend(chance.random() < 0.5 for _ in range(chance.randrange(1, 6)))
        elif (r := r - weather.restart) < 0:
            self._restart(workers)
        elif (r := r - 0.05) < 0:
            self._restore()
        elif (r := r - 0.05) < 0:
            self.seen.append(judge.look(self))
        elif self.tends and (r := r - 0.15) < 0:
            self.eraser.turn()
        elif (r := r - weather.disk * 0.1) < 0:
            chance.choice(self.disks).die_in = chance.randrange(12)

    def _restart(self, workers):
        """Have the broker come up anew: no connection outlasts that, and it forgets some of the markers it has yet to write."""
        self.count("broker restarted")
        for worker in workers:
            self.kill(worker)
        self.flying.clear()
        self.late.clear()
        before = self.cluster.forgotten
        self.cluster.forget(self.chance)
        self.say("restarts", self.cluster.forgotten - before)
        if self.cluster.forgotten > before:
            self.count("marker forgotten")

    def _sleep(self, worker):
        """Stop a process; its session ends, perhaps also its transaction, and it wakes to what it was doing."""
        worker.owner.asleep = not worker.owner.asleep
        self.say("sleeps" if worker.owner.asleep else "wakes", worker.instance)
        if worker.owner.asleep:
            self.count("asleep")
            self.loop.now += self.chance.choice((0.1, 12.0, 70.0))
            if self.chance.random() < 0.7:
                self.group.forget(worker.instance)

    def _churn(self):
        """Have a worker come, go or be forgotten, or the group begin anew without those that are late."""
        chance, group = self.chance, self.group
        what, instance = chance.randrange(4), chance.choice(("w0", "w1", "w2"))
        self.say("churn", what, instance)
        if what == 0 and instance not in self.workers:
            self.spawn(instance)
        elif what == 1:
            self.count("forgotten")
            group.forget(instance)
        elif what == 2 and group.waiting:
            self.count("settled without all")
            group.settle()
        elif what == 3:
            group.rebalancing = True

    def _wake(self):
        """Have the sleepers wake, one after the other, to what they were doing."""
        for worker in [*self.workers.values()]:
            if worker.owner.asleep and self.chance.random() < 0.2:
                worker.owner.asleep = False
                self.say("wakes", worker.instance)

    def _restore(self):
        """Let time heal: dead workers come back, heartbeats are answered, the group settles."""
        if not self.workers or (self.storm and len(self.workers) < 3 and self.chance.random() < 0.3):
            missing = [name for name in ("w0", "w1", "w2") if name not in self.workers]
            self.spawn(self.chance.choice(missing))
        for worker in [*self.workers.values()]:
            if not worker.owner.asleep and worker.owner.alive and self.chance.random() < worker.hearing:
                worker.owner.context.run(worker.hear)
        gone = [name for name in self.group.members if name not in self.workers]
        for name in gone:
            if not self.storm or self.chance.random() < 0.3:
                self.group.forget(name)
        if self.group.complete:
            self.say("settled", *self.group.waiting)
            self.count("generation")
            self.group.settle()

    def _calm(self):
        self.say("calm")
        self.storm = False
        self.cluster.absent.clear()
        for disk in self.disks:
            disk.die_in = -1

    def _advance(self):
        """Have one thing of the network or of time happen."""
        chance, flying, markers, late = self.chance, self.flying, self.cluster.markers, self.late
        if self.cluster.applying and chance.random() < 0.3:
            self.cluster.apply()
            return
        total = len(flying) + 0.5 * len(markers) + 0.2 * len(late)
        if not total:
            self._wait()
            return
        r = chance.random() * (total + 0.05)
        if r < len(flying):
            self._carry(flying[int(r)])
        elif (r := r - len(flying)) < 0.5 * len(markers):
            self.cluster.mark(int(2 * r))
        elif (r := r - 0.5 * len(markers)) < 0.2 * len(late):
            self._deliver_late(int(5 * r))
        else:
            self._wait()

    def _wait(self):
        self.loop.fire()
        self.cluster.expire()
        if not self.loop.timers or self.chance.random() < 0.2:
            self._restore()

    def _deliver_late(self, index):
        request = self.late.pop(index)
        answer = self.cluster.handle(request)
        self.count("late request")
        self.say("late", type(request).__name__, vars(answer) if self.traced else 0)

    def _carry(self, message):
        """Bring a request to the broker or an answer back, unless the network does worse."""
        chance, weather, name = self.chance, self.weather, type(message.request).__name__
        lost = self.storm and chance.random() < weather.loss / 2
        if lost:
            self._lose(message)
            return
        if not message.answered:
            message.answer, message.answered = self.cluster.handle(message.request), True
            self.say(message.worker.instance, name, vars(message.answer) if self.traced else 0)
            if chance.random() < 0.5:
                return
        self.flying.remove(message)
        if message.worker.owner.alive and not message.future.done():
            message.future.set_result(message.answer)

    def _lose(self, message):
        """Lose a request or its answer; what was lost on the way may still arrive, also a second time."""
        chance, name = self.chance, type(message.request).__name__
        self.flying.remove(message)
        self.count("answer lost" if message.answered else "request lost")
        self.say("lost", message.worker.instance, name, message.answered)
        if chance.random() < self.weather.replay:
            self.late.append(message.request)
            self.count("replayed" if message.answered else "delayed")
        error = Unreachable(f"no answer to {name}")

        def fail():
            if not message.future.done():
                message.future.set_exception(error)

        if chance.random() < 0.5:
            message.worker.owner.context.run(self.loop.call_later, TIMEOUT, fail)
        elif message.worker.owner.alive:
            fail()
