import random
import shutil

import pytest

from pipeline.node import receipts, sent
from pipeline.node import sync as syncing
from pipeline.node.entries import NotWritten
from pipeline.node.receipts import NotAReceipt, Receipted
from pipeline.node.status import status
from pipeline.node.sync import Ends
from schemas import chain, seal
from schemas.released import latest
from schemas.rows import write
from schemas.wire import confluent
from tests.unit.pipeline.node.test_sync import Log, fill

ROW = {
    "node": "MONUSCO",
    "start": 0,
    "end": 10,
    "through": 9,
    "highest": 9,
    "missing_first": [3],
    "missing_last": [4],
    "missing_count": 2,
    "counts": {"accepted": 6, "quarantined": 1},
    "refused_offsets": [6],
    "refused_numbers": [7],
    "refused_reasons": ["incident.persons_none incident.forms_missing"],
}


def receipt(**changes):
    release = latest("ReceiptGiven")
    return confluent(release, write(release, ROW | changes))


def test_the_furthest_receipt_says_how_it_stands_and_no_refusal_is_lost():
    late = receipt(start=10, end=20, through=19, refused_numbers=[12], refused_offsets=[11], refused_reasons=["a.b"])
    known = Receipted()
    for offset, value in enumerate([late, receipt(), late]):
        known = receipts.fold(known, offset, value)
    assert (known.position, known.end, known.through) == (3, 20, 19)
    assert known.refused == {(7, 6): "incident.persons_none incident.forms_missing", (12, 11): "a.b"}


@pytest.mark.parametrize("seed", range(10))
def test_receipts_in_any_order_and_again_say_the_same(seed):
    rng = random.Random(seed)
    rows = [
        receipt(start=n, end=n + 1, through=n + 1, refused_numbers=[n], refused_offsets=[n], refused_reasons=["a.b"])
        for n in range(8)
    ]
    known, given = Receipted(), [*rng.sample(rows, 8), *rng.sample(rows, 3)]
    for offset, value in enumerate(given):
        known = receipts.fold(known, offset, value)
    assert (known.end, known.through, sorted(known.refused)) == (8, 8, [(n, n) for n in range(8)])


def test_a_number_is_settled_up_to_the_receipt_where_it_is_not_missing():
    known = receipts.fold(Receipted(), 0, receipt())
    assert (known.first_unsettled(), known.numbers(100), known.numbers(3), known.numbers(0)) == (3, 7, 2, 0)
    assert Receipted(through=5).first_unsettled() == 6


def test_what_is_kept_is_read_again(node):
    known = receipts.fold(Receipted(), 4, receipt())
    receipts.write(node, known)
    assert receipts.read(node) == known


@pytest.mark.parametrize("content", ["", "{", "[]", "7", '{"position": 1}', '{"refused": [[1]]}'])
def test_a_damaged_file_means_that_nothing_is_known(node, content):
    (node.folder / "receipts.json").write_text(content)
    assert receipts.read(node) == Receipted()


@pytest.mark.parametrize("value", [b"", b"\x00\x00\x00\x00\x63junk", confluent(latest("ReceiptGiven"), b"\x01")])
def test_what_is_no_receipt_stops_and_takes_nothing_as_receipted(value):
    with pytest.raises(NotAReceipt, match="nothing was taken as receipted"):
        receipts.fold(Receipted(), 3, value)


def test_a_full_disk_is_told(node):
    (node.folder / "receipts.json.new").mkdir()
    with pytest.raises(NotWritten, match="free some space"):
        receipts.write(node, Receipted(position=1))


def test_the_status_says_what_became_of_the_events(node):
    fill(node, 5)
    receipts.write(node, receipts.fold(Receipted(), 0, receipt()))
    found = status(node)
    assert (found.last, found.receipted, found.became) == (10, 7, {"accepted": 6, "quarantined": 1})
    assert found.refused == [(7, ["incident.persons_none", "incident.forms_missing"])]


def numbers(log, node):
    """What a log was given of raw.<node>, by number."""
    from schemas.rows import read
    from schemas.wire import unframe

    return [read(*unframe(value))["sequence"] for topic, _, value in log.records if topic == f"raw.{node.code}"]


@pytest.fixture
def sent_all(node, monkeypatch):
    """A node that has sent its 8 events, 5 keys and 3 heads, in groups of 3."""
    monkeypatch.setattr(syncing, "GROUP", 3)
    fill(node, 4)
    syncing._send(node, sent.Sent(), Log(), lambda _: None)
    return node


def again(node, known, ends, heads=3):
    log = Log(ends={f"raw.{node.code}": ends[0], f"keys.{node.code}": ends[1], f"heads.{node.code}": heads})
    start, more = syncing._start(node, known, Ends(*ends, heads), again=False)
    return log, syncing._send(node, start, log, lambda _: None, more)


def test_nothing_is_sent_again_while_the_log_is_whole(sent_all):
    kept = sent.read(sent_all)
    assert (kept.end, kept.keys_end, kept.heads_end) == (8, 5, 3)
    log, outcome = again(sent_all, Receipted(), (8, 5))
    assert (log.records, outcome.again) == ([], 0)


def test_a_log_that_lost_its_tail_is_sent_what_has_no_receipt(sent_all):
    log, outcome = again(sent_all, Receipted(end=4, through=4), (6, 5))
    assert numbers(log, sent_all) == [4, 5, 6, 7, 8]  # what is lacking, and a group more, at least
    assert (outcome.events, outcome.again) == (0, 5)
    assert len([topic for topic, _, _ in log.records if topic.startswith("keys.")]) == 5


def test_a_log_is_filled_before_anything_new_is_sent(sent_all):
    fill(sent_all, 1)
    log, outcome = again(sent_all, Receipted(end=8, through=8), (0, 5))
    assert numbers(log, sent_all) == [*range(1, 9), *range(1, 9), 9, 10]
    assert (outcome.events, outcome.first, outcome.again) == (2, 9, 16)


def test_a_log_that_lost_all_receipts_too_is_sent_everything(sent_all):
    log, _ = again(sent_all, Receipted(), (0, 0))
    assert set(numbers(log, sent_all)) == set(range(1, 9))


def test_lost_keys_are_sent_again(sent_all):
    log, outcome = again(sent_all, Receipted(), (8, 2))
    assert (outcome.keys, outcome.again, numbers(log, sent_all)) == (5, 0, [])


def test_lost_heads_are_sent_again(sent_all):
    log, outcome = again(sent_all, Receipted(), (8, 5), heads=1)
    assert [topic for topic, _, _ in log.records] == ["heads.MONUSCO"] * 3
    assert outcome.again == 0


def test_a_file_of_heads_that_was_lost_is_made_and_sent_again(sent_all):
    (sent_all.folder / "heads.log").unlink()
    log, _ = again(sent_all, Receipted(), (8, 5))
    heads = [chain.read_head(value) for topic, _, value in log.records if topic == "heads.MONUSCO"]
    assert [head.sequence for head in heads] == [3, 6, 8]
    assert again(sent_all, Receipted(), (8, 5), heads=6)[0].records == []


def test_a_refill_that_was_killed_is_done_again_from_its_beginning(sent_all):
    start, more = syncing._start(sent_all, Receipted(end=8, through=3), Ends(4, 5, 3), again=False)
    assert more == [range(2, 9)]
    part = Log(4, {"raw.MONUSCO": 4, "keys.MONUSCO": 5, "heads.MONUSCO": 3})
    with pytest.raises(syncing.Unreachable):
        syncing._send(sent_all, start, part, lambda _: None, more)
    assert numbers(part, sent_all) == list(range(2, 8))  # more than lacked, and not the last that lacked
    log, outcome = again(sent_all, Receipted(end=8, through=3), (10, 5))
    assert (numbers(log, sent_all), outcome.again) == (list(range(2, 9)), 7)
    assert again(sent_all, Receipted(end=8, through=3), (17, 5))[1].again == 0


def test_an_old_copy_of_the_journal_sends_nothing_also_where_nobody_knows_what_was_sent(sent_all, tmp_path):
    shutil.copytree(sent_all.journal, tmp_path / "older")
    fill(sent_all, 1)
    syncing._send(sent_all, sent.read(sent_all), Log(), lambda _: None)
    shutil.rmtree(sent_all.journal)
    shutil.copytree(tmp_path / "older", sent_all.journal)
    (sent_all.folder / "sent.json").unlink()
    log = Log()
    with pytest.raises(sent.OlderThanSent, match="ends at event 8, but 10 were sent"):
        syncing._send(sent_all, sent.Sent(), log, lambda _: None)
    assert log.records == []


def test_a_number_that_a_receipt_names_as_missing_is_sent_again_once(sent_all):
    known = Receipted(end=8, through=8, missing=((2, 3), (7, 7), (9, 12)))
    log, outcome = again(sent_all, known, (8, 5))
    assert (numbers(log, sent_all), outcome.again) == ([2, 3, 7], 3)
    mended = sent.read(sent_all).mended
    assert again(sent_all, known, (11, 5))[1].again == 0  # under way until a receipt has gone past it
    later = Receipted(end=mended, through=8, missing=((7, 7),))
    assert again(sent_all, later, (11, 5))[1].again == 1


@pytest.mark.parametrize("killed", range(6))
def test_a_node_killed_while_it_fills_a_log_fills_it_later(sent_all, killed):
    known, ends = Receipted(end=8, through=8), (1, 5)
    start, more = syncing._start(sent_all, known, Ends(*ends, 3), again=False)
    part = Log(killed, {"raw.MONUSCO": 1, "keys.MONUSCO": 5, "heads.MONUSCO": 3})
    try:
        syncing._send(sent_all, start, part, lambda _: None, more)
    except syncing.Unreachable:
        length = ends[0] + len(numbers(part, sent_all))
        log, _ = again(sent_all, known, (length, 5))
        length += len(numbers(log, sent_all))
        assert length >= 8
        assert again(sent_all, known, (length, 5))[1].again == 0


@pytest.mark.parametrize("lang", ["en", "fr", "ar"])
def test_the_status_names_each_refused_event_in_the_nodes_language(tmp_path, lang):
    keypair = seal.region_pair()
    from click.testing import CliRunner

    from pipeline.cli.node import status as command
    from pipeline.node import node as nodes
    from schemas.codes import sentence

    made = nodes.create(tmp_path / "nodes" / "MONUSCO", "MONUSCO", "great-lakes", keypair[0], lang)
    rows = {"refused_numbers": [2, 0], "refused_offsets": [3, 5], "refused_reasons": ["stage.failed", "newer.reason"]}
    receipts.write(made, receipts.fold(Receipted(), 0, receipt(**rows)))
    said = CliRunner().invoke(command, ["--data", str(tmp_path), "--json"]).output
    assert f"refused event 2: stage.failed  {sentence('stage.failed', lang)}" in said
    assert "refused an unreadable record: newer.reason  newer.reason" in said
    assert "Receipted by the hub: 0 of 0 events (6 accepted, 1 quarantined)." in said
