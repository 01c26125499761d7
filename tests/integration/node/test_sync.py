import time

import pytest

from pipeline import log
from pipeline.keyrings import region_keys
from pipeline.node.journal import Reader
from schemas import seal
from schemas.released import by_fingerprint
from schemas.rows import read
from schemas.wire import unframe

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
TAG = "Amhara Special Forces (Ethiopia)"


def topic(cluster, name):
    return list(log.read(cluster.kafka, name))


def test_all_arrives_once_in_order_and_its_region_can_open_it(desk, rows, cluster, node_topics):
    desk.init("SYNC-ALL")
    node_topics("SYNC-ALL")
    desk.run("import", rows(30, **{"reported perpetrator name": TAG}))
    status, said, line = desk.run("sync", "--kafka", cluster.kafka, "--json")
    assert (status, line["events"], line["first"], line["last"], line["keys"]) == (0, 30, 1, 30, 31), said
    events = topic(cluster, "raw.SYNC-ALL")
    assert [entry.value for entry in events] == [e.envelope for e in Reader(desk.journal("SYNC-ALL")).read()]
    envelopes = [read(*unframe(entry.value)) for entry in events]
    assert [entry.key for entry in events] == [envelope["case_ref"] for envelope in envelopes]
    records = {entry.key: read(*unframe(entry.value)) for entry in topic(cluster, "keys.SYNC-ALL")}
    epoch = seal.open_epoch(region_keys(desk.data, "private")["great-lakes"], records[b"epoch:1"]["sealed"])
    for envelope in envelopes:
        key = seal.unwrap(epoch, envelope["case_ref"], records[envelope["case_ref"]]["wrapped"])
        bound = {name: envelope[name] for name in ("body_schema", "event_id", "case_ref", "sequence", "node", "body")}
        assert read(by_fingerprint(envelope["body_schema"]), seal.open_body(key, **bound))["incident"]["party"] == TAG
    logs = b"".join(entry.value for name in ("raw", "keys") for entry in topic(cluster, f"{name}.SYNC-ALL"))
    folder = b"".join(path.read_bytes() for path in desk.journal("SYNC-ALL").iterdir())
    assert TAG.encode() not in logs + folder


def test_what_was_sent_is_not_sent_again_unless_asked(desk, rows, cluster, node_topics):
    desk.init("SYNC-AGAIN")
    node_topics("SYNC-AGAIN")
    for count, sent in ((3, 3), (3, 0), (5, 2)):
        desk.run("import", rows(count))
        assert desk.run("sync", "--kafka", cluster.kafka, "--json")[2]["events"] == sent
    line = desk.run("sync", "--again", "--kafka", cluster.kafka, "--json")[2]
    assert (line["events"], line["first"], line["last"]) == (5, 1, 5)
    values = [entry.value for entry in topic(cluster, "raw.SYNC-AGAIN")]
    assert values[:5] == values[5:]
    assert desk.run("sync", "--kafka", cluster.kafka, "--json")[2]["events"] == 0


def test_a_pattern_has_an_empty_key(desk, cluster, node_topics, tmp_path):
    from tests.unit.pipeline.node.test_svac import TestSvac

    desk.init("SYNC-PATTERN")
    node_topics("SYNC-PATTERN")
    good = TestSvac.good
    path = tmp_path / "svac.csv"
    path.write_text(",".join(good) + "\n" + ",".join(f'"{cell}"' for cell in good.values()) + "\n")
    assert desk.run("import", str(path), "--json")[2]["accepted"] == 1
    assert desk.run("sync", "--kafka", cluster.kafka)[0] == 0
    assert [entry.key for entry in topic(cluster, "raw.SYNC-PATTERN")] == [b""]


def test_missing_topics_are_told_with_the_command_that_makes_them(desk, cluster):
    desk.init("SYNC-NOWHERE")
    status, said, _ = desk.run("sync", "--kafka", cluster.kafka)
    assert (status, said.count("\n"), "tocsin up" in said) == (78, 1, True), said
    assert "raw.SYNC-NOWHERE" not in log.topics(cluster.kafka)


def test_a_broker_that_is_not_there_is_one_sentence_in_bounded_time(desk):
    desk.init("SYNC-ALONE")
    start = time.monotonic()
    status, said, _ = desk.run("sync", "--kafka", "127.0.0.1:1")
    assert (status, said.count("\n"), "tocsin node sync" in said) == (69, 1, True), said
    assert time.monotonic() - start < 45


def test_one_sync_and_one_import_at_a_time(desk, rows, cluster, node_topics):
    import fcntl

    desk.init("SYNC-BUSY")
    node_topics("SYNC-BUSY")
    path = rows(2)
    desk.run("import", path)
    with (desk.data / "nodes" / "SYNC-BUSY" / "sync.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        status, said, _ = desk.run("sync", "--kafka", cluster.kafka)
        assert (status, "wait for it" in said) == (75, True), said
    with (desk.journal("SYNC-BUSY") / "lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        status, said, _ = desk.run("import", path)
        assert (status, "wait for it" in said) == (75, True), said
        status, said, line = desk.run("sync", "--kafka", cluster.kafka, "--json")  # an import does not hold it up
        assert (status, line["events"]) == (0, 2), said
