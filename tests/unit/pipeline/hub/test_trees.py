"""Trees that grow, witnesses that sign only what has grown, bundles that come back."""

from contextlib import suppress
from dataclasses import replace

import pytest

from pipeline.hub import evidence, trees, witness
from pipeline.hub.evidence import Gathered
from pipeline.hub.proof import examine
from pipeline.hub.trees import Tree
from pipeline.hub.witness import NotGrown
from pipeline.log import Entry
from schemas import notes
from schemas.errors import BadInput, LedgerGap, NotSetUp

RECORDS = [b"record %d" % number for number in range(20)]
SECONDS = 1_700_000_000


@pytest.fixture
def hub(tmp_path):
    return trees.signer(tmp_path / "proof", "hub.example", "hub")


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path / "proof", "SYN-1")


@pytest.fixture
def watcher(tmp_path):
    return trees.signer(tmp_path / "witness", "witness.example", "witness", notes.COSIGNATURE)


def asked(tree):
    return witness.request((tree.folder / "nodes" / tree.node / "request").read_text())


def cosigned(tree, hub, watcher, tmp_path):
    return witness.cosign(tmp_path / "witness", asked(tree), watcher, SECONDS, hub.key)


def test_a_witness_follows_a_log_that_grows(tree, hub, watcher, tmp_path):
    for size, new in ((1, 1), (7, 6), (7, 0), (20, 13)):
        point, came = tree.grow(RECORDS[:size], hub)
        assert (point.size, came) == (size, new)
        note = cosigned(tree, hub, watcher, tmp_path)
        assert tree.adopt(note, watcher.key, hub.key) == point
    assert tree.note("cosigned") == note


def test_an_answer_that_was_lost_is_given_again_or_asked_for(tree, hub, watcher, tmp_path):
    tree.grow(RECORDS[:5], hub)
    first = cosigned(tree, hub, watcher, tmp_path)
    assert cosigned(tree, hub, watcher, tmp_path) == first
    tree.grow(RECORDS[:9], hub)
    with pytest.raises(NotGrown, match="--since 5"):
        cosigned(tree, hub, watcher, tmp_path)
    tree.grow(RECORDS[:9], hub, since=5)
    assert notes.point(cosigned(tree, hub, watcher, tmp_path)).size == 9


def test_a_log_that_was_rewritten_gets_no_signature(tree, hub, watcher, tmp_path):
    tree.grow(RECORDS[:5], hub)
    tree.adopt(cosigned(tree, hub, watcher, tmp_path), watcher.key, hub.key)
    with pytest.raises(LedgerGap, match="was rewritten"):
        tree.grow([b"other", *RECORDS[1:9]], hub)
    (tree.folder / "nodes" / tree.node / "leaves").unlink()
    tree.grow([b"other", *RECORDS[1:9]], hub)
    with pytest.raises(NotGrown, match="rewritten"):
        cosigned(tree, hub, watcher, tmp_path)


def test_a_log_that_was_cut_is_not_signed_for(tree, hub):
    tree.grow(RECORDS, hub)
    with pytest.raises(LedgerGap, match="it was cut"):
        tree.grow(RECORDS[:19], hub)


def test_another_hub_with_the_same_name_gets_no_signature(tree, hub, watcher, tmp_path):
    tree.grow(RECORDS[:5], hub)
    cosigned(tree, hub, watcher, tmp_path)
    other = trees.signer(tmp_path / "other", "hub.example", "hub")
    tree.grow(RECORDS[:5], other)
    with pytest.raises(BadInput, match="signed by another key before"):
        witness.cosign(tmp_path / "witness", asked(tree), watcher, SECONDS, other.key)
    with pytest.raises(BadInput, match=r"not signed by hub\.example"):
        cosigned(tree, hub, watcher, tmp_path)


def test_a_note_that_a_witness_has_not_signed_is_not_kept(tree, hub, watcher):
    tree.grow(RECORDS[:5], hub)
    with pytest.raises(BadInput, match="ask the witness again"):
        tree.adopt(tree.note("checkpoint"), watcher.key, hub.key)


def test_a_torn_tail_of_leaves_is_no_leaf(tree, hub):
    tree.grow(RECORDS[:5], hub)
    path = tree.folder / "nodes" / tree.node / "leaves"
    path.write_bytes(path.read_bytes()[:-7])
    assert len(tree.leaves()) == 4
    assert tree.grow(RECORDS[:6], hub)[1] == 2


def test_trust_is_kept(tmp_path, watcher, hub):
    assert trees.witnesses(tmp_path) == []
    for key in (watcher.key, hub.key, watcher.key):
        trees.trust(tmp_path, key)
    assert trees.witnesses(tmp_path) == [watcher.key, hub.key]


def test_a_damaged_key_is_told(tmp_path):
    trees.signer(tmp_path, None, "a")
    (tmp_path / "sign.key").write_text("00")
    with pytest.raises(NotSetUp, match="restore it from a backup"):
        trees.signer(tmp_path, None, "a")
    with pytest.raises(BadInput, match="without blanks"):
        trees.signer(tmp_path, "a b", "a")


@pytest.mark.parametrize("text", ["", "old 3", "new 3\n\nnote", "old -1\n\nnote", "old x\n\nnote", "old 1\n?\n\nnote"])
def test_what_is_no_request_is_told(text):
    with pytest.raises(BadInput, match="tocsin hub checkpoint"):
        witness.request(text)


def gathered(tree, records=RECORDS):
    found = {name: tree.note(name) for name in evidence.NOTES if tree.note(name)}
    return Gathered("SYN-1", list(records), [b"head"], tree.leaves(), found)


def test_a_bundle_comes_back(tree, hub, tmp_path):
    tree.grow(RECORDS, hub)
    evidence.write_bundle(tmp_path / "b.zip", gathered(tree))
    assert evidence.read_bundle(tmp_path / "b.zip") == gathered(tree)


@pytest.mark.parametrize("size", [0, 1, 100, 300])
def test_what_is_no_bundle_is_told(tree, hub, tmp_path, size):
    path = tmp_path / "b.zip"
    evidence.write_bundle(path, gathered(tree))
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(BadInput, match="tocsin hub bundle"):
        evidence.read_bundle(path)


@pytest.mark.parametrize("at", range(0, 1_000, 37))
def test_a_damaged_bundle_is_read_or_refused(tree, hub, tmp_path, at):
    path = tmp_path / "b.zip"
    tree.grow(RECORDS, hub)
    evidence.write_bundle(path, gathered(tree))
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 0xFF
    path.write_bytes(data)
    with suppress(BadInput):
        assert evidence.read_bundle(path).node == "SYN-1"


@pytest.mark.parametrize("node", ["../x", "SYN-1\n", "", "syn"])
def test_a_bundle_of_no_node_is_told(tree, tmp_path, node):
    evidence.write_bundle(tmp_path / "b.zip", replace(gathered(tree), node=node))
    with pytest.raises(BadInput, match="no bundle"):
        evidence.read_bundle(tmp_path / "b.zip")


def by(found, keys, more=()):
    return [(each.by, each.size) for each in found.evidence(bytes(32), keys, more).checkpoints]


def test_only_a_trusted_signer_is_believed(tree, hub, watcher, tmp_path):
    tree.grow(RECORDS, hub)
    note, one = cosigned(tree, hub, watcher, tmp_path), gathered(tree)
    assert by(one, []) == []
    assert by(one, [hub.key]) == [("hub.example", 20)]
    assert by(one, [watcher.key]) == []
    assert by(one, [watcher.key], [note]) == [("witness.example", 20)]
    assert by(one, [trees.Signer("another.hub", bytes(32)).key, watcher.key], [note]) == []  # of another hub's log
    assert by(replace(one, node="SYN-2"), [hub.key]) == []


def test_the_witness_alone_catches_a_hub_that_cuts_its_own_log(tree, hub, watcher, tmp_path):
    tree.grow(RECORDS, hub)
    note = cosigned(tree, hub, watcher, tmp_path)
    (tree.folder / "nodes" / tree.node / "leaves").unlink()
    tree.grow(RECORDS[:12], hub)
    cut = gathered(tree, RECORDS[:12])
    assert "truncated" not in {one.kind for one in examine(cut.evidence(bytes(32), [hub.key])).findings}
    assert "truncated" in {one.kind for one in examine(cut.evidence(bytes(32), [watcher.key], [note])).findings}


def test_a_damaged_pin_is_not_learned_anew(tree, tmp_path):
    (tree.folder / "nodes" / tree.node).mkdir(parents=True)
    for content in ("", "00"):
        (tree.folder / "nodes" / tree.node / "pin").write_text(content)
        with pytest.raises(NotSetUp, match="damaged"):
            tree.learn([])


def test_a_witness_that_lost_its_memory_signs_nothing(tree, hub, watcher, tmp_path):
    tree.grow(RECORDS, hub)
    (tmp_path / "witness" / "logs.json").write_text("{")
    with pytest.raises(NotSetUp, match="restore it from a backup"):
        cosigned(tree, hub, watcher, tmp_path)


def test_an_offset_at_which_nothing_is_holds_nothing():
    entries = [Entry("raw.SYN-1", 0, at, 0, b"", value) for at, value in ((1, b"a"), (2, None), (4, b"b"))]
    assert evidence.by_offset(entries) == [b"", b"a", b"", b"", b"b"]


def test_a_hub_signs_under_the_name_that_was_given_last(tmp_path):
    names = [trees.signer(tmp_path, name, "hub").name for name in (None, "one", None, "two", None)]
    assert (names[0].startswith("hub."), names[1:]) == (True, ["one", "one", "two", "two"])
