"""Faults of processes: workers killed anywhere, at named points, put to sleep; brokers killed; workers that come and go."""

import os
import signal
import time
from collections import Counter
from typing import ClassVar

import psutil

from tests.chaos.base import Fired, Scenario
from tests.chaos.points import POINTS
from tests.chaos.rig import STAGES

ARM = "tests.chaos.points:arm"


def stopped(pid):
    """Stop a process; return whether it stands still."""
    try:
        os.kill(pid, signal.SIGSTOP)
        until = time.monotonic() + 2
        while psutil.Process(pid).status() != psutil.STATUS_STOPPED:
            if time.monotonic() > until:
                return False
            time.sleep(0.01)
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False
    return True


class Kills(Scenario):
    """kill -9 of a worker that has committed since it was last hit, up to 1.5 s later; every third time its supervisor too."""

    name = "kills"
    full: ClassVar = {"worker kill -9": 300}
    cut: ClassVar = {"worker kill -9": 20}
    recoveries = ("restart:-9", "ready")
    workers: ClassVar = {"refine": 2, "merge": 1, "sink": 1}
    minutes = 15

    def run(self, world, dice, counts):
        fired = Fired()
        for _ in range(counts["worker kill -9"]):
            worker = world.next_at_work(dice)
            time.sleep(dice.uniform(0.0, 1.5))
            while not worker.pid():
                time.sleep(0.02)
            if dice.random() < 1 / 3:
                worker.kill()
                world.hit(worker)
                worker.start()
                fired.notes["with its supervisor"] += 1
            else:
                worker.kill_child()
                world.hit(worker)
            fired.faults["worker kill -9"] += 1
            fired.notes[worker.stage] += 1
        return fired


class Crashes(Scenario):
    """Each worker dies at named points, one after another, each at the 1st to 6th visit of its life."""

    name = "crashes"
    full: ClassVar = dict.fromkeys(POINTS, 25)
    cut: ClassVar = dict.fromkeys(POINTS, 2)
    recoveries = ("restart:-9", "ready")
    workers: ClassVar = {"refine": 2, "merge": 2, "sink": 2}
    minutes = 15

    def run(self, world, dice, counts):
        due = dict(counts)
        while missing := {point: count for point, count in due.items() if count > 0}:
            before = self.crashed(world)
            self.queue(world, dice, missing)
            self.wait(world, len(missing))
            now = self.crashed(world)
            due = {point: counts[point] - now[point] for point in counts}
            assert now.total() > before.total(), f"no crash at any of {sorted(missing)}"
        return Fired(faults=Counter({point: self.crashed(world)[point] for point in counts}))

    def queue(self, world, dice, missing):
        """Give each worker its share of the crashes that are missing, in any order; the present life ends first."""
        for stages in {stages for stages, _ in POINTS.values()}:
            points = [p for p, count in missing.items() for _ in range(count) if POINTS[p][0] == stages]
            dice.shuffle(points)
            chosen = [worker for worker in world.workers if worker.stage in stages]
            for at, worker in enumerate(chosen):
                lives = [[[ARM, {"point": p, "visit": self.visit(dice, p)}]] for p in points[at :: len(chosen)]]
                worker.plan(lives)
                if lives:
                    worker.kill_child()

    def visit(self, dice, point):
        """A life opens few lanes and writes few snapshots, but has many batches."""
        if point.startswith(("fence", "ledger", "agree", "snapshot")):
            return 1
        return dice.choice([1, 1, 2, 3, 4, 6])

    def wait(self, world, points):
        """Wait until no crash is queued and none is armed any more, or nothing has crashed for long."""
        last, count = time.monotonic(), -1
        while any(worker.queued() for worker in world.workers) or self.armed(world):
            now = self.crashed(world).total()
            if now != count:
                last, count = time.monotonic(), now
                world.fault()
            assert world.feed.error is None, world.feed.error
            if time.monotonic() - last > 40:
                return
            time.sleep(0.1)

    def armed(self, world):
        """Return whether a life with a crash point still runs."""
        for worker in world.workers:
            lives = worker.events("born")
            if lives and ARM in lives[-1]["patches"] and worker.pid() == lives[-1]["pid"]:
                return True
        return False

    def crashed(self, world):
        return Counter(event["point"] for worker in world.workers for event in worker.events("crash"))


class Brokers(Scenario):
    """kill -9 of the broker while all stages commit; every third time the tail of a raw topic's log is cut before it starts."""

    name = "brokers"
    full: ClassVar = {"broker kill -9": 60, "log tail cut": 20}
    cut: ClassVar = {"broker kill -9": 3, "log tail cut": 1}
    recoveries = ("again:Unreachable", "ready")
    minutes = 12

    def run(self, world, dice, counts):
        from tests.chaos.scenarios.tails import cut_tail

        fired = Fired()
        while fired.faults["broker kill -9"] < counts["broker kill -9"] or (
            fired.faults["log tail cut"] < counts["log tail cut"]
        ):
            world.progress(90)
            time.sleep(dice.uniform(0.0, 2.0))
            cutting = fired.faults["log tail cut"] < counts["log tail cut"]
            if cutting:
                lost = cut_tail(world, dice)
                fired.faults["log tail cut"] += lost > 0
                fired.notes["records lost and sent again"] += lost
            else:
                world.kill_broker()
                world.start_broker()
            fired.faults["broker kill -9"] += 1
            world.fault()
        return fired


class Zombies(Scenario):
    """A worker sleeps (SIGSTOP) past its session while it commits; every other one makes itself a new producer when it wakes."""

    name = "zombies"
    full: ClassVar = {"slept past its session": 30, "slept, then made itself a new producer": 30}
    cut: ClassVar = {"slept past its session": 2, "slept, then made itself a new producer": 1}
    recoveries = ("again:Fenced", "ready")
    workers: ClassVar = {"refine": 2, "merge": 2, "sink": 1}
    minutes = 12

    def run(self, world, dice, counts):
        fired = Fired()
        for kind in [kind for kind, count in counts.items() for _ in range(count)]:
            until = time.monotonic() + 180
            while not self.slept(world, dice, kind, fired):
                assert time.monotonic() < until, "no worker falls asleep while it is at work"
            fired.faults[kind] += 1
        return fired

    def slept(self, world, dice, kind, fired):
        """Send one worker to sleep; return whether it did: it may have begun anew at that very moment."""
        from tests.chaos.runner import SESSION

        worker = world.next_at_work(dice, dice.choice(("refine", "merge")))
        if kind != "slept past its session":
            worker = self.stubborn(world, worker)
        pid, lives = worker.pid(), len(worker.events("born"))
        if pid is None or not stopped(pid):
            return False
        self.sleep(world, worker, pid, dice.uniform(1.2, 2.5) * SESSION, lives)
        fired.notes[worker.stage] += 1
        return True

    def stubborn(self, world, worker):
        """Let the worker live on as one that re-initialises itself, and wait until that one commits."""
        world.hit(worker)
        worker.plan([[["tests.chaos.provoke:stubborn", {}]]])
        worker.kill_child()
        until = time.monotonic() + 90
        while worker not in world.at_work():
            assert time.monotonic() < until, f"{worker.stage}-{worker.name} does not commit"
            time.sleep(0.05)
        return worker

    def sleep(self, world, worker, pid, seconds, lives):
        """Wait until others have the sleeper's partitions and commit, wake it, wait until it is done with that life."""
        world.hit(worker)
        others = [one for one in world.of(worker.stage) if one is not worker]
        before = sum(one.committed() for one in others)
        time.sleep(seconds)
        until = time.monotonic() + 60
        while sum(one.committed() for one in others) <= before:
            assert time.monotonic() < until, f"nobody took over from {worker.stage}-{worker.name}"
            time.sleep(0.1)
        assert worker.pid() == pid, "the sleeper did not live on"
        worker.signal(signal.SIGCONT)
        world.fault()
        while len(worker.events("born")) == lives:
            assert time.monotonic() < until + 60, f"the zombie {worker.stage}-{worker.name} lives on"
            time.sleep(0.1)


class Members(Scenario):
    """Workers join and leave, one to four of a stage, some with a kill; then each is replaced in turn (a rolling restart)."""

    name = "members"
    full: ClassVar = {"join": 50, "leave": 50, "rolling restart": 10}
    cut: ClassVar = {"join": 3, "leave": 3, "rolling restart": 1}
    recoveries = ("stopping", "ready")
    minutes = 10

    def run(self, world, dice, counts):
        fired = Fired()
        while any(fired.faults[kind] < counts[kind] for kind in ("join", "leave")):
            stage = dice.choice(STAGES)
            running = [worker for worker in world.of(stage) if worker.runs()]
            if len(running) < 2 or (len(running) < 4 and fired.faults["join"] <= fired.faults["leave"]):
                self.join(world, stage)
                fired.faults["join"] += 1
            else:
                leaving = dice.choice(running)
                leaving.kill() if dice.random() < 0.3 else leaving.stop()
                fired.faults["leave"] += 1
            world.fault()
            world.progress(90)
        for _ in range(counts["rolling restart"]):
            for worker in [worker for worker in world.workers if worker.runs()]:
                worker.stop()
                worker.start()
                world.fault()
                self.ready(worker)
            world.progress(90)
            fired.faults["rolling restart"] += 1
        return fired

    def join(self, world, stage):
        running = {worker.name for worker in world.of(stage) if worker.runs()}
        free = next(str(number) for number in range(1, 9) if str(number) not in running)
        known = next((worker for worker in world.of(stage) if worker.name == free), None)
        if known is None:
            world.worker(stage, free)
        else:
            known.start()

    def ready(self, worker):
        before, until = len(worker.events("ready")), time.monotonic() + 90
        while len(worker.events("ready")) <= before:
            assert time.monotonic() < until, f"{worker.stage}-{worker.name} does not get ready"
            time.sleep(0.05)
