"""Many schedules: seeds in, what was violated and what happened out."""

import gc
import multiprocessing
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed

from tests.simulation.patch import Clock, simulated
from tests.simulation.world import World

CHUNK = 100
# Each of these must have happened in a run of some thousands; a run without one is as good as none.
MUST_HAPPEN = (
    "answer lost", "asleep", "base asked", "base_written", "batch_divided", "broker restarted", "delayed", "ended by Fenced", "ended by Unreachable", "forgotten",
    "generation", "hiccup", "killed", "late request", "ledger cut", "machine lost", "marker forgotten", "replayed", "request lost", "settled without all",
    "torn write", "transaction_settled",
)  # fmt: skip


def one(seed, traced=False, world=World):
    """Run one schedule."""
    clock = Clock()
    with simulated(clock):
        return _run(world, seed, traced, clock)


def _run(world, seed, traced, clock):
    schedule = world(seed, traced)
    clock.loop = schedule.loop
    return schedule.run()


def chunk(first, count, world=World):
    """Run the schedules of successive seeds; return [(seed, violations)] of the failing ones, and counts of what happened."""
    failed, happened, clock = [], Counter(), Clock()
    gc.collect()
    gc.freeze()  # what is loaded by now is no garbage: without this a third of the time goes into looking at it
    enabled = gc.isenabled()
    gc.disable()
    try:
        with simulated(clock):
            for seed in range(first, first + count):
                result = _run(world, seed, False, clock)
                happened.update(result.counts)
                if result.violations:
                    failed.append((seed, result.violations))
    finally:
        gc.unfreeze()
        if enabled:
            gc.enable()
    return failed, happened


def many(first, count, processes, tell=lambda done: None, world=World):
    """Run `count` schedules in chunks on several processes; `tell(done)` hears how many are done."""
    failed, happened, done = [], Counter(), 0
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context) as pool:
        parts = range(first, first + count, CHUNK)
        futures = {pool.submit(chunk, at, min(CHUNK, first + count - at), world): at for at in parts}
        for future in as_completed(futures):
            some, counts = future.result()
            failed += some
            happened.update(counts)
            done += min(CHUNK, first + count - futures[future])
            tell(done)
    return sorted(failed), happened
