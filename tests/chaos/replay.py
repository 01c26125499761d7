"""I8: all that the nodes sent, once more from the beginning, into a second Kafka and S3; the tables must be the same."""

import shutil
from pathlib import Path

from kafka import KafkaProducer

from infra import launcher, table, topics
from pipeline.log import read
from pipeline.log import topics as named
from tests.chaos.nursery import Nursery
from tests.chaos.rig import REGIONS, STAGES, Worker


class Second:
    """What a worker needs of a world."""

    def __init__(self, data: Path, nursery) -> None:
        self.data, self.nursery, self.patches = data, nursery, []


def kept(kafka: str) -> dict[str, list[tuple[bytes, bytes]]]:
    """Return what the topics of all nodes hold, in order, also of those that a scenario has added."""
    names = [*named(kafka, "keys."), *named(kafka, "raw.")]
    return {name: [(entry.key, entry.value or b"") for entry in read(kafka, name)] for name in names}


def replayed(world, nursery, records: dict[str, list[tuple[bytes, bytes]]], seconds: float = 300.0) -> Path:
    """Start the second pair, send all, run each stage to the end; return its data folder, with the pair running."""
    data = world.data / "replay"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(mode=0o700)
    shutil.copytree(world.data / "regions", data / "regions")
    shutil.copy2(world.data / "ledger.key", data / "ledger.key")
    kafka = launcher.up(data).kafka
    nodes = [name.removeprefix("raw.") for name in records if name.startswith("raw.")]
    topics.ensure(kafka, table.expand(nodes, REGIONS))
    producer = KafkaProducer(bootstrap_servers=kafka, linger_ms=20, batch_size=200_000)
    for name, values in records.items():
        for key, value in values:
            producer.send(name, value=value, key=key, partition=0)
    producer.flush()
    producer.close()
    second = Second(data, nursery)
    for stage in STAGES:
        worker = Worker(second, stage, "1", batch_records=5_000, until_idle=10.0)
        worker.start()
        code = worker.process.wait(timeout=seconds)
        assert code == 0, f"the replay's {stage} ended with {code}: {worker.log.read_text()[-1500:]}"
    return data


def same_tables(world, oracle, records: dict[str, list[tuple[bytes, bytes]]]) -> dict:
    """Return the oracle's finding I8; the first pair must be down, `oracle.json` beside its data says what it held."""
    nursery = Nursery()
    try:
        data = replayed(world, nursery, records)
        before = str(world.data / "oracle.json")
        return oracle(data, world.data / "truth.sqlite", "--only", "I2", "--same-as", before)["checks"]["I8"]
    finally:
        nursery.close()
        launcher.down(world.data / "replay")
