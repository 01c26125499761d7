import json
import os
import shutil
from contextlib import contextmanager
from itertools import count

import pytest

from pipeline.node import node as nodes
from pipeline.node import renewing, revising, versions, withdrawing
from pipeline.node.entries import Damaged, NotWritten
from pipeline.node.journal import Journal, Reader
from pipeline.node.record import Recorder
from schemas import seal
from schemas.columns import Blob
from schemas.errors import BadInput, Quarantines
from schemas.nodekeys import NodeKeys
from schemas.rows import read
from schemas.wire import unframe
from tests.unit.pipeline.node.test_record import INCIDENT

REGION = "great-lakes"
DURABLE = ("fsync", "replace", "unlink", "pwrite")


class Crash(BaseException):
    """The process is gone."""


@contextmanager
def crashing(patch, turn, after):
    """Be gone before or after the durable step with this number, from 0."""
    done = 0

    def stopped(real):
        def step(*arguments, **named):
            nonlocal done
            mine, done = done == turn, done + 1
            if mine and not after:
                raise Crash
            result = real(*arguments, **named)
            if mine:
                raise Crash
            return result

        return step

    with patch.context() as here:
        for name in DURABLE:
            here.setattr(os, name, stopped(getattr(os, name)))
        yield


def cuts(patch, after, fresh, act):
    """Yield what `fresh` makes, when `act` on it was cut before or after each durable step in its turn."""
    for turn in count():
        made = fresh(turn)
        try:
            with crashing(patch, turn, after):
                act(made)
        except Crash:
            yield made
        else:
            return


def record(node, count=1):
    with Journal(node.journal) as journal, Recorder(node, journal) as recorder:
        return [recorder.record("IncidentReported", {"incident": INCIDENT}) for _ in range(count)]


def withdraw(node, number):
    with Journal(node.journal) as journal:
        [done] = withdrawing.withdraw(node, journal, [number], lambda _: None)
    return bytes.fromhex(done.case_ref)


def renew(node, public):
    with Journal(node.journal) as journal:
        return renewing.renew(node, journal, public)


def sent(node, start=0):
    """What a sync sends of the keys from an offset on."""
    return [(key, value) for _, key, value in Reader(node.journal).key_records(start)]


def refs(node):
    return [read(*unframe(entry.envelope))["case_ref"] for entry in Reader(node.journal).read()]


class Hub:
    """A worker's key ring, told record after record; `opens` are the cases that it can open."""

    def __init__(self, *privates):
        self.keys, self.seen = NodeKeys({REGION: privates}), set()

    def tell(self, record):
        key, value = record
        self.seen.add(key)
        return self.keys.read(Blob.of([key]), Blob.of([value]))

    def opens(self):
        return {ref for ref in self.seen if len(ref) == 16 and self.keys.keyring.find(_row(ref))[0] >= 0}


def _row(ref):
    import numpy as np

    return np.frombuffer(ref, np.uint8)[None]


def hub_of(records, *privates):
    hub = Hub(*privates)
    for one in records:
        hub.tell(one)
    return hub


@pytest.fixture
def filled(node):
    """A node with five cases, the events 1 to 5, of which the second is withdrawn by event 6."""
    record(node, 5)
    withdraw(node, 2)
    return node


def readable(node):
    """The numbers of the reports that open at the node."""
    reader, found = Reader(node.journal), set()
    for number in range(1, reader.mark.last + 1):
        try:
            versions.history(nodes.load(node.folder), reader, number)
            found.add(number)
        except BadInput:
            continue
    return found


def test_every_case_is_wrapped_anew_and_the_epoch_before_is_gone(filled, pair):
    old = filled.secret("epoch-1")
    before = [value for key, value in sent(filled) if value]
    done = renew(filled, pair[0])
    assert (done.epoch, done.cases, done.ended, done.kept) == (2, 4, [1], {})
    now = nodes.load(filled.folder)
    assert now.epoch == 2
    assert readable(now) == {1, 3, 4, 5}
    files = b"".join(path.read_bytes() for path in filled.folder.rglob("*") if path.is_file())
    assert old not in files
    assert old.hex().encode() not in files
    assert not any(value in files for value in before)
    assert sorted(path.name for path in filled.folder.glob("*.key")) == ["digest.key", "epoch-2.key", "sign.key"]


def test_new_cases_and_changes_are_of_the_new_epoch_also_where_the_command_began_before(filled, pair):
    stale = nodes.load(filled.folder)
    renew(filled, pair[0])
    record(stale)
    with Journal(stale.journal) as journal:
        revising.amend(stale, journal, 1, {"women": 2})
    assert readable(filled) == {1, 3, 4, 5, 7, 8}
    assert hub_of(sent(filled), pair[1]).opens() == set(refs(filled)) - {refs(filled)[1]}


@pytest.mark.parametrize("rounds", [1, 3])
def test_what_is_sent_says_the_same_from_its_beginning_and_as_it_came(filled, pair, rounds):
    live = hub_of(sent(filled), pair[1])
    for _ in range(rounds):
        at = Reader(filled.journal).mark.keys
        renew(filled, pair[0])
        for one in sent(filled, at):
            live.tell(one)
    again = hub_of(sent(filled), pair[1])
    compacted = hub_of(reversed(list(dict(sent(filled)).items())), pair[1])
    assert live.opens() == again.opens() == compacted.opens() == set(refs(filled)) - {refs(filled)[1]}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_durable_step_each_case_opens_and_a_second_run_ends_it(
    filled, pair, tmp_path, monkeypatch, after
):
    monkeypatch.setattr(renewing, "GROUP", 3)
    living, old, before = set(refs(filled)) - {refs(filled)[1]}, filled.secret("epoch-1"), sent(filled)
    at, steps = Reader(filled.journal).mark.keys, 0

    def fresh(turn):
        return nodes.load(shutil.copytree(filled.folder, tmp_path / f"at-{turn}"))

    for node in cuts(monkeypatch, after, fresh, lambda node: renew(node, pair[0])):
        assert readable(node) == {1, 3, 4, 5}
        hub = hub_of(before, pair[1])
        for one in sent(node, at):
            hub.tell(one)
            assert hub.opens() == living
        for one in sent(node):  # a hub that is told all again opens each case in between, too
            hub.tell(one)
            assert hub.opens() == living
        record(node)
        assert hub_of(sent(node), pair[1]).opens() == {*living, refs(node)[-1]}
        done = renew(node, pair[0])
        assert done.cases == 5
        assert readable(node) == {1, 3, 4, 5, 7}
        assert hub_of(sent(node), pair[1]).opens() == {*living, refs(node)[-1]}
        assert old.hex().encode() not in b"".join(path.read_bytes() for path in node.folder.rglob("*.key*"))
        assert [path.name for path in node.folder.glob("epoch-*.key")] == [f"epoch-{done.epoch}.key"]
        steps += 1
    assert steps > 20


def opened_by(records, secrets, privates):
    """What somebody opens who has these records of `keys.<node>`, in whatever order, and these secrets: key by case."""
    values = [(key, read(*unframe(value))) for key, value in records if value]
    epochs = list(secrets)
    for _, value in values:
        for private in privates if "sealed" in value else ():
            epochs += _tried(seal.open_epoch, private, value["sealed"])
    wrapped = [(key, value["wrapped"]) for key, value in values if "wrapped" in value]
    return {
        key: found for key, each in wrapped for secret in epochs for found in _tried(seal.unwrap, secret, key, each)
    }


def _tried(opening, *arguments):
    try:
        return [opening(*arguments)]
    except Quarantines:
        return []


def secrets_in(folder):
    return [bytes.fromhex(path.read_text()) for path in folder.rglob("*.key")]


def test_an_old_backup_and_all_secrets_of_now_open_no_withdrawn_case(node, pair):
    record(node, 3)
    backup, secrets, gone = sent(node), secrets_in(node.folder), refs(node)[1]
    withdraw(node, 2)
    assert gone in opened_by(backup, secrets_in(node.folder), [])  # before: the withdrawal alone does not help there
    assert gone in opened_by(backup, [], [pair[1]])
    public, private = seal.region_pair()
    renew(node, public)
    record(node)
    now = [*backup, *sent(node)]
    assert set(opened_by(now, secrets_in(node.folder), [private])) == {refs(node)[at] for at in (0, 2, 4)}
    assert gone in opened_by(now, secrets, [])  # the control: it is there for who has the secrets of before
    assert gone in opened_by(now, [], [pair[1]])


def other_epoch(node, number, count):
    """Have the node's journal hold an epoch of somebody else's, with so many cases under it; return their records."""
    from pipeline.node import keys

    secret = seal.new_case_key()
    held = [keys.Case(os.urandom(16), seal.new_case_key()) for _ in range(count)]
    public, private = seal.region_pair()
    records = [keys.of_epoch(number, REGION, public, secret), *(keys.of_case(number, secret, case) for case in held)]
    with Journal(node.journal) as journal:
        journal.append((), records)
    return private, held


def test_an_epoch_with_cases_that_do_not_open_here_goes_on(filled, pair):
    private, held = other_epoch(filled, 7, 3)
    done = renew(filled, pair[0])
    assert (done.epoch, done.cases, done.ended, done.kept) == (8, 4, [1], {7: 3})
    opens = hub_of(sent(filled), pair[1], private).opens()
    assert opens >= {case.ref for case in held}
    assert len(opens) == 7
    assert dict(sent(filled))[b"epoch:7"]
    assert dict(sent(filled))[b"epoch:1"] == b""


def test_an_epoch_of_somebody_else_without_a_case_ends(filled, pair):
    other_epoch(filled, 3, 0)
    assert renew(filled, pair[0]).ended == [1, 3]


def test_a_node_without_its_epochs_key_begins_another_and_keeps_what_it_cannot_open(filled, pair):
    (filled.folder / "epoch-1.key").unlink()
    assert renew(filled, pair[0]).kept == {1: 4}
    record(filled)
    assert len(hub_of(sent(filled), pair[1]).opens()) == 5


def test_a_public_key_that_was_renewed_is_refused_and_changes_nothing(filled, pair):
    newer = seal.region_pair()[0]
    renew(filled, newer)
    before = sent(filled)
    with pytest.raises(BadInput, match=r"has renewed this public key.*nothing was changed"):
        renew(filled, pair[0])
    assert sent(filled) == before
    assert renew(filled, newer).epoch == 3


def test_a_node_of_an_earlier_release_is_renewed(filled, pair):
    path = filled.folder / "node.json"
    settings = json.loads(path.read_text())
    del settings["sealed_for"]
    path.write_text(json.dumps(settings | {"later": "kept"}))
    assert renew(filled, pair[0]).epoch == 2
    assert json.loads(path.read_text())["later"] == "kept"
    assert nodes.load(filled.folder).sealed_for == (pair[0].hex(),)


def test_a_record_that_is_no_cases_key_is_told_and_nothing_is_changed(filled, pair):
    with Journal(filled.journal) as journal:
        journal.append((), [(b"r" * 16, b"nonsense")])
    before = {path: path.read_bytes() for path in filled.folder.rglob("*") if path.is_file()}
    with pytest.raises(Damaged, match="nothing was changed"):
        renew(filled, pair[0])
    assert {path: path.read_bytes() for path in filled.folder.rglob("*") if path.is_file()} == before


def test_a_disk_that_refuses_is_told_and_the_next_run_ends_it(filled, pair, monkeypatch):
    def refused(path):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(renewing, "destroy", refused)
        with pytest.raises(NotWritten, match="run `tocsin node renew` again"):
            renew(filled, pair[0])
    assert renew(filled, pair[0]).ended == [1, 2]
    assert readable(filled) == {1, 3, 4, 5}


def test_a_reader_that_looked_before_finds_the_case_under_the_new_epoch(filled, pair, monkeypatch):
    real, turns = versions.case_of, []

    def late(node, values, ref, number):
        turns.append(number)
        if len(turns) == 1:
            renew(filled, pair[0])
        return real(node, values, ref, number)

    monkeypatch.setattr(versions, "case_of", late)
    assert versions.history(filled, Reader(filled.journal), 1).reported.number == 1
    assert turns == [1, 1]
