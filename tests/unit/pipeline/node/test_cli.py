"""What a command says about input that it can't use: one sentence and an exit status, in one process."""

import json

import pytest

from pipeline.cli.app import main
from pipeline.node.importers.table import FILE_BYTES
from tests.unit.pipeline.node.test_importing import GOOD


@pytest.fixture
def tocsin(tmp_path, monkeypatch, capsys):
    """Run `tocsin node …` with an empty data folder; return exit status and what was said."""
    monkeypatch.setenv("TOCSIN_DATA", str(tmp_path / "data"))

    def run(*args):
        monkeypatch.setattr("sys.argv", ["tocsin", "node", *map(str, args)])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return end.value.code, said.out + said.err

    return run


@pytest.mark.parametrize(
    ("args", "status"),
    [
        (["import", "/nowhere/x.csv"], 78),
        (["import", "/nowhere/x.csv", "--dry-run"], 65),
        (["import", __file__, "--dry-run"], 65),
        (["import", __file__, "--dry-run", "--lang", "de"], 65),
        (["import", __file__, "--dry-run", "--part", "3/2"], 2),
        (["status"], 78),
        (["sync"], 78),
        (["withdraw"], 65),
        (["withdraw", "--row", "1"], 65),
        (["withdraw", __file__], 65),
        (["withdraw", "--event", "0"], 2),
        (["withdraw", "--event", "1", "--yes"], 78),
        (["init", "NOWHERE", "--region", "sahel"], 65),
        (["init", "MINUSMA", "--region", "atlantis"], 65),
        (["init", "MINUSMA", "--region", "sahel", "--region-key", "/nowhere"], 78),
        (["init", "../../X", "--region", "sahel", "--new"], 65),
    ],
)
def test_what_cannot_be_done_is_a_sentence_and_a_status(tocsin, args, status):
    code, said = tocsin(*args)
    assert code == status, said
    assert len(said) < 600


@pytest.mark.parametrize(
    "content", [b"", b"\0\1\2", b"a,b\n1,2\n", b'[{"a":1}]', b"PK\3\4", b"\xff\xfea", b'"', b"[" * 9_999]
)
@pytest.mark.parametrize("named", [[], ["--as", "svac"], ["--as", "insecurity-insight"]])
def test_a_hostile_file_is_one_sentence(tocsin, tmp_path, content, named):
    path = tmp_path / "in.csv"
    path.write_bytes(content)
    status, said = tocsin("import", path, "--dry-run", *named)
    assert (status, said.count("\n")) == (65, 1), said
    assert said.startswith("tocsin: ")


def test_a_huge_file_is_refused_at_once(tocsin, tmp_path):
    with (tmp_path / "huge.csv").open("wb") as file:
        file.truncate(FILE_BYTES * 100)
    status, said = tocsin("import", tmp_path / "huge.csv", "--dry-run")
    assert (status, "split it" in said) == (65, True)


def test_rejects_never_replace_the_file_itself(tocsin, tmp_path):
    path = tmp_path / "in.json"
    path.write_text(json.dumps([{**GOOD, "date": "never"}]))
    status, said = tocsin("import", path, "--dry-run", "--rejects", path)
    assert (status, "another name" in said) == (65, True)
    assert tocsin("import", path, "--dry-run", "--rejects", "/nowhere/x")[0] == 65
    assert json.loads(path.read_text()) == [{**GOOD, "date": "never"}]


@pytest.mark.parametrize(("lang", "word"), [("en", "correct"), ("fr", "corrigez"), ("ar", "صحّحوه")])
def test_reasons_are_said_in_the_language_asked_for(tocsin, tmp_path, lang, word):
    path = tmp_path / "in.json"
    path.write_text(json.dumps([{**GOOD, "date": "never"}, GOOD]))
    status, said = tocsin("import", path, "--dry-run", "--lang", lang, "--json")
    assert (status, word in said) == (0, True), said
    line = json.loads(said.strip().split("\n")[-1])
    assert (line["rows"], line["accepted"], line["rejected"]) == (2, 1, {"date.day": 1})
