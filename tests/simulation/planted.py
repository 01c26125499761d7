"""Bugs that a lane could have, each put on by a test: the simulation must notice every one.

A bug is a list of (object, name, replacement); the product knows nothing of it.
"""

import asyncio
from collections import Counter
from dataclasses import replace

from aiokafka.protocol.commit import OffsetFetchRequest

from schemas.errors import Fenced, Retries, Unreachable
from streams import lane, lanes, ledger, ledgerlog, snapshot, stranded
from streams.lane import KafkaLane
from streams.lanes import Lanes
from streams.ledger import Resolver
from streams.line import Line
from streams.protocol import Reader, TxnOffsetCommit
from streams.transaction import Transactions
from tests.simulation import eraser
from tests.simulation.patch import replaced
from tests.simulation.toy import Copy


def planted(name):
    """Let the bug be there within the block."""
    return replaced(BUGS[name]())


def _no_fence():
    """A worker that comes takes the producer that it finds, instead of a new epoch."""
    real, known = Transactions._init, {}

    async def init(self):
        key = self._broker._worker.world, self._id
        if key not in known:
            known[key] = await real(self)
        return known[key]

    return [(Transactions, "_init", init)]


def _again(faults, fences):
    """Return a `commit` that tries the same batch again after a fault, with the same producer or a new one."""
    real = Transactions.commit

    async def commit(self, reader, source, offset, batches, now):
        producer = self._producer
        for _ in range(3):
            try:
                return await real(self, reader, source, offset, batches, now)
            except faults:
                if fences:
                    await self.fence()
                else:
                    self._producer = producer
        return await real(self, reader, source, offset, batches, now)

    return [(Transactions, "commit", commit)]


def _reuse_after_timeout():
    """A batch whose outcome is unknown is sent again by the same producer."""
    return _again(Unreachable, fences=False)


def _fence_and_repeat():
    """A batch whose outcome is unknown is sent again by a new producer, without a look at the ledger."""
    return _again(Unreachable, fences=True)


def _old_offsets_and_fence_again():
    """A worker that was fenced makes itself a new producer, and offsets are committed in nobody's name (version 0)."""
    real = TxnOffsetCommit.__init__

    def init(self, producer, reader, *rest):
        real(self, producer, Reader(reader.group, -1, "", None), *rest)

    return [*_again(Fenced, fences=True), (TxnOffsetCommit, "__init__", init)]


def _in_two(first, second):
    """Return a `commit` that makes two transactions of one."""

    async def commit(self, reader, source, offset, batches, now):
        producer, self._producer, ends = self._producer, None, {}
        if producer is None:
            raise Fenced("not fenced")
        for part in (first, second):
            if part == "offsets":
                await self._offsets(producer, reader, source, offset)
            else:
                ends = await self._records(producer, batches, now)
            producer = await self._end(producer, commit=True)
        self._producer = producer
        return ends

    return [(Transactions, "commit", commit)]


def _offset_first():
    """The offset is committed before the outputs."""
    return _in_two("offsets", "records")


def _outputs_first():
    """The outputs are committed before the offset."""
    return _in_two("records", "offsets")


def _ledger_to_stable():
    """The ledger is read to the last stable offset, as any read-committed reader does."""
    return [(ledgerlog, "UNCOMMITTED", 1)]


def _ledger_unresolved():
    """A ledger record counts before its transaction has ended."""

    def feed(self, block):
        return [ledger.read(at, value) for at, key, value in block.records if key == self._key]

    return [(Resolver, "feed", feed)]


def _unstable_offset():
    """The committed offset is asked for without waiting for the end of transactions on it."""

    class Unstable(OffsetFetchRequest):
        def __init__(self, group, topic, partition):
            super().__init__(group, [(topic, [partition])])
            self._group, self._topics, self.stable = group, [(topic, [partition])], False

    return [(lane, "StableOffset", Unstable)]


def _offsets_unchecked():
    """What the broker answers to the offset is not looked at: a worker that lost its partition goes on."""

    async def offsets(self, producer, reader, source, offset):
        node = await self._broker.group_coordinator(reader.group)
        await self._broker.ask(node, TxnOffsetCommit(producer, reader, *source, offset), coordinator=True)

    return [(Transactions, "_offsets", offsets)]


def _produce_again():
    """A write whose answer was lost is sent again under new sequence numbers."""
    real = Transactions._produce

    async def produce(self, producer, turn, now):
        try:
            return await real(self, producer, turn, now)
        except Unreachable:
            return await real(self, producer, turn, now)

    return [(Transactions, "_produce", produce)]


def _snapshot_early():
    """The snapshot is written before the batch is committed, and believed without its record in the ledger."""
    real = Transactions.commit

    async def commit(self, reader, source, offset, batches, now):
        lane_of = self._lane
        frozen = lane_of._stage.freeze(self._pending)
        snapshot.save(lane_of._settings.snapshots, snapshot.Snapshot(lane_of._name, lane_of._anchor, offset, frozen))
        return await real(self, reader, source, offset, batches, now)

    pieces = KafkaLane._pieces

    async def remembering(self, records):
        found = await pieces(self, records)
        self._transactions._lane, self._transactions._pending = self, self._state
        return found

    return [
        (Transactions, "commit", commit),
        (KafkaLane, "_pieces", remembering),
        (snapshot, "fits", lambda saved, entry: None),
    ]


def _swallowed():
    """A batch that fails is left out, and the worker goes on."""

    async def process(self, fetched):
        found = self._lanes.get(lanes.TP(fetched.records.topic, fetched.records.partition))
        if found is None or fetched.epoch != self.epoch:
            return
        try:
            await found.process(fetched.records)
        except Retries:
            found._state, found._next = found._stage.empty(found._name), fetched.records.end
            await found._transactions.fence()
        finally:
            self._out[lanes.TP(fetched.records.topic, fetched.records.partition)] += 1

    return [(Lanes, "process", process)]


def _stale_batch():
    """A batch that was read under an assignment before is processed, and nobody asks whether it is the next."""
    real = Lanes.process

    async def process(self, fetched):
        fetched.epoch = self.epoch
        await real(self, fetched)

    async def run(self, records):
        self._next = records.start
        await process_batch(self, records)

    process_batch = KafkaLane.process
    return [(Lanes, "process", process), (KafkaLane, "process", run)]


def _spoiled_state():
    """A stage's state that a failed attempt has spoiled is used again."""
    real = KafkaLane._pieces

    async def pieces(self, records):
        kept = self._state

        async def rebuilt():
            return kept

        self._rebuilt = rebuilt
        return await real(self, records)

    return [(KafkaLane, "_pieces", pieces)]


def _lost_delta():
    """A batch that did not change what was put out leaves no trace in the rebuilt state."""
    real = Copy.restore
    return [(Copy, "restore", lambda self, state, delta: real(self, state, delta) if delta.count(b" ") > 1 else state)]


def _own_tail():
    """A lane that was taken away while it was opened takes that for a hole in the ledger."""

    async def overtaken(self):
        return False

    return [(KafkaLane, "_overtaken", overtaken)]


def _no_wait_for_batches():
    """A batch under way is cut off when its partition goes, and its lane is used on."""

    async def close_all(self, seconds):
        held, self._lanes = self._lanes, {}
        await asyncio.gather(*(one._save() for one in held.values() if one._state is not None))

    def save(self):
        kept = snapshot.Snapshot(self._name, max(self._anchor, 0), self._next + 1, self._stage.freeze(self._state))
        snapshot.save(self._settings.snapshots, kept)

    changes = [(Lanes, "_close_all", close_all), (KafkaLane, "_write_snapshot", save)]
    return [*changes, (snapshot, "fits", lambda saved, entry: None)]


def _strands():
    """What the broker has forgotten of a transaction stays open."""

    async def settle(self):
        pass

    return [(KafkaLane, "_settle", settle)]


def _aborts_what_is_committed():
    """What the broker has forgotten is aborted, also where a part of it was committed."""

    async def commits(broker, producer, place):
        return False

    return [(stranded, "_commits", commits)]


def _base_beside_the_state():
    """A lane goes on with the state that it had before its base, in which all is numbered otherwise."""

    async def rebase(self, real=KafkaLane._rebase):
        state = self._state
        await real(self)
        self._state = state

    return [(KafkaLane, "_rebase", rebase)]


def _half_a_base():
    """The first part of a base is taken for the whole."""

    def based(self, entry, real=Line._based):
        return real(self, replace(entry, part=0, parts=1))

    return [(Line, "_based", based)]


def _base_counts_twice():
    """The counts of a base are added to those before it."""

    def restored(self, state, entry, real=KafkaLane._restored):
        before = +self._counts
        state = real(self, state, entry)
        self._counts += before if entry.base else Counter()
        return state

    return [(KafkaLane, "_restored", restored)]


def _cut_behind_one_base():
    """The ledger is deleted before the base of one lane, whatever the others of its partition have."""

    def needed(entries, asked):
        return max((offset for offset, row in entries if row.get("part") == 0 and offset > asked), default=None)

    return [(eraser, "needed", needed)]


def _rest_refused():
    """What is left of a batch's line before its base is taken for a hole."""

    def take(self, entry):
        self.begun = True
        return real(self, entry)

    real = Line.take
    return [(Line, "take", take)]


def _deleted_meanwhile():
    """A ledger of which the beginning is deleted while it is read is taken for a lost one."""

    async def from_beginning(self):
        begin = await ledgerlog.bound(self._broker, self._ledger, ledgerlog.EARLIEST)
        return await self._folded(None, begin)

    return [(KafkaLane, "_from_beginning", from_beginning)]


def _other_ledger():
    """A lane counts the records of the lane beside it."""

    def feed(self, block, real=Resolver.feed):
        held, self._key = self._key, block.records[0][1] if block.records else self._key
        try:
            return real(self, block)
        finally:
            self._key = held

    return [(Resolver, "feed", feed)]


BUGS = {
    name.removeprefix("_"): make
    for name, make in list(globals().items())
    if name.startswith("_") and callable(make) and name not in ("_again", "_in_two") and not name.startswith("__")
}
