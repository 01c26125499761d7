"""The worker: a Faust app whose one agent hands each fetched batch to its lane, and which leaves at any error.

`run` returns the exit code and leaves threads behind: the process must end with it (`os._exit`), since a stuck agent
would keep an interpreter from ending.
"""

import asyncio
import logging
import signal
import time
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import faust
from faust.tables.manager import TableManager

from schemas.errors import Retries, Stops, TocsinError
from streams import heap, recordbatch
from streams.client import Broker
from streams.lanes import BATCH_SECONDS, Lanes, WorkerSettings
from streams.transport import Transport

LEAVING_SECONDS, STOPPING_SECONDS = 3.0, 5.0
CONNECTING_SECONDS = 10.0  # to begin anew costs the group a round: a broker that restarts is waited for
LOOK_SECONDS = 5.0  # between two looks for new topics
TEND_SECONDS = 2.0  # between two looks whether a base is asked for
AGAIN = Retries.exit_code


class AsIs(faust.Schema):  # type: ignore[misc]
    """Faust's idea of decoding, where nothing is to be decoded."""

    def loads_key(self, app: Any, message: Any, **options: Any) -> Any:
        """Return no key: a batch has none."""
        del app, message, options

    def loads_value(self, app: Any, message: Any, **options: Any) -> Any:
        """Return the batch as it is."""
        del app, options
        return message.value


class NoTables(TableManager):  # type: ignore[misc]
    """Faust's tables, of which there are none: its second of waiting for them is left out."""

    async def on_start(self) -> None:
        """Go on to what opens the flow."""
        await self._update_channels()
        await self.recovery.start()


def instance_id(name: str, topics: Sequence[str]) -> str:
    """Return a worker's name in its group: other topics make another member.

    A broker gives a static member that comes back its old partitions without asking the group anew, also where its
    topics have changed: under the same name nobody would ever read the new one.
    """
    return f"{name}.{zlib.crc32(' '.join(sorted(topics)).encode()):08x}"


def build(settings: WorkerSettings, topics: Sequence[str], lanes: Lanes) -> faust.App:
    """Return the Faust app of one worker: one agent, one actor for each partition."""
    app = faust.App(
        settings.group,
        broker=f"kafka://{settings.kafka}",
        datadir=settings.folder / f"faust-{settings.instance}",
        consumer_group_instance_id=instance_id(settings.instance, topics),
        broker_session_timeout=settings.session_seconds,
        broker_heartbeat_interval=min(1.0, settings.session_seconds / 5),
        broker_request_timeout=max(40.0, 2 * settings.session_seconds),
        broker_rebalance_timeout=BATCH_SECONDS + 2 * settings.session_seconds,
        store="memory://",
        TableManager=NoTables,
        autodiscover=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        stream_wait_empty=False,
        stream_buffer_maxsize=16,
    )
    app.gate = lanes
    app._transport = Transport(app.conf.broker_consumer, app)
    source = app.topic(*topics, schema=AsIs(key_type=None, value_type=None), internal=False)

    async def lane(stream: Any) -> None:
        async for fetched in stream:
            await lanes.process(fetched)

    # As the decorator does, without its search through all loaded modules.
    app.agents["lane"] = app.conf.Agent(lane, name="lane", app=app, channel=source, isolated_partitions=True)
    return app


async def _topics(settings: WorkerSettings, ended: "asyncio.Future[Any]") -> list[str]:
    """Return the topics to read; where there are none yet, wait for one, at most `until_idle` seconds."""
    if not callable(settings.topics):
        return sorted(settings.topics)
    since, told = time.monotonic(), False
    while not ended.done():
        found = sorted(await asyncio.to_thread(settings.topics))
        if found:
            return found
        if not told:
            settings.note("no_topics", advice="Nothing to read yet; the worker waits for a first topic.")
            told = True
        if settings.until_idle is not None and time.monotonic() - since > settings.until_idle:
            ended.set_result(0)
        await asyncio.wait([ended], timeout=1.0)
    return []


async def _look_for_topics(settings: WorkerSettings, known: list[str], lanes: Lanes) -> None:
    while callable(settings.topics):
        await asyncio.sleep(LOOK_SECONDS)
        found = sorted(await asyncio.to_thread(settings.topics))
        if found != known:
            lanes.failed(NewTopics(f"The topics to read are {', '.join(found)} now; the worker begins anew."))


class NewTopics(Retries):
    """There are other topics than at the start."""


async def _look_for_idleness(settings: WorkerSettings, lanes: Lanes, ended: "asyncio.Future[Any]") -> None:
    since = time.monotonic()
    while settings.until_idle is not None and not ended.done():
        await asyncio.sleep(0.1)
        if not lanes.idle:
            since = time.monotonic()
        elif time.monotonic() - since >= settings.until_idle:
            ended.set_result(0)
            return


async def _look_after(lanes: Lanes) -> None:
    while True:
        await asyncio.sleep(TEND_SECONDS)
        await lanes.tend()


async def _serve(settings: WorkerSettings) -> int:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(4, thread_name_prefix="lane"))
    ended: asyncio.Future[int | BaseException] = loop.create_future()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: None if ended.done() else ended.set_result(0))
    broker = await Broker(settings.kafka).connect(CONNECTING_SECONDS)
    topics = await _topics(settings, ended)
    if not topics:
        return 0
    for warm in (recordbatch.warm, settings.warm):
        if warm is not None:
            await asyncio.to_thread(warm)
    lanes = Lanes(settings, broker, ended)
    app = build(settings, topics, lanes)
    watchers = [
        asyncio.ensure_future(_started(app, lanes)),
        asyncio.ensure_future(_watched(_look_for_topics(settings, topics, lanes), lanes)),
        asyncio.ensure_future(_watched(_look_for_idleness(settings, lanes, ended), lanes)),
        asyncio.ensure_future(_watched(_look_after(lanes), lanes)),
    ]
    end = await ended
    for watcher in watchers[1:]:
        watcher.cancel()
    if isinstance(end, BaseException) and not isinstance(end, NewTopics):
        raise end
    await _leave(settings, lanes)
    if isinstance(end, BaseException):
        raise end
    return end


async def _started(app: faust.App, lanes: Lanes) -> None:
    try:
        await app.start()
        await app.wait_until_stopped()
    except Exception as error:  # noqa: BLE001 -- not swallowed: it ends the worker
        lanes.failed(error)
    lanes.failed(Retries("Faust has stopped by itself; the worker begins anew."))


async def _watched(watch: Any, lanes: Lanes) -> None:
    try:
        await watch
    except Exception as error:  # noqa: BLE001 -- not swallowed: it ends the worker
        lanes.failed(error)


async def _leave(settings: WorkerSettings, lanes: Lanes) -> None:
    """Let batches under way end, close the lanes, leave the group, all within bounds."""
    settings.note("stopping")
    await lanes.revoked(STOPPING_SECONDS)
    if lanes.thread is None:
        return
    try:
        await asyncio.wait_for(lanes.thread.leave(), LEAVING_SECONDS)
    except TimeoutError:
        settings.note("left_unheard", advice="Others take over once the session has timed out; nothing else to do.")


def run(settings: WorkerSettings) -> int:
    """Run the worker to its end and return its exit code; an error of ours is noted as one sentence.

    0 after SIGTERM, SIGINT or idleness; 75 and 69 ask to be started again; other codes need a person.
    """
    heap.keep()
    settings.folder.mkdir(parents=True, exist_ok=True)
    _log_to(settings.folder / f"{settings.instance}.log")
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(_serve(settings))
    except TocsinError as error:
        kind = "stops" if isinstance(error, Stops) else "again"
        settings.note(kind, why=str(error), error=type(error).__name__)
        return error.exit_code
    except Exception as error:
        logging.getLogger(__name__).exception("the worker ends")
        log = settings.folder / f"{settings.instance}.log"
        settings.note(
            "again", why=f"{type(error).__name__}; the worker begins anew, see {log}.", error=type(error).__name__
        )
        return AGAIN


def _log_to(path: Path) -> None:
    """Send what Faust and aiokafka say to a file of the worker's own."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.getLogger().handlers[:] = [handler]
    logging.getLogger().setLevel(logging.WARNING)
    # A few lines for each rebalance, without which nobody can tell why a worker waits.
    logging.getLogger("aiokafka.consumer.group_coordinator").setLevel(logging.INFO)
