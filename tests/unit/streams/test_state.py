import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.state import StateUnreadable, cells, pack, unpack


@settings(deadline=None)
@given(st.lists(st.integers(-(1 << 63), (1 << 63) - 1)), st.binary())
def test_columns_come_back(numbers, raw):
    columns = [np.array(numbers, "<i8"), np.frombuffer(raw, np.uint8)]
    back = unpack(pack(columns), ["<i8", "u1"])
    assert [column.tolist() for column in back] == [column.tolist() for column in columns]


@pytest.mark.parametrize("damaged", [b"", b"\x00" * 40, pack([])[:-3], pack([np.zeros(3)]), pack([])])
def test_what_is_no_state_stops_the_worker(damaged):
    with pytest.raises(StateUnreadable, match="Delete the snapshot"):
        unpack(damaged, ["<i8", "u1"])


def test_a_table_grows_by_doubling_and_keeps_its_rows():
    table = np.arange(6).reshape(3, 2)
    assert cells(table, 3) is table
    wider = cells(table, 4)
    assert wider.shape == (6, 2)
    assert wider[:3].tolist() == table.tolist()
    assert not wider[3:].any()
