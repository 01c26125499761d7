"""24 named points at which a worker is made to die: patches on the product's functions, put on by the tests' own entry.

Each point says what has happened when the process dies there. `kill -9` of itself: nothing is flushed, nothing is
closed, no handler runs.
"""

import asyncio
import functools
import os
import pathlib
import random
import signal
import time

from tests.chaos.worker import say

LANE = ("refine", "merge")
SINK = ("sink",)
POINTS = {
    "fence.before": (LANE, "nothing yet"),
    "fence.after": (LANE, "others are fenced, the ledger is not read"),
    "ledger.before": (LANE, "about to read the ledger"),
    "ledger.after": (LANE, "the state is rebuilt, the committed offset is not asked for"),
    "agree.after": (LANE, "ready to read"),
    "step.after": (LANE, "a batch is computed, nothing of it is sent"),
    "encode.after": (LANE, "the record batches are laid out, nothing of them is sent"),
    "offsets.sent": (LANE, "the offset is on its way, no answer was read"),
    "offsets.after": (LANE, "the offset is in the transaction, no record is"),
    "produce.before": (LANE, "about to write records"),
    "produce.sent": (LANE, "records are on their way, no answer was read"),
    "produce.after": (LANE, "records are written, the transaction is open"),
    "end.before": (LANE, "all is written, the end is not asked for"),
    "end.sent": (LANE, "the commit is on its way, its answer was not read"),
    "end.after": (LANE, "the commit is answered, nobody was told"),
    "commit.after": (LANE, "committed; the lane does not know it yet"),
    "snapshot.written": (LANE, "a snapshot is written under its draft's name"),
    "snapshot.renamed": (LANE, "a snapshot has its name, the folder is not synced"),
    "decode.after": (SINK, "a batch is decoded, nothing is uploaded"),
    "upload.before": (SINK, "about to upload a file"),
    "upload.after": (SINK, "a file is in the store that no commit names"),
    "delta.before": (SINK, "about to commit to the table's log"),
    "delta.after": (SINK, "the commit's answer is read, the log is not read again"),
    "table.after": (SINK, "one table is committed, the next one of the topic is not"),
}


class Armed:
    """Dies at the `visit`-th visit of its point."""

    def __init__(self, point: str, visit: int) -> None:
        self.point, self.left = point, visit

    def due(self) -> bool:
        self.left -= 1
        return self.left == 0

    def die(self) -> None:
        say("crash", point=self.point)
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)

    def visit(self) -> None:
        if self.due():
            self.die()


def around(owner, name: str, before=None, after=None) -> None:
    """Put calls around a function or a coroutine function; AttributeError where there is none of that name."""
    inner = getattr(owner, name)
    if asyncio.iscoroutinefunction(inner):

        @functools.wraps(inner)
        async def outer(*arguments, **options):
            if before:
                before()
            found = await inner(*arguments, **options)
            if after:
                after()
            return found
    else:

        @functools.wraps(inner)
        def outer(*arguments, **options):
            if before:
                before()
            found = inner(*arguments, **options)
            if after:
                after()
            return found

    setattr(owner, name, outer)


def on_request(name: str, armed: Armed, when: str) -> None:
    """Die before, in the midst of, or after a request of this kind."""
    from streams.client import Broker

    inner = Broker.ask

    async def ask(self, node, request, coordinator=False):
        mine = type(request).__name__ == name and armed.due()
        if mine and when == "before":
            armed.die()
        if mine and when == "sent":
            asked = asyncio.ensure_future(inner(self, node, request, coordinator))
            await asyncio.sleep(random.Random(time.time_ns()).uniform(0, 0.004))
            armed.die()
            return await asked
        answer = await inner(self, node, request, coordinator)
        if mine:
            armed.die()
        return answer

    Broker.ask = ask


def _snapshot_written(armed: Armed) -> None:
    inner = pathlib.Path.replace

    def replace(self, target):
        if self.suffix == ".new" and str(target).endswith(".snapshot"):
            armed.visit()
        return inner(self, target)

    pathlib.Path.replace = replace


def arm(point: str, visit: int) -> None:
    """Put the crash point on the product, in this process."""
    from sinks.delta import Commits
    from sinks.store import Store
    from sinks.writer import DeltaSink
    from streams import snapshot
    from streams.lane import KafkaLane
    from streams.transaction import Transactions

    armed = Armed(point, visit)
    name, _, when = point.partition(".")
    requests = {
        "offsets": "TxnOffsetCommit",
        "produce": "Produce",
        "end": "EndTxn",
    }
    functions = {
        "fence": (Transactions, "fence"),
        "ledger": (KafkaLane, "_rebuilt"),
        "agree": (KafkaLane, "_agree"),
        "step": (KafkaLane, "_pieces"),
        "encode": (KafkaLane, "_drafts"),
        "commit": (Transactions, "commit"),
        "decode": (DeltaSink, "_decoded"),
        "upload": (Store, "put"),
        "delta": (Commits, "_attempt"),
        "table": (DeltaSink, "_commit"),
    }
    if name in requests:
        on_request(requests[name], armed, when)
    elif point == "snapshot.written":
        _snapshot_written(armed)
    elif point == "snapshot.renamed":
        around(snapshot, "_sync_folder", before=armed.visit)
    else:
        around(*functions[name], **{when: armed.visit})


assert len(POINTS) == 24
