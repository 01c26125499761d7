"""Replay: a region's tables made again from the log, by the stages that run live, without a transaction, into any sink.

Nodes are refined side by side, each in its own order; what is accepted meets in merge's lanes in another order than
live, which changes nothing: links and probable duplicates are the same in any order, and ids are minted from ids. A
case whose key was forgotten can't be opened again: what it brought is in no replayed table. Where less than the whole
log is replayed, what it withdraws later is withdrawn all the same, also if somebody has published the key once more.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pipeline.keyfeed import KeyFeed
from schemas.columns import Blob
from sinks.base import Sink
from streams import envelopes
from streams.attempt import Spoiled, divided, part, whole
from streams.base import Output, Records, Stage
from streams.client import Broker
from streams.ledgerlog import bound
from streams.merge import Merge
from streams.refine import Refine
from streams.sharing import joined
from streams.topiclog import follow

PARTITIONS = 4
BATCH_RECORDS = 20_000
RECORD_BYTES = 4 << 20  # what a lane allows in one record, see streams.lane
FILE_ROWS = 100_000
AHEAD = 2  # batches that wait between two stages of a lane


@dataclass(frozen=True)
class Replayed:
    """What was read and written: raw records, and rows by table."""

    records: int
    rows: Mapping[str, int]


@dataclass
class Replay:
    """One replay of `region` into a new `sink`; `workers` nodes at a time.

    `privates` and `secrets` are the regions' keys by region; `step` hears of every so many records read. `known` has by
    node the offset from which on only withdrawals count; without it all does.
    """

    kafka: str
    privates: Mapping[str, Sequence[bytes]]
    secrets: Mapping[str, bytes]
    region: str
    sink: Sink
    workers: int = 2
    step: Callable[[int], None] = lambda _: None
    known: Mapping[str, int] = field(default_factory=dict)
    _rows: dict[str, int] = field(default_factory=dict)
    _records: int = 0

    async def run(self, nodes: Sequence[str]) -> Replayed:
        """Read the topics of these nodes from their beginning to where they end now."""
        lanes: list[Any] = [asyncio.Queue(AHEAD) for _ in range(PARTITIONS)]
        shared: Any = asyncio.Queue(AHEAD)
        broker = await Broker(self.kafka).connect()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._file(shared))
                tasks.create_task(self._merged(lanes, shared))
                await self._refined(broker, await self._holding(broker, nodes), lanes)
        except BaseExceptionGroup as several:
            raise _first(several) from several
        finally:
            await broker.close()
        return Replayed(self._records, self._rows)

    async def _holding(self, broker: Broker, nodes: Sequence[str]) -> list[str]:
        """Return the nodes whose topics hold anything; one after another, which also tells the client who leads what."""
        holding = [node for node in nodes if await bound(broker, (f"raw.{node}", 0))]
        for node in holding:
            await broker.leader(f"keys.{node}", 0)
        return holding

    async def _refined(self, broker: Broker, nodes: Sequence[str], lanes: list[Any]) -> None:
        turns = asyncio.Semaphore(self.workers)

        async def one(node: str) -> None:
            async with turns:
                await self._refine(broker, node, lanes)

        async with asyncio.TaskGroup() as tasks:
            for node in nodes:
                tasks.create_task(one(node))
        for lane in lanes:
            await lane.put(None)

    async def _refine(self, broker: Broker, node: str, lanes: list[Any]) -> None:
        stage, keys = Refine(node, PARTITIONS), KeyFeed(broker, node, self.privates)
        state = stage.empty(f"raw.{node}-0")
        async for fetched in follow(broker, (f"raw.{node}", 0), 0):
            counting = await asyncio.to_thread(_counting, fetched, node, self.known.get(node, fetched.end))
            for records in _cut(counting):
                await keys.refresh()
                state, outputs = await asyncio.to_thread(stepped, stage, state, records, keys)
                for partition, output in _by_partition(outputs):
                    await lanes[partition].put(output)
                self._records += len(records)
            self.step(len(fetched))

    async def _merged(self, lanes: list[Any], shared: Any) -> None:
        async with asyncio.TaskGroup() as tasks:
            for partition, lane in enumerate(lanes):
                tasks.create_task(self._merge(partition, lane, shared))
        await shared.put(None)

    async def _merge(self, partition: int, lane: Any, shared: Any) -> None:
        stage = Merge(self.secrets)
        state, end = stage.empty(f"accepted-{partition}"), 0
        while (output := await lane.get()) is not None:
            for records in _cut(_records("accepted", partition, end, output)):
                state, outputs = await asyncio.to_thread(stepped, stage, state, records, None)
                for made in outputs:
                    if made.topic == f"hub.{self.region}":
                        await shared.put(made)
            end += len(output.values)

    async def _file(self, shared: Any) -> None:
        """Write what comes in batches of many rows; at the end also the position of every table."""
        held: list[Output] = []
        end = 0
        while (output := await shared.get()) is not None:
            held.append(output)
            if sum(len(one.values) for one in held) >= FILE_ROWS:
                end, held = await asyncio.to_thread(self._write, end, held), []
        if held:
            await asyncio.to_thread(self._write, end, held)

    def _write(self, start: int, held: list[Output]) -> int:
        output = Output(
            held[0].topic, held[0].partitions, joined([o.keys for o in held]), joined([o.values for o in held])
        )
        records = _records(output.topic, 0, start, output)
        for name, count in self.sink.write(records).rows.items():
            self._rows[name] = self._rows.get(name, 0) + count
        return records.end


async def ends(kafka: str, nodes: Sequence[str]) -> int:
    """Return how many offsets the topics of these nodes have."""
    broker = await Broker(kafka).connect()
    try:
        return sum([await bound(broker, (f"raw.{node}", 0)) for node in nodes])
    finally:
        await broker.close()


def _first(several: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error of several, which made the others."""
    first = several.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def stepped(stage: Stage[Any], state: Any, records: Records, side: Any) -> tuple[Any, tuple[Output, ...]]:
    """Run a stage over one batch as a lane does, a record that it fails on refused alone."""
    try:
        state, piece = whole(stage, state, records, side, RECORD_BYTES)
    except Spoiled:
        # A stage that fails leaves its state as it was.
        state, pieces = divided(stage, stage.freeze(state), records, side, RECORD_BYTES)
        return state, tuple(output for each in pieces for output in each.outcome.outputs)
    return state, piece.outcome.outputs


def _counting(records: Records, node: str, known: int) -> Records:
    """Return the records before offset `known`, and of those from there on the withdrawals alone."""
    counting = records.offsets < known
    if counting.all():
        return records
    found = envelopes.read(records, node)
    rows = np.flatnonzero(counting | (found.good & (found.kind == envelopes.WITHDRAWAL)))
    values, keys = _taken(records.values, rows), _taken(records.keys, rows)
    return replace(
        records, offsets=records.offsets[rows], timestamps=records.timestamps[rows], values=values, keys=keys
    )


def _cut(records: Records) -> Iterator[Records]:
    for first in range(0, len(records), BATCH_RECORDS):
        yield part(records, first, min(first + BATCH_RECORDS, len(records)))


def _records(topic: str, partition: int, start: int, output: Output) -> Records:
    """Return an output as the records that a topic's reader would get, offsets from `start`."""
    count = len(output.values)
    offsets = np.arange(start, start + count, dtype=np.int64)
    zeros = np.zeros(count, np.int64)
    return Records(topic, partition, start, start + count, offsets, zeros, output.values, output.keys)


def _by_partition(outputs: tuple[Output, ...]) -> Iterator[tuple[int, Output]]:
    for output in outputs:
        if output.topic != "accepted":
            continue
        for partition in np.unique(output.partitions).tolist():
            rows = np.flatnonzero(output.partitions == partition)
            values, keys = _taken(output.values, rows), _taken(output.keys, rows)
            yield partition, Output(output.topic, output.partitions[rows], keys, values)


def _taken(blob: Blob, rows: Any) -> Blob:
    sizes = np.diff(blob.bounds)[rows]
    bounds = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    at = np.repeat(blob.bounds[rows] - bounds[:-1], sizes) + np.arange(bounds[-1])
    return Blob(blob.data[at], bounds)
