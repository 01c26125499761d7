import io
from datetime import date, timedelta

import polars as pl
import pyarrow as pa
import pytest

from pipeline.hub import asof, reading
from schemas.errors import NotSetUp, Unreachable
from sinks import parquet
from sinks.tables import table
from tests.conformance.histories import History, day
from tests.unit.sinks.folder import FolderStore

FIRST = date(2024, 3, 1)


def tables(incidents, versions):
    """Tables of a region with only what matters here."""
    schema = {
        "incident_id": pl.String,
        "version_id": pl.String,
        "recorded_on": pl.Date,
        "ended_on": pl.Date,
        "conflict": pl.Boolean,
    }
    now = pl.DataFrame([(*row, None, None) for row in incidents], schema=schema, orient="row")
    return now.drop("ended_on", "conflict"), pl.DataFrame(versions, schema=schema, orient="row")


def on(number):
    return FIRST + timedelta(days=number)


LIFE = tables(
    [("a", "a2", on(9)), ("b", None, on(3)), ("c", None, on(1))],
    [
        ("a", None, on(0), on(4), False),
        ("a", "a1", on(4), on(9), False),
        ("a", "ax", on(5), on(9), True),
        ("b", "bx", on(6), None, True),
        ("c", None, on(1), on(2), False),  # `incidents` was read before it was out of there
        ("d", None, on(2), on(2), False),
    ],
)
STOOD = {
    -1: {},
    0: {"a": None},
    1: {"a": None, "c": None},
    2: {"a": None},
    3: {"a": None, "b": None},
    4: {"a": "a1", "b": None},
    8: {"a": "a1", "b": None},
    9: {"a": "a2", "b": None},
    99: {"a": "a2", "b": None},
}


@pytest.mark.parametrize("number", STOOD)
def test_a_row_stands_from_its_day_to_the_day_before_it_ended(number):
    found = asof.standing(*LIFE, on(number))
    assert dict(found.select("incident_id", "version_id").rows()) == STOOD[number]
    assert found.height == len(STOOD[number])
    assert found.columns == LIFE[0].columns


def test_a_region_whose_tables_are_of_an_earlier_release_has_only_what_was_reported():
    old = LIFE[0].drop("version_id")
    assert asof.standing(old, None, on(3))["incident_id"].to_list() == ["b", "c"]


@pytest.mark.parametrize("seed", range(12))
def test_any_day_of_any_history_is_what_was_shown_on_it(seed):
    history = History(seed, 80)
    days, texts = ("recorded_on", "ended_on"), ("incident_id", "version_id", "ending")
    schema = (
        dict.fromkeys(days, pl.Date) | dict.fromkeys(texts, pl.String) | {"women": pl.Int32, "conflict": pl.Boolean}
    )
    incidents, versions = (
        pl.DataFrame([{"incident_id": i, "version_id": v} | row for (i, v), row in rows.items()], schema=schema)
        for rows in (history.tables["incidents"], history.tables["versions"])
    )
    for number in range(700, history.today + 2):
        found = asof.standing(incidents.drop("ended_on", "ending", "conflict"), versions, day(number))
        assert dict(found.select("incident_id", "version_id").rows()) == history.as_of(number)


def frame():
    number = 6
    whole = {column.field: pa.array([f"{n}" for n in range(number)]) for column in table("incidents").columns}
    whole |= {column.field: pa.nulls(number, pa.string()) for column in table("incidents").columns if column.nullable}
    for column in table("incidents").columns:
        kind = parquet.TYPES[column.kind]
        if pa.types.is_list(kind):
            whole[column.field] = pa.array([["a", "b"]] * number, kind)
        elif not pa.types.is_string(kind) and not column.nullable:
            whole[column.field] = pa.array([1] * number).cast(pa.int32()).cast(kind)
    return pl.from_arrow(parquet.rows(table("incidents"), whole, number))


def test_a_file_holds_the_rows_in_either_form():
    rows = frame()
    assert pl.read_parquet(io.BytesIO(asof.file(rows, ".parquet"))).equals(rows)
    read = pl.read_csv(io.BytesIO(asof.file(rows, ".csv")))
    assert (read.height, read.columns) == (rows.height, rows.columns)
    assert set(read["forms"]) == {"a;b"}


def test_a_number_below_the_threshold_is_not_told_nor_is_none():
    assert [asof.shown(n) for n in (0, 1, 4, 5, 6)] == [None, None, None, 5, 6]


def test_a_region_without_a_table_says_what_to_run(tmp_path):
    with pytest.raises(NotSetUp, match="no table of incidents of sahel yet: run `tocsin worker sink`"):
        asof.rows(FolderStore(tmp_path), "sahel", FIRST)


def test_incidents_are_read_before_versions(tmp_path, monkeypatch):
    store, asked = FolderStore(tmp_path), []
    for name in ("incidents", "versions"):
        store.put(f"hub/sahel/{name}/_delta_log/0.json", b"")

    def read(_store, path):
        asked.append(path)
        return LIFE[path.endswith("versions")]

    monkeypatch.setattr(asof, "table", read)
    assert asof.rows(store, "sahel", on(3)).height == 2
    assert asked == ["hub/sahel/incidents", "hub/sahel/versions"]


def test_a_file_that_was_exchanged_meanwhile_is_read_anew(monkeypatch):
    tries = []

    class Table:
        def to_table(self):
            tries.append(self)
            if len(tries) < 3:
                raise FileNotFoundError
            return pa.table({"a": [1]})

    monkeypatch.setattr(reading, "dataset", lambda _store, _path: Table())
    assert reading.table(None, "hub/sahel/incidents").rows() == [(1,)]
    assert len({id(each) for each in tries}) == 3
    monkeypatch.setattr(Table, "to_table", lambda _self: (_ for _ in ()).throw(FileNotFoundError))
    with pytest.raises(Unreachable, match="hub/sahel/incidents could not be read: run `tocsin status`"):
        reading.table(None, "hub/sahel/incidents")
