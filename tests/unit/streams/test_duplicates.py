import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import events
from streams import duplicates
from streams.held import Held
from tests.unit.streams import plain
from tests.unit.streams.lanes import LIKENESS, incidents, lane_duplicates, numbered

NEAR = incidents(st.integers(18_000, 18_040), st.integers(0, 3))


@settings(deadline=None, max_examples=150)
@given(st.lists(NEAR, max_size=16), st.randoms(), st.integers(1, 5))
def test_pairs_are_those_of_comparing_each_with_each_in_any_order_and_batching(rows, random, size):
    rows = numbered(rows)
    expected = plain.duplicates(rows)
    random.shuffle(rows)
    held, found = Held(), []
    for at in range(0, len(rows), size):
        found += lane_duplicates(held, rows[at : at + size])
    assert len(found) == len(set(found))
    assert set(found) == expected


def pair(**other):
    one = plain.Incident(1, "A", 18_000, party="P")
    found = lane_duplicates(Held(), [one, plain.Incident(**{**vars(one), "id": 2, "node": "N2", **other})])
    return found[0][2] if found else 0


@pytest.mark.parametrize(
    ("other", "points"),
    [
        ({}, 95),
        ({"source": 2}, 100),
        ({"node": "N1"}, 0),
        ({"node": "N1", "source": 2}, 90),
        ({"day": 18_003}, 80),
        ({"day": 18_004}, 0),
        ({"party": None}, 80),
        ({"party": "Q"}, 0),
        ({"party": None, "category": 2}, 0),
        ({"party": None, "category": 0}, 80),
        ({"forms": 4}, 0),
        ({"forms": 6}, 75),
        ({"counts": (2, 0, 0, 0, 0)}, 85),
        ({"counts": (3, 0, 0, 0, 0)}, 0),
        ({"area": "B"}, 0),
        ({"day": 17_987, "precision": plain.MONTH}, 80),
        ({"day": 17_987, "precision": plain.QUARTER}, 0),
    ],
)
def test_the_score_is_the_sum_of_what_two_incidents_share(other, points):
    assert pair(**other) == points


def test_the_order_is_that_of_the_event_ids_whoever_comes_first():
    late, early = plain.Incident(9, "A", 18_000), plain.Incident(3, "A", 18_000, node="N2")
    assert [found[:2] for found in lane_duplicates(Held(), [late, early])] == [(3, 9)]


def test_likeness_and_points_are_in_the_order_of_the_contract():
    symbols = next(f for f in events.load("ProbableDuplicate")["fields"] if f["name"] == "reasons")["type"]["items"]
    assert symbols["symbols"][1:] == LIKENESS
    assert {name: duplicates.POINTS[k] for k, name in enumerate(LIKENESS, 1)} == plain.POINTS


@pytest.mark.timeout(20)
def test_a_flood_from_one_reporter_is_not_compared_with_itself():
    crowd = [plain.Incident(i, "A", 18_000) for i in range(1, 60_001)]
    held = Held()
    assert lane_duplicates(held, crowd) == []
    assert len(lane_duplicates(held, [plain.Incident(70_000, "A", 18_000, node="N2")])) == len(crowd)


def test_a_state_of_many_incidents_stays_below_thirty_five_bytes_each():
    held = Held()
    lane_duplicates(held, [plain.Incident(i, "A", 18_000) for i in range(100_000)])
    some = held.incidents
    used = sum(table.nbytes for table in (some.ids, some.keys, some.codes, some.marks, held.profiles.rows))
    assert used / some.count <= 35
    assert np.count_nonzero(some.marks) == 100_000
