"""Heads after a handover: each key signs for its own numbers, and whoever signs for others is named."""

import shutil

import pytest

from pipeline.hub.proof import Evidence, examine
from pipeline.node import node as nodes
from pipeline.node import sync as syncing
from pipeline.node.entries import Damaged
from schemas import chain, signing
from schemas.errors import BadInput
from schemas.released import latest
from schemas.rows import write
from schemas.wire import single_object
from tests.unit.pipeline.node.handover.papers import CONSENT, Log, handing, send
from tests.unit.pipeline.node.revised import report


@pytest.fixture
def sent(tmp_path):
    """A node that was handed over by event 7 and went on to 8; a copy of the leaving team's folder from before it; the log."""
    made = handing(tmp_path)
    log = send(made.old, Log())
    copy = shutil.copytree(made.old.folder, tmp_path / "copy")
    new = made.through()
    report(new, 1, **CONSENT)
    send(new, log)
    return made, nodes.load(copy), log


def verdict(made, log):
    raw, heads = (
        [value for topic, _, value in log.records if topic == f"{name}.{made.old.code}"] for name in ("raw", "heads")
    )
    return examine(Evidence(made.old.code, raw, heads, made.old.public))


def kinds(found):
    return {one.kind for one in found.findings}


def test_who_signs_out_of_her_term_is_named(sent):
    made, copy, log = sent
    assert verdict(made, log).complete
    report(copy, 2, **CONSENT)
    send(copy, log)
    found = verdict(made, log)
    assert not found.complete
    assert {"forked", "re-signed"} <= kinds(found)
    assert found.through == 6
    assert [one.signer for one in found.handovers] == [nodes.load(made.new).public]


@pytest.mark.parametrize("signer", ["another", "before"])
def test_a_head_of_another_key_is_none_of_the_successors(sent, signer):
    made, _, log = sent
    heads = [value for topic, _, value in log.records if topic == f"heads.{made.old.code}"]
    last = chain.read_head(heads[-1])
    seed = made.old.secret("sign") if signer == "before" else signing.new_signer()[1]
    forged = chain.Head(
        last.node, signing.public_of(seed), last.sequence, last.link, last.previous, last.marks, last.continues
    )
    log.records = [row for row in log.records if row[2] != heads[-1]]
    log.records.append((f"heads.{made.old.code}", b"", chain.sign_head(seed, forged)))
    found = verdict(made, log)
    assert {"re-signed", "unsigned"} <= kinds(found)
    assert found.through == 7


def test_a_handover_that_nobody_has_signed_for_gives_no_right(sent):
    made, _, log = sent
    heads = [value for topic, _, value in log.records if topic == f"heads.{made.old.code}"]
    (handing_head,) = (each for each in heads if chain.read_head(each).sequence == 7)
    log.records = [row for row in log.records if row[2] != handing_head]
    found = verdict(made, log)
    assert (found.handovers, found.through) == ([], 6)
    assert {"re-signed", "unsigned"} <= kinds(found)


def test_a_successors_first_head_must_cite_the_last_one_before_it(sent):
    made, _, log = sent
    new = nodes.load(made.new)
    heads = [value for topic, _, value in log.records if topic == f"heads.{made.old.code}"]
    last = chain.read_head(heads[-1])
    alone = chain.Head(last.node, last.signer, last.sequence, last.link, chain.START, last.marks)
    log.records = [row for row in log.records if row[2] != heads[-1]]
    log.records.append((f"heads.{made.old.code}", b"", chain.sign_head(new.secret("sign"), alone)))
    assert "head missing" in kinds(verdict(made, log))


def forged(made, number, seed, successor="THIEF"):
    """Return an event that hands the node over to who has a key, and the record of it."""
    body = {
        "recorded_at": 1,
        "successor": successor,
        "signer": signing.public_of(seed),
        "receives": bytes(32),
        "deed": bytes(32),
    }
    release, envelope = latest("NodeHandedOver"), latest("Envelope")
    row = {"event_id": bytes(16), "node": made.old.code, "sequence": number, "kind": release.name, "case_ref": None}
    return single_object(
        envelope, write(envelope, {**row, "body_schema": release.fingerprint, "body": write(release, body)})
    )


@pytest.mark.parametrize("signer", ["thief", "before"])
def test_a_handover_that_another_key_signs_for_is_none(sent, signer):
    """Event 9 would hand the node on: only who signs for it since event 8 could say so."""
    made, _, log = sent
    seed = signing.new_signer()[1]
    event = forged(made, 9, seed)
    last = chain.read_head([value for topic, _, value in log.records if topic == f"heads.{made.old.code}"][-1])
    by = seed if signer == "thief" else made.old.secret("sign")
    link = chain.extended(last.link, [chain.leaf(event)])
    head = chain.Head(last.node, signing.public_of(by), 9, link, bytes(32), chain.leaf(event)[: chain.MARK])
    log.records += [(f"raw.{made.old.code}", b"", event), (f"heads.{made.old.code}", b"", chain.sign_head(by, head))]
    found = verdict(made, log)
    assert [one.sequence for one in found.handovers] == [7]
    assert {"re-signed", "unsigned"} <= kinds(found)


def test_a_second_event_with_a_number_hands_nothing_over(sent):
    """The team that left, or who has its key, writes event 5 once more, as a handover, and signs for it."""
    made, _, log = sent
    seed, old = signing.new_signer()[1], made.old.secret("sign")
    event = forged(made, 5, seed)
    head = chain.Head(made.old.code, made.old.public, 5, bytes(32), bytes(32), chain.leaf(event)[: chain.MARK])
    log.records += [(f"raw.{made.old.code}", b"", event), (f"heads.{made.old.code}", b"", chain.sign_head(old, head))]
    found = verdict(made, log)
    assert [(one.sequence, one.successor) for one in found.handovers] == [(7, "UNCT-COD")]
    assert "forked" in kinds(found)


def test_a_successor_signs_for_no_number_before_its_own(sent):
    made, _, log = sent
    new = nodes.load(made.new)
    raw = [value for topic, _, value in log.records if topic == f"raw.{made.old.code}"]
    leaves = [chain.leaf(each) for each in raw]
    marks = b"".join(leaf[: chain.MARK] for leaf in leaves)
    head = chain.Head(made.old.code, new.public, 8, chain.extended(chain.START, leaves), chain.START, marks)
    log.records.append((f"heads.{made.old.code}", b"", chain.sign_head(new.secret("sign"), head)))
    assert "re-signed" in kinds(verdict(made, log))


def test_heads_of_the_team_before_that_are_lost_are_not_signed_again(sent):
    made, _, log = sent
    new = nodes.load(made.new)
    (new.folder / "heads.log").unlink()
    report(new, 1, **CONSENT)
    with pytest.raises(Damaged, match="nobody can sign them again"):
        send(new, log)


def test_the_team_that_left_sends_nothing_more(sent):
    made, _, _ = sent
    with pytest.raises(BadInput, match="its successor sends"):
        syncing.sync(made.old, "127.0.0.1:1")
