"""What a running pair keeps to: who is let in, where it listens, how topics are made, how a key is forgotten."""

import json
import threading
import time

import psutil
import pytest
import urllib3
from kafka.admin import ConfigResource, KafkaAdminClient
from minio.error import S3Error

from infra import launcher
from infra.objects import PORTS
from infra.table import every, table
from infra.topics import TopicDiffers, ensure
from schemas.errors import Unreachable
from tests.integration.infra.servers import get, pid, put, read, send, store, topic
from tests.lying import contents

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


def ask(port, path):
    return urllib3.PoolManager(timeout=5, retries=False).request("GET", f"http://127.0.0.1:{port}{path}").status


def test_only_who_has_the_keys_gets_in(cluster):
    put(cluster, "secret/name", b"content")
    assert get(cluster, "secret/name") == b"content"
    port = cluster.s3.rpartition(":")[2]
    assert ask(port, f"/{cluster.bucket}/secret/name") == 403
    assert ask(port, "/") == 403
    for keys in (("tocsin", cluster.secret_key), (cluster.access_key, "tocsin"), ("admin", "admin")):
        with pytest.raises(S3Error) as refused:
            store(cluster, *keys).list_buckets()
        assert refused.value.code in {"InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied"}


def test_the_stores_inner_ports_are_no_way_round_its_keys(cluster):
    put(cluster, "secret/inner", b"x" * 10_000)
    ports = json.loads((cluster.data / "cluster.json").read_text())["ports"]
    assert ask(ports["filer"], f"/buckets/{cluster.bucket}/secret/inner") == 401
    assert ask(ports["filer"], "/") == 401
    assert ask(ports["admin"], "/") == 404
    volumes = [path.stem.rpartition("_")[2] for path in (cluster.data / "s3" / "data").glob("*.dat")]
    assert volumes
    assert all(ask(ports["volume"], f"/{number},01637037d6") == 401 for number in volumes)


def test_everything_listens_on_loopback_only(cluster):
    for name in ("kafka", "s3"):
        listening = [
            one.laddr for one in psutil.Process(pid(cluster.data, name)).net_connections() if one.status == "LISTEN"
        ]
        assert len(listening) >= 2
        assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}
    ports = json.loads((cluster.data / "cluster.json").read_text())["ports"]
    assert {"kafka", "controller", *PORTS} == set(ports)


def test_what_holds_a_key_is_its_owners_only(cluster):
    secret = cluster.secret_key.encode()
    holders = [path for path, data in contents(cluster.data) if secret in data]
    assert {path.name for path in holders} == {"cluster.json", "identities.json"}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in holders)
    assert cluster.data.stat().st_mode & 0o077 == 0
    assert cluster.secret_key not in repr(cluster)
    for name in ("kafka", "s3"):
        assert cluster.secret_key not in " ".join(psutil.Process(pid(cluster.data, name)).cmdline())


def test_a_second_up_changes_nothing_and_has_nothing_to_say(cluster):
    before = [pid(cluster.data, name) for name in ("kafka", "s3")]
    said = []
    assert launcher.up(cluster.data, said.append) == cluster == launcher.endpoints(cluster.data)
    assert said == []
    assert [pid(cluster.data, name) for name in ("kafka", "s3")] == before


def test_the_topics_of_the_table_are_made_once(cluster):
    ensure(cluster.kafka, every())
    assert ensure(cluster.kafka, every()) == []
    admin = KafkaAdminClient(bootstrap_servers=cluster.kafka)
    assert {topic.name for topic in every()} <= set(admin.list_topics())
    admin.close()


def test_several_who_make_the_same_topics_at_once_all_succeed(cluster):
    topics, made = [topic() for _ in range(10)], []
    threads = [threading.Thread(target=lambda: made.extend(ensure(cluster.kafka, topics))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(made) == {one.name for one in topics}


def test_another_number_of_partitions_is_refused(cluster):
    one = topic(partitions=2)
    assert ensure(cluster.kafka, [one]) == [one.name]
    with pytest.raises(TopicDiffers, match=rf"{one.name} has 2 partitions and the table states 3"):
        ensure(cluster.kafka, [topic(one.name, partitions=3)])


def test_a_setting_that_somebody_changed_is_put_back(cluster):
    one = topic()
    ensure(cluster.kafka, [one])
    admin = KafkaAdminClient(bootstrap_servers=cluster.kafka)
    admin.alter_configs([ConfigResource("TOPIC", one.name, {"retention.ms": "1000"})])
    shows(admin, one.name, "1000")  # a broker answers with the old setting for a moment
    ensure(cluster.kafka, [one])
    shows(admin, one.name, "-1")
    admin.close()


def shows(admin, name, value):
    """Wait, at most 10 s, until the broker shows the topic's retention."""
    until = time.monotonic() + 10
    while True:
        found = admin.describe_configs([ConfigResource("TOPIC", name)], config_filter="all")["topic"][name]
        if found["retention.ms"]["value"] == value:
            return
        assert time.monotonic() < until, found["retention.ms"]
        time.sleep(0.05)


@pytest.mark.parametrize("bootstrap", ["127.0.0.1:1", "127.0.0.1", "127.0.0.1:1,127.0.0.1:x"])
def test_no_broker_is_one_sentence(bootstrap):
    with pytest.raises(Unreachable, match=rf"{bootstrap} does not answer .*`tocsin status`"):
        ensure(bootstrap, [topic()])


def bytes_on_disk(data, name, needle):
    found = 0
    for path in (data / "kafka" / "log").glob(f"{name}-0*/*"):
        try:
            found += path.read_bytes().count(needle)
        except FileNotFoundError:
            continue
    return found


def test_a_tombstone_and_a_record_after_it_take_a_keys_bytes_from_the_disk_within_seconds(cluster):
    """Kafka never compacts the newest segment, and begins another only when something is written."""
    one = topic(config=next(one.config for one in table() if one.name == "keys.{node}"))
    ensure(cluster.kafka, [one])
    forgotten, kept = b"FORGET-THIS-KEY", b"KEEP-THAT-KEY"
    send(cluster, one.name, (b"a", forgotten), (b"b", kept))
    assert bytes_on_disk(cluster.data, one.name, forgotten) == 1
    time.sleep(1.1)
    send(cluster, one.name, (b"a", None))
    time.sleep(1.1)
    send(cluster, one.name, (b"sweep", None))
    end = time.monotonic() + 60
    while bytes_on_disk(cluster.data, one.name, forgotten) and time.monotonic() < end:
        time.sleep(0.2)
    assert bytes_on_disk(cluster.data, one.name, forgotten) == 0
    assert bytes_on_disk(cluster.data, one.name, kept) == 1
    assert kept in read(cluster, one.name)
