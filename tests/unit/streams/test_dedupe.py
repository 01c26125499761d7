import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.limits import NUMBERS
from streams import dedupe
from streams.completeness import held, highest, listed, missing
from streams.dedupe import FAR, FORKED, NEW, REPEATED

EVENTS = st.lists(
    st.tuples(st.one_of(st.integers(1, 40), st.integers(4_090, 4_100), st.integers(-2, 1 << 42)), st.integers(1, 3)),
    max_size=60,
)


def settle(seen, events):
    return dedupe.settle(
        seen, np.array([n for n, _ in events], np.int64), np.array([h for _, h in events], np.uint32)
    ).tolist()


def twin(seen, events):
    """Return the verdicts as a dictionary gives them; `seen` is number to hash."""
    verdicts = []
    for number, hashed in events:
        if not 1 <= number < NUMBERS:
            verdicts.append(FAR)
        elif number in seen:
            verdicts.append(REPEATED if seen[number] == hashed else FORKED)
        else:
            seen[number] = hashed
            verdicts.append(NEW)
    return verdicts


def state(seen):
    sequences, hashes = listed(seen)
    return dict(zip(sequences.tolist(), hashes.tolist(), strict=True)), held(seen), highest(seen)


@settings(deadline=None)
@given(EVENTS, st.integers(0, 60))
def test_verdicts_are_those_of_a_dictionary_in_any_batching(events, cut):
    seen, known = dedupe.fresh(), {}
    assert settle(seen, events[:cut]) + settle(seen, events[cut:]) == twin(known, events)
    assert state(seen) == (known, len(known), max(known, default=0))


@settings(deadline=None)
@given(EVENTS, EVENTS)
def test_a_batch_can_be_undone(before, after):
    seen = dedupe.fresh()
    settle(seen, before)
    kept, marks = state(seen), seen.marks.copy()
    verdicts = settle(seen, after)
    new = np.array([n for (n, _), verdict in zip(after, verdicts, strict=True) if verdict == NEW], np.int64)
    dedupe.forget(seen, new, marks)
    assert state(seen) == kept
    assert (seen.marks == marks).all()
    assert settle(seen, after) == verdicts


@settings(deadline=None)
@given(st.sets(st.integers(1, 9_000), max_size=80), st.integers(0, 9))
def test_missing_numbers_are_those_that_were_not_seen(numbers, limit):
    seen = dedupe.fresh()
    settle(seen, [(number, 1) for number in numbers])
    absent = [number for number in range(1, max(numbers, default=0)) if number not in numbers]
    assert [number for gap in missing(seen, 9_001) for number in gap] == absent
    assert missing(seen, limit) == missing(seen, 9_001)[:limit]
    assert highest(seen) - held(seen) == len(absent)


def test_numbers_far_apart_allocate_a_bounded_number_of_pages():
    seen = dedupe.fresh()
    far = [(1 + i * 5_000_000, 1) for i in range(20_000)]
    verdicts = settle(seen, far)
    assert verdicts.count(NEW) == dedupe.SLACK
    assert verdicts.count(FAR) == len(far) - dedupe.SLACK
    assert seen.pages.nbytes + seen.mids.nbytes <= 32 << 20
    assert settle(seen, far) == [REPEATED if verdict == NEW else FAR for verdict in verdicts]


def test_pages_follow_the_events_of_an_honest_node():
    seen = dedupe.fresh()
    numbers = np.arange(1, 6_000_001)
    assert (dedupe.settle(seen, numbers, np.ones(len(numbers), np.uint32)) == NEW).all()


@pytest.mark.parametrize("number", [0, -1, NUMBERS, NUMBERS + 1, -(1 << 63), (1 << 63) - 1])
def test_an_impossible_number_is_far(number):
    assert settle(dedupe.fresh(), [(number, 1)]) == [FAR]


def test_a_number_just_below_the_limit_is_seen():
    seen = dedupe.fresh()
    assert settle(seen, [(NUMBERS - 1, 1), (NUMBERS - 1, 2), (NUMBERS - 1, 1)]) == [NEW, FORKED, REPEATED]
    assert missing(seen, 5) == [range(1, NUMBERS - 1)]


def test_hashes_are_never_zero_and_follow_every_byte():
    ids = np.random.default_rng(1).integers(0, 256, (2_000, 16), np.uint8)
    ids[1000:] = ids[:1000]
    ids[np.arange(1000, 2000), np.arange(1000) % 16] ^= 1
    found = dedupe.hashes(ids.reshape(-1), np.arange(0, 32_000, 16))
    assert found.all()
    assert (found[:1000] != found[1000:]).all()
    assert dedupe.hashes(np.zeros(16, np.uint8), np.zeros(1, np.int64)).tolist() == [1]
