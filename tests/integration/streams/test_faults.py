"""Each request of a transaction fails before it is sent, or after: the lane leaves, the next one knows what is done."""

import asyncio

import numpy as np
import pytest

from schemas.columns import Blob
from schemas.errors import Fenced, Unreachable
from streams.base import Records
from streams.client import Broker
from streams.lane import KafkaLane, Membership
from streams.ledgerlog import bound
from streams.protocol import Produce, Reader, StableOffset, TxnOffsetCommit
from streams.recordbatch import drafts
from streams.transaction import Transactions
from tests.integration.streams.toy import Copy, lane_settings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]
STEPS = ("TxnOffsetCommit", "Produce", "EndTxn")


class Deaf(Broker):
    """The real broker, of whose answers one is lost on the way, or one request."""

    def __init__(self, kafka, step="", sent=True, cancel=False):
        super().__init__(kafka)
        self.step, self.sent, self.cancel = step, sent, cancel

    async def ask(self, node, request, coordinator=False):
        if type(request).__name__ != self.step:
            return await super().ask(node, request, coordinator)
        self.step = ""
        if self.sent:
            await super().ask(node, request, coordinator)
        if self.cancel:
            raise asyncio.CancelledError
        raise Unreachable("the answer was lost")


def batch(rig, start, count):
    values = Blob.of([b"%09d" % i for i in range(start, start + count)])
    offsets = np.arange(start, start + count, dtype=np.int64)
    keys, times = Blob.of([b""] * count), np.zeros(count, np.int64)
    return Records(rig.source, 0, start, start + count, offsets, times, values, keys)


async def lane_on(rig, broker):
    await broker.connect()
    membership = Membership(Reader(f"tocsin.{rig.stage}", -1, "", None), broker, lambda topic, partition: True)
    lane = KafkaLane(Copy(rig.stage), None, rig.source, 0, membership, lane_settings(rig.data, rig.stage))
    return lane, await lane.open()


async def through(rig, broker, expected):
    """Commit one batch, fail in the second, begin anew with a new lane and finish the second."""
    lane, start = await lane_on(rig, broker)
    assert start == 0
    step, broker.step = broker.step, ""
    await lane.process(batch(rig, 0, 10))
    broker.step = step
    with pytest.raises(expected):
        await lane.process(batch(rig, 10, 10))
    with pytest.raises(Fenced, match="begin anew"):
        await lane.process(batch(rig, 10, 10))
    await lane.close()
    await broker.close()
    again = Broker(rig.kafka)
    lane, start = await lane_on(rig, again)
    if start == 10:
        await lane.process(batch(rig, 10, 10))
    await lane.process(batch(rig, 20, 10))
    await lane.close()
    await again.close()
    return start


def run(rig, broker, expected=Unreachable):
    step, loop = broker.step, asyncio.new_event_loop()
    try:
        return step, loop.run_until_complete(through(rig, broker, expected))
    finally:
        loop.close()


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("sent", [False, True], ids=["lost request", "lost answer"])
def test_a_fault_at_any_step_leaves_the_batch_done_or_undone_and_the_ledger_says_which(rig, step, sent):
    _, start = run(rig, Deaf(rig.kafka, step, sent))
    assert start == (20 if sent and step == "EndTxn" else 10)
    rig.judge(30)


def test_a_commit_that_was_cancelled_may_have_committed_and_is_not_repeated(rig):
    _, start = run(rig, Deaf(rig.kafka, "EndTxn", sent=True, cancel=True), asyncio.CancelledError)
    assert start == 20
    rig.judge(30)


async def marked(broker, reader, source, place, end):
    """Wait until a transaction's marker is in the place's log, which ends at `end` then, and in the group's."""
    coordinator, code = await broker.group_coordinator(reader.group), 88
    while await bound(broker, place) < end or code:
        answer = await broker.ask(coordinator, StableOffset(reader.group, *source), coordinator=True)
        code = answer.topics[0][1][0][4]
        await asyncio.sleep(0.01)


def test_what_comes_after_its_transaction_has_ended_is_refused_and_opens_nothing(rig):
    """A request that the network held up must not begin a transaction that nobody ends: readers would wait behind it.

    Until the marker is written it still belongs to its own transaction, and ends as that does.
    """

    async def late():
        broker = await Broker(rig.kafka).connect()
        transactions = Transactions(broker, f"tocsin.{rig.stage}.late")
        reader, place = Reader(f"tocsin.{rig.stage}", -1, "", None), (f"{rig.stage}.copied", 0)
        blob, row = Blob.of([b"one"]), np.zeros(1, np.int64)
        (draft,) = drafts(blob, blob, row, 1_000)
        try:
            await transactions.fence()
            before = transactions._producer
            ends = [await transactions.commit(reader, (rig.source, 0), 1, {place: [draft]}, 1)]
            await marked(broker, reader, (rig.source, 0), place, 2)
            held_up = Produce(before.transactional_id, 5.0, {place: draft.sealed(before.id, before.epoch, 1, 1)})
            answers = [await broker.ask(await broker.leader(*place), held_up)]
            offset = TxnOffsetCommit(before, reader, rig.source, 0, 7)
            answers.append(await broker.ask(await broker.group_coordinator(reader.group), offset, coordinator=True))
            ends.append(await transactions.commit(reader, (rig.source, 0), 2, {place: [draft]}, 1))
        finally:
            await broker.close()
        return [answer.topics[0][1][0][1] for answer in answers], [one[place] for one in ends]

    codes, ends = asyncio.run(late())
    assert set(codes) <= {22, 47, 90}, "the producer's epoch has passed"
    assert ends == [1, 3], "between them lies the marker of the first, and nothing else"


def test_an_offset_whose_transaction_is_not_ended_is_not_given_yet(rig):
    """The committed offset from before it would look like a gap in the ledger, and stop the worker for good."""

    async def offset_while_open():
        broker = await Broker(rig.kafka).connect()
        reader = Reader(f"tocsin.{rig.stage}", -1, "", None)
        transactions = Transactions(broker, f"tocsin.{rig.stage}.open")
        question = StableOffset(reader.group, rig.source, 0)
        coordinator = await broker.group_coordinator(reader.group)
        codes = []
        try:
            await transactions.fence()
            await transactions._offsets(transactions._producer, reader, (rig.source, 0), 7)
            for end in (None, True):
                if end:
                    await transactions._end(transactions._producer, commit=True)
                    await asyncio.sleep(1)
                answer = await broker.ask(coordinator, question, coordinator=True)
                codes.append(answer.topics[0][1][0][1::3])
        finally:
            await broker.close()
        return codes

    during, after = asyncio.run(offset_while_open())
    assert during == (-1, 88)
    assert after == (7, 0)
