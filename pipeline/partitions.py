"""Are the broker's topics as the table of topics states them? A worker asks before it reads anything.

Which partition a record is in is decided by their number: with another one, both sides of the join would miss each
other, and a lane's ledger would be looked for in the wrong place.
"""

from collections.abc import Mapping

from kafka.errors import KafkaError

from infra.table import Topic, table
from infra.topics import TopicDiffers
from pipeline.log import consumer
from schemas.errors import Unreachable


def check(kafka: str) -> None:
    """Raise TopicDiffers where a topic has another number of partitions; a topic that is not there yet is well."""
    client = consumer(kafka)
    try:
        found = {name: len(client.partitions_for_topic(name) or ()) for name in client.topics()}
    except KafkaError as error:
        raise Unreachable(f"Kafka at {kafka} does not answer ({error}); run `tocsin status`.") from error
    finally:
        client.close()
    refuse(found)


def refuse(found: Mapping[str, int]) -> None:
    """Raise TopicDiffers for the first topic, by name, whose number of partitions is not that of the table."""
    for name, count in sorted(found.items()):
        family = _family(name)
        if family is not None and count and count != family.partitions:
            raise TopicDiffers(
                f"Topic {name} has {count} partitions and the table states {family.partitions}: records would be lost or "
                f"doubled, so nothing was read. It was deleted and made anew, or changed: stop all workers, and restore "
                f"{name} from the broker's backup, or take another data folder."
            )


def _family(name: str) -> Topic | None:
    """Return what the table states of a topic, by its own name or its family's."""
    for topic in table():
        prefix, hole, _ = topic.name.partition("{")
        if name == topic.name or (hole and name.startswith(prefix)):
            return topic
    return None
