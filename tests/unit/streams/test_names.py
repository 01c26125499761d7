import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streams import names


@settings(deadline=None)
@given(st.lists(st.lists(st.binary(max_size=30), max_size=80), max_size=4))
def test_a_name_is_numbered_at_first_sight_for_good(batches):
    table, known = names.empty(), {}
    for batch in batches:
        assert names.add(table, batch).tolist() == [known.setdefault(item, len(known)) for item in batch]
    assert names.listed(table) == list(known)
    assert names.listed(table, 1, 2) == list(known)[1:2]


def test_what_is_not_valid_has_no_number():
    data = np.frombuffer(bytearray(b"aabb"), np.uint8)
    spans = np.array([[0, 2], [0, 0], [2, 4], [0, 2]])
    table = names.empty()
    assert names.intern(table, data, spans, np.array([True, False, True, True])).tolist() == [0, -1, 1, 0]
    assert table.count == 2


def test_many_names_are_kept_apart():
    items = [str(i).encode() for i in range(50_000)]
    table = names.empty()
    assert names.add(table, items).tolist() == list(range(50_000))
    assert names.add(table, items[::-1]).tolist() == list(range(50_000))[::-1]
