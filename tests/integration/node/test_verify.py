"""`tocsin verify` on a real Kafka whose administrator touches what a node has sent, in each way that an administrator can."""

import json
import shutil
import time
from pathlib import Path
from uuid import uuid4

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient

from pipeline import log

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


def tocsin(desk, *args):
    """Return exit status and what a command prints."""
    done = desk.tocsin(*args)
    return done.returncode, done.stdout + done.stderr


class Hub:
    """A hub whose log of one node was checkpointed and cosigned; and an administrator's hands on it."""

    def __init__(self, desk, cluster, node, made, tmp_path):
        self.desk, self.kafka, self.node, self.made = desk, cluster.kafka, node, made
        self.state = tmp_path / "witness"
        (desk.data / "cluster.json").write_text(json.dumps({"kafka": cluster.kafka}))
        self.sent = {name: self.values(name) for name in ("raw", "heads")}
        status, said = tocsin(desk, "hub", "checkpoint", node, "--json")
        assert status == 0, said
        self.hub = json.loads(said)["key"]
        self.request = desk.data / "proof" / "nodes" / node / "request"
        done = self.asked()
        assert done.returncode == 0, done.stderr
        self.cosigned = tmp_path / "cosigned"
        self.cosigned.write_text(done.stdout)
        self.witness = done.stderr.strip().removeprefix("Cosigned by ")

    def asked(self):
        """Bring the hub's request to the witness."""
        return self.desk.tocsin("witness", str(self.request), "--hub", self.hub, "--state", str(self.state))

    def values(self, name):
        return [entry.value for entry in log.read(self.kafka, f"{name}.{self.node}")]

    def rewrite(self, **topics):
        """Delete topics and make them again with other records."""
        admin = KafkaAdminClient(bootstrap_servers=self.kafka)
        producer = KafkaProducer(bootstrap_servers=self.kafka, acks="all")
        for name, values in topics.items():
            topic = f"{name}.{self.node}"
            admin.delete_topics([topic])
            while topic in admin.list_topics():
                time.sleep(0.1)
            self.made(self.node)
            for value in values:
                producer.send(topic, value=value, partition=0)
            producer.flush()
        producer.close()
        admin.close()

    def append(self, name, *values):
        producer = KafkaProducer(bootstrap_servers=self.kafka, acks="all")
        for value in values:
            producer.send(f"{name}.{self.node}", value=value, partition=0)
        producer.flush()
        producer.close()

    def verdict(self, *options):
        status, said = tocsin(self.desk, "verify", self.node, "--json", *options)
        (found,) = json.loads(said)["nodes"]
        assert (status == 0) == found["complete"]
        return found, {(one["kind"], one["sequence"]) for one in found["findings"]}


@pytest.fixture
def hub(desk, rows, cluster, node_topics, tmp_path):
    """The hub of a node that has sent 12 events in two syncs."""
    node = f"VERIFY-{uuid4().hex[:8].upper()}"
    desk.init(node)
    node_topics(node)
    for count in (7, 12):
        desk.run("import", rows(count), "--node", node)
        assert desk.run("sync", "--kafka", cluster.kafka, "--node", node)[0] == 0
    return Hub(desk, cluster, node, node_topics, tmp_path)


def test_a_log_that_nobody_touched_is_complete_and_cosigned(hub):
    found, findings = hub.verdict()
    assert (found["complete"], found["through"], found["heads"], findings) == (True, 12, 2, set())
    status, said = tocsin(hub.desk, "hub", "cosigned", str(hub.cosigned), "--witness", hub.witness)
    assert (status, "12 records cosigned by tocsin.witness." in said) == (0, True), said
    assert hub.verdict("--signer", hub.witness)[0]["cosigned"] == 12


def test_an_administrator_who_rewrites_the_log_is_named_with_each_event(hub):
    raw, other = hub.sent["raw"], hub.sent["raw"][4][:-1] + bytes([hub.sent["raw"][4][-1] ^ 1])
    hub.rewrite(raw=[*raw[:4], other, *raw[5:]])
    assert hub.verdict()[1] >= {("altered", 5)}
    hub.rewrite(raw=[*raw[:9], *raw[10:]])
    assert hub.verdict()[1] >= {("missing", 10)}
    hub.rewrite(raw=[raw[0], raw[2], raw[1], *raw[3:]])
    assert hub.verdict()[1] == {("swapped", 2), ("swapped", 3), ("rewritten", 0)}
    hub.rewrite(raw=raw)
    assert hub.verdict()[0]["complete"]


def test_an_administrator_who_cuts_log_and_heads_is_caught_by_the_hubs_tree_and_by_the_witness(hub):
    hub.rewrite(raw=hub.sent["raw"][:7], heads=hub.sent["heads"][:1])
    assert hub.verdict()[1] == {("truncated", 0)}
    status, said = tocsin(hub.desk, "hub", "checkpoint", hub.node)
    assert (status, "it was cut" in said) == (70, True)
    shutil.rmtree(
        hub.desk.data / "proof" / "nodes" / hub.node
    )  # the hub's own administrator: nothing is left of the tree
    assert hub.verdict()[0]["complete"]
    assert hub.verdict("--note", str(hub.cosigned), "--signer", hub.witness)[1] == {("truncated", 0)}
    assert tocsin(hub.desk, "hub", "checkpoint", hub.node)[0] == 0
    done = hub.asked()
    assert (done.returncode, done.stdout) == (70, "")
    assert "has seen 12 records" in done.stderr


def test_a_topic_that_was_emptied_or_taken_away_is_missed(hub):
    hub.rewrite(raw=[], heads=[])
    assert ("truncated", 0) in hub.verdict()[1]
    assert tocsin(hub.desk, "verify")[0] == 70
    assert tocsin(hub.desk, "hub", "checkpoint")[0] == 70
    admin = KafkaAdminClient(bootstrap_servers=hub.kafka)
    admin.delete_topics([f"{name}.{hub.node}" for name in ("raw", "heads")])
    admin.close()
    status, said = tocsin(hub.desk, "verify")
    assert (status, "the log had 12 records and has 0" in said) == (70, True), said


def test_what_comes_from_elsewhere_is_told_from_the_nodes_own(hub, desk, rows, cluster, node_topics):
    hub.append("raw", hub.sent["raw"][3])
    found, findings = hub.verdict()
    assert (found["complete"], found["repeated"], findings) == (True, [4], set())
    other = f"{hub.node}-B"
    desk.init(other)
    node_topics(other)
    desk.run("import", rows(13), "--node", other)
    desk.run("sync", "--kafka", cluster.kafka, "--node", other)
    hub.append("raw", next(log.read(cluster.kafka, f"raw.{other}")).value)
    assert ("foreign", 0) in hub.verdict()[1]
    hub.append("heads", next(log.read(cluster.kafka, f"heads.{other}")).value)
    assert {kind for kind, _ in hub.verdict()[1]} == {"foreign", "re-signed"}


def test_a_head_that_is_gone_is_missed(hub):
    hub.rewrite(heads=hub.sent["heads"][1:])
    assert ("head missing", 8) in hub.verdict()[1]
    hub.rewrite(heads=hub.sent["heads"][:1])
    assert hub.verdict()[1] == {("unsigned", number) for number in range(8, 13)}


def test_a_cloned_node_is_seen_by_its_second_batch_and_both_branches_are_kept(hub, desk, rows, cluster, tmp_path):
    original, clone = desk.data / "nodes" / hub.node, tmp_path / "clone"
    shutil.copytree(original, clone)
    for folder, name, count in ((original, "one.json", 15), (clone, "two.json", 14)):
        path = rows(count, name, **{"reported deaths following the sexual violence": "1" if folder == clone else ""})
        assert desk.run("import", path, "--node", str(folder))[0] == 0
        assert desk.run("sync", "--kafka", cluster.kafka, "--node", str(folder))[0] == 0
        if folder == original:
            assert hub.verdict()[0]["complete"]
    found, findings = hub.verdict()
    assert ("forked", 13) in findings
    assert (found["complete"], found["through"]) == (False, 12)
    assert found["records"] == 12 + 3 + 14


def test_a_bundle_is_verified_without_kafka(hub, tmp_path):
    file = tmp_path / "bundle.zip"
    assert tocsin(hub.desk, "hub", "bundle", hub.node, str(file))[0] == 0

    def verified(*options):
        return hub.desk.tocsin("verify", "--bundle", str(file), "--json", *options, data=False)

    def verdict(*options):
        done = verified(*options)
        return done.returncode, json.loads(done.stdout)["nodes"][0]

    pin = hub.verdict()[0]["pin"]
    note = ("--note", str(hub.cosigned))
    assert verdict("--pin", pin, "--signer", hub.witness, *note)[0] == 0
    status, found = verdict("--pin", pin, "--signer", hub.witness)
    assert (status, [one["kind"] for one in found["findings"]]) == (70, ["not cosigned"])
    for wrong in ([], ["--pin", pin, *note], ["--pin", pin, "OTHER-1"]):
        done = verified(*wrong)
        assert (done.returncode, done.stderr.count("\n")) == (65, 1), done.stderr
    status, found = verdict("--pin", "00" * 32)
    assert (status, {one["kind"] for one in found["findings"]}) == (70, {"re-signed", "unsigned"})


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("verify", "NOBODY"), "No node is named 'NOBODY'"),
        (("verify", "--pin", "xyz"), "64 hexadecimal digits"),
        (("hub", "bundle", "NOBODY", "b.zip"), "No node is named 'NOBODY'"),
        (("hub", "checkpoint", "--name", "a b"), "without blanks"),
        (("witness", "README.md", "--hub", "x"), "no request for a witness"),
        (("hub", "cosigned", "README.md", "--witness", "x"), "give the whole word"),
        (("verify", "--bundle", "README.md", "--pin", "00" * 32), "is no bundle"),
    ],
)
def test_what_can_not_be_is_one_sentence(desk, cluster, args, sentence):
    (desk.data / "cluster.json").write_text(json.dumps({"kafka": cluster.kafka}))
    status, said = tocsin(desk, *args)
    assert (status, said.count("\n"), sentence in said) == (65, 1, True), said
    assert not Path("b.zip").exists()
