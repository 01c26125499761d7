"""What every sink must pass: subclass `SinkCase`, say how to open the sink and how to read what is in it.

A sink whose tables end with its process has nothing to find again after a crash: for it there is `TablesCase`.

A crash is a value in a test's input: `(end, point, visit)` stands for a process that dies there; what follows
is a new process.
"""

import random
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import LedgerGap, Retries, Stops
from tests.conformance.histories import History, day, hexed, keyed
from tests.conformance.hub_events import (
    KINDS,
    assessment,
    batch,
    closure,
    duplicate,
    incident,
    link,
    referral,
    removal,
    revision,
)

MIXED = ("incidents", "incidents", "patterns", "links", "incidents", "duplicates", None)


class Crash(BaseException):
    """The process dies here."""


def log_of(size, kinds=MIXED):
    """A topic's log: event by offset; None is a place that a transaction marker took."""
    chosen = [kinds[offset % len(kinds)] for offset in range(size)]
    return {offset: KINDS[kind](offset) for offset, kind in enumerate(chosen) if kind}


def expected(log_size, kinds=MIXED):
    chosen = [kinds[offset % len(kinds)] for offset in range(log_size)]
    return Counter(kind for kind in chosen if kind)


GONE = (0, 3, 5, 11, 13)  # two incidents, one that a link names, two that duplicates name: as first, as second
REMOVING = log_of(40) | {40 + i: removal(number) for i, number in enumerate(GONE)}
EXAMPLES = 8

LIFE = dict(
    enumerate(
        [
            incident(1, women=0),
            link(1, release=1),
            incident(2, women=2),
            duplicate(1, 2, release=1),
            link(1),
            closure(1),  # the version that takes its place comes later, over another lane
            revision(1, 101, women=1),
            link(1, 101),
            revision(1, 102, current=False, women=2),
            closure(2, None, 821, "did_not_occur"),
            revision(1, 103, women=3),
            closure(1, 102, 822, "verified"),
            closure(1, 101, 822, "verified"),
            link(1, 103),
            incident(3),
            revision(3, 105),
            closure(3),
            removal(3),
            revision(4, 104, current=False, women=4),
        ]
    )
)


class TablesCase:
    """What holds of a sink that lives as long as its tables, and of every other.

    `new_place()` names a place that nobody used; `open(place, reached)` opens the sink of its one partition;
    `records(place)` gives what a reader sees: table → list of rows, each a dict; `topic(place)` its topic.
    """

    def new_place(self):
        raise NotImplementedError

    def topic(self, place):
        raise NotImplementedError

    def open(self, place, reached):
        raise NotImplementedError

    def records(self, place):
        raise NotImplementedError

    def rows(self, place):
        return {name: [str(row) for row in rows] for name, rows in self.records(place).items()}

    def run(self, place, log, steps):
        """Live through `steps`: the end of a batch, or (end, point, visit) where the process dies at that visit.

        Return the points at which it died.
        """
        died = []
        for step in steps:
            end, point, visit = step if isinstance(step, tuple) else (step, None, 0)
            visits = Counter()

            def reached(name, point=point, visit=visit, visits=visits):
                kind = name.split(" ")[0]
                visits[kind] += 1
                if kind == point and visits[kind] == visit:
                    raise Crash(name)

            sink = self.open(place, reached)
            try:
                start = sink.position()
                if end > start:
                    sink.write(batch(self.topic(place), log, start, end))
                    assert sink.position() == end
            except Crash:
                died.append(point)
            finally:
                sink.close()
        return died

    def quiet(self, name):
        """Nothing happens at this point."""

    def assert_exact(self, place, size):
        found = self.rows(place)
        assert {name: len(rows) for name, rows in found.items() if rows} == dict(expected(size))
        assert all(len(set(rows)) == len(rows) for rows in found.values())

    def test_a_new_sink_begins_at_zero(self):
        sink = self.open(self.new_place(), self.quiet)
        assert sink.position() == 0
        sink.close()

    def test_each_event_is_a_row_once(self):
        place = self.new_place()
        self.run(place, log_of(40), [7, 21, 22, 40])
        self.assert_exact(place, 40)

    def test_a_batch_of_nothing_but_markers_moves_the_position(self):
        place = self.new_place()
        self.run(place, {}, [5])
        sink = self.open(place, self.quiet)
        assert sink.position() == 5
        sink.close()

    def assert_removed(self, place):
        """What names an incident of `GONE` is in no table; all else is."""
        found = {name: len(rows) for name, rows in self.rows(place).items()}
        assert found == {
            "versions": 0,
            "referrals": 0,
            "assessments": 0,
            **(expected(40) - Counter({"incidents": 2, "links": 1, "duplicates": 2})),
        }

    @pytest.mark.parametrize("cuts", [[45], [20, 45], [7, 21, 41, 45]])
    def test_a_removed_incident_and_what_names_it_go(self, cuts):
        place = self.new_place()
        self.run(place, REMOVING, cuts)
        self.assert_removed(place)

    def test_a_removal_that_names_nothing_moves_the_position(self):
        place = self.new_place()
        self.run(place, log_of(20) | {20: removal(999)}, [20, 21])
        self.assert_exact(place, 20)

    def assert_told(self, place, history):
        """The tables are those of the model, and tell what was the current version on any day."""
        records = self.records(place)
        assert keyed(records) == history.tables
        rows = [*records["incidents"], *(row for row in records["versions"] if not row["conflict"])]
        for number in range(700, history.today + 1, 3):
            current = [
                row
                for row in rows
                if row["recorded_on"] <= day(number) and (row.get("ended_on") is None or row["ended_on"] > day(number))
            ]
            found = {row["incident_id"]: row["version_id"] for row in current}
            assert len(found) == len(current)
            assert found == history.as_of(number)

    @pytest.mark.parametrize("cuts", [[30], [3, 8, 30], range(1, 31)])
    def test_a_closed_version_moves_with_what_ended_it_in_any_cut(self, cuts):
        place = self.new_place()
        self.run(place, LIFE, cuts)
        found = keyed(self.records(place))
        assert {key: row["women"] for key, row in found["incidents"].items()} == {(hexed(1), hexed(103)): 3}
        assert {key: (row["women"], row["ending"], row["conflict"]) for key, row in found["versions"].items()} == {
            (hexed(1), None): (0, "amended", False),
            (hexed(1), hexed(101)): (1, "verified", False),
            (hexed(1), hexed(102)): (2, "verified", True),
            (hexed(2), None): (2, "did_not_occur", False),
            (hexed(4), hexed(104)): (4, None, True),
        }
        assert set(found["links"]) == {(hexed(1), hexed(103), hexed(2))}
        assert not found["duplicates"]

    @pytest.mark.parametrize("cuts", [[8], [3, 8], range(1, 9)])
    def test_a_referral_is_one_row_as_it_was_followed_up_last_and_goes_with_its_incident(self, cuts):
        place = self.new_place()
        told = [incident(1), referral(1, 201), incident(2), referral(2, 202), referral(2, 203)]
        told += [referral(1, 204, 201, "service_received"), closure(1, 201, ending="followed_up"), removal(2)]
        self.run(place, dict(enumerate(told)), cuts)
        found = self.records(place)
        [row] = found["referrals"]
        assert (row["referral_id"], row["version_id"], row["incident_id"]) == (hexed(201), hexed(204), hexed(1))
        assert (row["outcome"], row["service"], row["consented"]) == ("service_received", "medical", True)
        assert [row["incident_id"] for row in found["incidents"]] == [hexed(1)]
        assert not found["versions"]

    @pytest.mark.parametrize("cuts", [[9], [3, 6, 9], range(1, 10)])
    def test_an_assessment_is_a_row_whatever_becomes_of_versions_and_goes_with_its_incident(self, cuts):
        place = self.new_place()
        told = [assessment(1, 301), incident(1), incident(2), assessment(2, 302), revision(1, 101), closure(1)]
        told += [assessment(1, 303, "disputed", 2), removal(2), assessment(9, 304)]
        self.run(place, dict(enumerate(told)), cuts)
        found = self.records(place)
        said = {
            (row["incident_id"], row["assessment_id"], row["verdict"], row["number"]) for row in found["assessments"]
        }
        assert said == {
            (hexed(1), hexed(301), "corroborated", 1),
            (hexed(1), hexed(303), "disputed", 2),
            (hexed(9), hexed(304), "corroborated", 1),
        }
        assert [row["incident_id"] for row in found["incidents"]] == [hexed(1)]

    @pytest.mark.parametrize(("seed", "size"), [(1, 1), (2, 3), (3, 7)])
    def test_a_sink_that_stays_open_goes_on_as_new_ones_do(self, seed, size):
        history, place = History(seed, 60), self.new_place()
        sink = self.open(place, self.quiet)
        while (start := sink.position()) < history.offset:
            sink.write(batch(self.topic(place), history.log, start, min(start + size, history.offset)))
        sink.close()
        self.assert_told(place, history)

    @pytest.mark.parametrize(("start", "end"), [(0, 10), (5, 15), (11, 20), (0, 30)])
    def test_a_range_that_does_not_abut_is_refused(self, start, end):
        place = self.new_place()
        sink = self.open(place, self.quiet)
        sink.write(batch(self.topic(place), log_of(10), 0, 10))
        with pytest.raises(LedgerGap, match="position"):
            sink.write(batch(self.topic(place), log_of(40), start, end))
        sink.close()
        self.assert_exact(place, 10)

    @pytest.mark.parametrize("bad", [b"\x00\x00", incident(3)[:-1], b"\x01" + incident(3)[1:], incident(3) + b"\0"])
    def test_a_record_that_no_stage_writes_stops_the_sink_and_names_its_offset(self, bad):
        place = self.new_place()
        sink = self.open(place, self.quiet)
        with pytest.raises(Stops, match="offset 4 "):
            sink.write(batch(self.topic(place), log_of(9) | {4: bad}, 0, 9))
        assert sink.position() == 0
        sink.close()
        assert not any(self.rows(place).values())

    def test_a_tombstone_brings_nothing_and_what_it_left_out_before_is_no_gap(self):
        place = self.new_place()
        sink = self.open(place, self.quiet)
        sink.write(batch(self.topic(place), log_of(9) | {4: b"", 8: b""}, 0, 9))
        sink.write(batch(self.topic(place), {9: b""}, 9, 12))
        assert sink.position() == 12
        sink.close()
        kept = self.new_place()
        sink = self.open(kept, self.quiet)
        log = log_of(9)
        sink.write(batch(self.topic(kept), {at: log[at] for at in log if at not in (4, 8)}, 0, 12))
        sink.close()
        assert self.rows(place) == self.rows(kept)

    def test_a_batch_of_another_partition_is_refused(self):
        place = self.new_place()
        sink = self.open(place, self.quiet)
        with pytest.raises(Stops, match="partition"):
            sink.write(batch(self.topic(place), log_of(9), 0, 9, partition=1))
        sink.close()


class SinkCase(TablesCase):
    """What holds besides of a sink whose process may die: `points` are those that it reaches in each batch.

    `once` are those of them that it reaches but once a batch; the others once a table.
    """

    points: tuple[str, ...] = ()
    once: tuple[str, ...] = ()

    @pytest.mark.parametrize("visit", [1, 2, 4])
    def test_a_crash_at_each_point_loses_and_doubles_nothing(self, visit):
        died = []
        for point in self.points:
            place = self.new_place()
            died += self.run(place, log_of(30), [10, (20, point, visit), 20, 30])
            self.assert_exact(place, 30)
        assert died == [point for point in self.points if visit == 1 or point not in self.once]

    def test_a_crash_and_another_cut_of_the_log_lose_and_double_nothing(self):
        for point in self.points:
            for after in (13, 27):
                place = self.new_place()
                assert self.run(place, log_of(30), [6, (20, point, 1 + (point not in self.once)), after, 30])
                self.assert_exact(place, 30)

    def test_a_crash_at_each_point_of_a_removal_leaves_nothing_half_done(self):
        for point in self.points:
            for visit in (1, 2, 4):
                place = self.new_place()
                self.run(place, REMOVING, [10, 30, (45, point, visit), 45])
                self.assert_removed(place)

    @given(data=st.data())
    @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
    def test_any_cuts_and_crashes_give_the_rows_of_one_undisturbed_run(self, data):
        cuts = data.draw(st.lists(st.integers(1, 34), min_size=1, max_size=4))
        crash = st.tuples(st.sampled_from(self.points), st.integers(1, 4))
        steps = [(cut, *fault) if (fault := data.draw(st.none() | crash)) else cut for cut in cuts]
        place = self.new_place()
        self.run(place, log_of(35), [*steps, 35])
        self.assert_exact(place, 35)

    def test_a_crash_at_each_point_of_a_closure_and_another_cut_lose_and_double_nothing(self):
        for point in self.points:
            for visit, after in ((1, 7), (1, 14), (2, 11), (3, 7), (5, 14)):
                history, place = History(after), self.new_place()
                end = history.offset
                self.run(place, history.log, [5, (10, point, visit), after, (end - 2, point, visit + 1), end])
                self.assert_told(place, history)

    @given(data=st.data())
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    def test_any_lives_of_incidents_in_any_cuts_and_crashes_give_the_tables_of_the_model(self, data):
        history, place = History(data.draw(st.integers(0, 10**6))), self.new_place()
        cuts = data.draw(st.lists(st.integers(1, history.offset), min_size=1, max_size=7))
        crash = st.tuples(st.sampled_from(self.points), st.integers(1, 7))
        steps = [(cut, *fault) if (fault := data.draw(st.none() | crash)) else cut for cut in cuts]
        self.run(place, history.log, [*steps, history.offset])
        self.assert_told(place, history)

    def test_of_two_writers_the_stale_one_is_refused(self):
        place = self.new_place()
        stale, owner = self.open(place, self.quiet), self.open(place, self.quiet)
        owner.write(batch(self.topic(place), log_of(40), 0, 20))
        owner.write(batch(self.topic(place), log_of(40), 20, 40))
        with pytest.raises(Retries, match="another worker"):
            stale.write(batch(self.topic(place), log_of(40), 0, 15))
        stale.close()
        owner.close()
        self.assert_exact(place, 40)

    @pytest.mark.parametrize("void", [closure(1), removal(1)])
    def test_a_stale_writer_cannot_bring_in_what_was_void_at_once(self, void):
        place, log = self.new_place(), {0: incident(1), 1: void, 2: incident(2)}
        stale, owner = self.open(place, self.quiet), self.open(place, self.quiet)
        owner.write(batch(self.topic(place), log, 0, 2))
        with pytest.raises(Retries, match="another worker"):
            stale.write(batch(self.topic(place), log, 0, 1))
        stale.close()
        owner.write(batch(self.topic(place), log, 2, 3))
        owner.close()
        assert [row["incident_id"] for row in self.records(place)["incidents"]] == [hexed(2)]

    def test_two_writers_that_take_turns_double_nothing(self):
        place, log, chance = self.new_place(), log_of(60), random.Random(5)
        writers = [self.open(place, self.quiet) for _ in range(2)]
        refused = 0
        while max(writer.position() for writer in writers) < 60:
            chosen = chance.randrange(2)
            start = writers[chosen].position()
            try:
                writers[chosen].write(batch(self.topic(place), log, start, min(60, start + chance.randrange(1, 15))))
            except Retries:
                refused += 1
                writers[chosen] = self.open(place, self.quiet)
        assert refused
        self.assert_exact(place, 60)
