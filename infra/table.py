"""The table of topics, read from `topics.toml` and checked; nothing else names a topic's settings."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from schemas.errors import Stops
from schemas.events import NAMES
from schemas.places import missions, regions

SOURCE = Path(__file__).with_name("topics.toml")
NAME = re.compile(r"[a-z]+(\.[a-z]+|\.\{node\}|\.\{region\})?")
LEGAL = re.compile(r"[A-Za-z0-9._-]{1,249}")  # Kafka's own rule
FRAMINGS = ("single object", "Confluent")
WHO = ("node", "refine", "merge", "sink", "receipts", "eraser", "analyst", "engineer")


class BadTable(Stops):
    """`topics.toml` does not say what a topic needs."""


@dataclass(frozen=True)
class Topic:
    """One topic, or one family of topics where the name has `{node}` or `{region}`; `config` is Kafka's own."""

    name: str
    meaning: str
    partitions: int
    key: str
    framing: str
    owner: str
    events: tuple[str, ...]
    written_by: tuple[str, ...]
    read_by: tuple[str, ...]
    config: Mapping[str, str] = field(hash=False)


@cache
def table() -> tuple[Topic, ...]:
    """Return the families in the order of the data's way."""
    return parse(SOURCE.read_text(encoding="utf-8"))


def parse(text: str) -> tuple[Topic, ...]:
    """Return the families that a text in TOML states; BadTable names the topic and what is wrong with it."""
    try:
        stated = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadTable(f"{SOURCE.name} is no TOML: {error}.") from error
    return tuple(_topic(name, fields) for name, fields in stated.items())


def _topic(name: str, stated: Any) -> Topic:
    try:
        lists = {field: tuple(stated[field]) for field in ("events", "written_by", "read_by")}
        topic = Topic(**(stated | lists | {"name": name}))
    except (KeyError, TypeError, AttributeError) as error:
        raise BadTable(f"Topic {name} in {SOURCE.name} is not stated as the others are: {error}.") from error
    for wrong in _wrongs(topic):
        raise BadTable(f"Topic {name} in {SOURCE.name}: {wrong}.")
    return topic


def _wrongs(topic: Topic) -> Iterable[str]:
    """Yield what is wrong with a topic, as the end of a sentence."""
    if not NAME.fullmatch(topic.name):
        yield "its name is lower-case words joined by one dot, the last may be {node} or {region}"
    if type(topic.partitions) is not int or topic.partitions < 1:
        yield "it needs one partition or more"
    if not topic.events or not set(topic.events) <= set(NAMES):
        yield f"each of its events needs a contract, as {NAMES[0]} has"
    if topic.framing not in FRAMINGS:
        yield f"its framing is one of {', '.join(FRAMINGS)}"
    people = (*topic.written_by, *topic.read_by)
    if not topic.written_by or not topic.read_by or not set(people) <= set(WHO) or topic.owner not in topic.written_by:
        yield f"it needs writers, readers and, among the writers, an owner, of {', '.join(WHO)}"
    if not isinstance(topic.config, dict) or not all(type(value) is str for value in topic.config.values()):
        yield "its settings are texts, as Kafka has them"
    elif topic.config.get("cleanup.policy") not in {"delete", "compact"} or "max.message.bytes" not in topic.config:
        yield "its settings need cleanup.policy and max.message.bytes"
    elif topic.config["cleanup.policy"] == "delete" and "retention.ms" not in topic.config:
        yield "a topic that is not compacted says how long it keeps: retention.ms"


def expand(nodes: Iterable[str], regions: Iterable[str]) -> list[Topic]:
    """Return every topic by its real name, for these nodes and regions; BadTable for a code no topic can be named by."""
    names = {"{node}": list(nodes), "{region}": list(regions)}
    found = []
    for topic in table():
        hole = next((hole for hole in names if hole in topic.name), None)
        found += [replace(topic, name=topic.name.replace(hole, code)) for code in names[hole]] if hole else [topic]
    for topic in found:
        if not LEGAL.fullmatch(topic.name):
            raise BadTable(f"No topic can be named {topic.name!r}: letters, digits, dot, underscore and hyphen only.")
    return found


def every(more: Iterable[str] = ()) -> list[Topic]:
    """Return every topic of every mission and region that we know, and of `more` nodes."""
    nodes = dict.fromkeys([*(mission.code for mission in missions()), *more])
    return expand(nodes, (region.code for region in regions()))
