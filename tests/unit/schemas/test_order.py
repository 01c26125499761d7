import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas import order

HALVES = st.sampled_from([bytes(8), bytes(7) + b"\1", b"\xff" * 8, b"\x80" + bytes(7)])
IDS = st.one_of(st.binary(min_size=32, max_size=32), st.lists(HALVES, min_size=4, max_size=4).map(b"".join))


def sorted_rows(ids):
    return sorted(range(len(ids)), key=lambda row: (ids[row], row))


@pytest.mark.parametrize("width", [16, 32])
@given(rows=st.lists(IDS, max_size=200))
@example(rows=[])
@example(rows=[bytes(32)] * 3)
@settings(max_examples=100, deadline=None)
def test_rows_go_by_all_their_bytes_and_equal_ones_as_they_came(width, rows):
    ids = [row[:width] for row in rows]
    table = np.frombuffer(b"".join(ids), np.uint8).reshape(-1, width)
    assert order.order_of(table).tolist() == sorted_rows(ids)


@pytest.mark.timeout(20)
def test_a_crowd_under_one_id_is_put_in_order_too():
    ids = np.random.default_rng(1).integers(0, 256, (50_000, 32), np.uint8)
    ids[: len(ids) // 2, :16] = 7
    assert order.order_of(ids).tolist() == sorted_rows([row.tobytes() for row in ids])
