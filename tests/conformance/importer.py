"""What every importer must pass: subclass `ImporterCase`, give the importer and one synthetic row that it takes."""

import csv
import io
import json
from datetime import date
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.node import importing, rejects
from pipeline.node.importers import table as tables
from pipeline.node.importers.base import Reject, Row, read
from quality.one import broken
from schemas.codes import LANGUAGES
from schemas.errors import BadInput
from schemas.released import latest
from schemas.rows import write

FINE = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]  # one method, many importers
HARSH = settings(max_examples=60, deadline=None, suppress_health_check=FINE)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
CELL = st.one_of(
    TEXT,
    st.sampled_from(["", " ", "NA", "No Information", "-1", "0", "999999", "1e9", "٣", "=1+1", "1, 2 , 7", "1, 2, 5,"]),
    st.sampled_from(["0000-00-00", "9999-12-31", "2022-02-30", "1", "COD", "CRSV", "x" * 1_001, ",", ", ,", "\t", '"']),
)
JSON_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def as_csv(path, columns, rows, delimiter=","):
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter)
    writer.writerows([columns, *rows])
    path.write_bytes(file.getvalue().encode())
    return path


def as_json(path, rows):
    path.write_text(json.dumps(rows))
    return path


class ImporterCase:
    """`importer`, `good` (a synthetic row by column), `facts` (some of what it must become), and `bad`.

    `bad` maps a reason to the cells that cause it when they are put into the good row.
    """

    importer = None
    good: ClassVar[dict[str, str]] = {}
    facts: ClassVar[dict] = {}
    bad: ClassVar[dict] = {}

    def read(self, path):
        return list(read(self.importer, tables.load(path)))

    def rows(self, tmp_path, *changes):
        rows = [[{**self.good, **change}[column] for column in self.importer.columns] for change in changes]
        return self.read(as_csv(tmp_path / "in.csv", self.importer.columns, rows))

    def test_the_good_row_is_complete(self):
        assert set(self.good) == set(self.importer.columns)

    def test_a_good_row_becomes_facts_that_contract_and_rules_take(self, tmp_path):
        [row] = self.rows(tmp_path, {})
        assert isinstance(row, Row)
        assert {name: row.facts[name] for name in self.facts} == self.facts
        assert write(latest(self.importer.kind), {"recorded_at": 0, row.record: row.facts})
        assert broken(row.record, {**row.facts, "recorded_on": date(2026, 1, 1)}, "refuse") == []

    def test_each_bad_cell_has_its_reason(self, tmp_path):
        for reason, cells in self.bad.items():
            [row] = self.rows(tmp_path, cells)
            assert isinstance(row, Reject), reason
            assert row.reasons[0] == reason

    def test_the_way_a_row_is_written_does_not_matter(self, tmp_path):
        columns = list(self.importer.columns)
        cells = [self.good[column] for column in columns]
        upper = [f" {column.upper()} " for column in columns]
        files = [
            as_csv(tmp_path / "comma.csv", columns, [cells]),
            as_csv(tmp_path / "semicolon.csv", columns, [cells], ";"),
            as_csv(tmp_path / "tab.csv", columns, [cells], "\t"),
            as_csv(tmp_path / "backwards.csv", columns[::-1], [cells[::-1]]),
            as_csv(tmp_path / "more.csv", [*upper, "narrative", "tocsin_reasons"], [[*cells, "other", "cell.text"]]),
            as_csv(
                tmp_path / "hxl.csv", columns, [[f"#{n}x+y".replace(str(n), "a") for n in range(len(cells))], cells]
            ),
            as_json(tmp_path / "rows.json", [self.good | {"tocsin_sentence": [1]}]),
        ]
        bom = tmp_path / "bom.csv"
        bom.write_bytes(b"\xef\xbb\xbf" + files[0].read_bytes().replace(b"\r\n", b"\n"))
        results = [self.read(path) for path in [*files, bom]]
        assert [len(rows) for rows in results] == [1] * len(results)
        assert {rows[0].identity for rows in results} == {results[0][0].identity}
        assert all(rows[0].facts == results[0][0].facts for rows in results)

    def test_every_column_is_asked_for_by_name(self, tmp_path):
        for column in self.importer.columns:
            columns = [name for name in self.importer.columns if name != column]
            path = as_csv(tmp_path / "in.csv", columns, [[self.good[name] for name in columns]])
            with pytest.raises(BadInput, match="has no column") as error:
                self.read(path)
            assert repr(column) in str(error.value)

    def test_each_cell_that_is_read_makes_another_row(self, tmp_path):
        changed = [{column: self.good[column] + "1"} for column in self.importer.columns]
        table = tables.load(
            as_json(tmp_path / "in.json", [self.good, *({**self.good, **change} for change in changed)])
        )
        cells = [{name: record.cells[name] for name in self.importer.columns} for record in table.records()]
        from pipeline.node.importers.base import identity

        assert len({identity(self.importer, row) for row in cells}) == len(cells)

    @HARSH
    @given(data=st.data())
    def test_no_cell_is_an_error(self, tmp_path, data):
        column = st.sampled_from(self.importer.columns)
        changes = [data.draw(st.dictionaries(column, CELL, max_size=6)) for _ in range(3)]
        self.check_verdicts(self.rows(tmp_path, *changes), 3)

    @HARSH
    @given(changes=st.data())
    def test_no_json_value_is_an_error(self, tmp_path, changes):
        column = st.sampled_from(self.importer.columns)
        row = {**self.good, **changes.draw(st.dictionaries(column, JSON_VALUE, max_size=4))}
        other = changes.draw(JSON_VALUE)
        self.check_verdicts(self.read(as_json(tmp_path / "in.json", [self.good, row, other])), 3)

    def check_verdicts(self, found, count):
        assert [row.source.number for row in found] == list(range(1, count + 1))
        for row in found:
            if isinstance(row, Row):
                reasons = broken(row.record, {**row.facts, "recorded_on": date(2026, 1, 1)}, "refuse")
                assert reasons or write(latest(row.kind), {"recorded_at": 0, row.record: row.facts})
            else:
                reasons = list(row.reasons)
                assert reasons
            assert all(importing.sentence(reason, lang) for reason in reasons for lang in LANGUAGES)

    @pytest.mark.parametrize("kind", ["csv", "json"])
    def test_rejects_come_back_as_they_were_and_corrected_they_are_taken(self, tmp_path, kind):
        bad = list(self.bad.values())
        rows = [{**self.good, **cells} for cells in bad]
        path = tmp_path / f"in.{kind}"
        if kind == "csv":
            as_csv(path, self.importer.columns, [[row[name] for name in self.importer.columns] for row in rows])
        else:
            as_json(path, rows)
        again = tmp_path / f"again.{kind}"
        first, second = self.round_trip(path, again), self.round_trip(again, tmp_path / f"third.{kind}")
        assert [r.reasons for r in first] == [r.reasons for r in second]
        assert [dict(r.source.cells) for r in first] == [dict(r.source.cells) for r in second]
        text = (tmp_path / f"third.{kind}").read_text(encoding="utf-8-sig")
        corrected = tmp_path / f"corrected.{kind}"
        corrected.write_text(_with(text, kind, self.good))
        assert all(isinstance(row, Row) for row in self.read(corrected))

    def round_trip(self, path, target):
        table = tables.load(path)
        found = list(read(self.importer, table))
        assert all(isinstance(row, Reject) for row in found)
        rejects.write(target, table, found, lambda code: importing.sentence(code, "ar"))
        return found


def _with(text, kind, good):
    """Return a rejects file in which a person put every cell right."""
    if kind == "json":
        return json.dumps([{**row, **good} for row in json.loads(text)])
    header, *lines = csv.reader(io.StringIO(text, newline=""))
    file = io.StringIO(newline="")
    csv.writer(file).writerows([header, *([good.get(name, "x") for name in header] for _ in lines)])
    return file.getvalue()
