"""A consumer that waits for a broker which is missing for a moment."""

import pytest
from kafka import KafkaConsumer
from kafka.errors import MetadataEmptyBrokerList

from pipeline import patient
from pipeline.patient import Patient
from schemas.errors import Unreachable


def without_a_broker(monkeypatch, times):
    """A consumer whose Kafka names no broker so many times, and has one topic of two partitions then."""
    monkeypatch.setattr(KafkaConsumer, "__init__", lambda *_, **__: None)
    monkeypatch.setattr(patient, "AGAIN", 0.001)
    left = [MetadataEmptyBrokerList("brokers=[]")] * times

    def answer(found):
        if left:
            raise left.pop()
        return found

    monkeypatch.setattr(KafkaConsumer, "topics", lambda _: answer({"hub.sahel"}))
    monkeypatch.setattr(
        KafkaConsumer, "partitions_for_topic", lambda _, topic: answer({0, 1} if topic == "hub.sahel" else set())
    )
    return Patient()


@pytest.mark.parametrize("times", [0, 1, 20])
def test_a_broker_that_is_missing_for_a_moment_is_asked_for_again(monkeypatch, times):
    assert without_a_broker(monkeypatch, times).topics() == {"hub.sahel"}
    assert without_a_broker(monkeypatch, times).partitions_for_topic("hub.sahel") == {0, 1}
    assert without_a_broker(monkeypatch, times).partitions_for_topic("hub.mars") == set()


def test_a_broker_that_stays_away_is_one_sentence(monkeypatch):
    monkeypatch.setattr(patient, "SECONDS", 0.05)
    with pytest.raises(Unreachable, match=r"has had no broker for .* `tocsin status`"):
        without_a_broker(monkeypatch, 10_000).topics()
