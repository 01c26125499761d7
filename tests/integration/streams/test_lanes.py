"""Lanes on a real broker: sharing, stopping, gaps, snapshots, bad records, other lanes' open transactions."""

import signal
import time

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.structs import OffsetAndMetadata

from streams import ledger, snapshot
from streams.snapshot import Snapshot
from tests.integration.streams.rig import LANES, Reader, Source

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


def lanes_of(worker):
    ready = worker.events("ready")
    return set(ready[-1]["lanes"]) if ready else set()


def wait_until(true, what, seconds=40):
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, what
        time.sleep(0.1)


def share(rig, crew):
    """Return whether each worker of the crew has a lane and each lane one worker."""
    held = [lane for worker in crew for lane in lanes_of(worker)]
    return all(map(lanes_of, crew)) and sorted(held) == [f"{rig.source}-{p}" for p in range(LANES)]


def test_workers_share_the_lanes_as_they_come_and_go(rig):
    source, reader = Source(rig, rate=300), Reader(rig, rig.copied)
    crew = []
    for name in ("a", "b", "c"):
        crew.append(rig.worker(name, batch=50))
        wait_until(lambda: share(rig, crew), f"the lanes of {len(crew)} workers")
    crew[0].signal(signal.SIGTERM)
    assert crew[0].stops(20)[0] == 0
    wait_until(lambda: share(rig, crew[1:]), "the lanes that one left", seconds=8)
    sent = source.finish()
    rig.wait_until_copied(sent)
    rig.judge(sent, reader.finish(sent))
    assert {event["event"] for worker in crew for event in worker.events()} <= {"start", "ready", "batch", "stopping"}


def test_sigterm_ends_a_busy_worker_within_seconds(rig):
    rig.produce(40_000)
    worker = rig.worker("a", batch=20)
    worker.wait_for("batch", 3)
    asked = time.monotonic()
    worker.signal(signal.SIGTERM)
    assert worker.stops()[0] == 0
    assert time.monotonic() - asked < 6
    assert rig.worker("a", batch=2_000, idle=1).stops()[0] == 0
    rig.judge(40_000)


def test_a_stuck_batch_does_not_keep_a_worker_from_ending(rig):
    rig.produce(400)
    worker = rig.worker("a", stuck=1_000)
    worker.wait_for("ready")
    time.sleep(1)
    asked = time.monotonic()
    worker.signal(signal.SIGTERM)
    assert worker.stops()[0] == 0
    assert time.monotonic() - asked < 12
    assert rig.read(rig.copied, "read_uncommitted") == []
    assert rig.worker("a", idle=0.5).stops()[0] == 0
    rig.judge(400)


def test_an_idle_worker_ends_by_itself(rig):
    assert rig.worker("a", idle=0.5).stops()[0] == 0
    rig.produce(100)
    assert rig.worker("a", idle=0.5).stops()[0] == 0
    rig.judge(100)


def test_offsets_set_by_hand_stop_the_worker_with_a_sentence(rig):
    rig.produce(400)
    assert rig.worker("a", idle=0.5).stops()[0] == 0
    admin = KafkaAdminClient(bootstrap_servers=rig.kafka)
    admin.alter_group_offsets(f"tocsin.{rig.stage}", {TopicPartition(rig.source, 2): OffsetAndMetadata(50, "", -1)})
    admin.close()
    code, why = rig.worker("a", idle=0.5).stops()
    assert code == 70
    assert f"{rig.source}-2" in why
    assert "the group has committed 50 and the ledger ends at 100" in why
    assert "Stop all workers" in why


def test_a_lost_ledger_stops_the_worker(rig):
    rig.produce(400)
    assert rig.worker("a", idle=0.5).stops()[0] == 0
    admin = KafkaAdminClient(bootstrap_servers=rig.kafka)
    admin.delete_topics([rig.ledger])
    time.sleep(1)
    admin.create_topics([NewTopic(name=rig.ledger, num_partitions=4, replication_factor=1)])
    admin.close()
    code, why = rig.worker("a", idle=0.5).stops()
    assert code == 70
    assert "the ledger ends at 0" in why


def test_input_deleted_before_it_was_read_stops_the_worker(rig):
    rig.produce(400)
    admin = KafkaAdminClient(bootstrap_servers=rig.kafka)
    admin.delete_records({TopicPartition(rig.source, p): 50 for p in range(LANES)})
    admin.close()
    code, why = rig.worker("a", idle=2).stops()
    assert code == 70
    assert "begins at 50, and 0 is next" in why


def test_a_restart_reads_the_snapshot_and_the_tail_and_agrees_with_the_ledger(rig):
    rig.produce(2_000)
    assert rig.worker("a", batch=50, idle=0.5).stops()[0] == 0
    folder = rig.data / "streams" / rig.stage / "snapshots"
    lane = f"{rig.source}-1"
    saved, why = snapshot.load(folder, lane)
    assert (saved.end, why) == (500, "")
    rig.produce(2_000, first=2_000)
    worker = rig.worker("a", batch=50, idle=0.5)
    assert worker.stops()[0] == 0
    assert not worker.events("snapshot_discarded")
    rig.judge(4_000)
    assert snapshot.load(folder, lane)[0].state == (1_000).to_bytes(8, "little") + (9_000).to_bytes(8, "little")


@pytest.mark.parametrize("spoilt", ["damaged", "ahead", "foreign", "unreadable"])
def test_a_snapshot_that_does_not_fit_is_rebuilt_from_the_ledger(rig, spoilt):
    rig.produce(2_000)
    assert rig.worker("a", batch=50, idle=0.5).stops()[0] == 0
    folder, lane = rig.data / "streams" / rig.stage / "snapshots", f"{rig.source}-1"
    saved, _ = snapshot.load(folder, lane)
    if spoilt == "damaged":
        path = snapshot.path_of(folder, lane)
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    elif spoilt == "ahead":
        snapshot.save(folder, Snapshot(lane, saved.anchor + 1_000, saved.end + 50, saved.state))
    elif spoilt == "foreign":
        snapshot.save(folder, Snapshot(lane, saved.anchor, saved.end + 50, saved.state))
    else:
        snapshot.save(folder, Snapshot(lane, saved.anchor, saved.end, b"odd"))
    rig.produce(400, first=2_000)
    worker = rig.worker("a", batch=50, idle=0.5)
    assert worker.stops()[0] == 0
    assert [event["lane"] for event in worker.events("snapshot_discarded")] == [lane]
    rig.judge(2_400)
    assert snapshot.load(folder, lane)[0].state == (600).to_bytes(8, "little") + (5_400).to_bytes(8, "little")


def test_a_bad_record_is_refused_and_its_neighbours_are_not_hurt(rig):
    rig.produce(4_000)
    poison = "000001234"
    worker = rig.worker("a", batch=500, idle=1, poison=poison)
    assert worker.stops()[0] == 0
    assert worker.events("batch_divided")
    assert [record.value for record in rig.read(rig.refused)] == [poison.encode()]
    copied = sorted(record.value for record in rig.read(rig.copied))
    assert copied == [b"%09d" % i for i in range(4_000) if i != 1_234]
    lane = f"{rig.source}-{1_234 % LANES}"
    ranges = rig.ledger_of()[lane]
    assert [start for start, _, _ in ranges] == [0, *(end for _, end, _ in ranges[:-1])]
    assert sum(counts.get("refused", 0) for _, _, counts in ranges) == 1
    state = snapshot.load(rig.data / "streams" / rig.stage / "snapshots", lane)[0].state
    assert state == (1_000).to_bytes(8, "little") + (9 * 999).to_bytes(8, "little")


def test_another_lanes_open_transaction_does_not_hold_a_lane_up(rig):
    rig.produce(400)
    _, partition = ledger.place_of(rig.stage, f"{rig.source}-0")
    stranger = KafkaProducer(bootstrap_servers=rig.kafka, transactional_id=f"{rig.stage}-stranger")
    stranger.init_transactions()
    stranger.begin_transaction()
    stranger.send(rig.ledger, key=b"another-lane-0", value=b"not even a batch", partition=partition).get(10)
    try:
        began = time.monotonic()
        assert rig.worker("a", batch=50, idle=0.5).stops()[0] == 0
        assert rig.worker("a", batch=50, idle=0.5).stops()[0] == 0
        assert time.monotonic() - began < 40
    finally:
        stranger.abort_transaction()
        stranger.close()
    rig.judge(400)


def test_aborted_and_committed_transactions_in_the_input_leave_no_gap(rig):
    producer = KafkaProducer(bootstrap_servers=rig.kafka, transactional_id=f"{rig.stage}-node")
    producer.init_transactions()
    number = 0
    for turn in range(12):
        producer.begin_transaction()
        for i in range(8):
            aborted = turn % 3 == 0
            producer.send(rig.source, b"%09d" % (10**8 + i if aborted else number), partition=i % LANES)
            number += not aborted
        producer.flush()
        if turn % 3 == 0:
            producer.abort_transaction()
        else:
            producer.commit_transaction()
        if turn == 5:
            assert rig.worker("a", batch=3, idle=0.5).stops()[0] == 0
    producer.close()
    assert rig.worker("a", batch=3, idle=0.5).stops()[0] == 0
    rig.judge(number)


def test_two_workers_of_one_name_do_not_both_go_on(rig):
    first = rig.worker("a", batch=50)
    first.wait_for("ready")
    second = rig.worker("a", batch=50)
    second.wait_for("ready")
    code, _ = first.stops()
    assert code in (75, 69)
    rig.produce(400)
    rig.wait_until_copied(400)
    rig.judge(400)


def make(rig, topic):
    admin = KafkaAdminClient(bootstrap_servers=rig.kafka)
    admin.create_topics([NewTopic(name=topic, num_partitions=1, replication_factor=1)])
    admin.close()


def test_a_worker_waits_for_a_first_topic_and_begins_anew_for_another(rig):
    prefix = f"{rig.stage}.raw."
    worker = rig.worker("a", prefix=prefix)
    worker.wait_for("no_topics")
    make(rig, f"{prefix}one")
    worker.wait_for("ready")
    assert lanes_of(worker) == {f"{prefix}one-0"}
    made = time.monotonic()
    make(rig, f"{prefix}two")
    code, why = worker.stops(20)
    assert code == 75
    assert time.monotonic() - made < 15
    assert f"{prefix}two" in why
    worker = rig.worker("a", prefix=prefix)
    worker.wait_for("ready")
    assert lanes_of(worker) == {f"{prefix}one-0", f"{prefix}two-0"}


def test_without_any_topic_an_idle_worker_ends(rig):
    assert rig.worker("a", prefix=f"{rig.stage}.nothing", idle=1).stops()[0] == 0
