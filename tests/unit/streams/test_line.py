"""One lane's ledger in log order: ranges that abut, bases, and what is left where the beginning was deleted."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import LedgerGap
from streams.ledger import Entry
from streams.line import Line, abuts

LANE = "raw.A-0"


def batch(start, end, offset=0):
    return Entry(LANE, offset, start, end, {"accepted": end - start}, b"%d " % start)


def base(end, parts=1, offset=0):
    whole = b"".join(b"%d " % start for start in range(end))
    cuts = [len(whole) * part // parts for part in range(parts + 1)]
    some = [whole[first:last] for first, last in pairwise(cuts)]
    return [Entry(LANE, offset, 0, end, {"accepted": end}, each, at, parts) for at, each in enumerate(some)]


def folded(entries):
    """Return what the entries come to: the deltas one after another, the sum of the counts, the line."""
    line, state, count = Line(LANE), b"", 0
    for entry in entries:
        if (taken := line.take(entry)) is not None:
            state, count = (b"", 0) if taken.base else (state, count)
            state, count = state + taken.delta, count + taken.counts["accepted"]
    line.check()
    return state, count, line.end


@pytest.mark.parametrize("following", [9, 11])
def test_a_hole_or_an_overlap_stops_and_says_what_to_do(following):
    with pytest.raises(LedgerGap, match=r"does not abut.*Stop all workers"):
        abuts(LANE, batch(10, 20), following)


def test_an_empty_range_is_no_batch():
    with pytest.raises(LedgerGap):
        abuts(LANE, batch(10, 10), 10)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(1, 4), st.data())
def test_from_any_record_on_that_a_base_follows_the_line_comes_to_the_same(bases, parts, data):
    """The log has a batch of each number, and behind some of them a base; its beginning is deleted anywhere before one."""
    log, kept = [], [0]
    for number, based in enumerate(bases):
        log.append(batch(number, number + 1))
        if based:
            kept += range(len(log) + 1)
            log += base(number + 1, parts)
    first = data.draw(st.sampled_from(sorted({*kept})))
    assert folded(log[first:]) == folded([one for one in log if not one.base])


def test_what_is_cut_and_has_no_base_stops_and_says_what_to_do():
    for entries in ([batch(1, 2)], base(2, 3)[1:], [*base(2, 3)[1:], batch(2, 3)]):
        with pytest.raises(LedgerGap, match=r"does not begin at 0.*restore the topic"):
            folded(entries)


@pytest.mark.parametrize("end", [1, 3])
def test_a_base_that_ends_elsewhere_stops(end):
    with pytest.raises(LedgerGap, match="does not abut"):
        folded([batch(0, 2), *base(end)])


def test_a_batch_that_overlaps_a_base_stops():
    with pytest.raises(LedgerGap, match="does not abut"):
        folded([*base(2), batch(1, 3)])


def test_half_a_base_counts_for_nothing():
    assert folded([batch(0, 1), batch(1, 2), *base(2, 3)[:2]]) == folded([batch(0, 1), batch(1, 2)])


def test_who_goes_on_from_a_snapshot_takes_what_abuts_it():
    line = Line(LANE)
    line.begin(5)
    assert line.take(batch(5, 6)) == batch(5, 6)
    assert line.end == 6
