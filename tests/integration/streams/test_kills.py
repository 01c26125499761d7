"""kill -9 at random moments, of workers and of the broker: nothing lost, nothing doubled, also for who looks on."""

import os
import random
import signal
import time

import pytest

from infra import launcher
from tests.integration.streams.rig import Reader, Source, kill_at_random

pytestmark = pytest.mark.integration
KILLS = int(os.environ.get("TOCSIN_KILLS", "20"))


@pytest.mark.timeout(300 + 20 * KILLS)
def test_two_workers_killed_at_random_copy_each_record_once(rig):
    source, reader = Source(rig, rate=300), Reader(rig, rig.copied)
    seed = int(os.environ.get("TOCSIN_SEED", "7"))
    useful = kill_at_random(rig, KILLS, seed, seconds=20 * KILLS, batch=20, snapshot=400)
    sent = source.finish()
    rig.worker("a", batch=500)
    rig.worker("b", batch=500)
    rig.wait_until_copied(sent)
    rig.judge(sent, reader.finish(sent))
    print(f"{KILLS} kills, {useful} after a commit, {sent} records")
    assert useful >= KILLS // 3


@pytest.mark.timeout(240)
def test_a_broker_killed_under_load_loses_and_doubles_nothing(rig, cluster):
    rig.produce(30_000)
    reader = Reader(rig, rig.copied)
    worker = rig.worker("a", batch=50, supervised=1)
    worker.wait_for("batch", 20)
    process = launcher.Cluster(cluster.data).process("kafka")
    os.kill(process.pid, signal.SIGKILL)
    time.sleep(random.Random(3).uniform(0.5, 2))
    launcher.up(cluster.data)
    rig.wait_until_copied(30_000, seconds=120)
    rig.judge(30_000, reader.finish(30_000))
    assert worker.events("restart")


@pytest.mark.timeout(120)
def test_a_supervised_worker_killed_is_started_again(rig):
    rig.produce(8_000)
    worker = rig.worker("a", batch=50, supervised=1, idle=2)
    for number in (1, 2):
        worker.wait_for("start", number)
        worker.wait_for("batch", 5 * number)
        os.kill(worker.events("start")[-1]["pid"], signal.SIGKILL)
    code, _ = worker.stops(60)
    assert code == 0
    assert [event["code"] for event in worker.events("restart")] == [-9, -9]
    rig.judge(8_000)
