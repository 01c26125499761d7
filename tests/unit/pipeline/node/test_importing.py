import json
from collections import Counter
from pathlib import Path

import pytest

from pipeline.node import importing
from pipeline.node.importers import table as tables
from pipeline.node.journal import Journal, Reader
from pipeline.node.record import Recorder
from schemas.errors import BadInput
from tests.conformance.importer import as_csv, as_json

INSIGHT = importing.FORMATS["insecurity-insight"]
GOOD = {
    **dict.fromkeys(INSIGHT.columns, ""),
    "sind event id": "1",
    "date": "2021-05-03",
    "country iso": "COD",
    "sv context": "CRSV",
    "type of sv": "Rape",
    "number of reported victims": "1",
}


def write(tmp_path, *changes):
    return as_json(tmp_path / "in.json", [GOOD | change for change in changes])


def imported(node, path, part=(1, 1)):
    table = tables.load(path)
    if node is None:
        return importing.run(INSIGHT, table, None, part)
    with Journal(node.journal) as journal:
        return importing.run(INSIGHT, table, Recorder(node, journal), part)


def numbers(report):
    return report.rows, report.accepted, report.already, dict(report.rejected)


def test_the_same_rows_add_nothing_and_a_corrected_one_is_new(tmp_path, node):
    first = write(tmp_path, {"sind event id": "1"}, {"sind event id": "2"}, {"date": "?"}, {"sind event id": "1"})
    assert numbers(imported(node, first)) == (4, 2, 1, {"date.day": 1})
    assert numbers(imported(node, first)) == (4, 0, 3, {"date.day": 1})
    corrected = write(tmp_path, {"sind event id": "1"}, {"sind event id": "2", "date": "2021-05-04"})
    assert numbers(imported(node, corrected)) == (2, 1, 1, {})
    assert [entry.sequence for entry in Reader(node.journal).read()] == [1, 2, 3]


def test_a_dry_run_says_what_an_import_would(tmp_path, node):
    path = write(tmp_path, {}, {}, {"date": "?"}, {"date": "2099-01-01"}, {"number of reported victims": "0"})
    dry = numbers(imported(None, path))
    assert dry == numbers(imported(node, path))
    assert dry[3] == {"date.day": 1, "incident.after_recording": 1, "incident.persons_none": 1}


def test_every_refusal_by_a_rule_is_told_with_all_its_codes(tmp_path):
    report = imported(None, write(tmp_path, {"date": "2099-01-01", "number of reported victims": "999999"}))
    assert set(report.rejects[0].reasons) == {"incident.after_recording", "incident.persons_out_of_range"}
    assert sum(report.rejected.values()) == 1
    assert all(importing.sentence("incident.after_recording", lang) for lang in ("en", "fr", "ar"))


def test_parts_are_the_whole_each_row_once(tmp_path):
    path = write(tmp_path, *({"sind event id": str(n)} for n in range(10)))
    parts = [imported(None, path, (which, 3)).rows for which in (1, 2, 3)]
    assert parts == [4, 3, 3]
    table = tables.load(path)
    taken = Counter()
    for which in (1, 2, 3):
        taken.update(row.source.number for row in importing._part(importing.read(INSIGHT, table), (which, 3)))
    assert taken == Counter(range(1, 11))


def test_steps_are_told_row_by_row(tmp_path):
    steps = []
    importing.run(INSIGHT, tables.load(write(tmp_path, {}, {})), None, step=lambda: steps.append(1))
    assert len(steps) == 2


def test_digests_of_two_nodes_cannot_be_compared(tmp_path, node, pair):
    from pipeline.node import node as nodes

    other = nodes.create(tmp_path / "nodes" / "UNMISS", "UNMISS", "great-lakes", pair[0])
    path = write(tmp_path, {})
    for one in (node, other):
        imported(one, path)
    digests = [next(iter(Reader(one.journal).read())).digest for one in (node, other)]
    assert digests[0] != digests[1]


def test_the_format_is_found_by_its_columns_or_named(tmp_path):
    known = tables.load(write(tmp_path, {}))
    assert importing.detect(known).name == "insecurity-insight"
    assert importing.detect(known, "svac").name == "svac"
    unknown = tables.load(as_csv(tmp_path / "other.csv", ["a", "b"], [["1", "2"]]))
    with pytest.raises(BadInput, match="no known format"):
        importing.detect(unknown)
    with pytest.raises(BadInput, match="choose one of: svac, insecurity-insight"):
        importing.detect(known, "excel")


def test_the_real_files_are_found_by_their_columns():
    folder = Path(__file__).parents[4] / "schemas" / "data"
    for name, file in (("svac", "svac.csv"), ("insecurity-insight", "crsv_incidents_2020-2022.json")):
        assert importing.detect(tables.load(folder / file)).name == name


def test_every_real_row_that_is_taken_passes_the_hubs_rules():
    folder = Path(__file__).parents[4] / "schemas" / "data"
    for name, file, accepted in (
        ("svac", "svac.csv", 405),
        ("insecurity-insight", "crsv_incidents_2020-2022.json", 461),
    ):
        table = tables.load(folder / file)
        report = importing.run(importing.FORMATS[name], table, None)
        assert (report.accepted, report.already) == (accepted, 0)
        assert report.rows == report.accepted + sum(report.rejected.values()) == table.size
        assert json.dumps(report.rejected)
