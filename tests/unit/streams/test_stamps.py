import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.columns import Blob
from streams.stamps import stamped


@pytest.mark.parametrize("width", [16, 32])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_items_come_in_the_order_asked_for_each_under_its_ids_and_its_key(width, data):
    items = data.draw(st.lists(st.binary(min_size=5 + width, max_size=80), min_size=1, max_size=9))
    rows = data.draw(st.lists(st.integers(0, len(items) - 1), max_size=9, unique=True))
    order = data.draw(st.permutations(range(len(rows))))
    ids = np.random.default_rng(len(rows)).integers(0, 256, (len(rows), width), np.uint8)
    keys, found = stamped(Blob.of(items), np.array(rows, np.int64), ids, np.array(order, np.int64), 5)
    written = [ids[i].tobytes() for i in order]
    expected = [items[rows[i]][:5] + own + items[rows[i]][5 + width :] for i, own in zip(order, written, strict=True)]
    assert [found.item(i) for i in range(len(found))] == expected
    assert [key.tobytes() for key in keys] == [own[:16] for own in written]
