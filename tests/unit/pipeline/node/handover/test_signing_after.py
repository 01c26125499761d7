"""Heads after a handover: each key signs for its own numbers, and whoever signs for others is named."""

import shutil

import pytest

from pipeline.hub.proof import Evidence, examine
from pipeline.node import node as nodes
from schemas import chain, signing
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
