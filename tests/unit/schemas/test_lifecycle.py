import pytest
from hypothesis import given
from hypothesis import strategies as st

from quality import lists
from schemas import lifecycle, tables
from schemas.lifecycle import PENDING, chain, refusal

VERSIONS = st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.integers(1, 2**63 - 1)), max_size=20)
ONE, OTHER, THIRD = b"1" * 8, b"2" * 8, b"3" * 8
TAKEN = st.tuples(st.sampled_from(lifecycle.steps()), st.sampled_from([ONE, OTHER, THIRD]))
STATES = st.sampled_from(sorted(lists.codes("Verification")))


@given(VERSIONS)
def test_versions_come_back_as_they_were_named(versions):
    named = lifecycle.replaces(versions)
    assert len(named) == 24 * len(versions)
    assert lifecycle.entries(named) == versions


@given(st.binary(max_size=80).filter(lambda named: len(named) % 24))
def test_what_is_no_whole_number_of_entries_is_refused(named):
    with pytest.raises(ValueError, match="no whole number"):
        lifecycle.entries(named)


def test_a_number_is_written_big_endian_after_the_id():
    assert lifecycle.replaces([(b"i" * 16, 258)]) == b"i" * 16 + b"\0\0\0\0\0\0\1\2"


def test_moves_are_of_the_contracts_states_and_each_state_can_be_confirmed_and_left():
    moves = lifecycle.allowed_moves()
    states = set(lists.codes("Verification"))
    assert len(moves) == len(tables.read("moves"))
    assert {state for move in moves for state in move} == states
    assert all((state, state) in moves for state in states)
    assert all(any(to != state for frm, to in moves if frm == state) for state in states)
    assert {move for move in moves if "verified" in move} == {
        (PENDING, "verified"),
        *(("verified", to) for to in ("verified", "not_in_scope", "did_not_occur")),
    }


def test_steps_are_the_contracts_in_their_order():
    assert lifecycle.steps() == ("focal_point", "technical", "task_force")


@pytest.mark.parametrize(
    ("before", "move", "taken", "reason"),
    [
        ((), (PENDING, "verified"), ("focal_point", ONE), ""),
        ((), (PENDING, "verified"), ("task_force", ONE), ""),
        ((), (PENDING, "verified"), ("unspecified", ONE), "revision.step"),
        ((), ("verified", PENDING), ("focal_point", ONE), "revision.move_not_allowed"),
        ((), ("did_not_occur", "verified"), ("focal_point", ONE), "revision.move_not_allowed"),
        ((("focal_point", ONE),), ("verified", "verified"), ("technical", OTHER), ""),
        ((("focal_point", ONE),), (PENDING, PENDING), ("technical", OTHER), ""),
        ((("focal_point", ONE),), (PENDING, PENDING), ("technical", ONE), "revision.same_verifier"),
        ((("focal_point", ONE),), ("verified", "verified"), ("focal_point", OTHER), "revision.step"),
        ((("technical", ONE),), ("verified", "verified"), ("focal_point", OTHER), "revision.step"),
        ((("focal_point", ONE), ("technical", OTHER)), ("verified", "verified"), ("task_force", ONE), "revision.same_verifier"),
        ((("focal_point", ONE), ("technical", OTHER)), ("verified", "did_not_occur"), ("task_force", THIRD), ""),
        ((("task_force", ONE),), ("not_in_scope", PENDING), ("focal_point", ONE), ""),
        ((("task_force", ONE),), ("not_in_scope", "not_in_scope"), ("focal_point", OTHER), "revision.step"),
    ],
)  # fmt: skip
def test_who_may_take_which_step(before, move, taken, reason):
    assert refusal(before, move, taken) == reason


@given(STATES, st.lists(st.tuples(STATES, TAKEN), max_size=30))
def test_of_all_that_can_follow_steps_go_up_and_nobody_takes_two(state, attempts):
    steps, taken_so_far = (), []
    for to, taken in attempts:
        move = (state, to)
        if refusal(steps, move, taken):
            continue
        steps = chain(steps, move, taken)
        taken_so_far = [] if to == PENDING != state else [*taken_so_far, taken]
        state = to
        assert list(steps) == taken_so_far
        assert len({who for _, who in steps}) == len({step for step, _ in steps}) == len(steps) <= 3
        assert [step for step, _ in steps] == sorted((s for s, _ in steps), key=lifecycle.steps().index)
