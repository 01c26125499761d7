"""The cut of `make chaos`: one world through kills of workers and crashes at every point; then the oracle.

Tests may run in any order: who needs a kind of fault makes it, once; the oracle is asked after all of them.
"""

import random

import pytest

from tests.chaos.points import POINTS
from tests.chaos.rig import STAGES, TUNED, World
from tests.chaos.runner import SESSION, SNAPSHOT_BYTES, Result, judged, told
from tests.chaos.scenarios.processes import Crashes, Kills

SEED, RATE = 20261124, 120.0
SCENARIOS = {kind.name: kind for kind in (Kills, Crashes)}
CHECKS = ("I1", "I1 hub", "I1 table", "I2", "I3", "I4", "I5", "I6", "I7", "I9", "I15", "I16", "I17")

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.timeout(900)]


class Cut:
    """The world, what fired in it, and the oracle's answer once it was asked."""

    def __init__(self, data):
        self.fired, self.result = {}, Result("cut", SEED)
        tuning = (TUNED, {"session_seconds": SESSION, "snapshot_bytes": SNAPSHOT_BYTES})
        self.world = World(data, SEED, rate=RATE, patches=[tuning])

    def begin(self):
        self.world.begin()
        for stage in STAGES:
            for number in (1, 2):
                self.world.worker(stage, str(number))
        self.world.progress(180)

    def fire(self, name):
        """Make the faults of a scenario's cut, once; what it must have done is asserted here."""
        if name not in self.fired:
            assert not self.result.checks, "the load has ended"
            scenario, result = SCENARIOS[name](), Result(name, SEED)
            counts, dice = dict(scenario.cut), random.Random(SEED)
            told(result, scenario, self.world, scenario.run(self.world, dice, counts), counts)
            assert result.wrong == []
            assert self.world.progress(60) < 60
            self.fired[name] = result
        return self.fired[name]

    def answer(self):
        if not self.result.checks:
            for name in SCENARIOS:
                self.fire(name)
            self.world.progress(60)
            self.world.drain()
            judged(self.world, self.result)
        return self.result


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    made = Cut(tmp_path_factory.mktemp("chaos"))
    try:
        made.begin()
        yield made
    finally:
        made.world.down()


def test_workers_are_killed(cut):
    assert cut.fire("kills").faults["worker kill -9"] >= 20


def test_workers_die_at_every_point(cut):
    faults = cut.fire("crashes").faults
    assert set(faults) == set(POINTS)
    assert sum(faults.values()) >= 48


def test_the_run_was_worth_it(cut):
    checks = cut.answer().checks
    became = checks["I1"]["notes"]
    assert became["accepted"] > 5_000
    assert min(became[name] for name in ("repeated", "quarantined", "forked", "withdrawn", "consent_withdrawn")) >= 5
    assert became["aborted records"] > 0, "no transaction was aborted: the faults came at idle moments"
    assert checks["I1 hub"]["notes"]["link"] > 20
    assert checks["I17"]["notes"]["during the faults"] > 5_000


@pytest.mark.parametrize("name", CHECKS)
def test_the_oracle_finds_nothing_wrong(cut, name):
    found = cut.answer().checks[name]
    assert found["wrong"] == []
    assert found["looked"] > 0
