"""A hub's records on their way to the nodes' topics, each of one partition."""

from collections.abc import Iterable
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from pipeline.log import RECONNECT_MS
from schemas.errors import Unreachable

SECONDS = 30


def send(kafka: str, records: Iterable[tuple[str, bytes, bytes]], again: str) -> None:
    """Put (topic, key, value) on the topics, and wait until the broker has them.

    Unreachable where it does not answer: `again` says what to run then, behind `tocsin status`.
    """
    try:
        _send(kafka, records)
    except KafkaError as error:
        raise Unreachable(
            f"Kafka at {kafka} does not answer ({type(error).__name__}); run `tocsin status`, then {again}."
        ) from error


def _send(kafka: str, records: Iterable[tuple[str, bytes, bytes]]) -> None:
    producer: Any = KafkaProducer(
        bootstrap_servers=kafka,
        enable_idempotence=True,
        acks="all",
        allow_auto_create_topics=False,
        reconnect_backoff_max_ms=RECONNECT_MS,
    )
    try:
        for sent in [producer.send(topic, value, key, partition=0) for topic, key, value in records]:
            sent.get(timeout=SECONDS)
    finally:
        producer.close()
