"""A consumer of kafka-python that waits where Kafka names no broker for a moment.

So it is where a busy machine hears its own broker's heartbeat late. kafka-python takes an answer without brokers for an error, Java's
client asks again.
"""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from kafka import KafkaConsumer
from kafka.errors import MetadataEmptyBrokerList

from schemas.errors import Unreachable

SECONDS, AGAIN = 15.0, 0.2
T = TypeVar("T")


class Patient(KafkaConsumer):  # type: ignore[misc]
    """A consumer to which `topics` and `partitions_for_topic` answer so; Unreachable where no broker is named for 15 s."""

    def topics(self) -> Any:
        """Return the names of all topics."""
        return _patiently(super().topics)

    def partitions_for_topic(self, topic: str) -> Any:
        """Return the numbers of a topic's partitions."""
        return _patiently(lambda: super(Patient, self).partitions_for_topic(topic))


def _patiently(ask: Callable[[], T]) -> T:
    until = time.monotonic() + SECONDS
    while True:
        try:
            return ask()
        except MetadataEmptyBrokerList as error:
            if time.monotonic() > until:
                raise Unreachable(
                    f"Kafka answers, and has had no broker for {SECONDS:.0f} s; run `tocsin status`."
                ) from error
            time.sleep(AGAIN)
