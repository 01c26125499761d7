import pytest

from pipeline.node import lines, sent
from pipeline.node import node as nodes
from pipeline.node.entries import NotWritten
from pipeline.node.journal import Entry, Journal
from pipeline.node.status import status
from schemas import seal
from schemas.errors import BadInput, NotSetUp


def test_a_second_init_changes_nothing(node, pair):
    before = {path: path.read_bytes() for path in node.folder.rglob("*") if path.is_file()}
    with pytest.raises(BadInput, match="nothing was changed"):
        nodes.create(node.folder, "MONUSCO", "great-lakes", pair[0])
    assert {path: path.read_bytes() for path in node.folder.rglob("*") if path.is_file()} == before
    assert [path.name for path in node.folder.parent.iterdir()] == ["MONUSCO"]


@pytest.mark.parametrize(
    ("code", "region", "lang", "word"),
    [("monusco", "sahel", "en", "capital"), ("../X", "sahel", "en", "capital"), ("A", "sahel", "en", "capital"),
     ("MINUSMA", "atlantis", "en", "sahel"), ("MINUSMA", "sahel", "de", "en, fr, ar")],
)  # fmt: skip
def test_what_no_node_can_be_made_of(tmp_path, pair, code, region, lang, word):
    with pytest.raises(BadInput, match=word):
        nodes.create(tmp_path / "n", code, region, pair[0], lang)
    assert list(tmp_path.iterdir()) == []


def test_a_node_that_could_not_be_made_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(nodes, "Journal", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        nodes.create(tmp_path / "n", "MINUSMA", "sahel", seal.region_pair()[0])
    assert list(tmp_path.iterdir()) == []


def test_the_only_node_need_not_be_named(node, tmp_path, pair):
    assert (
        nodes.find(None, tmp_path) == nodes.find("MONUSCO", tmp_path) == nodes.find(str(node.folder), tmp_path) == node
    )
    nodes.create(tmp_path / "nodes" / "UNMISS", "UNMISS", "great-lakes", pair[0])
    with pytest.raises(NotSetUp, match="--node: MONUSCO, UNMISS"):
        nodes.find(None, tmp_path)
    with pytest.raises(NotSetUp, match="tocsin node init"):
        nodes.find(None, tmp_path / "elsewhere")
    with pytest.raises(NotSetUp, match="tocsin node init"):
        nodes.find("UNSMIL", tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"code": "X"}'])
def test_damaged_settings_are_one_sentence(node, content):
    (node.folder / "node.json").write_text(content)
    with pytest.raises(NotSetUp):
        nodes.load(node.folder)


def test_a_damaged_key_is_one_sentence(node):
    (node.folder / "digest.key").write_text("xyz")
    with pytest.raises(NotSetUp, match="backup"):
        node.secret("digest")


def test_the_regions_key_comes_from_the_data_folder_or_a_file(tmp_path, pair):
    with pytest.raises(NotSetUp, match="tocsin up"):
        nodes.region_public(tmp_path, "sahel", None)
    folder = tmp_path / "regions" / "sahel"
    folder.mkdir(parents=True)
    (folder / "public.key").write_text(pair[0].hex() + "\n")
    assert nodes.region_public(tmp_path, "sahel", None) == pair[0]
    (tmp_path / "short").write_text("00")
    with pytest.raises(NotSetUp):
        nodes.region_public(tmp_path, "sahel", tmp_path / "short")


def test_an_old_copy_of_the_journal_takes_no_new_numbers(node):
    with sent.open_journal(node) as journal:
        journal.append([Entry(1, bytes(16), b"x")])
    sent.write(node, sent.Sent(2, 0))
    with pytest.raises(sent.OlderThanSent, match="2 were sent"):
        sent.open_journal(node)
    assert "2 were sent" in status(node).damage
    Journal(node.journal).close()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"events": "x", "keys": 1}'])
def test_a_lost_position_is_the_beginning(node, content):
    (node.folder / "sent.json").write_text(content)
    assert sent.read(node) == sent.Sent(0, 0)


def test_status_counts_what_is_there_and_what_is_to_be_sent(node):
    with Journal(node.journal) as journal:
        journal.append([Entry(n, bytes(16), b"x") for n in (1, 2, 3)])
    sent.write(node, sent.Sent(1, 0))
    node.note_import({"rejected": {"date.day": 2}})
    node.note_import({"rejected": {"date.day": 1, "date.year": 1}})
    found = status(node)
    assert (found.first, found.last, found.missing, found.sent, found.to_send, found.keys_to_send) == (1, 3, 0, 1, 2, 1)
    assert (found.rejected, found.cuts, found.damage) == ({"date.day": 3, "date.year": 1}, [], None)


def test_status_tells_damage_and_what_cannot_be_read(node):
    with Journal(node.journal) as journal:
        journal.append([Entry(n, bytes(16), b"x" * 50) for n in (1, 2, 3)])
    path = node.journal / "00000000000000000001.log"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    found = status(node)
    assert (found.last, found.missing) == (3, 2)
    assert "backup" in found.damage


def test_a_torn_line_is_not_read_and_does_not_swallow_the_next(tmp_path):
    path = tmp_path / "x.jsonl"
    lines.append(path, {"a": 1})
    with path.open("ab") as file:
        file.write(b'{"a": ')
    assert lines.read(path) == [{"a": 1}]
    lines.append(path, {"a": 2})
    assert lines.read(path) == [{"a": 1}, {"a": 2}]


def test_a_disk_that_refuses_the_position_is_one_sentence(node, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sent, "replace", full)
    with pytest.raises(NotWritten, match="free some space"):
        sent.write(node, sent.Sent(1, 1))
