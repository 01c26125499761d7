"""Runs scenarios: one world each, faults by the dice of a seed, then the oracle. `python -m tests.chaos --help`."""

import importlib
import json
import pkgutil
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos import replay
from tests.chaos.base import Scenario
from tests.chaos.load import write_truth
from tests.chaos.rig import ROOT, STAGES, TUNED, World

SESSION, SNAPSHOT_BYTES = 6.0, 20_000
PACKAGES = ("tests.chaos.scenarios", "tests.chaos.world")


@dataclass
class Result:
    """What became of one run; red where `wrong` has a line."""

    name: str
    seed: int
    seconds: float = 0.0
    faults: dict[str, int] = field(default_factory=dict)
    recoveries: dict[str, int] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    checks: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


def scenarios() -> dict[str, Scenario]:
    """Return every scenario there is, by name: what the modules of the packages define."""
    found: dict[str, Scenario] = {}
    for package in PACKAGES:
        try:
            module = importlib.import_module(package)
        except ModuleNotFoundError as error:
            if error.name != package:
                raise
            continue
        found_in = pkgutil.iter_modules(module.__path__)
        names = [f"{package}.{each.name}" for each in found_in if not each.name.startswith("test_")]
        for each in (importlib.import_module(name) for name in names):
            kinds = [k for k in vars(each).values() if isinstance(k, type) and issubclass(k, Scenario)]
            found |= {kind.name: kind() for kind in kinds if kind.name and kind.__module__ == each.__name__}
    return dict(sorted(found.items()))


def least(scenario: Scenario, cut: bool, minutes: float | None) -> dict[str, int]:
    """Return how often each kind must fire: as stated, or less in less time, but never fewer than 10 of a kind."""
    if cut:
        return dict(scenario.cut)
    share = 1.0 if minutes is None else min(1.0, minutes / scenario.minutes)
    return {kind: max(min(10, count), round(count * share)) for kind, count in scenario.full.items()}


def oracle(data: Path, truth: Path, *options: str) -> dict[str, Any]:
    """Ask the judge, in a process of its own."""
    command = [sys.executable, "-m", "tests.chaos.oracle", str(data), str(truth), "--json", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=1_800)
    if done.returncode not in (0, 1) or not done.stdout.startswith("{"):
        raise AssertionError(f"the oracle gave no answer: {done.stderr[-3000:]}")
    return json.loads(done.stdout)


def judged(world: World, result: Result, *options: str) -> None:
    """Write the truth down, ask the oracle, and take its answer into the result."""
    truth = world.data / "truth.sqlite"
    meta = {"seed": world.seed, "last_fault": world.last_fault, "seen_during": world.seen_during}
    write_truth(truth, world.load, world.onlooker.seen, world.sampler.rows, meta)
    answer = oracle(world.data, truth, "--keep", str(world.data / "book.sqlite"), *options)
    (world.data / "oracle.json").write_text(json.dumps(answer))
    result.checks, result.tables = answer["checks"], answer["tables"]
    result.wrong += [f"{name}: {line}" for name, one in answer["checks"].items() for line in one["wrong"]]
    result.notes |= {"records": world.feed.sent, "groups sent again": world.feed.again}


def run(scenario: Scenario, seed: int, data: Path, counts: dict[str, int], rate: float = 500.0) -> Result:
    """Run one scenario in a world of its own."""
    result, began = Result(scenario.name, seed), time.monotonic()
    tuning = (TUNED, {"session_seconds": SESSION, "snapshot_bytes": SNAPSHOT_BYTES})
    world = World(data, seed, rate=rate, patches=[tuning])
    try:
        scenario.prepare(world)
        world.begin()
        for stage in STAGES:
            for number in range(scenario.workers.get(stage, 1)):
                world.worker(stage, str(number + 1))
        world.progress(180)
        told(result, scenario, world, scenario.run(world, random.Random(seed), counts), counts)
        world.progress(120)
        world.drain()
        judged(world, result)
        raw = replay.kept(world.kafka)
        world.down()
        result.checks["I8"] = replay.same_tables(world, oracle, raw)
        result.wrong += [f"I8: {line}" for line in result.checks["I8"]["wrong"]]
    except (AssertionError, TimeoutError, subprocess.TimeoutExpired) as error:
        result.wrong.append(f"{type(error).__name__}: {error}")
    finally:
        try:
            scenario.finish(world)
        finally:
            world.down()
    result.seconds = round(time.monotonic() - began, 1)
    return result


def told(result: Result, scenario: Scenario, world: World, fired, counts: dict[str, int]) -> None:
    """Note what fired and what was seen; a kind that fired too seldom or a recovery that never ran is wrong."""
    seen = world.recoveries()
    result.faults, result.notes = dict(fired.faults), dict(fired.notes)
    result.recoveries = {name: seen[name] for name in sorted(seen) if name not in ("batch", "born", "start")}
    for kind, count in counts.items():
        if fired.faults[kind] < count:
            result.wrong.append(f"{kind} fired {fired.faults[kind]} times of {count}")
    result.wrong += [f"recovery {name} was never seen" for name in scenario.recoveries if not seen[name]]


def rendered(results: list[Result]) -> str:
    """Return the table of a run."""
    lines = ["| scenario | faults fired | records | violations | seed | seconds |", "|---|---|---|---|---|---|"]
    for one in results:
        faults = ", ".join(f"{kind} {count}" for kind, count in sorted(one.faults.items()))
        row = (one.name, faults, one.notes.get("records", 0), len(one.wrong), one.seed, round(one.seconds))
        lines.append("| " + " | ".join(map(str, row)) + " |")
    total: Counter[str] = Counter()
    for one in results:
        total.update(one.faults)
    lines.append(f"\n{sum(total.values())} faults, {sum(len(one.wrong) for one in results)} violations.")
    return "\n".join(lines)
