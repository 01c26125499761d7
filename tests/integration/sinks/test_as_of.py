"""`tocsin table incidents` on tables that the sink wrote, in a bucket of the test's own."""

import io
import json
import sys
from datetime import date

import polars as pl
import pytest

from pipeline.cli.app import main
from sinks.store import Store
from sinks.writer import DeltaSink
from tests.conformance import aged
from tests.conformance.histories import History, day
from tests.conformance.hub_events import batch, incident

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
BUCKET = "as-of"
HISTORY = History(5, 90)


@pytest.fixture(scope="module")
def data(cluster, tmp_path_factory):
    """A data folder: a region with a history, one whose tables are of an earlier release, and the others without any."""
    store = Store(f"http://{cluster.s3}", cluster.access_key, cluster.secret_key, BUCKET)
    store.client.make_bucket(BUCKET)
    sink = DeltaSink(store, "hub.sahel", 0)
    for end in range(10, HISTORY.offset + 10, 10):
        sink.write(batch("hub.sahel", HISTORY.log, sink.position(), min(end, HISTORY.offset)))
    aged.write(store, "hub.libya-neighbours", {number: incident(number) for number in range(7)}, 7)
    folder = tmp_path_factory.mktemp("as-of")
    where = {"kafka": cluster.kafka, "s3": cluster.s3, "bucket": BUCKET}
    keys = {"access_key": cluster.access_key, "secret_key": cluster.secret_key}
    (folder / "cluster.json").write_text(json.dumps(where | keys))
    return folder


@pytest.fixture
def tocsin(monkeypatch, capsys, data):
    def run(*arguments, code=0):
        monkeypatch.setattr(sys, "argv", ["tocsin", "table", "incidents", "--data", str(data), *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        told = capsys.readouterr()
        assert (left.value.code or 0) == code, told
        return told.err if code else told.out

    return run


@pytest.mark.parametrize("number", [700, 705, 712, HISTORY.today])
def test_the_rows_of_a_day_are_those_that_the_history_showed(tocsin, tmp_path, number):
    out = tmp_path / "rows.parquet"
    told = json.loads(tocsin("--region", "sahel", "--as-of", str(day(number)), "--json", "--out", str(out)))
    found = dict(pl.read_parquet(io.BytesIO(out.read_bytes())).select("incident_id", "version_id").rows())
    assert found == HISTORY.as_of(number)
    assert told["rows"] == (len(found) if len(found) >= 5 else None)


def test_tables_of_an_earlier_release_are_read_too(tocsin):
    page = json.loads(tocsin("--region", "libya-neighbours", "--as-of", str(date(2025, 1, 1)), "--json"))
    assert [(cell["verification"], cell["count"]) for cell in page["counts"]] == [("verified", 5)]


def test_a_region_without_a_table_is_one_sentence(tocsin):
    said = tocsin("--region", "great-lakes", code=78)
    assert said == (
        "tocsin: There is no table of incidents of great-lakes yet: run `tocsin worker sink`, then ask again.\n"
    )
