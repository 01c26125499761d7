"""A worker with a toy stage: it copies each record to the topic `copied` and counts; run as a program of its own.

python toy.py KAFKA DATA INSTANCE [--batch N] [--idle SECONDS] [--session SECONDS] [--poison VALUE] [--tend SECONDS]
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from kafka import KafkaConsumer

from streams import ledger, worker
from streams.base import Outcome, Output
from streams.lane import KafkaLane, LaneSettings
from streams.lanes import WorkerSettings
from streams.supervisor import Supervisor

PARTITIONS = 2


class Copy:
    """Count and copy: the state is how many records the lane has seen, and the sum of their lengths.

    Written down it is longer by `padding` bytes that no compression shortens.
    """

    def __init__(self, name, poison=b"", stuck=0, padding=0):
        self.name, self.poison, self.stuck = name, poison, stuck
        self.padding = np.random.default_rng(padding).bytes(padding)
        self.topics = (f"{name}.copied", f"{name}.refused")

    def empty(self, lane):
        return np.zeros(2, np.int64)

    def step(self, state, records, side):
        seen = np.array([len(records), int(records.values.bounds[-1] - records.values.bounds[0])], np.int64)
        state[0] += seen[0]  # in place, before it may fail
        if self.poison and any(records.values.item(i) == self.poison for i in range(len(records))):
            raise ValueError("poison")
        time.sleep(self.stuck)
        state[1] += seen[1]
        return state, self._outcome(records, "copied", seen.tobytes())

    def refuse(self, state, records, error):
        state[0] += 1
        return state, self._outcome(records, "refused", np.array([1, 0], np.int64).tobytes())

    def _outcome(self, records, topic, delta):
        partitions = np.arange(len(records), dtype=np.int32) % PARTITIONS
        output = Output(f"{self.name}.{topic}", partitions, records.keys, records.values)
        return Outcome((output,), {topic: len(records)}, delta, "toy-1")

    def restore(self, state, delta):
        return state + np.frombuffer(delta, np.int64)

    def shed(self, state):
        return state

    def freeze(self, state):
        return state.tobytes() + self.padding

    def thaw(self, frozen):
        assert frozen.endswith(self.padding)
        return np.frombuffer(frozen, np.int64, 2).copy()


def say(event, **fields):
    print(json.dumps({"t": round(time.time(), 3), "event": event, **fields}), flush=True)


def lane_settings(data, stage, snapshot_bytes=4 << 20):
    def observe(seen):
        say("batch", lane=seen.lane, start=seen.start, end=seen.end, records=seen.records, **seen.seconds)

    return LaneSettings(data / "streams" / stage / "snapshots", observe, say, snapshot_bytes=snapshot_bytes)


def topics(kafka, prefix):
    consumer = KafkaConsumer(bootstrap_servers=kafka)
    try:
        return [name for name in consumer.topics() if name.startswith(prefix)]
    finally:
        consumer.close()


def settings(args):
    data = Path(args.data)
    lanes = lane_settings(data, args.stage, args.snapshot)
    stage = Copy(args.stage, args.poison.encode(), args.stuck, args.padding)

    def lane(topic, partition, membership):
        return KafkaLane(stage, None, topic, partition, membership, lanes)

    return WorkerSettings(
        args.stage,
        (lambda: topics(args.kafka, args.prefix)) if args.prefix else [f"{args.stage}.source"],
        lane,
        args.kafka,
        args.instance,
        data,
        session_seconds=args.session,
        batch_records=args.batch,
        until_idle=args.idle,
        note=say,
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kafka")
    parser.add_argument("data")
    parser.add_argument("stage")
    parser.add_argument("instance")
    parser.add_argument("--batch", type=int, default=20_000)
    parser.add_argument("--snapshot", type=int, default=4 << 20)
    parser.add_argument("--idle", type=float)
    parser.add_argument("--session", type=float, default=10.0)
    parser.add_argument("--poison", default="")
    parser.add_argument("--supervised", type=int, default=0)
    parser.add_argument("--prefix")
    parser.add_argument("--stuck", type=float, default=0)
    parser.add_argument("--padding", type=int, default=0)
    parser.add_argument("--tend", type=float, default=worker.TEND_SECONDS)
    parser.add_argument("--part", type=int, default=ledger.PART_BYTES)
    args = parser.parse_args()
    worker.TEND_SECONDS, ledger.PART_BYTES = args.tend, args.part
    if args.supervised:
        sys.exit(Supervisor(lambda: life(args), say).run())
    code = life(args)
    sys.stdout.flush()
    os._exit(code)


def life(args):
    say("start", pid=os.getpid())
    return worker.run(settings(args))


if __name__ == "__main__":
    main()
