"""The node's commands as a person runs them; no broker."""

import json
import subprocess
import sys

import pytest

from tests.integration.node.conftest import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


def test_init_import_status(desk, rows):
    folder = desk.init("TEST-1")
    status, said, _ = desk.run("init", "TEST-1", "--region", "great-lakes", "--new")
    assert (status, said.count("\n")) == (65, 1)
    status, said, line = desk.run("import", rows(5), "--json")
    assert (status, line["accepted"], line["rejects"]) == (0, 5, None), said
    status, said, line = desk.run("import", rows(6), "--json", "--node", "TEST-1")
    assert (line["accepted"], line["already"]) == (1, 5)
    status, said, line = desk.run("status", "--json", "--node", str(folder))
    assert (status, line["first"], line["last"], line["missing"], line["to_send"]) == (0, 1, 6, 0, 6)
    assert (line["cuts"], line["damage"]) == ([], None)


def test_rejected_rows_are_corrected_and_imported_again(desk, rows, tmp_path):
    desk.init("TEST-1")
    status, said, line = desk.run("import", rows(3, date="=1+1"), "--json", "--lang", "fr")
    assert (status, line["rejected"]) == (0, {"date.day": 3})
    assert "corrigez" in said
    path = line["rejects"]
    refused = json.loads((tmp_path / "rows.rejects.json").read_text())
    assert {row["tocsin_reasons"] for row in refused} == {"date.day"}
    (tmp_path / "rows.rejects.json").write_text(json.dumps([{**row, "date": "2021-01-01"} for row in refused]))
    status, said, line = desk.run("import", path, "--json")
    assert (line["accepted"], line["rejects"]) == (3, None)
    status, said, line = desk.run("import", rows(3, date="=1+1"), "--json")
    assert line["rejects"].endswith("rows.rejects-2.json")  # what a person corrected is never replaced
    assert not [p for p in desk.journal("TEST-1").iterdir() if b"Victims Home" in p.read_bytes()]


def test_a_dry_run_needs_no_node_and_keeps_nothing(tmp_path, rows):
    from tests.integration.node.conftest import Desk

    path = rows(2, date="never")
    before = sorted(tmp_path.iterdir())
    status, said, line = Desk(tmp_path / "none").run("import", path, "--dry-run", "--json")
    assert (status, line["rows"], line["node"], line["rejected"]) == (0, 2, None, {"date.day": 2}), said
    assert sorted(tmp_path.iterdir()) == before
    status, said, line = Desk(tmp_path / "none").run("import", path, "--dry-run", "--rejects", str(tmp_path / "r.json"))
    assert len(json.loads((tmp_path / "r.json").read_text())) == 2


def test_two_nodes_share_a_file(desk, rows):
    counts = []
    for part, code in (("1/2", "TEST-1"), ("2/2", "TEST-2")):
        desk.init(code)
        counts.append(desk.run("import", rows(7), "--node", code, "--part", part, "--json")[2]["accepted"])
    assert counts == [4, 3]


def test_a_node_imports_light(rows):
    heavy = (
        "{'pyarrow','polars','numba','numpy','faust','great_expectations','deltalake','pandas','minio','rich','kafka'}"
    )
    code = (
        "import sys; from pipeline.cli.app import cli\n"
        f"cli.main(['node','import',{rows(2)!r},'--dry-run'], standalone_mode=False)\n"
        "import pipeline.node.record, pipeline.node.sync, pipeline.node.status\n"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip().split("\n")[-1] == "[]", done.stderr


def test_a_case_is_withdrawn_by_its_row_and_without_a_terminal_only_by_yes(desk, rows):
    desk.init("SYN-7")
    file = rows(3)
    desk.run("import", file, "--node", "SYN-7")
    status, said, _ = desk.run("withdraw", file, "--row", "2", "--node", "SYN-7")
    assert (status, "add --yes" in said) == (65, True)
    status, said, line = desk.run("withdraw", file, "--row", "2", "--node", "SYN-7", "--yes", "--json")
    assert status == 0, said
    [one] = line["withdrawn"]
    assert (line["node"], one["incidents"], one["event"], one["before"]) == ("SYN-7", 1, 4, False)
    status, said, line = desk.run("withdraw", "--event", "2", "--node", "SYN-7", "--yes", "--json")
    assert (status, line["withdrawn"]) == (0, [one | {"before": True}])
    assert "had been withdrawn before, by event 4" in said
    assert desk.run("status", "--node", "SYN-7", "--json")[2]["last"] == 4
    status, said, _ = desk.run("withdraw", file, "--row", "9", "--node", "SYN-7", "--yes")
    assert (status, "Row 9 of rows.json is no event of SYN-7" in said) == (65, True)
