"""Reading the ledger from the broker, to the high watermark.

The last stable offset would end before a lane's own records while another lane's transaction is open. So a lane reads
uncommitted and resolves its records by the markers of their producers, as a read-committed reader does.
"""

from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.memory_records import MemoryRecords

from schemas.errors import LedgerGap, Unreachable
from streams.client import LOADING, Broker, NotYet, name_of, patiently
from streams.ledger import ASK, Block, Entry, Resolver

FETCH_BYTES, WAIT_MS = 8 << 20, 500
UNCOMMITTED, EARLIEST, LATEST = 0, -2, -1
OUT_OF_RANGE, MOVED = 1, frozenset({3, 5, 6, 9})
GONE = -1


class Deleted(LedgerGap):
    """A position of the ledger that the broker does not have any more."""


def blocks(data: bytes, position: int) -> Iterator[Block]:
    """Yield the record batches in a fetched piece of log, without what lies before `position`; checksums are checked."""
    memory = MemoryRecords(data)
    while memory.has_next():
        batch = memory.next_batch()
        if not batch.validate_crc():
            raise Unreachable("A record batch of the ledger arrived damaged; the worker begins anew.")
        if batch.next_offset > position:
            yield _block(batch, position)


def _block(batch: Any, position: int) -> Block:
    producer, following = batch.producer_id, batch.next_offset
    if batch.is_control_batch:
        aborts = ControlRecord.parse(next(iter(batch)).key) == ABORT_MARKER
        return Block(producer, following, marker="abort" if aborts else "commit")
    records = tuple((r.offset, r.key or b"", r.value or b"") for r in batch if r.offset >= position)
    return Block(producer, following, transactional=batch.is_transactional, records=records)


async def follow(broker: Broker, place: tuple[str, int], lane: str, position: int) -> AsyncIterator[Entry]:
    """Yield the lane's committed entries from ledger offset `position` to the high watermark, in order.

    To be called after fencing: then each record of the lane has its marker. Deleted where the ledger begins later.
    """
    resolver, end = Resolver(lane), await bound(broker, place, LATEST)
    while True:
        while position < end:
            data = await patiently(f"reading {place[0]}-{place[1]}", partial(_fetch, broker, place, position))
            for block in blocks(data, position):
                position = block.following
                for entry in resolver.feed(block):
                    yield entry
        if not resolver.unresolved:
            return
        end = await patiently(f"marker for {lane}", partial(_beyond, broker, place, position))


async def _beyond(broker: Broker, place: tuple[str, int], position: int) -> int:
    end = await bound(broker, place, LATEST)
    if end <= position:
        raise NotYet("a transaction of ours has no marker yet")
    return end


async def bound(broker: Broker, place: tuple[str, int], which: int = LATEST) -> int:
    """Return the first offset (EARLIEST) or the high watermark (LATEST) of a partition."""

    async def attempt() -> int:
        request = OffsetRequest(-1, UNCOMMITTED, [(place[0], [(place[1], which)])])
        answer = await broker.ask(await broker.leader(*place), request)
        _, code, *rest = answer.topics[0][1][0]
        _passing(code, f"asking for the end of {place[0]}-{place[1]}")
        return int(rest[1])

    return await patiently(f"end of {place[0]}-{place[1]}", attempt)


async def fetch(broker: Broker, place: tuple[str, int], position: int, wait_ms: int = 0) -> tuple[int, bytes]:
    """Return the high watermark and the log from `position` on, as much as is at hand after `wait_ms` at the most.

    (GONE, b"") where the broker does not have the position any more, or not yet.
    """
    topics = [(place[0], [(place[1], position, FETCH_BYTES)])]
    request = FetchRequest(wait_ms, 1, FETCH_BYTES, UNCOMMITTED, topics)
    answer = await broker.ask(await broker.leader(*place), request)
    _, code, end, *rest = answer.topics[0][1][0]
    if code == OUT_OF_RANGE:
        return GONE, b""
    _passing(code, f"reading {place[0]}-{place[1]}")
    return int(end), rest[-1] or b""


async def asked(broker: Broker, place: tuple[str, int], position: int) -> tuple[bool, int]:
    """Return whether a record from `position` on asks for bases, and the position after what was looked at."""
    end, data = await patiently(f"reading {place[0]}-{place[1]}", partial(fetch, broker, place, position))
    if end == GONE:
        return False, await bound(broker, place, EARLIEST)
    found = False
    for block in blocks(data, position):
        position = block.following
        found = found or any(key == ASK for _, key, _ in block.records)
    return found, position


async def _fetch(broker: Broker, place: tuple[str, int], position: int) -> bytes:
    end, data = await fetch(broker, place, position, WAIT_MS)
    if end == GONE:
        raise Deleted(
            f"{place[0]}-{place[1]} has no offset {position} any more: part of the ledger was deleted, and state cannot "
            "be rebuilt. Its retention must be unlimited; restore the topic from the broker's backup."
        )
    return data


def _passing(code: int, what: str) -> None:
    if code in MOVED | LOADING:
        raise NotYet(name_of(code))
    if code:
        raise Unreachable(f"{what} failed ({name_of(code)}); the worker begins anew.")
