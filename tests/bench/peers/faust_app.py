"""Plain Faust as its documentation shows: an agent, a Table for what was seen, `exactly_once`. `faust -A faust_app worker`."""

import os

import faust
from common import KAFKA, RUN, TOPICS, area, broken, decode, mark

app = faust.App(
    RUN,
    broker=f"kafka://{KAFKA}",
    store="memory://",
    datadir=os.environ["BENCH_WORK"],
    processing_guarantee="exactly_once",
    topic_partitions=1,
    topic_replication_factor=1,
    web_enabled=False,
    topic_disable_leader=True,
    consumer_auto_offset_reset="earliest",
    stream_wait_empty=False,
    broker_max_poll_records=5_000,
    broker_commit_interval=1.0,
    broker_commit_every=50_000,
    producer_linger_ms=20,
    producer_max_batch_size=1 << 20,
)
raw = app.topic(*TOPICS, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
accepted, quarantine = (
    app.topic(
        name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw", partitions=partitions
    )
    for name, partitions in (("accepted", 4), ("quarantine", 1))
)
seen = app.Table("seen", partitions=1, key_type=bytes, value_type=bytes)


@app.agent(raw)
async def refine(stream):
    async for event in stream.events():
        mark()
        found = decode(event.value)
        if found is None:
            await quarantine.send(key=b"undecodable", value=event.value or b"")
            continue
        if found["event_id"] in seen:
            continue
        seen[found["event_id"]] = b"1"
        why = broken(found)
        if why:
            await quarantine.send(key=why.encode(), value=event.value)
        else:
            await accepted.send(key=area(found), value=event.value)
