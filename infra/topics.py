"""Topics as the table states them: what is missing is created, settings that differ are put back, the rest is said.

`python -m infra.topics HOST:PORT` does it for every mission and region, on any Kafka.
"""

import os
import socket
import sys
from collections.abc import Sequence
from typing import Any

from kafka.admin import ConfigResource, KafkaAdminClient, NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from infra.table import Topic, every
from schemas.errors import BadInput, Stops, TocsinError, Unreachable

SECONDS = 30


class TopicDiffers(Stops):
    """A topic on the broker is not what the table states, and can't be made so without loss."""


class TopicRefused(Stops):
    """The broker would not create a topic or take its settings."""


def ensure(bootstrap: str, topics: Sequence[Topic], replicas: int = 1) -> list[str]:
    """Create the missing topics and return their names; harmless when repeated, and when two do it at once.

    TopicDiffers where a topic has another number of partitions; Unreachable where the broker does not answer;
    TopicRefused where it says no. Costs at most five requests, whatever the number of topics.
    """
    _reach(bootstrap)
    try:
        admin: Any = KafkaAdminClient(bootstrap_servers=bootstrap, bootstrap_timeout_ms=SECONDS * 1000)
    except (KafkaError, OSError, ValueError) as error:
        raise Unreachable(f"Kafka at {bootstrap} does not answer ({error}); see `tocsin status`.") from error
    try:
        existing = {one["name"]: len(one["partitions"]) for one in admin.describe_topics()}
        missing = [topic for topic in topics if topic.name not in existing]
        _check([topic for topic in topics if topic.name in existing], existing)
        _put_back(admin, [topic for topic in topics if topic.name in existing])
        return _create(admin, missing, replicas)
    except KafkaError as error:
        raise TopicRefused(f"Kafka at {bootstrap} refused a topic of {len(topics)}: {error}.") from error
    finally:
        admin.close()


def _reach(bootstrap: str) -> None:
    """Raise Unreachable where nobody listens: the client would try again for half a minute, and keep its sockets."""
    problem: Exception | None = None
    for address in bootstrap.split(","):
        host, _, port = address.rpartition(":")
        try:
            with socket.create_connection((host, int(port)), SECONDS):
                return
        except (OSError, ValueError) as error:
            problem = error
    raise Unreachable(f"Kafka at {bootstrap} does not answer ({problem}); see `tocsin status`.")


def _check(topics: Sequence[Topic], partitions: dict[str, int]) -> None:
    for topic in topics:
        if partitions[topic.name] != topic.partitions:
            raise TopicDiffers(
                f"Topic {topic.name} has {partitions[topic.name]} partitions and the table states {topic.partitions}: "
                "the order of its records would be lost. Take another data folder or cluster, or put the table back."
            )


def _create(admin: Any, topics: Sequence[Topic], replicas: int) -> list[str]:
    if not topics:
        return []
    new = [NewTopic(t.name, t.partitions, replicas, topic_configs=dict(t.config)) for t in topics]
    try:
        admin.create_topics(new, timeout_ms=SECONDS * 1000)
    except TopicAlreadyExistsError:  # somebody else makes them now; what they left is made here
        names = {topic.name for topic in topics}
        admin.wait_for_topics(sorted(names & set(admin.list_topics())), timeout_ms=SECONDS * 1000)
        existing = {one["name"]: len(one["partitions"]) for one in admin.describe_topics()}
        _check([topic for topic in topics if topic.name in existing], existing)
        return _create(admin, [topic for topic in topics if topic.name not in existing], replicas)
    admin.wait_for_topics([topic.name for topic in topics], timeout_ms=SECONDS * 1000)
    return [topic.name for topic in topics]


def _put_back(admin: Any, topics: Sequence[Topic]) -> None:
    """Set every setting of the table whose value on the broker is another one."""
    if not topics:
        return
    asked = [ConfigResource("TOPIC", topic.name) for topic in topics]
    found = admin.describe_configs(asked, config_filter="all")["topic"]
    differing = {
        topic.name: {k: v for k, v in topic.config.items() if found[topic.name].get(k, {}).get("value") != v}
        for topic in topics
    }
    changes = [ConfigResource("TOPIC", name, configs) for name, configs in differing.items() if configs]
    if changes:
        admin.alter_configs(changes)


def main(arguments: Sequence[str]) -> int:
    """Make every topic of the table on the cluster given; for an installation that has its own Kafka."""
    try:
        if len(arguments) != 1:
            raise BadInput("Say which Kafka: `python -m infra.topics HOST:PORT`.")
        created = ensure(arguments[0], every(), int(os.environ.get("TOCSIN_REPLICAS", "1")))
    except TocsinError as error:
        sys.stderr.write(f"tocsin: {error}\n")
        return error.exit_code
    sys.stdout.write(f"{len(created)} topics made, {len(every())} in all\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
