"""Reading a topic that nobody writes in transactions: from an offset to where it ends now, undecoded."""

from collections.abc import AsyncIterator
from functools import partial

from streams.base import Records
from streams.client import Broker, patiently
from streams.fetched import unpack
from streams.ledgerlog import EARLIEST, GONE, bound, fetch


async def follow(broker: Broker, place: tuple[str, int], position: int) -> AsyncIterator[Records]:
    """Yield the records from `position` to the high watermark, which one answer brings where there is nothing new.

    What was compacted or deleted before `position` is passed over. Unreachable where the broker does not answer.
    """
    what, end = f"reading {place[0]}-{place[1]}", position
    while True:
        end, data = await patiently(what, partial(fetch, broker, place, position))
        if end == GONE:
            position = await bound(broker, place, EARLIEST)
            continue
        records = unpack(*place, data, (), position)
        position = records.end
        if len(records):
            yield records
        if position >= end or not data:
            return
