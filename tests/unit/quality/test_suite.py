"""The Great Expectations rendering equals the other two, row by row and rule by rule."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.node.importers.insecurity_insight import InsecurityInsight
from pipeline.node.importers.svac import Svac
from quality import suite
from quality.rules import RULES, rules_for
from quality.verdict import verdicts
from tests.unit.quality.rows import frame, random_rows
from tests.unit.quality.test_verdict import real_rows

pytestmark = pytest.mark.timeout(60)


def broken_rows(gx, applies, whole):
    """Return for each rule the rows that Great Expectations finds, by its complete results: only in tests."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("tables").add_dataframe_asset(applies)
    batch = asset.add_batch_definition_whole_dataframe("whole")
    seen = batch.get_batch({"dataframe": suite.prepared(applies, whole)})
    result = seen.validate(suite.build(applies, suite.expected(applies)), result_format={"result_format": "COMPLETE"})
    found = {rule.code: set() for rule in rules_for(applies)}
    for each in result.results:
        assert each.exception_info["raised_exception"] is False, each.expectation_config.type
        for code in each.expectation_config.meta["rules"]:
            found[code] |= set(each.result["unexpected_index_list"])
    return found


def wanted(applies, whole):
    """Return for each rule the rows that break it, as Polars says."""
    table = verdicts(applies, whole)
    return {code: set(np.flatnonzero(table[code].to_numpy())) for code in table.columns}


@pytest.mark.parametrize("applies", ["incident", "pattern"])
def test_great_expectations_finds_the_same_rows_among_random_ones(gx, applies):
    whole = frame(applies, random_rows(applies, 5_000, 21))
    found = broken_rows(gx, applies, whole)
    assert found == wanted(applies, whole)
    assert all(found.values()), "a rule that no row breaks is not compared"


@pytest.mark.parametrize(("importer", "name"), [
    (Svac(), "svac.csv"),
    (InsecurityInsight(), "crsv_incidents_2020-2022.json"),
])  # fmt: skip
def test_great_expectations_finds_the_same_rows_in_the_real_files(gx, importer, name):
    whole = frame(importer.record, real_rows(importer, name))
    found = broken_rows(gx, importer.record, whole)
    assert found == wanted(importer.record, whole)
    assert not any(rows for code, rows in found.items() if severity(code) == "refuse")


def severity(code):
    return next(rule.severity for rule in RULES if rule.code == code)


def test_every_rule_is_rendered_and_most_severe_where_expectations_are_shared():
    for applies in ("incident", "pattern"):
        asked = suite.expected(applies)
        assert {code for each in asked for code in each.rules} == {rule.code for rule in rules_for(applies)}
        for each in asked:
            assert each.severity == ("refuse" if "refuse" in map(severity, each.rules) else "warn")


def test_the_page_says_what_stands_on_own_columns():
    page = suite.page()
    assert "| `incident.country_not_monitored` | the own columns of the table |" in page
    assert "| `incident.persons_none` | one derived column |" in page
    assert all(f"`{rule.code}`" in page for rule in RULES)


def test_what_is_looked_at_holds_no_list_and_no_place_below_country():
    whole = frame("incident", random_rows("incident", 10, 1))
    assert not {"forms", "nexus", "admin1"} & set(suite.prepared("incident", whole).columns)
    assert isinstance(whole, pl.DataFrame)


def test_importing_the_renderings_does_not_import_great_expectations():
    import subprocess
    import sys

    program = "import sys, quality.suite, quality.audit, quality.verdict; print('great_expectations' in sys.modules)"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "False"
