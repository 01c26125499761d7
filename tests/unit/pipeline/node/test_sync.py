import gc
import socket
import time
from dataclasses import replace

import pytest
from kafka.errors import KafkaTimeoutError

from pipeline.node import sync as syncing
from pipeline.node.entries import NotWritten
from pipeline.node.fates import Taken
from pipeline.node.journal import Journal
from pipeline.node.receipts import Receipted
from pipeline.node.record import Recorder
from pipeline.node.sent import Sent, read
from schemas.errors import Unreachable
from tests.unit.pipeline.node.test_record import INCIDENT, PATTERN
from tests.unit.pipeline.node.test_renewing import other_epoch


@pytest.fixture
def silent():
    """An address that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kafka", ["silent", "127.0.0.1:1", "no.such.host.invalid:9092", "x:y:z", ""])
def test_what_is_no_broker_is_told_in_bounded_time(node, monkeypatch, silent, kafka):
    monkeypatch.setattr(syncing, "SECONDS", 2)
    start = time.monotonic()
    with pytest.raises(Unreachable, match="run `tocsin node sync` again"):
        syncing.sync(node, silent if kafka == "silent" else kafka)
    assert time.monotonic() - start < 15
    assert read(node) == Sent()
    gc.collect()  # kafka-python 3.0.12 leaves a pair of sockets open where it can't connect


def test_a_producer_that_cannot_be_closed_does_not_hide_what_was_wrong(node, monkeypatch):
    class Stuck:
        def close(self, timeout):
            raise KafkaTimeoutError("Timeout waiting for future")

    monkeypatch.setattr(syncing, "_check_topics", lambda kafka, node: None)
    monkeypatch.setattr(syncing, "_read", lambda kafka, node: (None, syncing.Ends(), Taken()))
    monkeypatch.setattr(syncing, "_producer", lambda kafka, node: Stuck())
    with pytest.raises(Unreachable, match="as it was told"), syncing._broker("kafka:9092", node):
        raise Unreachable("as it was told")


class Log:
    """What a broker was given, in order; it may stop answering after so many groups."""

    def __init__(self, groups=1_000, ends=()):
        self.groups, self.records, self.ends, self.there = groups, [], dict(ends), ()

    def send(self, topic, records):
        self.groups -= 1
        if self.groups < 0:
            raise Unreachable("gone")
        self.records += [(topic, *record) for record in records]
        self.ends[topic] = self.ends.get(topic, 0) + len(records)
        return self.ends[topic]

    def epochs(self):
        return set(self.there)


def fill(node, count):
    with Journal(node.journal) as journal, Recorder(node, journal) as recorder:
        for _ in range(count):
            recorder.record("IncidentReported", {"incident": INCIDENT})
            recorder.record("PatternObserved", {"pattern": PATTERN})


@pytest.mark.parametrize("groups", range(9))
def test_a_broker_that_goes_away_after_any_group_gets_the_rest_later(node, monkeypatch, groups):
    monkeypatch.setattr(syncing, "GROUP", 3)
    fill(node, 4)
    whole, part = Log(), Log(groups)
    syncing._send(node, Sent(), whole, lambda _: None)
    (node.folder / "sent.json").unlink()
    try:
        syncing._send(node, Sent(), part, lambda _: None)
    except Unreachable:
        part.groups = 1_000
        syncing._send(node, read(node), part, lambda _: None)
    assert part.records == whole.records  # nothing twice, nothing missing, keys before events
    assert [topic.partition(".")[0] for topic, _, _ in part.records] == [
        *["keys"] * 5,
        *["raw"] * 3,
        "heads",
        *["raw"] * 3,
        "heads",
        *["raw"] * 2,
        "heads",
    ]


def test_sending_again_takes_no_position_back(node, monkeypatch):
    monkeypatch.setattr(syncing, "GROUP", 3)
    fill(node, 3)
    syncing._send(node, Sent(), Log(), lambda _: None)
    kept = read(node)
    assert kept.events == 6
    with pytest.raises(Unreachable):
        syncing._send(node, Sent(), Log(groups=2), lambda _: None)
    assert read(node) == kept


def test_the_key_of_an_epoch_that_the_hub_may_have_sealed_anew_is_not_sent_over_it(node):
    fill(node, 1)
    other_epoch(node, 7, 1)
    log, lacking = Log(), Log()
    log.there = (1, 7)
    for each in (log, lacking):
        syncing._send(node, Sent(), each, lambda _: None)
    assert [record for record in lacking.records if record not in log.records] == [
        record for record in lacking.records if record[1] == b"epoch:7"
    ]
    assert len(lacking.records) == len(log.records) + 1


def test_keys_that_the_hub_has_lost_are_sent_from_their_beginning_also_after_a_stop(node, monkeypatch):
    monkeypatch.setattr(syncing, "GROUP", 2)
    fill(node, 4)
    syncing._send(node, Sent(), Log(), lambda _: None)
    kept = read(node)
    with pytest.raises(Unreachable):
        syncing._send(node, replace(kept, keys=0), Log(groups=1), lambda _: None)
    again, _ = syncing._start(
        node, Receipted(), syncing.Ends(raw=kept.end, keys=kept.keys_end, heads=kept.heads_end), False
    )
    assert again.keys < kept.keys


def test_events_recorded_meanwhile_wait_for_their_keys(node):
    fill(node, 2)
    log = Log()

    class Slow(Log):
        def send(self, topic, records):
            if topic.startswith("keys."):
                fill(node, 1)  # an import goes on while keys are sent
            return log.send(topic, records)

    outcome = syncing._send(node, Sent(), Slow(), lambda _: None)
    assert (outcome.last, outcome.keys) == (4, 3)
    keys = {key for topic, key, _ in log.records if topic.startswith("keys.")}
    assert all(key in keys for topic, key, _ in log.records if topic.startswith("raw.") and key)
    assert syncing._send(node, read(node), log, lambda _: None).events == 2


def test_a_full_disk_is_not_called_a_broker_that_does_not_answer(node, monkeypatch):
    fill(node, 1)
    (node.folder / "sent.json.new").mkdir()
    with pytest.raises(NotWritten):
        syncing._send(node, Sent(), Log(), lambda _: None)
