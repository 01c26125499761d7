"""Whose is a node? Its team's, until the journal's last event gives it to a successor; then that one's, and nobody else's.

So a case has exactly one owner at each moment: the event is recorded as a whole or not at all, and a folder in which it is the
last word records nothing more, unless the event names the key that the folder signs with.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from pipeline.node.handover import deeds
from pipeline.node.journal import Reader
from schemas.errors import BadInput, Quarantines
from schemas.released import by_fingerprint
from schemas.rows import read as read_row
from schemas.wire import unframe

KIND = "NodeHandedOver"


@dataclass(frozen=True)
class Standing:
    """How a node stands that changes or has changed hands: this folder has `left` it, or has `taken_over`, by event `number`.

    `successor` is the mission whose team goes on with it.
    """

    role: str
    number: int
    successor: str


@dataclass(frozen=True)
class Handover:
    """Event `number` gave the node to `successor`, who signs with the key `signer`, and has keys sealed for `receives`.

    `deed` is the digest of the deed, `day` the one on which it was recorded.
    """

    number: int
    successor: str
    signer: bytes
    receives: bytes
    deed: bytes
    day: date | None = None


def last_word(reader: Reader) -> Handover | None:
    """Return the handover with which a journal ends, None where it ends with something else."""
    newest = reader.newest()
    try:
        return read(newest) if newest else None
    except Quarantines:
        return _unread(newest)


def _unread(envelope: bytes) -> Handover | None:
    """Return that somebody has the node, of a handover that a newer tocsin has written; None where that is not what it is."""
    try:
        row = read_row(*unframe(envelope))
    except Quarantines:
        return None
    return Handover(row["sequence"], "somebody", b"", b"", b"") if row["kind"] == KIND else None


def read(envelope: bytes) -> Handover | None:
    """Return the handover that an event is, None where it is something else; Quarantines where it cannot be read."""
    row = read_row(*unframe(envelope))
    if row["kind"] != KIND:
        return None
    body = read_row(by_fingerprint(row["body_schema"]), row["body"])
    day = datetime.fromtimestamp(body["recorded_at"] / 1000, UTC).date()
    return Handover(row["sequence"], body["successor"], body["signer"], body["receives"], body["deed"], day)


def check(folder: Path, reader: Reader) -> None:
    """Refuse to go on with a node that was handed over to somebody else: BadInput."""
    handed = last_word(reader)
    if handed and handed.signer != deeds.signs_with(folder):
        raise BadInput(
            f"Nothing was recorded: this node was handed over to {handed.successor} by event {handed.number}. Its new team "
            "records what is still to be said; `tocsin node handover status` says how far that is."
        )


def left(folder: Path, reader: Reader) -> bool:
    """Return whether this folder's team has handed the node over."""
    stands = standing(folder, reader)
    return stands is not None and stands.role == "left"


def standing(folder: Path, reader: Reader) -> Standing | None:
    """Return how a node stands that changed hands, None where it did not."""
    handed, own = last_word(reader), deeds.signs_with(folder)
    if handed and handed.signer != own:
        return Standing("left", handed.number, handed.successor)
    given = deeds.taken_over(folder)
    return Standing("taken_over", given.through + 1, given.successor) if given else None
