"""The events about one case as they were sent: what can be read of them without a key."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from pipeline.node.journal import Reader
from pipeline.node.node import Node
from schemas.errors import BadInput
from schemas.rows import read as read_row
from schemas.wire import unframe
from schemas.withdrawals import WITHDRAWN, cause

Envelope = Mapping[str, Any]


def of_event(node: Node, reader: Reader, number: int) -> list[Envelope]:
    """Return all events of the case that an event is about, in their order; BadInput where it is about none."""
    named = next(reader.read(number), None) if number <= reader.mark.last else None
    ref = read_row(*unframe(named.envelope))["case_ref"] if named else None
    if ref is None:
        raise BadInput(
            f"Event {number} of {node.code} is about no case, or there is none of that number: `tocsin node status` "
            "says which numbers there are."
        )
    return of_case(reader, ref)


def of_case(reader: Reader, ref: bytes) -> list[Envelope]:
    """Return all events of a case by its reference, in their order."""
    near = (read_row(*unframe(entry.envelope)) for entry in reader.read() if ref in entry.envelope)
    return [envelope for envelope in near if envelope["case_ref"] == ref]


def withdrawn(found: Sequence[Envelope]) -> int:
    """Return the number of the event that withdrew a case, 0 where none did."""
    return next((envelope["sequence"] for envelope in found if envelope["kind"] == WITHDRAWN), 0)


def why_withdrawn(found: Sequence[Envelope]) -> str:
    """Return the cause that the event which withdrew a case states, "" where none did."""
    return next((cause(each["body_schema"], each["body"]) for each in found if each["kind"] == WITHDRAWN), "")


def recorded_on(envelope: Envelope) -> date:
    """Return the day on which an event was recorded, UTC: its id holds it (UUIDv7), also where nothing opens its body."""
    return datetime.fromtimestamp(int.from_bytes(envelope["event_id"][:6], "big") / 1000, UTC).date()
