"""The one place where a stage or a sink meets its clients: from a data folder to a running worker."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pipeline import observe
from pipeline.keyfeed import KeyFeed
from pipeline.keyrings import PrivateKeys, endpoint, ledger_key, region_keys
from pipeline.log import topics
from pipeline.partitions import check as check_partitions
from pipeline.receipts import worker as receipts
from pipeline.stores import open_store
from schemas.errors import BadInput
from schemas.places import regions
from sinks.base import Sink
from sinks.positions import Positions
from sinks.writer import DeltaSink
from streams import merge, recordbatch, refine
from streams.base import BatchObserved, Lane, Records
from streams.lane import KafkaLane, LaneSettings, Membership
from streams.lanes import WorkerSettings
from streams.locked import Locked
from streams.warm import warm
from streams.worker import run

ACCEPTED_PARTITIONS = 4
# A file costs about the same whether it has a thousand rows or a hundred thousand: who is behind catches up in large ones.
SINK_RECORDS, SINK_BYTES = 200_000, 16 << 20
KERNELS = frozenset({"refine", "merge", "receipts"})
"""The stages that have kernels of their own, or read what these have written."""


def load(stage: str) -> None:
    """Load a stage's kernels; what it imports, this module has: a process forked from this one has all of it at once."""
    recordbatch.warm()
    if stage in KERNELS:
        warm()


def run_worker(
    stage: str, data: Path, name: str, until_idle: float | None = None, batch_records: int | None = None
) -> int:
    """Run one worker of a stage to its end and return its exit code; see `streams.worker.run`.

    BadInput for a stage that does not exist; NotSetUp where the data folder has no cluster or no keys. Before anything is
    read, topics that have other partitions than the table of topics states end the worker.
    """
    builders: dict[str, Callable[[str, Path], WorkerSettings]] = {"refine": _refine, "merge": _merge, "sink": _sink}
    if stage == "receipts":
        check_partitions(endpoint(data, "kafka"))
        return _receipts(data, until_idle)
    if stage not in builders:
        raise BadInput(f"There is no stage {stage!r}: choose refine, merge, sink or receipts.")
    settings = builders[stage](name, data)

    def prepare() -> None:
        check_partitions(settings.kafka)
        if settings.warm is not None:
            settings.warm()

    size = batch_records or settings.batch_records
    return run(replace(settings, until_idle=until_idle, warm=prepare, batch_records=size))


def _refine(name: str, data: Path) -> WorkerSettings:
    kafka, privates, key = endpoint(data, "kafka"), PrivateKeys(data), ledger_key(data)

    def lane(topic: str, partition: int, membership: Membership) -> Lane:
        node = topic.removeprefix("raw.")
        stage = Locked(refine.Refine(node, ACCEPTED_PARTITIONS), key)
        return KafkaLane(
            stage, KeyFeed(membership.broker, node, privates), topic, partition, membership, _lane(data, "refine")
        )

    return WorkerSettings(
        "refine", lambda: topics(kafka, "raw."), lane, kafka, name, data, warm=warm, note=observe.note
    )


def _merge(name: str, data: Path) -> WorkerSettings:
    kafka, secrets, key = endpoint(data, "kafka"), region_keys(data, "mint"), ledger_key(data)

    def lane(topic: str, partition: int, membership: Membership) -> Lane:
        stage = Locked(merge.Merge(secrets), key)
        return KafkaLane(stage, None, topic, partition, membership, _lane(data, "merge"))

    return WorkerSettings("merge", ["accepted"], lane, kafka, name, data, warm=warm, note=observe.note)


def _sink(name: str, data: Path) -> WorkerSettings:
    objects = open_store(data)

    def lane(topic: str, partition: int, membership: Membership) -> Lane:
        del membership  # who may write is decided by the table's own log
        return SinkLane(lambda: DeltaSink(objects, topic, partition))

    read = [*(f"hub.{region.code}" for region in regions()), "quarantine"]
    return WorkerSettings(
        "sink",
        read,
        lane,
        endpoint(data, "kafka"),
        name,
        data,
        note=observe.note,
        batch_records=SINK_RECORDS,
        fetch_bytes=SINK_BYTES,
    )


def _receipts(data: Path, until_idle: float | None) -> int:
    kafka, hubs = endpoint(data, "kafka"), [f"hub.{region.code}" for region in regions()]
    positions = Positions(open_store(data))
    return receipts.run(lambda: receipts.Receipts(kafka, ledger_key(data), hubs, positions), kafka, until_idle)


def _lane(data: Path, stage: str) -> LaneSettings:
    return LaneSettings(data / "streams" / stage / "snapshots", observe.batch, observe.note)


class SinkLane:
    """A sink as the worker runs it; its position is in the tables, no offset is committed anywhere else."""

    def __init__(self, make: Callable[[], Sink]) -> None:
        self._make = make
        self._sink: Sink | None = None

    async def open(self) -> int:
        """Load the tables and return the offset from which to read."""
        sink = self._sink = await asyncio.to_thread(self._make)
        return await asyncio.to_thread(sink.position)

    async def process(self, records: Records) -> None:
        """Write one batch and tell of it."""
        assert self._sink is not None, "a lane is opened before it is fed"
        begun = time.perf_counter()
        written = await asyncio.to_thread(self._sink.write, records)
        seconds = {**written.seconds, "whole": time.perf_counter() - begun}
        observe.batch(
            BatchObserved("sink", records.lane, records.start, records.end, len(records), written.rows, seconds)
        )

    async def tend(self) -> None:
        """Do nothing: the tables are their own book."""

    async def close(self) -> None:
        """Let go of the tables; a lane that was taken away while it was opened has none."""
        if self._sink is not None:
            self._sink.close()
