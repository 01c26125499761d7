import json

import polars as pl
import pytest

from quality import audit, shape
from quality.audit import Checked, as_json, shown_rows
from quality.docs import MARK
from schemas.errors import BadInput
from tests.unit.quality.rows import tables

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("gx")]

TAG = "Synthetic Tag 4711"


def by_table(checked):
    return {each.table: each for each in checked}


def test_good_tables_pass_and_both_counts_are_told():
    checked = audit.audit(tables())
    assert audit.passed(checked)
    assert {each.table: each.rows for each in checked} == {path: t.height for path, t in tables().items()}
    assert all(each.expectations >= 8 and each.status == "passed" and not each.broken for each in checked)


def changed(path, *changes):
    """Return the good tables with one changed: the n-th change in its n-th row."""
    whole = tables()
    rows = whole[path].to_dicts()
    for row, columns in zip(rows, changes, strict=False):
        row.update(columns)
    return whole | {path: pl.DataFrame(rows, schema=whole[path].schema)}


BROKEN = {
    "hub/sahel/incidents": [
        ({"country": TAG, "admin1": None}, "incident.country_not_monitored"),
        ({"women": 6000}, "incident.persons_out_of_range"),
        ({"forms": []}, "incident.forms_missing"),
        ({"node": None}, "table.node_missing"),
        ({"incident_id": f"{9:032x}"}, "table.key_repeated"),
    ],
    "hub/sahel/patterns": [
        ({"prevalence": 9}, "pattern.prevalence_out_of_range"),
        ({"areas": [TAG]}, "pattern.areas_unknown"),
        ({"pattern_id": f"{1003:032x}"}, "table.key_repeated"),
    ],
    "hub/sahel/versions": [
        ({"women": 6000}, "incident.persons_out_of_range"),
        ({"conflict": None}, "table.conflict_missing"),
    ],
    "hub/sahel/referrals": [
        ({"consented": False}, "referrals.passed_on_without_consent"),
        ({"service": None}, "table.service_missing"),
        ({"referral_id": f"{5:032x}", "version_id": f"{5:032x}"}, "table.key_repeated"),
    ],
    "hub/sahel/assessments": [
        ({"grounds": "unspecified"}, "assessments.grounds_do_not_fit"),
        ({"source": "unspecified"}, "assessments.source_does_not_fit"),
        ({"number": 0}, "assessments.number_below_one"),
        ({"credibility": 7}, "assessments.credibility_out_of_range"),
        ({"assessment_id": f"{2005:032x}"}, "table.key_repeated"),
    ],
    "hub/sahel/links": [
        ({"incident_id": "f" * 32}, "links.incident_unknown"),
        ({"pattern_id": "f" * 32}, "links.pattern_unknown"),
        ({"days_outside": -1}, "links.days_negative"),
        ({"incident_id": f"{5:032x}"}, "table.key_repeated"),
    ],
    "hub/sahel/duplicates": [
        ({"second_id": f"{0:032x}"}, "duplicates.of_itself"),
        ({"first_id": "f" * 32}, "duplicates.first_unknown"),
        ({"second_id": "f" * 32}, "duplicates.second_unknown"),
        ({"score": 101}, "duplicates.score_out_of_range"),
        ({"reasons": []}, "duplicates.reasons_missing"),
        ({"area": None}, "table.area_missing"),
    ],
    "quarantine": [
        ({"reasons": []}, "quarantine.reasons_missing"),
        ({"offset": 5}, "table.key_repeated"),
        ({"suite": None}, "table.suite_missing"),
    ],
}


@pytest.mark.parametrize("path", BROKEN)
def test_each_broken_row_fails_its_table_with_its_code_and_no_other(path):
    changes, codes = zip(*BROKEN[path], strict=True)
    place = path.rpartition("/")[0]
    whole = {p: t for p, t in changed(path, *changes).items() if p.rpartition("/")[0] == place}
    mine = by_table(audit.audit(whole))
    assert mine[path].status == "failed"
    assert set(mine[path].broken) == set(codes)
    assert not audit.passed(tuple(mine.values()), allow_empty=True)


def test_a_link_to_an_id_that_is_null_is_unknown():
    whole = changed("hub/sahel/links", {"pattern_id": None})
    links = by_table(audit.audit({p: t for p, t in whole.items() if "duplicates" not in p}))["hub/sahel/links"]
    assert set(links.broken) == {"table.pattern_id_missing", "links.pattern_unknown"}


def test_a_warning_is_told_and_fails_nothing():
    whole = changed("hub/sahel/incidents", {"deaths": 3})
    checked = by_table(audit.audit({"hub/sahel/incidents": whole["hub/sahel/incidents"]}))
    assert checked["hub/sahel/incidents"].status == "passed"
    assert checked["hub/sahel/incidents"].warned == ("incident.deaths_more_than_persons",)


@pytest.mark.parametrize("status", ["empty", "missing"])
def test_a_table_without_rows_fails_unless_allowed(status):
    links = tables()["hub/sahel/links"].clear() if status == "empty" else None
    checked = audit.audit({"quarantine": tables()["quarantine"], "hub/sahel/links": links})
    assert by_table(checked)["hub/sahel/links"].status == status
    assert not audit.passed(checked)
    assert audit.passed(checked, allow_empty=True)


@pytest.mark.parametrize("kind", ["versions", "referrals", "assessments"])
def test_a_table_may_be_empty_as_long_as_nothing_was_amended_or_assessed_and_nobody_referred(kind):
    whole = tables()
    for standing in (whole[f"hub/sahel/{kind}"].clear(), None):
        assert audit.passed(audit.audit(whole | {f"hub/sahel/{kind}": standing}))


def test_an_incident_that_has_moved_to_its_history_is_known():
    whole = tables()
    moved = whole | {"hub/sahel/incidents": whole["hub/sahel/incidents"][1:]}
    assert audit.passed(audit.audit(moved)), "what has moved meanwhile is known"


def test_nothing_but_empty_tables_never_passes():
    checked = audit.audit({path: table.clear() for path, table in tables().items()})
    assert not audit.passed(checked, allow_empty=True)
    assert not audit.passed((), allow_empty=True)


def test_a_suite_without_expectations_fails(monkeypatch):
    monkeypatch.setattr(shape, "expectations", lambda kind: ())
    checked = audit.audit({"quarantine": tables()["quarantine"]})
    assert checked[0].status == "failed"
    assert checked[0].expectations == 0


def test_an_expectation_that_cannot_be_evaluated_stops_the_audit(monkeypatch, tmp_path):
    asked = shape.expectations("quarantine")
    other = type(asked[0])("ExpectColumnValuesToNotBeNull", (("column", "no_such_column"),), rules=("x",))
    monkeypatch.setattr(shape, "expectations", lambda kind: (*asked, other))
    with pytest.raises(audit.AuditBroken, match="could not be evaluated"):
        audit.audit({"quarantine": tables()["quarantine"]}, tmp_path / "docs")
    assert not (tmp_path / "docs").exists()


def test_a_column_that_is_gone_is_named():
    lacking = tables()["hub/sahel/incidents"].drop("verification")
    (checked,) = audit.audit({"hub/sahel/incidents": lacking})
    assert (checked.status, checked.broken) == ("failed", ("table.no_column_verification",))


def test_the_pages_hold_no_value_of_a_table_and_load_nothing(tmp_path):
    whole = changed("hub/sahel/incidents", dict.fromkeys(("country", "party", "node", "setting"), TAG))
    checked = audit.audit(whole, tmp_path / "docs")
    pages = sorted((tmp_path / "docs").rglob("*.html"))
    assert len(pages) == 2 * 11 + 1
    assert TAG not in audit.as_json(checked, allow_empty=False, folder=None)
    for page in pages:
        text = page.read_text()
        assert TAG not in text
        assert '<html lang="en">' in text
        assert "Traceback" not in text
    found = [p for p in (tmp_path / "docs").rglob("*") if p.is_file() and TAG.encode() in p.read_bytes()]
    assert not found
    control = "ExpectColumnValuesToBeInSet"  # the same scan finds what is there
    assert "values must belong to this set" in (tmp_path / "docs/expectations/hub-sahel-incidents.html").read_text(), (
        control
    )


def test_a_second_audit_takes_the_place_of_the_first(tmp_path):
    folder = tmp_path / "audit" / "docs"
    audit.audit({"quarantine": tables()["quarantine"]}, folder)
    (folder / "old.html").write_text("old")
    audit.audit({"quarantine": tables()["quarantine"]}, folder)
    assert not (folder / "old.html").exists()
    assert len(list((folder / "validations").rglob("*.html"))) == 1
    assert [path.name for path in folder.parent.iterdir()] == ["docs"]


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(BadInput, match="--docs"):
        audit.audit({"quarantine": tables()["quarantine"]}, tmp_path)
    assert not (tmp_path / MARK).exists()


def test_the_line_of_json():
    checked = audit.audit({"quarantine": tables()["quarantine"]})
    line = audit.as_json(checked, allow_empty=False, folder=None)
    assert "\n" not in line
    assert json.loads(line)["tables"][0]["status"] == "passed"
    assert json.loads(line)["passed"] is True


@pytest.mark.parametrize(("rows", "shown"), [(0, 0), (1, None), (4, None), (5, 5)])
@pytest.mark.parametrize("kind", ["incidents", "versions", "referrals", "assessments", "links", "duplicates"])
def test_no_number_of_rows_tells_of_fewer_than_five_incidents(kind, rows, shown):
    each = Checked(f"hub/sahel/{kind}", rows, 1, "passed")
    assert shown_rows(each) == shown
    told = json.loads(as_json((each,), allow_empty=False, folder=None))
    assert told["tables"][0]["rows"] == shown


def test_the_number_of_patterns_is_told():
    assert shown_rows(Checked("hub/sahel/patterns", 1, 1, "passed")) == 1
