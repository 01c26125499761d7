"""What the hub says became of each number of this node: `fates.json`, the newest page of each, as the hub has signed it.

Pages come by `fates.<node>` or in a file, and among them what the hub has decided about cases (pipeline/node/deciding.py). The
key of the hub is kept in `hub.pin` when one is seen for the first time, and compared from then on. A page that is not taken
changes nothing, and hurts no other.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.node import following
from pipeline.node.journal import Reader
from pipeline.node.known import Kept, Known, locked, read, write, write_file
from pipeline.node.node import Node
from schemas import notes
from schemas.decisions import Decided, is_decision, read_decision
from schemas.errors import BadInput, Quarantines
from schemas.fates import MISSING, Page, read_page, unpack


class NotTaken(Quarantines):
    """A page that this node does not take.

    Reasons `fates.other_node`, `fates.other_hub`, `fates.unknown_events` (the node has not recorded so many), `fates.older`,
    `fates.hub_pin` (the hub's key that is kept is damaged).
    """


@dataclass(frozen=True)
class Taken:
    """How many pages were taken that are new, and how many were not taken, by reason."""

    pages: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)


def trust(node: Node, word: str) -> notes.Key:
    """Trust this hub's key and no other from now on; what another one signed is forgotten, and all is read again.

    BadInput where it is none.
    """
    key, pin = notes.key(word), node.folder / "hub.pin"
    if key.algorithm != notes.ED25519:
        raise BadInput("That is the key of a witness; give the hub's, which `tocsin hub fates` tells.")
    if not pin.exists() or pin.read_bytes() != f"{key}\n".encode():
        with locked(node):
            write(node, _signed_by(read(node), key))
        write_file(node, "hub.pin", f"{key}\n".encode())
    return key


def take(node: Node, records: Iterable[bytes], position: int | None = None) -> Taken:
    """Take in pages as they come, the newest of each, and keep them; `position` is where the topic is read on.

    Decisions among them are kept, to be recorded by `deciding.record`. NotWritten where the disk refuses.
    """
    with locked(node):
        return _take(node, records, position)


def _take(node: Node, records: Iterable[bytes], position: int | None) -> Taken:
    known, last = read(node), Reader(node.journal).mark.last
    pages, count, decisions = dict(known.pages), 0, {one.decision.decision_id: one for one in known.decisions}
    refused: Counter[str] = Counter()
    for record in records:
        try:
            if is_decision(record):
                decision = _for(node, read_decision(record))
                decisions.setdefault(decision.decision_id, Kept(record))
                continue
            page = read_page(record)
            if _is_new(node, page, last, pages.get(page.first)):
                pages[page.first] = record
                count += 1
        except Quarantines as error:
            refused[error.reason] += 1
    now = Known(known.position if position is None else position, pages, tuple(decisions.values()))
    if now != known and "fates.hub_pin" not in refused:
        write(node, now)
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
    topic = f"fates.{node.code}"
    if topic not in client.topics():
        return Taken(refused={"fates.no_topic": 1})
    (place, end), start = following.assigned(client, topic), read(node).position
    client.seek(place, start if start <= end else 0)
    records = [record.value or b"" for record in following.records(client, place, end, seconds)]
    return take(node, records, client.position(place))


def _signed_by(known: Known, key: notes.Key) -> Known:
    """Return what one hub has signed of what is kept, and decisions that are settled; the topic is to be read anew."""
    pages = {first: record for first, record in known.pages.items() if read_page(record).hub.public == key.public}
    decisions = (one for one in known.decisions if not one.open or one.decision.hub.public == key.public)
    return Known(0, pages, tuple(decisions))


def _is_new(node: Node, page: Page, last: int, before: bytes | None) -> bool:
    """Return whether a page is newer than the one that is kept; NotTaken where it is older, or not for this node to take."""
    if page.node != node.code:
        raise NotTaken("fates.other_node")
    if any(fate != MISSING for fate in page.fates[max(last + 1 - page.first, 0) :]):
        raise NotTaken("fates.unknown_events")
    _check_signer(node, page.hub)
    order = read_page(before).order if before else (-1, 0)
    if page.order < order:
        raise NotTaken("fates.older")
    return page.order > order


def _for(node: Node, decision: Decided) -> Decided:
    """Return a decision that is for this node to take: NotTaken where it is not."""
    if decision.node != node.code:
        raise NotTaken("fates.other_node")
    _check_signer(node, decision.hub)
    return decision


def _check_signer(node: Node, hub: notes.Key) -> None:
    """Refuse what another hub signs than the one that is trusted: NotTaken."""
    if hub.public != _trusted(node, hub).public:
        raise NotTaken("fates.other_hub")


def _trusted(node: Node, seen: notes.Key) -> notes.Key:
    """Return the key of the hub that the node trusts: the one that is seen where none was before."""
    path = node.folder / "hub.pin"
    if not path.exists():
        write_file(node, "hub.pin", f"{seen}\n".encode())
    try:
        return notes.key(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, BadInput) as error:
        raise NotTaken("fates.hub_pin") from error
