"""What a scenario of faults is, and what it may touch: every kind of fault is written against this.

A scenario gets a world where workers run under load, makes its faults, and says how often each kind hit something
that was at work. The runner does the rest: it starts the load, drains, asks the oracle, and is red where a kind
fired too seldom or a way to recover was never taken.
"""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass
class Fired:
    """How often each kind of fault hit something at work, and what else was seen on the way (`notes`: numbers)."""

    faults: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)


class Worker(Protocol):
    """`tocsin worker` under its supervisor, started through the tests' own entry (tests/chaos/worker.py)."""

    stage: str
    name: str
    # Applied by each new life of the worker before the product runs: ("module:function", keyword arguments).
    patches: list[tuple[str, dict[str, Any]]]
    environment: dict[str, str]  # of the supervisor and so of each life; from the next `start` on

    def start(self) -> None:
        """Start supervisor and worker."""

    def stop(self) -> None:
        """Ask it to end (SIGTERM) and wait."""

    def kill(self) -> None:
        """kill -9 the supervisor; its worker dies with it."""

    def kill_child(self) -> bool:
        """kill -9 the worker; its supervisor starts it again. Whether there was one."""

    def pid(self) -> int | None:
        """Return the process id of the present life, None between two."""

    def committed(self) -> int:
        """Return the number of batches committed so far, over all lives."""

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the worker's JSON events of that name (start, ready, batch, again, restart, stops ...)."""


class World(Protocol):
    """One data folder with a real Kafka and a real S3, workers of each stage, and a load on them."""

    data: Any  # Path of the data folder; cluster.json in it says where Kafka and S3 really are
    kafka: str  # host:port of the real broker
    s3: str  # host:port of the real store
    nodes: list[str]
    workers: list[Worker]
    patches: list[tuple[str, dict[str, Any]]]  # of every worker, before its own

    def worker(self, stage: str, name: str, **options: Any) -> Worker:
        """Add a worker and start it."""

    def at_work(self) -> list[Worker]:
        """Return the workers that have committed since they were last hit (`hit`), in the life that runs now."""

    def hit(self, worker: Worker) -> None:
        """Remember that this worker was hit now: it must commit before it is at work again."""

    def next_at_work(self, dice: random.Random, stage: str | None = None, seconds: float = 120.0) -> Worker:
        """Wait for a worker at work and return one by the dice; AssertionError after `seconds` without."""

    def progress(self, seconds: float = 60.0) -> float:
        """Wait until every stage has committed again; return the seconds it took. AssertionError after `seconds`."""

    def kill_broker(self) -> None:
        """kill -9 Kafka."""

    def start_broker(self) -> None:
        """Start what is not running of Kafka and S3, and wait until both answer."""


class Scenario:
    """One kind of trouble. `full` and `cut`: how often each kind of fault must fire in the whole run and in the cut.

    `recoveries`: what must be seen in the workers' events at least once, as `event` or `event:error`
    (`restart`, `again:Fenced`, `snapshot_discarded` ...). `workers`: how many of each stage.
    """

    name = ""
    full: Mapping[str, int] = {}
    cut: Mapping[str, int] = {}
    recoveries: tuple[str, ...] = ()
    workers: Mapping[str, int] = {"refine": 1, "merge": 1, "sink": 1}
    minutes = 5  # about how long the whole run takes

    def prepare(self, world: World) -> None:
        """Set up what must be there before the workers start (proxies, small disks); `world.patches` may grow."""

    def run(self, world: World, dice: random.Random, counts: Mapping[str, int]) -> Fired:
        """Make `counts` faults of each kind while the load goes on; return when the last has passed."""
        raise NotImplementedError

    def finish(self, world: World) -> None:
        """Take away what `prepare` has put up; called also where the run failed."""
