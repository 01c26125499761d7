"""A broker that dies and has lost the end of a raw topic's log; what the node has sent and the broker lost is sent again."""

import random
import time
from pathlib import Path

from kafka import KafkaConsumer, TopicPartition


def _segment(world, topic: str) -> Path:
    return max((world.data / "kafka" / "log" / f"{topic}-0").glob("*.log"))


def _end(world, topic: str) -> int:
    client = KafkaConsumer(bootstrap_servers=world.kafka)
    try:
        place = TopicPartition(topic, 0)
        return client.end_offsets([place])[place]
    finally:
        client.close()


def cut_tail(world, dice: random.Random) -> int:
    """Kill the broker, cut 1 to 4096 bytes off a raw topic, start it, send again what is gone; return how many records.

    What refine has taken already may not be lost: then the log is behind the ledger, and the workers stop with an
    alarm, as they must. So refine sleeps while the records come that are to be lost.
    """
    topic = f"raw.{dice.choice(world.nodes)}"
    workers = [worker for worker in world.of("refine") if worker.runs()]
    world.feed.rest()
    world.quiet()
    for worker in workers:
        worker.kill()
    burst = [record for record in world.burst(200) if record[0] == topic]
    before = _end(world, topic)
    world.kill_broker()
    segment = _segment(world, topic)
    size = segment.stat().st_size
    with segment.open("r+b") as file:
        file.truncate(size - dice.randint(1, 4096))
    world.start_broker()
    lost = before - _end(world, topic)
    assert 0 <= lost <= len(burst), f"{lost} records of {topic} are lost, {len(burst)} were to be"
    world.resend(burst)
    for worker in workers:
        worker.start()
    world.feed.paused.clear()
    time.sleep(0.1)
    return lost
