"""A batch with bad records is halved down to them: the rest counts, in one unbroken range."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.columns import Blob
from schemas.errors import Fenced, LedgerGap
from streams.attempt import Spoiled, Unrefusable, divided, part, whole
from streams.base import Outcome, Output, Records


class Add:
    """Keep the values seen; fail, after the state has been spoiled, on each that starts with `!`."""

    name = "add"

    def step(self, state, records, side):
        values = [records.values.item(i) for i in range(len(records))]
        state.extend(values)
        if any(value.startswith(b"!") for value in values):
            raise ValueError("bad")
        return state, self._outcome(values, "good")

    def refuse(self, state, record, error):
        assert isinstance(error, ValueError)
        return state, self._outcome([], "refused", 1)

    def _outcome(self, values, kind, count=None):
        output = Output("out", np.zeros(len(values), np.int32), Blob.of([b""] * len(values)), Blob.of(values))
        return Outcome((output,), {kind: len(values) if count is None else count}, b"".join(values))

    def freeze(self, state):
        return b"\n".join(state)

    def thaw(self, frozen):
        return frozen.split(b"\n") if frozen else []


class Unable(Add):
    refuse = None


def records(values, start=10, gaps=None):
    offsets = (
        np.cumsum([start, *(gaps or [1] * (len(values) - 1))]).astype(np.int64) if values else np.zeros(0, np.int64)
    )
    end = int(offsets[-1]) + 3 if values else start
    blob = Blob.of(values)
    return Records(
        "in", 0, start - 2, end, offsets, np.zeros(len(values), np.int64), blob, Blob.of([b""] * len(values))
    )


values = st.lists(
    st.tuples(st.booleans(), st.binary(max_size=4).map(lambda v: v.hex().encode())), min_size=1, max_size=40
)


@settings(max_examples=50, deadline=None)
@given(values, st.data())
def test_good_records_count_in_order_and_bad_ones_are_refused(items, data):
    batch = [b"!" + value if bad else b"." + value for bad, value in items]
    gaps = data.draw(st.lists(st.integers(1, 4), min_size=len(batch) - 1, max_size=len(batch) - 1))
    whole_batch = records(batch, gaps=gaps)
    state, pieces = divided(Add(), b"before", whole_batch, None, 1 << 20)
    good = [value for value in batch if value.startswith(b".")]
    assert state == [b"before", *good]
    assert b"".join(piece.outcome.delta for piece in pieces) == b"".join(good)
    assert sum(piece.outcome.counts.get("refused", 0) for piece in pieces) == len(batch) - len(good)
    assert sum(piece.records for piece in pieces) == len(batch)
    edges = [(piece.start, piece.end) for piece in pieces]
    assert edges[0][0] == whole_batch.start
    assert edges[-1][1] == whole_batch.end
    assert all(before[1] == after[0] for before, after in itertools.pairwise(edges))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=5), min_size=1, max_size=20), st.data())
def test_parts_hold_the_same_records_and_abut(items, data):
    batch = records(items)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(items)), max_size=5)) | {0, len(items)})
    parts = [part(batch, first, last) for first, last in itertools.pairwise(cuts)]
    assert [one.values.item(i) for one in parts for i in range(len(one))] == items
    assert [int(offset) for one in parts for offset in one.offsets] == batch.offsets.tolist()
    assert all(one.values.bounds[0] == 0 for one in parts)
    assert [one.start for one in parts] == [batch.start, *(one.end for one in parts[:-1])]
    assert parts[-1].end == batch.end


def test_a_good_batch_is_one_piece():
    state, piece = whole(Add(), [], records([b".a", b".b"]), None, 1 << 20)
    assert (state, piece.start, piece.end, piece.records) == ([b".a", b".b"], 8, 14, 2)


def test_a_failure_says_where_and_no_value():
    with pytest.raises(Spoiled, match=r"add failed at in-0 8 to 14 \(ValueError\)") as caught:
        whole(Add(), [], records([b".a", b"!secret"]), None, 1 << 20)
    assert b"secret" not in str(caught.value).encode()


@pytest.mark.parametrize("error", [LedgerGap("stop"), Fenced("again")])
def test_errors_that_stop_or_retry_pass_through(error):
    class Ends(Add):
        def step(self, state, records, side):
            raise error

    with pytest.raises(type(error)):
        whole(Ends(), [], records([b".a"]), None, 1 << 20)


def test_a_panic_that_is_no_exception_is_met_too():
    class Panic(BaseException):
        pass

    class Panics(Add):
        def step(self, state, records, side):
            raise Panic

    with pytest.raises(Spoiled):
        whole(Panics(), [], records([b".a"]), None, 1 << 20)


def test_what_would_not_fit_into_a_message_is_divided():
    state, pieces = divided(Add(), b"", records([b"." + b"x" * 40] * 8), None, 100)
    assert [piece.records for piece in pieces] == [2, 2, 2, 2]
    assert len(state) == 8


def test_a_record_that_the_stage_can_neither_take_nor_refuse_stops_the_worker():
    with pytest.raises(Unrefusable, match="report this"):
        divided(Unable(), b"", records([b"!x"]), None, 1 << 20)


def test_a_stage_that_fails_to_refuse_stops_the_worker():
    class Worse(Add):
        def refuse(self, state, record, error):
            raise RuntimeError

    with pytest.raises(Unrefusable):
        divided(Worse(), b"", records([b"!x"]), None, 1 << 20)
