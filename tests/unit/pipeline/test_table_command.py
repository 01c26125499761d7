import json
import sys
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from pipeline.cli.app import main
from pipeline.hub import asof
from pipeline.hub.known import Log
from schemas.confidence import FORMULA, default
from schemas.tables import FOLDER
from tests.unit.quality.rows import tables

TODAY = datetime.now(UTC).date()


@pytest.fixture
def tocsin(monkeypatch, capsys, tmp_path):
    """Run the command on a region with `frame` as its rows; what it was asked for is in `asked`."""
    asked = []

    def run(*arguments, frame=None, code=0):
        def rows(_store, region, day):
            asked.append((region, day))
            return tables()["hub/sahel/incidents"] if frame is None else frame

        def known(log, region, moment, day, step):
            assert (log.kafka, log.privates, log.secrets) == ("kafka", "the private keys", "the mint keys")
            step(1)
            asked.append((region, day, moment.text))
            return rows(None, region, day)

        monkeypatch.setattr(asof, "rows", rows)
        monkeypatch.setattr(Log, "rows", known)
        monkeypatch.setattr(Log, "size", lambda _log: 1)
        monkeypatch.setattr("pipeline.keyrings.endpoint", lambda _data, field: field)
        monkeypatch.setattr("pipeline.keyrings.region_keys", lambda _data, name: f"the {name} keys")
        monkeypatch.setattr("pipeline.keyrings.PrivateKeys", lambda _data: "the private keys")
        monkeypatch.setattr("pipeline.stores.open_store", lambda _data: None)
        given = ["tocsin", "table", "incidents", "--data", str(tmp_path), *arguments]
        monkeypatch.setattr(sys, "argv", given)
        with pytest.raises(SystemExit) as left:
            main()
        told = capsys.readouterr()
        assert (left.value.code or 0) == code, told
        return told.err if code else told.out

    run.asked = asked
    return run


def few(number):
    return tables()["hub/sahel/incidents"][:number]


def test_counts_are_safe_and_states_stand_apart(tocsin):
    whole = tables()["hub/sahel/incidents"]
    states = pl.Series("verification", ["verified"] * 7 + ["report_pending_verification"] * 11 + ["unspecified"] * 2)
    page = json.loads(tocsin("--region", "sahel", "--as-of", "2024-06-30", "--json", frame=whole.with_columns(states)))
    assert tocsin.asked == [("sahel", date(2024, 6, 30))]
    assert (page["region"], page["as_of"]) == ("sahel", "2024-06-30")
    assert {cell["verification"]: cell["count"] for cell in page["counts"]} == {
        "verified": 5,
        "report_pending_verification": 10,
    }
    assert all(cell["count"] >= 5 for cell in page["counts"])
    assert "incident_id" not in json.dumps(page)


def test_a_person_reads_a_table_of_that_day(tocsin):
    said = tocsin("--region", "sahel", "--as-of", "2024-06-30")
    assert "sahel: incidents as of 2024-06-30 (rounded to 5)" in " ".join(said.split())
    assert "unverified" in said


def test_without_a_day_it_is_today(tocsin):
    tocsin("--region", "sahel")
    assert tocsin.asked == [("sahel", TODAY)]


def test_what_was_known_at_a_moment_is_of_that_day_if_no_other_is_asked_for(tocsin):
    page = json.loads(tocsin("--region", "sahel", "--known-at", "2024-07-02T09:30Z", "--json"))
    assert tocsin.asked == [("sahel", date(2024, 7, 2), "2024-07-02T09:30:00Z"), ("sahel", date(2024, 7, 2))]
    assert (page["as_of"], page["known_at"]) == ("2024-07-02", "2024-07-02T09:30:00Z")
    assert page["counts"]


def test_a_person_reads_by_what_it_was_known(tocsin, tmp_path):
    asked = ("--region", "sahel", "--as-of", "2024-06-30", "--known-at", "2024-07-02")
    assert "sahel: incidents as of 2024-06-30, as known by 2024-07-02 (rounded to 5)" in " ".join(
        tocsin(*asked).split()
    )
    assert tocsin.asked[0] == ("sahel", date(2024, 6, 30), "2024-07-02")
    out = tmp_path / "rows.csv"
    assert (
        tocsin(*asked, "--out", str(out)) == f"{out}: 20 incidents of sahel as of 2024-06-30, as known by 2024-07-02.\n"
    )
    assert tocsin(*asked, frame=few(4)).startswith("sahel, as of 2024-06-30, as known by 2024-07-02: fewer than 5")


def test_what_is_known_now_is_said_without_a_moment(tocsin):
    assert json.loads(tocsin("--region", "sahel", "--json"))["known_at"] is None
    assert "known" not in tocsin("--region", "sahel")


@pytest.mark.parametrize("number", [0, 4])
def test_fewer_than_5_are_not_counted(tocsin, number, tmp_path):
    assert "fewer than 5" in tocsin("--region", "sahel", frame=few(number))
    assert json.loads(tocsin("--region", "sahel", "--json", frame=few(number)))["counts"] == []
    out = tmp_path / "rows.csv"
    assert "fewer than 5 incidents of sahel" in tocsin("--region", "sahel", "--out", str(out), frame=few(number))
    assert json.loads(tocsin("--region", "sahel", "--json", "--out", str(out), frame=few(number)))["rows"] is None
    assert pl.read_csv(out).height == number


@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv"])
def test_rows_are_written_for_their_owner_alone_and_only_counted(tocsin, name, tmp_path):
    out = tmp_path / name
    said = tocsin("--region", "sahel", "--as-of", "2024-06-30", "--out", str(out))
    assert said == f"{out}: 20 incidents of sahel as of 2024-06-30.\n"
    assert out.stat().st_mode & 0o777 == 0o600
    rows = pl.read_parquet(out) if out.suffix == ".parquet" else pl.read_csv(out)
    assert rows.height == 20


def judged(number=20, verified=0):
    """Reports of 5 March 2024 that nobody could judge, the first of them verified."""
    states = ["verified"] * verified + ["report_pending_verification"] * (number - verified)
    columns = {"occurred_on": date(2024, 3, 5), "source_reliability": "F", "information_credibility": 6}
    return few(number).with_columns(
        pl.Series("verification", states), *(pl.lit(value).alias(name) for name, value in columns.items())
    )


def confidence_of(page):
    return {(cell["verification"], cell["confidence"]) for cell in page["counts"]}


@pytest.mark.parametrize(("day", "confidence"), [("2024-03-05", 0.6), ("2025-03-05", 0.2), ("2026-03-05", 0.2)])
def test_unverified_reports_have_a_confidence_that_fades_to_the_day_and_verified_ones_none(tocsin, day, confidence):
    page = json.loads(tocsin("--region", "sahel", "--as-of", day, "--json", frame=judged(verified=8)))
    assert confidence_of(page) == {("verified", None), ("report_pending_verification", confidence)}
    said = tocsin("--region", "sahel", "--as-of", day, frame=judged(verified=8))
    rows = {line.split()[2]: line.split()[4] for line in said.splitlines() if "verified  " in line}
    assert rows == {"unverified": str(confidence), "verified": "–"}
    assert f"Confidence is a mean of unverified reports on {day}, rounded to 0.2; it halves every 365 days." in said
    assert "--explain shows how" in said


def test_fewer_than_5_unverified_reports_have_none(tocsin):
    page = json.loads(tocsin("--region", "sahel", "--json", frame=judged(9, verified=5)))
    assert confidence_of(page) == {("verified", None)}
    assert tocsin("--region", "sahel", frame=judged(4)).count("\n") == 1


def test_how_confidence_is_computed_is_explained(tocsin):
    asked = ("--region", "sahel", "--as-of", "2024-06-30")
    page = json.loads(tocsin(*asked, "--json"))
    assert page["confidence"] == {
        "formula": FORMULA,
        "as_of": "2024-06-30",
        "half_life_days": {"unverified_report": 365},
        "base": {code: list(line) for code, line in default().base.items()},
        "rounded_to": 0.2,
    }
    for frame in (None, few(0)):
        said = tocsin(*asked, "--explain", frame=frame)
        assert f"confidence = {FORMULA}" in said
        assert "age: days from occurred_on to 2024-06-30; half_life: 365 days" in said
        lines = [line.split() for line in said.splitlines()]
        assert all([code, *(f"{value:g}" for value in line)] in lines for code, line in default().base.items())
        assert "--explain" not in said
    assert "0.875" not in tocsin(*asked)


def test_a_hub_has_a_scale_of_its_own_and_a_file_that_is_given_comes_before_it(tocsin, tmp_path):
    text, asked = (FOLDER / "confidence.toml").read_text(), ("--region", "sahel", "--as-of", "2024-04-04", "--json")

    def shown(*more):
        page = json.loads(tocsin(*asked, *more, frame=judged()))
        return page["confidence"]["half_life_days"]["unverified_report"], confidence_of(page)

    unverified = "report_pending_verification"
    assert shown() == (365, {(unverified, 0.4)})
    (tmp_path / "confidence.toml").write_text(text.replace("= 365", "= 30"))
    assert shown() == (30, {(unverified, 0.2)})
    given = tmp_path / "given.toml"
    given.write_text(text.replace("= 365", "= 3"))
    assert shown("--confidence", str(given)) == (3, {(unverified, 0)})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("half-life: 3 years", "is no TOML"),
        ("[base]", "it has to have [half_life_days] and [base]"),
        (b"\xff\xfe", "can't be read as text"),
        (None, "can't be read as text (FileNotFoundError)"),
    ],
)
@pytest.mark.parametrize("own", [True, False])
def test_a_scale_that_is_none_is_one_sentence_before_anything_is_read(tocsin, tmp_path, text, says, own):
    path = tmp_path / ("confidence.toml" if own else "given.toml")
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    elif own:
        path.mkdir()
        says = "can't be read as text (IsADirectoryError)"
    said = tocsin("--region", "sahel", *([] if own else ["--confidence", str(path)]), code=65)
    assert f"{path}" in said
    assert says in said
    assert said.count("\n") == 1
    assert not tocsin.asked


@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv"])
def test_rows_are_written_with_their_confidence(tocsin, name, tmp_path):
    out = tmp_path / name
    asked = ("--region", "sahel", "--as-of", "2025-03-05", "--out", str(out))
    page = json.loads(tocsin(*asked, "--json", frame=judged(verified=8)))
    rows = pl.read_parquet(out) if out.suffix == ".parquet" else pl.read_csv(out)
    assert rows["confidence"][:8].null_count() == 8
    assert rows["confidence"][8:].to_list() == pytest.approx([0.25] * 12)
    assert (page["confidence"]["as_of"], "counts" in page) == ("2025-03-05", False)
    assert "confidence = " in tocsin(*asked, "--explain")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--region", "sahel", "--as-of", "30.6.2024"], "is no date; write it as YYYY-MM-DD"),
        (["--region", "sahel", "--as-of", "2024-02-30"], "is no date"),
        (["--region", "sahel", "--as-of", str(TODAY + timedelta(days=1))], "lies in the future; give today"),
        (["--region", "sahel", "--known-at", "yesterday"], "'yesterday' is no moment; write a day or an instant"),
        (["--region", "sahel", "--known-at", str(TODAY + timedelta(days=1))], "lies in the future; give today"),
        (["--region", "sahel", "--known-at", f"{TODAY + timedelta(days=1)}T00:00Z"], "lies in the future; give now"),
        (["--region", "sahel", "--known-at", "2024-07-02", "--as-of", "June"], "is no date; write it as"),
        (["--region", "atlantis"], "is no region; give one of"),
        (["--region", "atlantis", "--known-at", "2024-07-02"], "is no region; give one of"),
        (["--region", "sahel", "--out", "rows.xlsx"], "neither a .parquet nor a .csv"),
        (["--region", "sahel", "--out", "/no/such/folder/rows.csv"], "in a folder that is there"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(tocsin, arguments, says):
    said = tocsin(*arguments, code=65)
    assert says in said
    assert said.count("\n") == 1
    assert not tocsin.asked
