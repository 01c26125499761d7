"""Which keys may not be there: those of withdrawn cases, where no tombstone follows."""

from pipeline.log import Entry
from pipeline.receipts.guard import back

MINE, YOURS = bytes([1]) * 16, bytes([2]) * 16


def entries(*records):
    return [Entry(topic, 0, offset, 0, key, value) for offset, (topic, key, value) in enumerate(records)]


def test_a_key_of_a_withdrawn_case_that_no_tombstone_follows_came_again():
    found = entries(
        ("keys.A", MINE, b"key"),
        ("keys.A", MINE, None),
        ("keys.A", YOURS, b"key"),
        ("keys.A", b"epoch:1", b"key"),
        ("keys.B", MINE, b"key"),
        ("keys.B", YOURS, b"key"),
        ("keys.B", YOURS, None),
        ("keys.B", YOURS, b"key"),
    )
    assert back(found, {"A": {MINE, YOURS}, "B": set()}) == [("keys.A", YOURS)]
    assert back(found, {"A": {MINE}, "B": {YOURS, MINE}}) == [("keys.B", MINE), ("keys.B", YOURS)]
    assert back(found, {"A": set(), "B": set()}) == []
