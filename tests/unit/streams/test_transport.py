"""What the transport hands over of aiokafka's fetches: ranges that abut, each committed record once, whatever the cuts."""

import asyncio
from types import SimpleNamespace

import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchError, FetchResult, PartitionRecords
from aiokafka.consumer.subscription_state import Assignment
from aiokafka.structs import TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.transport import Kept, Thread
from tests.unit.streams.segment import TRANSACTIONAL, Batch, marker

TP = TopicPartition("t", 0)


class Fetches:
    """A consumer's thread before a log: each fetch brings some batches from its position on.

    `aborted` are producer, first and last offset; a broker names those that overlap with what it sends.
    """

    def __init__(self, log, aborted, limit):
        self.log, self.aborted = log, aborted
        self.assignment = Assignment([TP])
        self.state = self.assignment.state_value(TP)
        self.fetcher = SimpleNamespace(_records={}, _notify=lambda waiter: None, _wait_consume_future=None)
        self.thread = Thread.__new__(Thread)
        self.thread.app = SimpleNamespace(gate=SimpleNamespace(batch_records=limit))
        self.thread._carried, self.thread._rest = {}, {}
        self.thread._ensure_consumer = lambda: SimpleNamespace(seek=lambda tp, offset: self.seek(offset))

    def seek(self, offset):
        self.state.seek(offset)
        self.fetcher._records.pop(TP, None)

    def fetch(self, size):
        position = self.state.position
        found = [batch for batch in self.log if batch.following > position][:size]
        if found and TP not in self.fetcher._records:
            data = b"".join(batch.octets() for batch in found)
            aborted = [
                (p, first) for p, first, last in self.aborted if first < found[-1].following and last >= position
            ]
            read = PartitionRecords(TP, Kept(data), aborted, position, None, None, True, READ_COMMITTED)
            result = FetchResult(TP, assignment=self.assignment, partition_records=read, backoff=0)
            self.fetcher._records[TP] = result

    def take(self, size=1):
        self.fetch(size)
        return self.thread._taken(self.fetcher, TP) if TP in self.fetcher._records else None

    def all(self, size=1):
        found = []
        while TP in self.fetcher._records or self.state.position < self.log[-1].following:
            found.append(self.take(size))
        return [one for one in found if one is not None]


def run(test):
    async def inside():
        return test()

    return asyncio.run(inside())


def values(records):
    return [records.values.item(i) for i in range(len(records))]


@st.composite
def transactions(draw):
    """Batches in transactions of one producer, committed or aborted; and the values that a committed reader sees."""
    log, aborted, seen, at = [], [], [], 0
    for turn in range(draw(st.integers(1, 6))):
        first, commits = at, draw(st.booleans())
        for _ in range(draw(st.integers(0, 3))):
            count = draw(st.integers(1, 5))
            rows = [(i, 0, None, b"%d.%d" % (turn, at + i), ()) for i in range(count)]
            log.append(Batch(at, rows, count - 1, TRANSACTIONAL | draw(st.sampled_from([0, 4])), 7))
            seen += [row[3] for row in rows if commits]
            at += count
        log.append(marker(at, 7, aborts=not commits))
        aborted += [] if commits or first == at else [(7, first, at)]
        at += 1
    return log, aborted, seen


@pytest.mark.timeout(90)
@settings(max_examples=60, deadline=None)
@given(transactions(), st.integers(1, 12), st.integers(1, 5))
def test_ranges_abut_and_each_committed_record_comes_once(log, limit, size):
    def test():
        fetches = Fetches(log[0], log[1], limit)
        fetches.seek(0)
        found = fetches.all(size)
        assert [value for records in found for value in values(records)] == log[2]
        starts = [records.start for records in found]
        assert starts == ([0] + [records.end for records in found])[: len(found)]
        assert all(0 < len(records) <= limit for records in found)
        assert all(
            records.start <= records.offsets[0] and records.offsets[-1] < records.end and records.topic == "t"
            for records in found
        )
        carried = fetches.thread._carried.get(TP, (None, found[-1].end if found else 0))
        assert carried[1] == fetches.state.position == log[0][-1].following

    run(test)


def plain(count, size=4):
    rows = [[(i, 0, b"k", b"%d" % (at + i), ()) for i in range(size)] for at in range(0, count, size)]
    return [Batch(at * size, part, size - 1) for at, part in enumerate(rows)]


def test_what_was_fetched_before_a_seek_is_left():
    def test():
        fetches = Fetches(plain(12), [], 3)
        fetches.seek(0)
        assert values(fetches.take(3)) == [b"0", b"1", b"2"]
        fetches.thread._carried[TP] = (0, 3)
        coroutine = fetches.thread._seek_to(TP, 6)
        with pytest.raises(StopIteration):
            coroutine.send(None)
        again = fetches.take(3)
        assert (again.start, values(again)) == (6, [b"6", b"7", b"8"])

    run(test)


def test_a_batch_is_cut_where_the_limit_says():
    def test():
        fetches = Fetches(plain(8), [], 3)
        fetches.seek(1)
        cut = [(one.start, one.end, len(one)) for one in fetches.all(2)]
        assert cut == [(1, 4, 3), (4, 7, 3), (7, 8, 1)]
        assert not fetches.thread._rest

    run(test)


@pytest.mark.parametrize("stale", ["paused", "moved", "unassigned"])
def test_what_was_fetched_is_dropped_where_the_partition_is_not_read_there_any_more(stale):
    def test():
        fetches = Fetches(plain(8), [], 3)
        fetches.seek(0)
        fetches.take(2)
        if stale == "paused":
            fetches.state.pause()
        elif stale == "moved":
            fetches.state.seek(7)
        else:
            fetches.assignment._unassign()
        assert fetches.thread._taken(fetches.fetcher, TP) is None
        assert not fetches.fetcher._records

    run(test)


def test_an_error_of_the_fetch_is_raised_once():
    def test():
        fetches = Fetches(plain(4), [], 3)
        fetches.fetcher._records[TP] = FetchError(error=OSError("no"), backoff=0)
        with pytest.raises(OSError, match="no"):
            fetches.thread._taken(fetches.fetcher, TP)
        assert not fetches.fetcher._records

    run(test)
