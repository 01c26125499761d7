"""The lanes of a worker's present assignment, and the gate through which the transport feeds them.

A lane is opened after each assignment and closed at each revocation; a partition is fed only while its lane is open
and from where the lane says. Any error ends the worker.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faust.types import TP

from schemas.errors import Retries
from streams.base import Lane
from streams.client import Broker
from streams.lane import Membership
from streams.protocol import Reader
from streams.transport import Fetched

QUEUED = 2  # batches of a lane under way or waiting, where they are not small
SMALL = 1_000  # records
OPENING = 4  # lanes opened at a time
BATCH_SECONDS = 20.0  # how long a batch under way may take to end before the worker leaves without it

LaneFactory = Callable[[str, int, Membership], Lane]


def _silent(event: str, **fields: Any) -> None:
    del event, fields


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker is told.

    `topics` may be a function that lists them: it is asked again every few seconds, and a change ends the worker with
    the code that has it started again. `instance` is the name under which the group knows this worker across
    restarts, one for each worker. `until_idle` seconds without anything to read end it with 0. `warm` runs before
    the group is joined; `note(event, **fields)` hears what happens.
    """

    stage: str
    topics: Sequence[str] | Callable[[], Sequence[str]]
    lane: LaneFactory
    kafka: str
    instance: str
    data: Path
    session_seconds: float = 10.0
    batch_records: int = 20_000
    fetch_bytes: int = 2 << 20
    fetch_wait_ms: int = 100
    until_idle: float | None = None
    warm: Callable[[], None] | None = None
    note: Callable[..., None] = _silent

    @property
    def group(self) -> str:
        """Return the consumer group, one for each stage."""
        return f"tocsin.{self.stage}"

    @property
    def folder(self) -> Path:
        """Return the folder of the stage's local files."""
        return self.data / "streams" / self.stage


class Lanes:
    """The lanes of the present assignment, and the gate through which the transport feeds them."""

    def __init__(self, settings: WorkerSettings, broker: Broker, ended: "asyncio.Future[int | BaseException]") -> None:
        """Begin without lanes; `ended` is set to the exit code, or the error, that ends the worker."""
        self.fetch_wait_ms, self.fetch_bytes = settings.fetch_wait_ms, settings.fetch_bytes
        self.batch_records, self.epoch = settings.batch_records, 0
        self.thread: Any = None
        self._settings, self._broker, self._ended = settings, broker, ended
        self._assigned: frozenset[TP] | None = None
        self._opening: asyncio.Task[None] | None = None
        self._running: set[asyncio.Future[None]] = set()
        self._tending: asyncio.Future[None] | None = None
        self._forget()

    def _forget(self) -> None:
        self._lanes: dict[TP, Lane] = {}
        self._ready: frozenset[TP] = frozenset()
        # Each counter has one writer: `_in` the consumer's thread, `_out` the main one.
        self._in: dict[TP, int] = defaultdict(int)
        self._out: dict[TP, int] = defaultdict(int)
        self._last: dict[TP, int] = defaultdict(int)  # records of the batch that was taken last

    def feeds(self, tp: TP) -> bool:
        """Return whether the partition may be given one more batch; called in the consumer's thread.

        After a small batch none is taken ahead: what comes in meanwhile then goes along in the next.
        """
        allowed = QUEUED if self._last[tp] >= SMALL else 1
        return tp in self._ready and self._in[tp] - self._out[tp] < allowed

    def taken(self, tp: TP, records: int) -> None:
        """Count a batch on its way to the lane; called in the consumer's thread."""
        self._in[tp] += 1
        self._last[tp] = records

    def failed(self, error: BaseException) -> None:
        """End the worker because of `error`, unless it ends already."""
        self._ready = frozenset()
        if not self._ended.done():
            self._ended.set_result(error)

    async def process(self, fetched: Fetched) -> None:
        """Give one batch to its lane; a stale one is dropped, the lane that owns it now reads it again."""
        records = fetched.records
        tp = TP(records.topic, records.partition)
        lane = self._lanes.get(tp)
        if fetched.epoch != self.epoch or lane is None or self._ended.done():
            return
        task = asyncio.ensure_future(lane.process(records))
        self._running.add(task)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            self.failed(Retries(f"A batch of {records.lane} was cut off under way; the worker begins anew."))
            raise
        except Exception as error:  # noqa: BLE001 -- not swallowed: it ends the worker
            self.failed(error)
        finally:
            self._running.discard(task)
            self._out[tp] += 1
            self.thread.wake()

    async def tend(self) -> None:
        """Let each open lane do what is to be done between batches."""
        self._tending = asyncio.ensure_future(self._tend_all(self.epoch))
        await asyncio.shield(self._tending)

    async def _tend_all(self, epoch: int) -> None:
        try:
            for tp in sorted(self._ready):
                if self.epoch == epoch and not self._ended.done():
                    await self._lanes[tp].tend()
        except Exception as error:  # noqa: BLE001 -- not swallowed: it ends the worker
            self.failed(error)

    def assigned(self, tps: Iterable[TP], reader: Reader) -> None:
        """Open the lanes of a new assignment, in a task of its own: the group hears no heartbeat during its callback."""
        self.epoch += 1
        self._forget()
        self._assigned = frozenset(tps)
        self._opening = asyncio.ensure_future(self._open_all(self.epoch, sorted(self._assigned), reader))

    async def _open_all(self, epoch: int, tps: list[TP], reader: Reader) -> None:
        turns = asyncio.Semaphore(OPENING)
        started = time.monotonic()

        def holds(topic: str, partition: int) -> bool:
            return self.epoch == epoch and self.thread.reads_as(reader, topic, partition)

        async def one(tp: TP) -> None:
            async with turns:
                lane = self._settings.lane(tp.topic, tp.partition, Membership(reader, self._broker, holds))
                self._lanes[tp] = lane
                await self.thread.seek_to(tp, await lane.open())
                if self.epoch == epoch:
                    self._ready |= {tp}
                    self.thread.wake()

        try:
            await asyncio.gather(*(one(tp) for tp in tps))
        except Exception as error:  # noqa: BLE001 -- not swallowed: it ends the worker
            self.failed(error)
            return
        names = [f"{tp.topic}-{tp.partition}" for tp in tps]
        self._settings.note(
            "ready", lanes=names, generation=reader.generation, seconds=round(time.monotonic() - started, 3)
        )

    async def revoked(self, seconds: float = BATCH_SECONDS) -> None:
        """Close all lanes: what is queued becomes stale, what is under way may end within `seconds`."""
        self.epoch += 1
        self._ready, self._assigned = frozenset(), None
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        try:
            await self._close_all(seconds)
        except Exception as error:  # noqa: BLE001 -- not swallowed: it ends the worker
            self.failed(error)

    async def _close_all(self, seconds: float) -> None:
        under_way = {one for one in (*self._running, self._tending) if one and not one.done()}
        if under_way and (await asyncio.wait(under_way, timeout=seconds))[1]:
            raise Retries(
                f"A batch did not end within {seconds:.0f} s of losing its partition; the worker begins anew."
            )
        lanes, self._lanes = self._lanes, {}
        await asyncio.gather(*(lane.close() for lane in lanes.values()))

    @property
    def idle(self) -> bool:
        """Return whether every lane is open and has nothing to do or to read."""
        assigned = self._assigned
        if assigned is None or self._running or self._ready != assigned:
            return False
        return all(self._in[tp] == self._out[tp] for tp in assigned) and self.thread.caught_up(assigned)
