"""What the hub says became of each number of this node: `fates.json`, the newest page of each, as the hub has signed it.

Pages come by `fates.<node>` or in a file. The key of the hub is kept in `hub.pin` when one is seen for the first time, and
compared from then on. A page that is not taken changes nothing, and hurts no other.
"""

import json
import time
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.files import replace
from pipeline.node.entries import NotWritten
from pipeline.node.journal import Reader
from pipeline.node.node import Node
from schemas import notes
from schemas.errors import BadInput, Quarantines
from schemas.fates import MISSING, BadFates, Fate, Page, read_page, unpack


class NotTaken(Quarantines):
    """A page that this node does not take.

    Reasons `fates.other_node`, `fates.other_hub`, `fates.unknown_events` (the node has not recorded so many), `fates.older`,
    `fates.hub_pin` (the hub's key that is kept is damaged).
    """


@dataclass(frozen=True)
class Known:
    """`position` is the offset after the last record that was read of the topic, `pages` are the records by first number."""

    position: int = 0
    pages: Mapping[int, bytes] = field(default_factory=dict)

    def fates(self) -> dict[int, Fate]:
        """Return the fate of each number that was told."""
        told = [read_page(record) for record in self.pages.values()]
        return {page.first + at: fate for page in told for at, fate in enumerate(page.fates)}


@dataclass(frozen=True)
class Taken:
    """How many pages were taken that are new, and how many were not taken, by reason."""

    pages: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)


def read(node: Node) -> Known:
    """Return what is kept; nothing where that cannot be read: it is read again then."""
    try:
        kept = json.loads((node.folder / "fates.json").read_text())
        records = [b64decode(record, validate=True) for record in kept["pages"]]
        return Known(int(kept["position"]), {read_page(record).first: record for record in records})
    except (OSError, ValueError, KeyError, TypeError, BadFates):
        return Known()


def trust(node: Node, word: str) -> notes.Key:
    """Trust this hub's key and no other from now on; pages that another one signed are forgotten. BadInput where it is none."""
    key, known = notes.key(word), read(node)
    if key.algorithm != notes.ED25519:
        raise BadInput("That is the key of a witness; give the hub's, which `tocsin hub fates` tells.")
    pages = {first: record for first, record in known.pages.items() if read_page(record).hub.public == key.public}
    if len(pages) < len(known.pages):
        _write(node, "fates.json", _content(Known(0, pages)))
    _write(node, "hub.pin", f"{key}\n".encode())
    return key


def take(node: Node, records: Iterable[bytes], position: int | None = None) -> Taken:
    """Take in pages as they come, the newest of each, and keep them; `position` is where the topic is read on.

    NotWritten where the disk refuses.
    """
    known, last = read(node), Reader(node.journal).mark.last
    pages, count = dict(known.pages), 0
    refused: Counter[str] = Counter()
    for record in records:
        try:
            page = read_page(record)
            if _is_new(node, page, last, pages.get(page.first)):
                pages[page.first] = record
                count += 1
        except Quarantines as error:
            refused[error.reason] += 1
    now = Known(known.position if position is None else position, pages)
    if now != known and "fates.hub_pin" not in refused:
        _write(node, "fates.json", _content(now))
    return Taken(count, dict(refused))


def import_file(node: Node, path: Path) -> Taken:
    """Take in a file of pages. BadInput where it is none; otherwise as `take`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(
            f"{path} can't be read ({error.strerror}); give the file that `tocsin hub fates --out` wrote."
        ) from error
    return take(node, unpack(data))


def follow(node: Node, client: Any, seconds: float) -> Taken:
    """Read on in the node's topic by a consumer of kafka-python and take what has come; reason `fates.no_topic` where it has none.

    KafkaTimeoutError where the broker gives nothing more for so many seconds.
    """
    from kafka import TopicPartition
    from kafka.errors import KafkaTimeoutError

    place = TopicPartition(f"fates.{node.code}", 0)
    if place.topic not in client.topics():
        return Taken(refused={"fates.no_topic": 1})
    client.assign([place])
    end, start = client.end_offsets([place])[place], read(node).position
    client.seek(place, start if start <= end else 0)
    until, records = time.monotonic() + seconds, list[bytes]()
    while client.position(place) < end:
        for found in client.poll(timeout_ms=500).values():
            until = time.monotonic() + seconds
            records += [record.value or b"" for record in found]
        if time.monotonic() > until:
            raise KafkaTimeoutError(f"{place.topic} could not be read")
    return take(node, records, client.position(place))


def _is_new(node: Node, page: Page, last: int, before: bytes | None) -> bool:
    """Return whether a page is newer than the one that is kept; NotTaken where it is older, or not for this node to take."""
    if page.node != node.code:
        raise NotTaken("fates.other_node")
    if any(fate != MISSING for fate in page.fates[max(last + 1 - page.first, 0) :]):
        raise NotTaken("fates.unknown_events")
    if page.hub.public != _trusted(node, page.hub).public:
        raise NotTaken("fates.other_hub")
    order = read_page(before).order if before else (-1, 0)
    if page.order < order:
        raise NotTaken("fates.older")
    return page.order > order


def _trusted(node: Node, seen: notes.Key) -> notes.Key:
    """Return the key of the hub that the node trusts: the one that is seen where none was before."""
    path = node.folder / "hub.pin"
    if not path.exists():
        _write(node, "hub.pin", f"{seen}\n".encode())
    try:
        return notes.key(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, BadInput) as error:
        raise NotTaken("fates.hub_pin") from error


def _content(known: Known) -> bytes:
    pages = [b64encode(record).decode() for _, record in sorted(known.pages.items())]
    return json.dumps({"position": known.position, "pages": pages}).encode()


def _write(node: Node, name: str, content: bytes) -> None:
    try:
        replace(node.folder / name, content)
    except OSError as error:
        raise NotWritten(
            f"The disk refused to write in {node.folder} ({error.strerror}); free some space and run "
            "`tocsin node sync` again: it reads what the hub has told again."
        ) from error
