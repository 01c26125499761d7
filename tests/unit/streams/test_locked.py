import pytest

from schemas.lock import WrongKey, unlock
from streams.base import Outcome
from streams.locked import Locked

KEY, OTHER = bytes(32), bytes(31) + b"\x01"
PLANTED = b"planted name"


class Remembers:
    """A stage that remembers what it was given, in clear."""

    name = "remembers"

    def empty(self, lane):
        return []

    def step(self, state, records, side):
        return [*state, records], Outcome((), {"seen": 1}, records)

    def refuse(self, state, records, error):
        return state, Outcome((), {"quarantined": 1}, b"")

    def restore(self, state, delta):
        return [*state, delta] if delta else state

    def freeze(self, state):
        return b"|".join(state)

    def thaw(self, frozen):
        return frozen.split(b"|") if frozen else []


@pytest.fixture
def stage():
    return Locked(Remembers(), KEY)


def test_no_delta_and_no_snapshot_is_in_clear(stage):
    state, outcome = stage.step(stage.empty("lane"), PLANTED, None)
    assert PLANTED in unlock(KEY, outcome.delta)
    assert PLANTED not in outcome.delta
    assert PLANTED not in stage.freeze(state)


def test_restore_gives_the_state_after_the_step(stage):
    state, outcome = stage.step(stage.empty("lane"), PLANTED, None)
    assert stage.restore(stage.empty("lane"), outcome.delta) == state == [PLANTED]
    assert stage.thaw(stage.freeze(state)) == state


def test_a_refusal_is_locked_too(stage):
    state, outcome = stage.refuse([PLANTED], PLANTED, ValueError())
    assert stage.restore(state, outcome.delta) == [PLANTED]
    assert outcome.counts == {"quarantined": 1}


def test_the_same_batch_gives_the_same_bytes(stage):
    first, second = (stage.step([], PLANTED, None)[1].delta for _ in range(2))
    assert first == second


def test_another_key_reads_nothing(stage):
    _, outcome = stage.step([], PLANTED, None)
    with pytest.raises(WrongKey):
        Locked(Remembers(), OTHER).restore([], outcome.delta)
