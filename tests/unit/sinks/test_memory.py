"""The sink in memory has the tables that the one on a store has."""

from itertools import count

import pytest

from sinks.memory import MemorySink
from sinks.tables import HUB, table
from sinks.writer import DeltaSink
from tests.conformance import sink as case
from tests.conformance.histories import History
from tests.conformance.hub_events import batch
from tests.unit.sinks.folder import FolderStore
from tests.unit.sinks.test_writer import records

pytestmark = pytest.mark.timeout(120)
NUMBERS = count()


class TestMemorySink(case.TablesCase):
    @pytest.fixture(autouse=True)
    def _places(self):
        type(self).sinks = {}

    def new_place(self):
        return f"hub.t{next(NUMBERS)}"

    def topic(self, place):
        return place

    def open(self, place, reached):
        return self.sinks.setdefault(place, MemorySink(place, 0))

    def records(self, place):
        return {name: self.sinks[place].table(name).to_pylist() for name in HUB}

    @pytest.mark.parametrize("seed", range(20))
    def test_any_lives_of_incidents_give_the_tables_of_the_model(self, seed):
        history, place = History(seed, 60), self.new_place()
        self.run(place, history.log, [*range(1 + seed, history.offset, 1 + seed), history.offset])
        self.assert_told(place, history)


def test_the_rows_are_those_that_are_filed(tmp_path):
    history, store = History(11, 90), FolderStore(tmp_path)
    filed, held = DeltaSink(store, "hub.sahel", 0), MemorySink("hub.sahel", 0)
    for end in (20, 21, 50, history.offset):
        one = batch("hub.sahel", history.log, held.position(), end)
        assert held.write(one).rows == filed.write(one).rows
    there = records(store, "hub.sahel")
    assert all(there[name] for name in ("versions", "incidents", "links"))
    for name in HUB:
        assert sorted(held.table(name).to_pylist(), key=str) == sorted(there[name], key=str)


def test_events_of_other_tables_are_passed_over():
    history = History(11, 90)
    whole, some = MemorySink("hub.sahel", 0), MemorySink("hub.sahel", 0, [table("versions"), table("incidents")])
    for sink in (whole, some):
        sink.write(batch("hub.sahel", history.log, 0, history.offset))
    assert some.position() == whole.position() == history.offset
    for name in ("versions", "incidents"):
        assert some.table(name).equals(whole.table(name))
    with pytest.raises(KeyError):
        some.table("links")
