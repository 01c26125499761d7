import os

import pytest

from pipeline.node.importers import table as tables
from schemas.errors import BadInput

HOSTILE = {
    "empty": b"",
    "blank": b" \r\n\t ",
    "no-break spaces": "\u00a0\n\u2003".encode(),
    "only a mark of order": b"\xef\xbb\xbf",
    "nul": b"a,b\n1,\x002\n",
    "binary": bytes(range(256)) * 4,
    "spreadsheet": b"PK\x03\x04" + b"x" * 100,
    "utf-16": "a,b\n1,2\n".encode("utf-16"),
    "latin-1": "a,b\nMénaka,2\n".encode("latin-1"),
    "one column": b"a\n1\n2\n",
    "no JSON": b'[{"a": 1},',
    "JSON object": b'{"data": [{"a": 1, "b": 2}]}',
    "JSON list of lists": b"[[1, 2], [3, 4]]",
    "JSON of nothing": b"[]",
    "deep JSON": b"[" * 100_000 + b"]" * 100_000,
    "huge number": b'[{"a": ' + b"9" * 5_000 + b', "b": 1}]',
    "name twice": b'[{"a": 1, "a": 2}]',
    "column twice": b"a,B, b \n1,2,3\n",
    "open quotation": b'a,b\n1,2\n3,"4\n5,6\n',
    "huge cell": b"a,b\n1," + b"x" * 200_000 + b"\n",
    "many columns": b",".join(b"c%d" % n for n in range(400)) + b"\n",
    "large JSON": b'[{"a": "' + b"x" * (tables.JSON_BYTES + 1) + b'"}]',
    "html": b"<!DOCTYPE html><html><body>Not found</body></html>",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_cannot_be_used_is_one_sentence_that_says_what_to_do(tmp_path, name):
    path = tmp_path / "in.csv"
    path.write_bytes(HOSTILE[name])
    with pytest.raises(BadInput) as error:
        list(tables.load(path).records())
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 400
    assert message.endswith(".")
    assert any(word in message for word in ("export", "save", "split", "keep", "correct")), message


def test_a_file_that_is_none(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "missing.csv", tmp_path / "pipe", tmp_path / "\0", tmp_path / ("x" * 300)):
        with pytest.raises(BadInput):
            tables.load(path)


def test_a_file_too_large_is_not_read(tmp_path):
    path = tmp_path / "large.csv"
    with path.open("wb") as file:
        file.truncate(tables.FILE_BYTES + 1)
    with pytest.raises(BadInput, match="split"):
        tables.load(path)


def test_too_many_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "ROWS", 3)
    path = tmp_path / "in.csv"
    path.write_text("a,b\n" + "1,2\n" * 3)
    assert tables.load(path).size == 3
    path.write_text("a,b\n" + "1,2\n" * 4)
    with pytest.raises(BadInput, match="more than 3 rows"):
        tables.load(path)


def test_rows_that_cannot_be_used_do_not_stop_the_others(tmp_path):
    path = tmp_path / "in.csv"
    path.write_bytes(b'a,b\n1,2\n\n1\n1,2,3\n#x,#y\n"' + b"y" * 1_001 + b'",2\n3,4\n')
    records = list(tables.load(path).records())
    assert [record.problem for record in records] == ["", "row.cells", "row.cells", "cell.too_long", ""]
    assert [record.number for record in records] == [1, 2, 3, 4, 5]
    assert tables.load(path).size == 5


def test_json_rows_that_cannot_be_used_do_not_stop_the_others(tmp_path):
    path = tmp_path / "in.json"
    path.write_text('[{"a": 1, "B ": null}, 7, {"a": [1]}, {"a": "\\ud800"}, {"a": 1e999}, {}]')
    records = list(tables.load(path).records())
    assert [record.problem for record in records] == ["", "row.object", "cell.nested", "cell.text", "", ""]
    assert records[0].cells == {"a": "1", "b": ""}


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_system(tmp_path, newline):
    path = tmp_path / "in.csv"
    path.write_bytes(newline.join(["a;b", "1;2", "3;4", ""]).encode())
    assert [record.cells for record in tables.load(path).records()] == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
