"""`tocsin table incidents` on tables that the sink wrote, in a bucket of the test's own."""

import io
import json
import sys
from datetime import date

import polars as pl
import pytest

from pipeline.cli.app import main
from pipeline.hub.reading import table
from schemas.tables import FOLDER
from sinks.store import Store
from sinks.writer import DeltaSink
from tests.conformance import aged
from tests.conformance.histories import History, day
from tests.conformance.hub_events import DAY, batch, incident

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
BUCKET = "as-of"
HISTORY = History(5, 90)
PENDING = "report_pending_verification"
JUDGED = {
    number: incident(
        number,
        recorded=0,
        occurred_on=DAY,
        date_precision="day",
        admin1="CD61",
        verification="verified" if number >= 8 else PENDING,
        source_reliability="ABCDEFAF"[number % 8],
        information_credibility=(1, 2, 3, 4, 5, 6, 6, 1)[number % 8],
    )
    for number in range(14)
}
BASES = [1, 0.75, 0.5, 0.25, 0, 0.5, 0.75, 0.75]


@pytest.fixture(scope="module")
def data(cluster, tmp_path_factory):
    """A data folder: a region with a history, one whose tables are of an earlier release, one of reports of a day, the others without any."""
    store = Store(f"http://{cluster.s3}", cluster.access_key, cluster.secret_key, BUCKET)
    store.client.make_bucket(BUCKET)
    sink = DeltaSink(store, "hub.sahel", 0)
    for end in range(10, HISTORY.offset + 10, 10):
        sink.write(batch("hub.sahel", HISTORY.log, sink.position(), min(end, HISTORY.offset)))
    DeltaSink(store, "hub.lake-chad", 0).write(batch("hub.lake-chad", JUDGED, 0, len(JUDGED)))
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


@pytest.mark.parametrize("halved", [0, 1, 2])
def test_each_unverified_report_has_its_confidence_of_the_day(tocsin, tmp_path, data, halved):
    out, given = tmp_path / "rows.parquet", tmp_path / "own.toml"
    given.write_text((FOLDER / "confidence.toml").read_text().replace("= 365", "= 400"))
    asked = ("--region", "lake-chad", "--as-of", str(day(400 * halved)), "--confidence", str(given), "--json")
    told = json.loads(tocsin(*asked))
    mean = sum(BASES) / len(BASES) / 2**halved
    assert {cell["verification"]: (cell["count"], cell["confidence"]) for cell in told["counts"]} == {
        PENDING: (10, round(mean * 5) / 5),
        "verified": (5, None),
    }
    assert told["confidence"]["half_life_days"] == {"unverified_report": 400}
    tocsin(*asked, "--out", str(out))
    rows = pl.read_parquet(out)
    assert sorted(rows["confidence"].drop_nulls()) == pytest.approx(sorted(base / 2**halved for base in BASES))
    assert rows.filter(pl.col("confidence").is_null())["verification"].unique().to_list() == ["verified"]


def test_confidence_is_in_no_table(tocsin, cluster, data):
    tocsin("--region", "lake-chad")
    store = Store(f"http://{cluster.s3}", cluster.access_key, cluster.secret_key, BUCKET)
    assert "confidence" not in table(store, "hub/lake-chad/incidents").columns


def test_a_person_reads_what_confidence_is(tocsin):
    said = tocsin("--region", "lake-chad", "--as-of", str(day(900)), "--explain")
    assert "confidence = base(reliability, credibility) * 2^(-age / half_life)" in said
    assert f"days from occurred_on to {day(900)}; half_life: 365 days" in said


def test_tables_of_an_earlier_release_are_read_too(tocsin):
    page = json.loads(tocsin("--region", "libya-neighbours", "--as-of", str(date(2025, 1, 1)), "--json"))
    assert [(cell["verification"], cell["count"]) for cell in page["counts"]] == [("verified", 5)]


def test_a_region_without_a_table_is_one_sentence(tocsin):
    said = tocsin("--region", "great-lakes", code=78)
    assert said == (
        "tocsin: There is no table of incidents of great-lakes yet: run `tocsin worker sink`, then ask again.\n"
    )
