import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streams import match
from streams.held import Held
from tests.unit.streams import plain
from tests.unit.streams.lanes import arrive, incidents, lane_links, numbered, patterns

MIX = st.tuples(st.lists(incidents(), max_size=12), st.lists(patterns(), max_size=12), st.randoms())


@settings(deadline=None)
@given(st.integers(-700_000, 2_900_000), st.integers(0, 4))
def test_the_last_day_is_the_calendars(day, precision):
    incident = plain.Incident(1, "A", day, precision)
    assert match.last_days(np.array([day]), np.array([precision])).tolist() == [incident.last]


@settings(deadline=None, max_examples=150)
@given(MIX, st.integers(1, 5))
def test_links_are_those_of_comparing_each_with_each_in_any_order_and_batching(mix, size):
    some_incidents, some_patterns, random = mix
    some_incidents, some_patterns = numbered(some_incidents), numbered(some_patterns, 1_000)
    arrivals, expected = [*some_incidents, *some_patterns], plain.links(some_incidents, some_patterns)
    random.shuffle(arrivals)
    held, found = Held(), []
    for at in range(0, len(arrivals), size):
        found += lane_links(held, arrivals[at : at + size])
    assert len(found) == len(set(found))
    assert set(found) == expected


def test_the_slack_is_fourteen_days_and_days_outside_are_counted():
    pattern = plain.Pattern(100, "A", 18_000, 18_030)
    days = [18_000 - 15, 18_000 - 14, 18_000, 18_030, 18_030 + 14, 18_030 + 15]
    held = Held()
    arrive(held, [pattern])
    found = lane_links(held, [plain.Incident(i, "A", day) for i, day in enumerate(days)])
    assert sorted(found) == [(1, 100, 0, 14), (2, 100, 0, 0), (3, 100, 0, 0), (4, 100, 0, 14)]


def test_an_unspecified_form_in_both_is_no_form_in_common():
    found = lane_links(
        Held(), [plain.Pattern(100, "A", 18_000, 18_030, forms=1), plain.Incident(1, "A", 18_000, forms=1)]
    )
    assert found == []


def test_a_period_of_a_thousand_years_meets_an_incident_once():
    long = plain.Pattern(100, "A", -100_000, 265_000)
    held = Held()
    assert lane_links(held, [plain.Incident(1, "A", 18_000), long]) == [(1, 100, 0, 0)]
    found = lane_links(held, [plain.Incident(2, "A", 18_000, plain.YEAR), plain.Incident(3, "A", 60_000)])
    assert sorted(found) == [(2, 100, 0, 0), (3, 100, 0, 0)]


def test_more_pairs_than_there_is_room_for_are_all_found(monkeypatch):
    some = [plain.Incident(i, "A", 18_000) for i in range(1, 40)]
    periods = [plain.Pattern(100 + i, "A", 18_000, 18_030) for i in range(40)]
    monkeypatch.setattr(match, "ROOM", 7)
    for first, second in ((some, periods), (periods, some)):
        held = Held()
        assert lane_links(held, first) == []
        assert set(lane_links(held, second)) == plain.links(some, periods)


def test_links_that_are_laid_anew_are_found_as_before():
    periods = [plain.Pattern(100 + i, "AB"[i % 2], 18_000 + 7 * i, 18_100 + 9 * i) for i in range(60)]
    held = Held()
    for at in range(0, len(periods), 10):
        arrive(held, periods[at : at + 10])
        assert held.laid < held.link_count
        some = [plain.Incident(at * 100 + i, "AB"[i % 2], 18_000 + i) for i in range(200)]
        assert set(lane_links(held, some)) == plain.links(some, periods[: at + 10])
        assert held.laid == held.link_count
