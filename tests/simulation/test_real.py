import pytest

from tests.simulation.planted import planted
from tests.simulation.real import Merging, Refining
from tests.simulation.run import chunk, one

SCHEDULES = 150


@pytest.mark.timeout(300)
@pytest.mark.parametrize("world", [Refining, Merging])
def test_the_stages_put_out_under_faults_what_one_undisturbed_batch_gives(world):
    failed, happened = chunk(0, SCHEDULES, world)
    assert not failed, f"seed {failed[0][0]}: {failed[0][1]}"
    assert happened["killed"] > 50
    assert happened["request lost"] > 50
    assert happened["ledger cut"] > 30


@pytest.mark.parametrize("world", [Refining, Merging])
def test_a_real_stage_takes_the_same_course_again(world):
    first, second = (one(3, traced=True, world=world) for _ in range(2))
    assert first.trace == second.trace


@pytest.mark.timeout(120)
@pytest.mark.parametrize("world", [Refining, Merging])
def test_a_bug_is_found_with_a_real_stage_too(world):
    with planted("outputs_first"):
        assert chunk(0, 40, world)[0]
