"""The sink's logic on a folder; `tests/integration/sinks` runs the same on the real store."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from schemas.errors import Retries, Stops
from sinks import sought
from sinks.delta import CONFIGURATION, Change, Commits
from sinks.tables import of_topic, table
from sinks.writer import DeltaSink
from tests.conformance import aged
from tests.conformance import sink as case
from tests.conformance.histories import hexed, keyed
from tests.conformance.hub_events import batch, closure, duplicate, incident, link, removal, revision
from tests.unit.sinks.folder import FolderStore

pytestmark = pytest.mark.timeout(120)
NUMBERS = count()


class TestDeltaSinkInAFolder(case.SinkCase):
    points = ("decoded", "uploaded", "committed")
    once = ("decoded",)

    @pytest.fixture(autouse=True)
    def _store(self, tmp_path):
        type(self).store = FolderStore(tmp_path)

    def new_place(self):
        return f"hub.t{next(NUMBERS)}"

    def topic(self, place):
        return place

    def open(self, place, reached):
        return DeltaSink(self.store, place, 0, reached=reached)

    def records(self, place):
        return records(self.store, place)


def records(store, topic):
    return {
        shape.name: DeltaTable(store.uri(path)).to_pyarrow_table().to_pylist()
        for path, shape in of_topic(topic).items()
    }


@pytest.fixture
def store(tmp_path):
    return FolderStore(tmp_path)


BEFORE = [incident(1), incident(2), link(1, release=1), duplicate(1, 2, release=1), incident(3), link(3, release=1)]
AFTER = [revision(1, 101, women=3), closure(1), link(1, 101), closure(3, ending="error"), removal(2)]
AGED = dict(enumerate([*BEFORE, *AFTER]))


@pytest.mark.parametrize("cuts", [[11], [7, 8, 11], [10, 11]])
def test_tables_of_an_earlier_release_are_widened_and_go_on(store, cuts):
    topic = f"hub.t{next(NUMBERS)}"
    aged.write(store, topic, AGED, len(BEFORE))
    for end in cuts:
        sink = DeltaSink(store, topic, 0)
        sink.write(batch(topic, AGED, sink.position(), end))
    found = keyed(records(store, topic))
    assert {key: row["women"] for key, row in found["incidents"].items()} == {(hexed(1), hexed(101)): 3}
    assert {key: row["ending"] for key, row in found["versions"].items()} == {
        (hexed(1), None): "amended",
        (hexed(3), None): "error",
    }
    assert set(found["links"]) == {(hexed(1), hexed(101), hexed(2))}
    assert not found["duplicates"]


def test_widening_moves_no_position_and_writes_no_file_anew(store):
    topic = f"hub.t{next(NUMBERS)}"
    aged.write(store, topic, AGED, len(BEFORE))
    before = store.list("hub/")
    assert DeltaSink(store, topic, 0).position() == len(BEFORE)
    assert {path for path in before if path.endswith(".parquet")} == {
        path for path in store.list("hub/") if path.endswith(".parquet")
    }
    rows = records(store, topic)
    assert {row["version_id"] for row in rows["incidents"]} == {None}
    for path, shape in of_topic(topic).items():
        found = DeltaTable(store.uri(path)).schema().to_arrow()
        assert [field.name for field in found] == [one.name for one in shape.columns]
        assert DeltaTable(store.uri(path)).metadata().configuration == CONFIGURATION


def test_of_workers_that_widen_at_once_each_goes_on_from_the_position(store):
    topic = f"hub.t{next(NUMBERS)}"
    aged.write(store, topic, AGED, len(BEFORE))
    with ThreadPoolExecutor(4) as workers:
        sinks = list(workers.map(lambda _: DeltaSink(store, topic, 0), range(4)))
    assert {sink.position() for sink in sinks} == {len(BEFORE)}
    assert sinks[0].write(batch(topic, AGED, len(BEFORE), 11)).commits
    with pytest.raises(Retries):
        sinks[1].write(batch(topic, AGED, len(BEFORE), 8))
    for path, shape in of_topic(topic).items():
        done = [entry["operation"] for entry in DeltaTable(store.uri(path)).history()]
        assert done.count("ADD COLUMN") == (shape.name in aged.OLD), done


def test_a_writer_of_an_earlier_release_that_is_still_at_work_is_not_hurt_by_it(store):
    topic = f"hub.t{next(NUMBERS)}"
    aged.write(store, topic, AGED, 2)
    path = f"hub/{topic.removeprefix('hub.')}/incidents"
    shape = of_topic(topic)[path]
    old = Commits(store, path, aged.narrow(shape), topic, 0)
    DeltaSink(store, topic, 0)
    old.commit(2, 9, Change())
    assert Commits(store, path, shape, topic, 0).position() == 9


def test_a_column_that_may_not_be_null_is_not_added(store):
    shape = table("patterns")
    Commits(store, "hub/x/patterns", replace(shape, columns=shape.columns[:-1]), "hub.x", 0)
    with pytest.raises(Stops, match="other columns than the contract PatternShared"):
        Commits(store, "hub/x/patterns", shape, "hub.x", 0)


def test_a_batch_without_revisions_costs_no_commit_and_no_look_at_versions(store, monkeypatch):
    topic = f"hub.t{next(NUMBERS)}"
    sink = DeltaSink(store, topic, 0)
    monkeypatch.setattr("sinks.voids.rest", None)
    written = sink.write(batch(topic, log := sink_log(), 0, len(log)))
    assert written.rows == {
        "versions": 0,
        "incidents": 3,
        "referrals": 0,
        "assessments": 0,
        "patterns": 0,
        "duplicates": 1,
        "links": 2,
    }
    assert written.commits == 3


def test_events_of_two_releases_in_one_batch_are_all_rows(store):
    topic = f"hub.t{next(NUMBERS)}"
    log = dict(enumerate([link(1, release=1), link(2), link(3, 101), duplicate(1, release=1), duplicate(2)]))
    DeltaSink(store, topic, 0).write(batch(topic, log, 0, 5))
    found = keyed(records(store, topic))
    assert {key[:2] for key in found["links"]} == {(hexed(1), None), (hexed(2), None), (hexed(3), hexed(101))}
    assert len(found["duplicates"]) == 2


def test_a_closure_of_what_is_not_there_moves_nothing_but_the_position(store):
    topic = f"hub.t{next(NUMBERS)}"
    sink = DeltaSink(store, topic, 0)
    sink.write(batch(topic, sink_log(), 0, 6))
    assert sink.write(batch(topic, {6: closure(77), 7: closure(1, 555)}, 6, 8)).commits == 1
    assert len(records(store, topic)["incidents"]) == 3


def test_of_two_closures_of_one_version_the_first_says_what_ended_it(store):
    for cuts in ([3], [2, 3]):
        topic = f"hub.t{next(NUMBERS)}"
        log = {
            0: revision(1, 101, current=False),
            1: closure(1, 101, 815, "error"),
            2: closure(1, 101, 818, "verified"),
        }
        sink = DeltaSink(store, topic, 0)
        for end in cuts:
            sink.write(batch(topic, log, sink.position(), end))
        ((row,),) = [records(store, topic)["versions"]]
        assert (row["ending"], row["conflict"]) == ("error", True)


def sink_log():
    return dict(enumerate(BEFORE))


def test_a_file_is_looked_through_once_and_again_only_where_it_may_name_what_is_closed(store, monkeypatch):
    topic = f"hub.t{next(NUMBERS)}"
    log = {number: incident(number) for number in range(40)} | {40 + n: closure(n) for n in (3, 4, 17, 38)}
    log |= {80: removal(5), 81: closure(39)}
    sink = DeltaSink(store, topic, 0)
    for end in (10, 20, 30, 40):
        sink.write(batch(topic, log, sink.position(), end))
    read, get = [], FolderStore.get
    monkeypatch.setattr(FolderStore, "get", lambda self, path: read.append(path) or get(self, path))

    def looked(end):
        read.clear()
        sink.write(batch(topic, log, sink.position(), end))
        return sum("/incidents/part-" in path for path in read)

    assert [looked(end) for end in (44, 45, 58, 79, 81, 82)] == [4, 1, 1, 1, 1, 1]
    assert len(records(store, topic)["versions"]) == 5
    assert len(records(store, topic)["incidents"]) == 34


def test_what_is_kept_of_ids_is_bounded_and_passes_no_file_over(monkeypatch):
    monkeypatch.setattr("sinks.sought.LIMIT", 5)
    ids = [hexed(number) for number in range(6)]
    kept = sought.Sought()
    for number in range(3):
        kept.learn(str(number), sought.short(pa.array(ids[2 * number : 2 * number + 2])))
    wanted = sought.short(pa.chunked_array([ids[:1]]))
    assert [kept.may_name(str(number), wanted) for number in range(3)] == [True, True, False]
    assert kept.may_name("2", sought.short(pa.array(ids[5:]), pa.array([], pa.string())))
    kept.only(set())
    assert kept.may_name("2", wanted)


@pytest.mark.parametrize("name", ["incidents", "versions"])
def test_what_a_crash_left_of_an_incident_that_is_removed_at_once_goes_too(store, name):
    topic = f"hub.t{next(NUMBERS)}"
    log = {0: incident(4), 1: closure(4), 2: removal(4)}

    def dies(point):
        if point.startswith("uploaded") and point.endswith(name):
            raise case.Crash

    with pytest.raises(case.Crash):
        DeltaSink(store, topic, 0, reached=dies).write(batch(topic, log, 0, 1 if name == "incidents" else 2))
    assert [path for path in store.list("hub/") if path.endswith(".parquet")]
    DeltaSink(store, topic, 0).write(batch(topic, log, 0, 3))
    assert not [path for path in store.list("hub/") if path.endswith(".parquet")]
