"""A node's log that somebody has touched: each of ten kinds of touch is named, sixty times each; an untouched one is whole."""

import random
from dataclasses import replace
from hashlib import sha256

import pytest

from pipeline.cli import proofs
from pipeline.hub.proof import Checkpoint, Evidence, examine
from pipeline.node import node as nodes
from pipeline.node import sync as syncing
from pipeline.node.journal import Journal
from pipeline.node.record import Recorder
from schemas import chain, merkle, seal, signing
from schemas.limits import NUMBERS
from schemas.released import latest
from schemas.rows import write
from schemas.wire import single_object
from tests.unit.pipeline.node.test_record import INCIDENT, PATTERN
from tests.unit.pipeline.node.test_sync import Log

EVENTS, GROUP, TIMES = 40, 7, 60
pytestmark = pytest.mark.timeout(60)


def sent_by(folder, code, *counts):
    """Return a node, and the records and heads of it after it has recorded so many events and synced, then so many more."""
    node, log = nodes.create(folder / code, code, "great-lakes", seal.region_pair()[0]), Log()
    for count in counts:
        with Journal(node.journal) as journal, Recorder(node, journal) as recorder:
            for number in range(count):
                kind, facts = (
                    ("PatternObserved", {"pattern": PATTERN})
                    if number % 3
                    else ("IncidentReported", {"incident": INCIDENT})
                )
                recorder.record(kind, facts)
        syncing._send(node, syncing.sent.read(node), log, lambda _: None)
    names = ("raw", "heads")
    return node, {name: [value for topic, _, value in log.records if topic == f"{name}.{code}"] for name in names}


@pytest.fixture(scope="module")
def sent(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(syncing, "GROUP", GROUP)
        folder = tmp_path_factory.mktemp("proof")
        node, topics = sent_by(folder, "SYN-1", EVENTS // 2, EVENTS // 2)
        branch, other = sent_by(folder / "clone", "SYN-1", EVENTS)[1], sent_by(folder, "SYN-2", 5)[1]
        yield {
            "topics": topics,
            "seed": node.secret("sign"),
            "pin": node.public,
            "branch": branch["raw"],
            "other": other["raw"],
        }


def evidence(sent, seen=0, **changes):
    """Return what there is of the node as it was sent; the hub has a tree over the first `seen` records, cosigned."""
    raw, heads = (list(sent["topics"][name]) for name in ("raw", "heads"))
    leaves = [chain.leaf(record) for record in raw[:seen]]
    checkpoints = [Checkpoint(seen, merkle.root(leaves), "witness")] if seen else []
    return replace(Evidence("SYN-1", raw, heads, sent["pin"], leaves, checkpoints), **changes)


def altered(record, dice):
    """Return the record with one bit of its body changed: it stays an envelope with its number."""
    at = len(record) - 1 - dice.randrange(40)
    return record[:at] + bytes([record[at] ^ 1 << dice.randrange(8)]) + record[at + 1 :]


def forged(number, node="SYN-1"):
    release, body = latest("PatternObserved"), random.Random(number).randbytes(60)
    row = {"event_id": body[:16], "node": node, "sequence": number, "kind": "PatternObserved", "case_ref": None}
    envelope = latest("Envelope")
    return single_object(envelope, write(envelope, {**row, "body_schema": release.fingerprint, "body": body}))


def headed(raw, seed):
    """Return heads over records, as a node with this key would sign them."""
    link, previous, heads = chain.START, chain.START, []
    for at in range(0, len(raw), GROUP):
        leaves = [chain.leaf(record) for record in raw[at : at + GROUP]]
        link, marks = chain.extended(link, leaves), b"".join(leaf[: chain.MARK] for leaf in leaves)
        head = chain.Head("SYN-1", signing.public_of(seed), at + len(leaves), link, previous, marks)
        heads.append(chain.sign_head(seed, head))
        previous = sha256(heads[-1]).digest()
    return heads


def missing(sent, dice):
    at = dice.randrange(EVENTS)
    one = evidence(sent)
    return replace(one, records=one.records[:at] + one.records[at + 1 :]), ("missing", at + 1)


def altered_in_place(sent, dice):
    at = dice.randrange(EVENTS)
    one = evidence(sent)
    one.records[at] = altered(one.records[at], dice)
    return one, ("altered", at + 1)


def swapped(sent, dice):
    first, second = sorted(dice.sample(range(EVENTS), 2))
    one = evidence(sent, seen=EVENTS)
    one.records[first], one.records[second] = one.records[second], one.records[first]
    return one, ("swapped", first + 1)


def signed_again_by_another(sent, dice):
    one = evidence(sent)
    at = dice.randrange(EVENTS)
    one.records[at] = altered(one.records[at], dice)
    return replace(one, heads=headed(one.records, signing.new_signer()[1])), ("re-signed", 0)


def signed_again_with_the_stolen_key(sent, dice):
    at = dice.randrange(EVENTS)
    one = evidence(sent, seen=EVENTS, leaves=())
    one.records[at] = altered(one.records[at], dice)
    return replace(one, heads=headed(one.records, sent["seed"])), ("rewritten", 0)


def cut_short(sent, dice):
    keep = dice.randrange(EVENTS // GROUP) * GROUP
    one = evidence(sent, seen=EVENTS, leaves=())
    return replace(one, records=one.records[:keep], heads=headed(one.records[:keep], sent["seed"])), ("truncated", 0)


def cloned(sent, dice):
    """Two machines hold one node: both go on from one event, each signs its own."""
    at, one = dice.randrange(1, EVENTS - 1), evidence(sent)
    branch = one.records[:at] + sent["branch"][at:]
    return replace(one, records=[*one.records, *branch[at:]], heads=[*one.heads, *headed(branch, sent["seed"])]), (
        "forked",
        at + 1,
    )


def inserted(sent, dice):
    number = EVENTS + dice.randrange(1, 20)
    one = evidence(sent)
    return replace(one, records=[*one.records, forged(number)]), ("unsigned", number)


def without_a_head(sent, dice):
    one = evidence(sent)
    at = dice.randrange(len(one.heads) - 1)
    after = chain.read_head(one.heads[at + 1]).first
    return replace(one, heads=one.heads[:at] + one.heads[at + 1 :]), ("head missing", after)


def of_another_node(sent, dice):
    one = evidence(sent)
    at = dice.randrange(EVENTS)
    one.records.insert(at, dice.choice(sent["other"]))
    return one, ("foreign", 0)


TOUCHES = [
    missing,
    altered_in_place,
    swapped,
    signed_again_by_another,
    signed_again_with_the_stolen_key,
    cut_short,
    cloned,
    inserted,
    without_a_head,
    of_another_node,
]


@pytest.mark.parametrize("touch", TOUCHES, ids=lambda touch: touch.__name__)
def test_every_touch_is_named(sent, touch):
    dice = random.Random(touch.__name__)
    for _ in range(TIMES):
        touched, (kind, number) = touch(sent, dice)
        verdict = examine(touched)
        assert (kind, number) in {(one.kind, one.sequence) for one in verdict.findings}
        assert not verdict.complete
        assert verdict.through < EVENTS or kind in ("unsigned", "foreign")


@pytest.mark.parametrize("seen", [0, 1, 17, EVENTS])
def test_a_log_that_nobody_touched_is_whole(sent, seen):
    verdict = examine(evidence(sent, seen))
    assert verdict.findings == []
    assert (verdict.complete, verdict.highest, verdict.through, verdict.cosigned) == (True, EVENTS, EVENTS, seen)


def test_what_came_again_is_named_and_harms_nothing(sent):
    dice = random.Random(7)
    for _ in range(TIMES):
        one, at = evidence(sent, seen=EVENTS), dice.randrange(EVENTS)
        verdict = examine(replace(one, records=[*one.records, one.records[at], b"junk"]))
        assert (verdict.complete, verdict.repeated, verdict.unreadable) == (True, [at + 1], [EVENTS + 1])


def test_what_stands_behind_later_ones_is_told_where_no_tree_knows_better(sent):
    dice = random.Random(8)
    for seen in (0, 7):
        one = evidence(sent, seen=seen)
        first, second = sorted(dice.sample(range(seen, EVENTS), 2))
        one.records[first], one.records[second] = one.records[second], one.records[first]
        verdict = examine(one)
        assert (verdict.complete, first + 1 in verdict.late) == (True, True)


@pytest.mark.parametrize("number", [10**6, 2**39, 2**62])
def test_a_forged_number_costs_nothing(sent, number):
    one = evidence(sent)
    verdict = examine(replace(one, records=[*one.records, forged(number)]))
    assert (verdict.through, verdict.complete) == (EVENTS, number >= NUMBERS)
    assert len(verdict.findings) + len(verdict.unreadable) == 1


def test_a_hole_before_all_heads_is_one_finding(sent):
    head = chain.Head("SYN-1", sent["pin"], 10**6, chain.START, b"x" * 32, b"m" * chain.MARK)
    verdict = examine(Evidence("SYN-1", [], [chain.sign_head(sent["seed"], head)], sent["pin"]))
    assert [(one.kind, one.sequence, one.last) for one in verdict.findings] == [
        ("missing", 1, 10**6 - 1),
        ("head missing", 10**6, 0),
        ("missing", 10**6, 0),
    ]


def test_what_is_no_head_is_counted_and_hurts_no_event(sent):
    one = evidence(sent)
    verdict = examine(replace(one, heads=[b"junk", *one.heads, b""]))
    assert (verdict.complete, verdict.no_heads) == (True, 2)
    verdict = examine(replace(one, heads=[*one.heads, *headed(one.records, chain_of_another())]))
    assert ({each.kind for each in verdict.findings}, verdict.through) == ({"re-signed"}, EVENTS)


def chain_of_another():
    return signing.new_signer()[1]


def test_a_head_that_does_not_go_on_from_the_one_that_it_names_is_found(sent):
    one = evidence(sent)
    first = chain.read_head(one.heads[0])
    for changes in (
        {"previous": chain.START, "sequence": 20},
        {"sequence": 14, "previous": sha256(one.heads[2]).digest()},
    ):
        odd = chain.sign_head(sent["seed"], replace(first, **changes))
        assert "head missing" in {each.kind for each in examine(replace(one, heads=[*one.heads, odd])).findings}


def test_heads_that_come_again_or_are_signed_in_other_groups_harm_nothing(sent):
    one = evidence(sent)
    others = [head for size in (3, 5) for head in other_groups(one.records, sent["seed"], size)]
    assert examine(replace(one, heads=[*one.heads, *one.heads, *others])).complete


def other_groups(raw, seed, size):
    """Return the first heads that a node signs that lost its file of heads."""
    leaves = [chain.leaf(record) for record in raw[:size]]
    marks = b"".join(leaf[: chain.MARK] for leaf in leaves)
    link = chain.extended(chain.START, leaves)
    yield chain.sign_head(seed, chain.Head("SYN-1", signing.public_of(seed), size, link, chain.START, marks))


def test_both_branches_of_a_clone_are_kept_and_neither_is_called_complete(sent):
    touched, (_, number) = cloned(sent, random.Random(1))
    verdict = examine(touched)
    assert verdict.records == len(touched.records) > EVENTS
    assert verdict.through == number - 1


def test_a_node_of_which_nothing_has_come_is_whole():
    verdict = examine(Evidence("SYN-9", [], [], bytes(32)))
    assert (verdict.complete, verdict.highest) == (True, 0)


def test_alike_findings_that_follow_one_another_are_told_in_one_line(sent):
    one = evidence(sent)
    told = proofs._said(examine(replace(one, heads=one.heads[:2])), one.pin.hex())
    assert told[1:] == [f"  unsigned     events {2 * GROUP + 1} to {EVENTS}: {proofs.SENTENCES['unsigned']}"]
    head = chain.Head("SYN-1", sent["pin"], 10**6, chain.START, b"x" * 32, b"m" * chain.MARK)
    told = proofs._said(examine(Evidence("SYN-1", [], [chain.sign_head(sent["seed"], head)], sent["pin"])), "")
    assert "  missing      events 1 to 999,999: no head and no record tells of it" in told


@pytest.mark.parametrize("touch", TOUCHES, ids=lambda touch: touch.__name__)
def test_every_finding_is_told_in_a_sentence(sent, touch):
    findings = examine(touch(sent, random.Random(touch.__name__))[0]).findings
    assert findings
    assert all(one.said or one.kind in proofs.SENTENCES for one in findings)
