import random
import subprocess
import sys

import numpy as np
import pytest

from schemas.columns import Blob
from streams import ledger, recordbatch
from tests.simulation.patch import ledger_record, record_batch
from tests.simulation.planted import BUGS, planted
from tests.simulation.run import MUST_HAPPEN, chunk, many, one
from tests.simulation.world import World

SCHEDULES = 8_000


@pytest.mark.timeout(600)
def test_no_schedule_loses_or_doubles_a_record():
    failed, happened = many(0, SCHEDULES, processes=2)
    assert not failed, f"python -m tests.simulation --seed {failed[0][0]} --trace: {failed[0][1]}"
    assert not [name for name in MUST_HAPPEN if happened[name] < 10]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name):
    with planted(name):
        found = next((seed for first in range(0, 1_600, 20) for seed, _ in chunk(first, 20)[0]), None)
    assert found is not None


@pytest.mark.parametrize("seed", [1, 2, 97, 473])
def test_a_seed_gives_the_same_course_again(seed):
    first, second = (one(seed, traced=True) for _ in range(2))
    assert first.trace == second.trace
    assert first.digest == second.digest
    assert len(first.trace) > 20


@pytest.mark.timeout(120)
def test_a_seed_gives_the_same_course_in_another_process():
    command = [sys.executable, "-m", "tests.simulation", "--seed", "97"]
    out = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert out[0] == out[1]
    assert f'"digest": {one(97, traced=True).digest}' in out[0]


def test_a_failing_seed_fails_again_in_the_same_words():
    with planted("outputs_first"):
        failed, _ = chunk(0, 60)
        assert failed
        assert [one(seed).violations for seed, _ in failed] == [violations for _, violations in failed]


def test_the_judge_notices_what_is_missing_and_what_is_doubled():
    schedule = World(5)
    source = schedule.inputs[schedule.places[0]]
    source.copied.append(b"one more")
    from tests.simulation import judge

    assert any("one more" in found for found in judge._copies(schedule))


def test_cheap_ledger_records_are_those_of_the_ledger():
    chance = random.Random(3)
    for _ in range(300):
        counts = {f"c{i}": chance.randrange(1 << chance.randrange(1, 40)) for i in range(chance.randrange(3))}
        start, delta = chance.randrange(1 << chance.randrange(1, 60)), chance.randbytes(chance.randrange(200))
        values = "in-1", start, start + chance.randrange(1, 99), counts, "s" * chance.randrange(4), delta
        assert ledger_record(*values) == ledger.write(*values)


def test_cheap_record_batches_are_those_of_the_kernel():
    chance = random.Random(4)
    for _ in range(100):
        pairs = [
            (chance.randbytes(chance.randrange(6)), chance.randbytes(chance.randrange(1, 90)))
            for _ in range(chance.randrange(1, 4))
        ]
        keys, values = (Blob.of(list(each)) for each in zip(*pairs, strict=True))
        (real,) = recordbatch.drafts(keys, values, np.arange(len(pairs)), 1 << 20)
        assert record_batch(*zip(*pairs, strict=True)) == real
