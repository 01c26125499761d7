import csv
import io
import json

import pytest

from pipeline.node import rejects
from pipeline.node.importers import table as tables
from pipeline.node.importers.base import Reject
from schemas.errors import BadInput


def written(tmp_path, name, content, sentence=lambda code: f"={code}"):
    """Refuse every row of a file, and return what the file of rejects holds."""
    (tmp_path / name).write_bytes(content)
    table = tables.load(tmp_path / name)
    target = rejects.free_name(table.path)
    rejects.write(target, table, [Reject(row, ("one", "two")) for row in table.records()], sentence)
    return target.read_bytes().decode("utf-8-sig")


def test_every_cell_is_guarded_and_quoted(tmp_path):
    text = written(tmp_path, "in.csv", b'a;b\n=cmd();"x\n+1"\n-2;\t3\n')
    assert text.startswith('"tocsin_reasons";"tocsin_sentence";"a";"b"\r\n')
    _, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=";")
    assert rows == [["one two", "'=one", "'=cmd()", "x\n'+1"], ["one two", "'=one", "'-2", "'\t3"]]


def test_a_spreadsheet_reads_it_as_utf_8(tmp_path):
    written(tmp_path, "in.csv", "a,b\nMénaka,أ\n".encode())
    assert (tmp_path / "in.rejects.csv").read_bytes()[:3] == b"\xef\xbb\xbf"


def test_cells_without_a_column_stay_to_be_seen(tmp_path):
    text = written(tmp_path, "in.csv", b"a,tocsin_reasons,b\n1,old,2,3\n4\n")
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    assert header[2:] == ["a", "b"]
    assert [row[2:] for row in rows] == [["1", "2", "3"], ["4"]]


def test_json_rows_come_back_whatever_they_are(tmp_path):
    rows = [{"a": "1", "b": [None], "tocsin_sentence": "old"}, 7, {"a": "\ud800"}]
    found = json.loads(written(tmp_path, "in.json", json.dumps(rows).encode()))
    assert [sorted(row) for row in found] == [
        ["a", "b", "tocsin_reasons", "tocsin_sentence"],
        ["tocsin_reasons", "tocsin_sentence", "tocsin_value"],
        ["a", "tocsin_reasons", "tocsin_sentence"],
    ]
    assert (found[0]["b"], found[0]["tocsin_sentence"], found[1]["tocsin_value"]) == ([None], "=one", 7)
    assert found[2]["a"] == "\ud800"


def test_a_file_of_rejects_is_never_replaced(tmp_path):
    names = []
    for _ in range(3):
        names.append(rejects.free_name(tmp_path / "in.csv").name)
        (tmp_path / names[-1]).touch()
    assert names == ["in.rejects.csv", "in.rejects-2.csv", "in.rejects-3.csv"]


@pytest.mark.parametrize("target", ["in.csv", "nowhere/x.csv", "."])
def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path, target):
    (tmp_path / "in.csv").write_bytes(b"a,b\n1,2\n")
    table = tables.load(tmp_path / "in.csv")
    with pytest.raises(BadInput, match="--rejects"):
        rejects.write(tmp_path / target, table, [Reject(next(table.records()), ("one",))], str)
    assert (tmp_path / "in.csv").read_bytes() == b"a,b\n1,2\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv"]
