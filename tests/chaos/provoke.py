"""Faults from within, for planted bugs: what a network, a scheduler or a broker could do, made to happen exactly once."""

import asyncio
import os
import signal
from dataclasses import replace

from schemas.errors import Fenced, Unreachable
from tests.chaos import points
from tests.chaos.points import Armed
from tests.chaos.worker import say


class Sleepy(Armed):
    """Stops its process (SIGSTOP) where another would die; whoever started it wakes it."""

    def die(self) -> None:
        say("sleeps", point=self.point, pid=os.getpid())
        os.kill(os.getpid(), signal.SIGSTOP)
        say("wakes", point=self.point)


def sleep_at(point: str, visit: int) -> None:
    """Stop the process at a named point."""
    points.Armed, kept = Sleepy, points.Armed
    points.arm(point, visit)
    points.Armed = kept


def unanswered(request: str, visit: int, sent: bool = True) -> None:
    """Lose the answer to a request (or, where it is not `sent`, the request itself)."""
    from streams.client import Broker

    inner, armed = Broker.ask, Armed(request, visit)

    async def ask(self, node, asked, coordinator=False):
        if type(asked).__name__ == request and armed.due():
            if sent:
                await inner(self, node, asked, coordinator)
            say("lost", what=request, sent=sent)
            raise Unreachable(f"no answer to {request}")
        return await inner(self, node, asked, coordinator)

    Broker.ask = ask


def overtaken(lane: str, visit: int, by: int = 2) -> None:
    """Let a lane die before the end of its transaction, after others have committed `by` batches behind its records."""
    from streams.client import Broker

    inner, armed, waiting = Broker.ask, Armed("overtaken", visit), []

    async def ask(self, node, asked, coordinator=False):
        if type(asked).__name__ != "EndTxn":
            return await inner(self, node, asked, coordinator)
        if lane in asked._producer.transactional_id and armed.due():
            waiting.append(asyncio.Semaphore(0))
            for _ in range(by):
                await waiting[0].acquire()
            armed.die()
        answer = await inner(self, node, asked, coordinator)
        if lane not in asked._producer.transactional_id and waiting:
            waiting[0].release()
        return answer

    Broker.ask = ask


def fences_late(lane: str) -> None:
    """Let a lane be opened after another one, as where another worker has it that starts later."""
    from streams.lane import KafkaLane

    inner, another = KafkaLane.open, asyncio.Event()

    async def opened(self):
        if self._name == lane:
            await asyncio.wait_for(another.wait(), 60)
        at = await inner(self)
        another.set()
        return at

    KafkaLane.open = opened
    say("late", what=lane)


def late(request: str, visit: int, seconds: float = 1.0) -> None:
    """Let a request arrive long after its answer was given up."""
    from streams.client import Broker

    inner, armed, kept = Broker.ask, Armed(request, visit), []

    async def ask(self, node, asked, coordinator=False):
        if type(asked).__name__ == request and armed.due():

            async def later():
                await asyncio.sleep(seconds)
                await inner(self, node, asked, coordinator)

            kept.append(asyncio.ensure_future(later()))
            say("late", what=request)
            raise Unreachable(f"no answer to {request}")
        return await inner(self, node, asked, coordinator)

    Broker.ask = ask


def small_fetches() -> None:
    """Let each fetch bring one record batch: some of them are markers only."""
    _settings(fetch_bytes=1)


def small_batches(records: int) -> None:
    """Cut the log otherwise than the life before."""
    _settings(batch_records=records)


def _settings(**changed) -> None:
    from pipeline import bootstrap

    inner = bootstrap.run
    bootstrap.run = lambda settings: inner(replace(settings, **changed))
    say("reads otherwise", **changed)


def upload_fails(visit: int) -> None:
    """Let one upload of a file of rows fail, below the store's own door."""
    from minio import Minio

    inner, armed = Minio.put_object, Armed("upload", visit)

    def put_object(self, bucket, path, *arguments, **options):
        if path.endswith(".parquet") and armed.due():
            say("lost", what=path)
            raise OSError("the store gave no answer")
        return inner(self, bucket, path, *arguments, **options)

    Minio.put_object = put_object


def commit_fails(visit: int) -> None:
    """Let one commit to a table's log come to nothing, each attempt of it."""
    from sinks.delta import ATTEMPTS, Commits

    inner, armed, left = Commits._attempt, Armed("commit", visit), []

    def attempt(self, start, end, file):
        if armed.due():
            left.extend([None] * ATTEMPTS)
            say("lost", what="commit")
        if left:
            left.pop()
            return OSError("the store gave no answer")
        return inner(self, start, end, file)

    Commits._attempt = attempt


def stubborn(generation: bool = True) -> None:
    """Once refused, make a new producer in the same process and commit the same batch again.

    With the reader's `generation` the broker refuses that; without it, it cannot know.
    """
    from streams.protocol import Reader
    from streams.transaction import Transactions

    inner = Transactions.commit

    async def commit(self, reader, source, offset, batches, now):
        try:
            return await inner(self, reader, source, offset, batches, now)
        except Fenced as refusal:
            say("insists", why=str(refusal))
            self._producer = None
            await self.fence()
            again = reader if generation else Reader(reader.group, -1, "", None)
            try:
                return await inner(self, again, source, offset, batches, now)
            except Fenced as refused:
                say("refused", why=str(refused))
                raise

    Transactions.commit = commit
