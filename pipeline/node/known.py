"""What the hub has told that this node keeps: `fates.json`, the newest page of each, and its decisions, as it has signed them."""

import fcntl
import json
import os
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pipeline.files import replace
from pipeline.node.entries import writing
from pipeline.node.node import Node
from schemas.decisions import Decided, read_decision
from schemas.fates import BadFates, Fate, read_page

NEWER, FUTURE, DAMAGED = "fates.malformed", "decision.day", "decision.damaged"
NOT_ENTRUSTED = "decision.not_entrusted"
AGAIN = ("", NEWER, FUTURE, DAMAGED, NOT_ENTRUSTED)
"""Reasons for which a decision stays open: it may do when tocsin, the clock or the folder is mended, or a survivor consents."""


@dataclass(frozen=True)
class Kept:
    """A decision as it was signed, and what came of it: the event that records it, else the reason why none does."""

    record: bytes
    event: int = 0
    reason: str = ""

    @property
    def decision(self) -> Decided:
        """Return the decision."""
        return read_decision(self.record)

    @property
    def open(self) -> bool:
        """Return whether it is still to be recorded."""
        return not self.event and self.reason in AGAIN


@dataclass(frozen=True)
class Known:
    """`position` is the offset after the last record that was read of the topic, `pages` are the records by first number.

    `decisions` are in the order in which they came.
    """

    position: int = 0
    pages: Mapping[int, bytes] = field(default_factory=dict)
    decisions: tuple[Kept, ...] = ()

    def fates(self) -> dict[int, Fate]:
        """Return the fate of each number that was told."""
        told = [read_page(record) for record in self.pages.values()]
        return {page.first + at: fate for page in told for at, fate in enumerate(page.fates)}


@contextmanager
def locked(node: Node) -> Iterator[None]:
    """Have no other process change what is kept between reading and writing it: it waits."""
    handle = os.open(node.folder / "fates.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def read(node: Node) -> Known:
    """Return what is kept; nothing where that cannot be read: it is read again then."""
    try:
        kept = json.loads((node.folder / "fates.json").read_text())
        records = [b64decode(record, validate=True) for record in kept["pages"]]
        decisions = tuple(map(_kept, kept.get("decisions", ())))
        return Known(int(kept["position"]), {read_page(record).first: record for record in records}, decisions)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, BadFates):
        return Known()


def write(node: Node, known: Known) -> None:
    """Keep it, as a whole or not at all. NotWritten where the disk refuses."""
    pages = [b64encode(record).decode() for _, record in sorted(known.pages.items())]
    decisions = [
        {"record": b64encode(one.record).decode(), "event": one.event, "reason": one.reason} for one in known.decisions
    ]
    content = {"position": known.position, "pages": pages, "decisions": decisions}
    write_file(node, "fates.json", json.dumps(content).encode())


def write_file(node: Node, name: str, content: bytes) -> None:
    """Write one of the files that hold what the hub tells. NotWritten where the disk refuses."""
    with writing(node.folder, "run `tocsin node sync` again: it reads what the hub has told again."):
        replace(node.folder / name, content)


def _kept(plain: Mapping[str, Any]) -> Kept:
    """Return a decision that is kept; BadFates where it is none."""
    kept = Kept(b64decode(plain["record"], validate=True), int(plain["event"]), str(plain["reason"]))
    read_decision(kept.record)
    return kept
