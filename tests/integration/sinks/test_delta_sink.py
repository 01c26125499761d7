"""The Delta sink on the real object store passes the case of all sinks, and keeps its own promises about files."""

from itertools import count, pairwise
from uuid import uuid4

import polars as pl
import pytest
from deltalake import DeltaTable

from schemas.errors import Retries, Stops
from sinks.delta import Change, Commits, dataset
from sinks.parquet import Range
from sinks.tables import of_topic, table
from sinks.writer import DeltaSink
from tests.conformance import aged
from tests.conformance.histories import History, hexed, keyed
from tests.conformance.hub_events import batch, closure, incident, link, octets, quarantined, removal, revision
from tests.conformance.sink import Crash, SinkCase, expected, log_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
NUMBERS = count()


def place():
    return f"hub.t{next(NUMBERS)}-{uuid4().hex[:8]}"


def records_of(store, topic):
    found = {}
    for path, shape in of_topic(topic).items():
        frame = pl.scan_delta(store.uri(path), storage_options=store.delta_options()).collect()
        found[shape.name] = frame.sort(shape.order).to_dicts()
    return found


def rows_of(store, topic):
    return {name: [str(row) for row in rows] for name, rows in records_of(store, topic).items()}


def files_of(store, path):
    return {
        uri.rsplit("/", 1)[-1] for uri in DeltaTable(store.uri(path), storage_options=store.delta_options()).file_uris()
    }


class TestDeltaSink(SinkCase):
    points = ("decoded", "uploaded", "committed")
    once = ("decoded",)

    @pytest.fixture(autouse=True)
    def _store(self, store):
        type(self).store = store

    def new_place(self):
        return place()

    def topic(self, place):
        return place

    def open(self, place, reached):
        return DeltaSink(self.store, place, 0, reached=reached)

    def records(self, place):
        return records_of(self.store, place)


def paths(topic):
    return {shape.name: path for path, shape in of_topic(topic).items()}


def test_a_batch_costs_a_commit_for_each_table_with_rows_and_one_for_the_last(store):
    sink = DeltaSink(store, topic := place(), 0)
    assert sink.write(batch(topic, {0: incident(0), 1: incident(1)}, 0, 3)).commits == 2
    assert sink.write(batch(topic, {3: link(3)}, 3, 4)).commits == 1
    assert sink.write(batch(topic, {}, 4, 9)).commits == 1
    assert sink.write(batch(topic, {}, 9, 9)).commits == 0
    assert sink.write(batch(topic, log_of(30), 9, 30)).rows == {
        "versions": 0,
        "incidents": 9,
        "referrals": 0,
        "assessments": 0,
        "patterns": 3,
        "duplicates": 3,
        "links": 3,
    }


LIVES = History(3, 60)


@pytest.mark.parametrize("log", [log_of(60), LIVES.log], ids=["shared", "revised"])
def test_the_ranges_of_a_tables_commits_abut_and_files_do_not_overlap(store, log):
    topic = place()
    for end in (5, 6, 7, 20, 41, max(log) + 1):
        sink = DeltaSink(store, topic, 0)
        sink.write(batch(topic, log, sink.position(), end))
    for path in of_topic(topic):
        handle = DeltaTable(store.uri(path), storage_options=store.delta_options())
        said = [entry["tocsin"] for entry in reversed(handle.history()) if "tocsin" in entry]
        empty = path.endswith(("versions", "referrals", "assessments")) and log is not LIVES.log
        assert [one["start"] for one in said[:1]] == ([] if empty else [0])
        assert all(before["end"] == after["start"] for before, after in pairwise(said))
        files = sorted((one.start, one.end) for one in map(Range.of, files_of(store, path)))
        assert all(before[1] <= after[0] for before, after in pairwise(files))
        assert {(one["start"], one["end"]) for one in said} >= set(files)
    if log is LIVES.log:
        assert keyed(records_of(store, topic)) == LIVES.tables


def test_a_file_of_a_crashed_attempt_is_overwritten_or_deleted_once_nobody_can_name_it(store):
    topic, log = place(), log_of(30, ("incidents",))
    path = paths(topic)["incidents"]

    def dies(point):
        if point.startswith("uploaded"):
            raise Crash

    with pytest.raises(Crash):
        DeltaSink(store, topic, 0, reached=dies).write(batch(topic, log, 0, 20))
    orphan = Range(0, 0, 20).name
    assert store.get(f"{path}/{orphan}")
    DeltaSink(store, topic, 0).write(batch(topic, log, 0, 12))
    DeltaSink(store, topic, 0).write(batch(topic, log, 12, 30))
    assert files_of(store, path) == {Range(0, 0, 12).name, Range(0, 12, 30).name}
    assert f"{path}/{orphan}" not in store.list(path)
    assert len(rows_of(store, topic)["incidents"]) == 30


def holding(store, path, number):
    """Return the objects under a path whose rows name an incident, found in the files themselves."""
    text = octets(number).hex()
    objects = [name for name in store.list(path) if name.endswith(".parquet")]
    return [name for name in objects if text in str(pl.read_parquet(store.get(name)).rows())]


def test_the_files_of_a_removed_incident_are_deleted_with_it(store):
    topic, log = place(), log_of(40) | {40: removal(4)}
    sink = DeltaSink(store, topic, 0)
    sink.write(batch(topic, log, 0, 20))
    sink.write(batch(topic, log, 20, 40))
    path = paths(topic)["incidents"]
    assert holding(store, path, 4)
    sink.write(batch(topic, log, 40, 41))
    assert not holding(store, path, 4)
    assert files_of(store, path) == {Range(0, 0, 20, 41).name, Range(0, 20, 40).name}
    assert not [
        name for name in store.list(path) if octets(4) in store.get(name) or octets(4).hex().encode() in store.get(name)
    ]


@pytest.mark.parametrize("point", ["uploaded", "committed"])
def test_what_a_crash_leaves_of_a_removed_incident_goes_when_the_sink_is_opened_next(store, point):
    topic, log = place(), log_of(40) | {40: removal(4)}
    path = paths(topic)["incidents"]

    def dies(name):
        if name.startswith(point):
            raise Crash

    with pytest.raises(Crash):
        DeltaSink(store, topic, 0, reached=dies).write(batch(topic, log, 0, 25))
    sink = DeltaSink(store, topic, 0)
    for end in (20, 40):
        sink.write(batch(topic, log, sink.position(), end))
    with pytest.raises(Crash):
        DeltaSink(store, topic, 0, reached=dies).write(batch(topic, log, 40, 41))
    sink = DeltaSink(store, topic, 0)
    if sink.position() < 41:
        sink.write(batch(topic, log, 40, 41))
    assert not holding(store, path, 4)


def test_the_files_of_a_closed_version_are_exchanged_and_deleted(store):
    topic, log = place(), log_of(40) | {40: closure(4), 41: closure(7, None, ending="error")}
    sink = DeltaSink(store, topic, 0)
    for end in (20, 40, 42):
        sink.write(batch(topic, log, sink.position(), end))
    incidents, versions = paths(topic)["incidents"], paths(topic)["versions"]
    assert not holding(store, incidents, 4)
    assert [Range.of(name) for name in holding(store, versions, 4)] == [Range(0, 0, 42)]
    assert files_of(store, incidents) == {Range(0, 0, 20, 42).name, Range(0, 20, 40).name}
    assert len(rows_of(store, topic)["incidents"]) == expected(40)["incidents"] - 2


def test_tables_of_an_earlier_release_are_widened_and_read_by_every_reader(store):
    topic = place()
    log = {0: incident(1), 1: incident(2), 2: link(1, release=1), 3: revision(1, 101, women=3), 4: closure(1)}
    aged.write(store, topic, log, 3)
    sink = DeltaSink(store, topic, 0)
    assert sink.position() == 3
    assert [row["version_id"] for row in records_of(store, topic)["incidents"]] == [None, None]
    assert dataset(store, paths(topic)["links"]).to_table(["version_id"])["version_id"].to_pylist() == [None]
    sink.write(batch(topic, log, 3, 5))
    found = keyed(records_of(store, topic))
    assert set(found["incidents"]) == {(hexed(1), hexed(101)), (hexed(2), None)}
    assert set(found["versions"]) == {(hexed(1), None)}
    assert not found["links"]
    read = dataset(store, paths(topic)["incidents"]).to_table(["version_id"])["version_id"].to_pylist()
    assert sorted(map(str, read)) == sorted([hexed(101), "None"])


def test_a_write_that_was_under_way_while_the_table_was_widened_goes_through(store):
    topic, log = place(), {0: incident(1), 1: incident(2)}
    aged.write(store, topic, log, 1)
    path = paths(topic)["incidents"]
    old = Commits(store, path, aged.narrow(table("incidents")), topic, 0)
    DeltaSink(store, topic, 0)
    old.commit(1, 9, Change())
    assert Commits(store, path, table("incidents"), topic, 0).position() == 9


def compacted(store, path):
    """Have another program put all files of a table into one."""
    assert DeltaTable(store.uri(path), storage_options=store.delta_options()).optimize.compact()["numFilesAdded"] == 1


def test_a_removed_incident_leaves_also_a_file_that_another_program_wrote(store):
    topic, log = place(), log_of(40) | {40: removal(4), 41: removal(7)}
    path = paths(topic)["incidents"]
    sink = DeltaSink(store, topic, 0)
    for end in (20, 40):
        sink.write(batch(topic, log, sink.position(), end))
    compacted(store, path)
    for end in (41, 42):
        sink = DeltaSink(store, topic, 0)
        sink.write(batch(topic, log, sink.position(), end))
        assert not holding(store, path, 4)
    assert len(rows_of(store, topic)["incidents"]) == expected(40)["incidents"] - 2
    assert len([name for name in store.list(path) if name.endswith(".parquet")]) == 1


def test_a_table_that_another_program_rewrites_during_a_removal_is_begun_anew(store):
    topic, log = place(), log_of(40) | {40: removal(4)}
    path, done = paths(topic)["incidents"], []

    def reached(name):
        if name == f"uploaded {path}" and not done:
            done.append(compacted(store, path))

    sink = DeltaSink(store, topic, 0)
    for end in (20, 40):
        sink.write(batch(topic, log, sink.position(), end))
    with pytest.raises(Retries, match="rewritten"):
        DeltaSink(store, topic, 0, reached=reached).write(batch(topic, log, 40, 41))
    DeltaSink(store, topic, 0).write(batch(topic, log, 40, 41))
    found = rows_of(store, topic)["incidents"]
    assert len(set(found)) == len(found) == expected(40)["incidents"] - 1
    assert not holding(store, path, 4)


def test_a_writer_that_meets_a_deleted_file_was_overtaken(store):
    topic, log = place(), log_of(40) | {40: removal(4)}
    owner = DeltaSink(store, topic, 0)
    owner.write(batch(topic, log, 0, 40))
    stale = DeltaSink(store, topic, 0)
    owner.write(batch(topic, log, 40, 41))
    with pytest.raises(Retries, match="another worker"):
        stale.write(batch(topic, log, 40, 41))


def test_the_same_range_gives_the_same_bytes(store):
    log = log_of(30)
    topics = [place(), place()]
    for topic in topics:
        DeltaSink(store, topic, 0).write(batch(topic, log, 0, 30))
    one, other = (store.get(f"{paths(topic)['incidents']}/{Range(0, 0, 30).name}") for topic in topics)
    assert one == other


def test_partitions_of_one_topic_share_a_table_and_no_file(store):
    tables = {f"quarantine-{uuid4().hex[:8]}": table("quarantine")}
    (path,) = tables
    sinks = [DeltaSink(store, "quarantine", number, tables) for number in range(2)]
    for number, sink in enumerate(sinks):
        log = {offset: quarantined(offset * 2 + number) for offset in range(9)}
        sink.write(batch("quarantine", log, 0, 9, partition=number))
    for number, sink in enumerate(sinks):
        log = {offset: quarantined(offset * 2 + number) for offset in range(9, 12)}
        sink.write(batch("quarantine", log, 9, 12, partition=number))
    frame = pl.scan_delta(store.uri(path), storage_options=store.delta_options()).collect()
    assert sorted(frame["offset"]) == list(range(24))
    assert len(files_of(store, path)) == 4


def test_an_event_that_has_no_table_stops_the_sink(store):
    with pytest.raises(Stops, match="offset 2 holds Quarantined"):
        DeltaSink(store, topic := place(), 0).write(batch(topic, {2: quarantined(1)}, 0, 3))


def test_a_table_of_another_contract_is_not_written_to(store):
    path = f"hub/{uuid4().hex}/incidents"
    DeltaSink(store, "hub.x", 0, {path: table("links")})
    with pytest.raises(Stops, match="other columns"):
        DeltaSink(store, "hub.x", 0, {path: table("incidents")})


def test_rows_in_a_file_do_not_tell_the_order_of_arrival(store):
    log = log_of(50, ("incidents",))
    DeltaSink(store, topic := place(), 0).write(batch(topic, log, 0, 50))
    frame = pl.scan_delta(store.uri(paths(topic)["incidents"]), storage_options=store.delta_options()).collect()
    assert frame["incident_id"].is_sorted()
