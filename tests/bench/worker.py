"""A worker as `tocsin worker` runs it, for a measured run: it says when it is warm, and starts all lanes at one sign.

`python -m tests.bench.worker STAGE --data DIR --name N --form plain|sealed --gate DIR --parent PID`. Between two signs,
files in the folder of the gate: `join` lets warm workers into their group, `go` lets opened lanes of refine and merge begin.
"""

import argparse
import asyncio
import os
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from pipeline import bootstrap, observe
from schemas.keyring import Keyring
from streams.lane import KafkaLane
from streams.refine import Refine
from streams.supervisor import die_with
from tests.bench.plain import plain

LOOK = 0.005


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=["refine", "merge", "sink"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--form", choices=["plain", "sealed"], required=True)
    parser.add_argument("--gate", type=Path, required=True)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--parent", type=int, required=True)
    asked = parser.parse_args()
    die_with(asked.parent)
    prepare(asked.gate, asked.form)
    return bootstrap.run_worker(asked.stage, asked.data, asked.name, None, asked.batch)


def prepare(gate: Path, form: str) -> None:
    """Put the gates on what `pipeline.bootstrap` makes workers of; with plain bodies also their way of being read."""

    class GatedLane(KafkaLane):
        async def open(self) -> int:
            return await _gated(gate, self._name, super().open)

    class GatedSink(bootstrap.SinkLane):
        async def open(self) -> int:
            start = await super().open()
            observe.note("opened", lane=f"sink-{id(self)}")
            return start

    def run(settings: bootstrap.WorkerSettings) -> int:
        return started(replace(settings, warm=partial(_warm, gate, settings.warm)))

    started = bootstrap.run
    bootstrap.KafkaLane, bootstrap.SinkLane, bootstrap.run = GatedLane, GatedSink, run
    if form == "plain":
        bootstrap.refine.Refine = partial(Refine, opened=plain)
        bootstrap.KeyFeed = lambda *_: Keyring()


def _warm(gate: Path, warm) -> None:
    if warm is not None:
        warm()
    observe.note("warm")
    while not (gate / "join").exists():
        time.sleep(LOOK)


async def _gated(gate: Path, lane: str, opened) -> int:
    start = await opened()
    observe.note("opened", lane=lane)
    while not (gate / "go").exists():  # noqa: ASYNC110 -- the sign is a file, and the threads are the lanes'
        await asyncio.sleep(LOOK)
    return start


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)
