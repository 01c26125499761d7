"""What ledgers and snapshots hold of a case: found where it is, bases as a whole, and what cannot be told never passed over."""

import asyncio
import os
import time
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.erasure import ledgers
from pipeline.erasure.ledgers import Bases, Ledgers
from pipeline.log import Entry
from schemas.columns import Blob
from schemas.lock import lock
from streams import ledger, ledgerlog, snapshot
from streams.base import Records
from streams.merge import Merge
from tests.unit.streams import accepted, plain, raw
from tests.unit.streams.test_refine import STAGE as REFINE
from tests.unit.streams.test_refine import step

KEY, LANE = bytes(range(32)), "accepted-0"
MERGE = Merge(accepted.SECRETS)
MINE, OTHER = accepted.identity(1), accepted.identity(2)
EVENTS = {MINE: b"case", accepted.identity(501): b"case"}
BOTH = [accepted.value(plain.Incident(number, "ML01", 18_000)) for number in (1, 2)]


@pytest.fixture
def found(monkeypatch, tmp_path):
    """Return what is told of a ledger of one partition with these keyed values."""

    def look(stage, *values, events=EVENTS):
        async def follow(broker, place, position):
            blobs = [Blob.of([value[at] or b"" for value in values]) for at in (1, 0)]
            offsets = np.arange(len(values), dtype=np.int64)
            yield Records(*place, 0, len(values), offsets, offsets, *blobs)

        async def partitions(topic):
            return [0] if values else []

        monkeypatch.setattr(ledgers, "follow", follow)
        broker = SimpleNamespace(partitions=partitions)
        return asyncio.run(Ledgers(broker, KEY, tmp_path).look(stage, events))

    return look


def batches(stage, lane, *deltas):
    return [(lane.encode(), ledger.write(lane, at, at + 1, {}, "", lock(KEY, each))) for at, each in enumerate(deltas)]


def merged(*values):
    """Return the state after a batch of each, and the deltas."""
    state, deltas = MERGE.empty(LANE), []
    for at, batch in enumerate(values):
        state, outcome = MERGE.step(state, accepted.records(batch, 10 * at))
        deltas.append(outcome.delta)
    return state, deltas


def based(state, lane=LANE, stage=MERGE):
    return [(lane.encode(), one) for one in ledger.write_base(lane, 9, {}, lock(KEY, stage.freeze(stage.shed(state))))]


def test_each_record_of_merge_that_names_an_event_of_the_case_is_found(found):
    version = accepted.revised(plain.Incident(501, "ML01", 18_001), 1)
    _, deltas = merged(BOTH, [version, accepted.ended(1)], [BOTH[1]], [accepted.withdrawn(1), accepted.withdrawn(501)])
    assert found("merge", *batches("merge", LANE, *deltas)) == [b"case"] * 3
    assert found("merge", *batches("merge", LANE, *deltas), events={OTHER: b"other"}) == [b"other"]
    assert found("merge", *batches("merge", LANE, *deltas), events={}) == []


def test_a_base_holds_nothing_of_it_and_one_from_before_does(found, monkeypatch):
    monkeypatch.setattr(ledger, "PART_BYTES", 64)
    before, _ = merged(BOTH)
    assert len(based(before)) > 2
    assert found("merge", *based(before)) == [b"case"]
    after, _ = merged(BOTH, [accepted.withdrawn(1)])
    assert found("merge", (ledger.ASK, None), *based(after)) == []
    assert found("merge", *based(after), events={OTHER: b"other"}) == [b"other"]


def test_what_cannot_be_told_may_hold_any_case(found, monkeypatch):
    monkeypatch.setattr(ledger, "PART_BYTES", 64)
    state, _ = merged(BOTH, [accepted.withdrawn(1)])
    base = based(state)
    assert found("merge", *base[:-1]) == [b"case"]
    assert found("merge", *base[:-1], *base) == [b"case"]
    assert set(found("merge", *base[1:])) == {b"case"}
    assert found("merge", (b"other", b"nothing of ours"), *base) == [b"case"]


def test_what_refine_keeps_of_lives_and_of_what_waits_is_found(found):
    state, deltas = REFINE.empty("raw.A-0"), []
    values = [raw.incident(1), raw.amendment(2, 1, [1]), raw.amendment(5, 1, [4]), raw.withdrawal(6, 1, [1, 2, 5])]
    for at, value in enumerate(values):
        state, outcome = step(state, [value], at)
        deltas.append(outcome.delta)
    events = {raw.identity(number): b"case" for number in (1, 2, 5)}
    assert found("refine", *batches("refine", "raw.A-0", *deltas), events=events) == [b"case"] * 2
    assert found("refine", *based(state, "raw.A-0", REFINE), events=events) == []


def test_snapshots_are_looked_into_and_removed_once_the_ledger_does_not_have_their_record(found, tmp_path, monkeypatch):
    folder = tmp_path / "merge" / "snapshots"
    before, _ = merged(BOTH)
    snapshot.save(folder, snapshot.Snapshot(LANE, 5, 9, lock(KEY, MERGE.freeze(before))))
    (folder / "accepted-1.snapshot").write_bytes(b"torn")
    (folder / "accepted-2.new").write_bytes(b"a draft")
    (folder / "accepted-3.new").write_bytes(b"a draft")
    os.utime(folder / "accepted-2.new", (time.time() - 100,) * 2)
    assert found("merge") == [b"case"] * 2
    begins = {}

    async def bound(broker, place, which):
        return begins["at"]

    monkeypatch.setattr(ledgerlog, "bound", bound)
    for begins["at"], left in ((5, [f"{LANE}.snapshot", "accepted-3.new"]), (6, ["accepted-3.new"])):
        asyncio.run(Ledgers(None, KEY, tmp_path).discard("merge"))
        assert sorted(path.name for path in folder.iterdir()) == left
    assert found("merge") == []


def test_a_partition_can_be_cut_before_the_first_base_of_each_lane_after_it_was_asked(monkeypatch):
    log, unread = [], {("ledger.merge", 2): 0}

    class Tail:
        def __init__(self, kafka, topic):
            assert topic == "ledger.merge"

        def reached(self, ends):
            return all(unread.get(place, end) >= end for place, end in ends.items())

        def some(self, limit):
            found, log[:] = log[:], []
            return found

    def come(partition, offset, lane, base):
        value = next(ledger.write_base(lane, 1, {}, b"")) if base else ledger.write(lane, 0, 1, {}, "", b"")
        log.append(Entry("ledger.merge", partition, offset, 0, lane.encode(), value))

    monkeypatch.setattr(ledgers, "Tail", Tail)
    known = Bases("kafka", "merge")
    come(0, 0, "a-0", False)
    come(0, 1, "b-0", False)
    come(1, 4, "c-0", True)
    log.append(Entry("ledger.merge", 0, 2, 0, ledger.ASK, None))
    asked = {0: 2, 1: 5, 2: 0}
    assert known.ends(asked) == {}
    unread.clear()
    assert known.ends(asked) == {2: 0}
    come(0, 3, "a-0", True)
    come(0, 4, "b-0", False)
    assert known.ends(asked) == {2: 0}
    come(0, 6, "b-0", True)
    come(0, 7, "a-0", True)
    come(1, 8, "c-0", True)
    assert known.ends(asked) == {0: 3, 1: 8, 2: 0}
