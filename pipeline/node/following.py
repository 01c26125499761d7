"""Reading on in a topic of the node's, up to where it ends now, by a consumer of kafka-python."""

import time
from collections.abc import Iterator
from typing import Any


def assigned(client: Any, topic: str) -> tuple[Any, int]:
    """Have the client read the one partition of a topic; return the partition, and the offset where it ends now."""
    from kafka import TopicPartition

    place = TopicPartition(topic, 0)
    client.assign([place])
    return place, client.end_offsets([place])[place]


def records(client: Any, place: Any, end: int, seconds: float) -> Iterator[Any]:
    """Yield the records from where the client stands to the end. KafkaTimeoutError where nothing more comes for so many seconds."""
    from kafka.errors import KafkaTimeoutError

    until = time.monotonic() + seconds
    while client.position(place) < end:
        for found in client.poll(timeout_ms=500).values():
            until = time.monotonic() + seconds
            yield from found
        if time.monotonic() > until:
            raise KafkaTimeoutError(f"{place.topic} could not be read")
