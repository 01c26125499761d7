"""The Polars rendering equals the plain one: on random rows with nulls, extremes and bad codes, and on the real files."""

from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.node.importers import base, table
from pipeline.node.importers.insecurity_insight import InsecurityInsight
from pipeline.node.importers.svac import Svac
from quality.one import broken
from quality.rules import rules_for
from quality.verdict import verdicts
from tests.unit.quality.rows import ENUMS, GOOD, frame, random_rows, reasons, refused

DATA = Path(__file__).parents[3] / "schemas" / "data"


def real_rows(importer, name):
    """Return what an importer makes of a real file, with a day of recording."""
    read = base.read(importer, table.load(DATA / name))
    return [row.facts | {"recorded_on": date(2026, 1, 1)} for row in read if isinstance(row, base.Row)]


@pytest.mark.parametrize("applies", ["incident", "pattern"])
@pytest.mark.parametrize("seed", range(5))
def test_polars_says_what_python_says_of_twenty_thousand_random_rows(applies, seed):
    rows = random_rows(applies, 20_000, seed)
    wanted = [broken(applies, row) for row in rows]
    assert reasons(verdicts(applies, frame(applies, rows))) == wanted
    met = Counter(code for codes in wanted for code in codes)
    assert set(met) == {rule.code for rule in rules_for(applies)}, "a rule that no row breaks is not compared"
    assert wanted.count([]) > 500, "hardly a good row: what must not be refused is not compared"


@pytest.mark.parametrize("kind", [pl.Categorical, pl.Enum])
def test_codes_may_come_as_a_dictionary(kind):
    rows = random_rows("incident", 2_000, 11)
    plain = frame("incident", rows)
    names = [name for name in ENUMS if name in plain.columns]
    coded = plain.with_columns(
        pl.col(name).cast(kind if kind is pl.Categorical else pl.Enum(plain[name].drop_nulls().unique().sort()))
        for name in names
    )
    assert verdicts("incident", coded).equals(verdicts("incident", plain))


@pytest.mark.parametrize(("importer", "name", "least"), [
    (Svac(), "svac.csv", 400),
    (InsecurityInsight(), "crsv_incidents_2020-2022.json", 455),
])  # fmt: skip
def test_no_real_row_is_refused_and_both_renderings_agree(importer, name, least):
    rows = real_rows(importer, name)
    whole = frame(importer.record, rows)
    assert len(rows) >= least
    assert len(refused(importer.record, whole)[0]) == 0
    assert reasons(verdicts(importer.record, whole)) == [broken(importer.record, row) for row in rows]


def test_refused_names_rows_and_all_their_reasons_but_no_warning():
    rows = [GOOD["incident"], GOOD["incident"] | {"forms": [], "deaths": 6001}, GOOD["incident"] | {"deaths": 2}]
    where, codes = refused("incident", frame("incident", rows))
    assert where.dtype == np.int64
    assert where.tolist() == [1]
    assert codes == [["incident.deaths_out_of_range", "incident.forms_missing"]]


def test_no_rows_no_reasons():
    where, codes = refused("pattern", frame("pattern", []))
    assert (where.tolist(), codes) == ([], [])


@pytest.mark.parametrize("days", [2**31 - 1, -(2**31)])
def test_a_date_outside_the_calendar_is_refused_and_hurts_no_neighbour(days):
    rows = [GOOD["incident"] | {"date_precision": precision} for precision in ("day", "week", "month", "year")]
    whole = frame("incident", [*rows, GOOD["incident"]])
    hostile = pl.Series([*[days] * 4, 19_787], dtype=pl.Int32).cast(pl.Date)
    where, codes = refused("incident", whole.with_columns(hostile.alias("occurred_on")))
    assert where.tolist() == [0, 1, 2, 3]
    assert {"incident.after_recording" if days > 0 else "incident.before_1946"} == set.intersection(*map(set, codes))


def test_verdicts_are_never_null():
    whole = frame("incident", random_rows("incident", 500, 3))
    assert sum(verdicts("incident", whole).null_count().row(0)) == 0
