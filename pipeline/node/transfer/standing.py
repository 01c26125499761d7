"""How each offer of a case stands, of those that a node has made and of those that it was made."""

from collections import defaultdict
from dataclasses import dataclass

from pipeline.node import envelopes
from pipeline.node.envelopes import Envelope
from pipeline.node.journal import Reader
from pipeline.node.node import Node
from pipeline.node.transfer import boxes, records
from pipeline.node.transfer.records import Record
from schemas.errors import BadInput
from schemas.rows import read as read_row
from schemas.wire import unframe
from schemas.withdrawals import HANDED_OVER


@dataclass(frozen=True)
class Standing:
    """An offer of a case to `node`, or by it where it is not `given`: the first event of the `case` here, 0 where there is none.

    `state` is offered, accepted, refused (for `reason`) or cancelled; of an own case also handed_over (by `event`; `released` in
    a file or not) and withdrawn, of another's taken.
    """

    offer: str
    day: str
    node: str
    given: bool
    state: str
    case: int = 0
    event: int = 0
    reason: str = ""
    released: bool = False

    @property
    def open(self) -> bool:
        """Return whether something is still to be done about it."""
        return self.state in ("offered", "accepted") or (self.state == "handed_over" and not self.released)


def every(node: Node, reader: Reader) -> list[Standing]:
    """Return how all offers stand, in their order. Damaged where a file or the journal can't be read."""
    kept = records.every(node)
    if not kept:
        return []
    refs = {bytes.fromhex(record.case_ref) for record in kept if record.case_ref}
    of_case, of_digest = defaultdict[bytes, list[Envelope]](list), dict[bytes, int]()
    for entry in reader.read():
        envelope = read_row(*unframe(entry.envelope))
        of_digest[entry.digest] = entry.sequence
        if envelope["case_ref"] in refs:
            of_case[envelope["case_ref"]].append(envelope)
    return [
        _given(record, of_case[bytes.fromhex(record.case_ref)])
        if record.case_ref
        else _received(node, record, of_digest.get(boxes.digest_of(node, record.offer), 0))
        for record in kept
    ]


def check_settled(node: Node, reader: Reader) -> None:
    """Refuse to go on where a case is on its way: BadInput."""
    if count := sum(one.open for one in every(node, reader)):
        raise BadInput(
            f"{count} transfers of cases are not at their end, and nobody else can end them: `tocsin node transfer status` says "
            "what is to be done."
        )


def _given(record: Record, found: list[Envelope]) -> Standing:
    event, why = envelopes.withdrawn(found), envelopes.why_withdrawn(found)
    state = _answered(record)
    if event and record.open:
        state = "handed_over" if why == HANDED_OVER and state == "accepted" else "withdrawn"
    return _standing(record, state, found[0]["sequence"] if found else 0, event if state == "handed_over" else 0)


def _received(node: Node, record: Record, number: int) -> Standing:
    """Return how an offer to this node stands; taken is what was recorded to its end, when the key is destroyed."""
    done = number and not boxes.key_of(node, record.offer).exists()
    return _standing(record, "taken" if done else _answered(record), number)


def _answered(record: Record) -> str:
    if record.cancelled:
        return "cancelled"
    if record.answer is None:
        return "offered"
    return "accepted" if record.answer.accepts else "refused"


def _standing(record: Record, state: str, case: int, event: int = 0) -> Standing:
    offer, given = record.offer, bool(record.case_ref)
    other = offer.receiver if given else offer.sender
    reason = record.answer.verdict if record.answer and state == "refused" else ""
    return Standing(
        offer.offer_id.hex(), offer.day.isoformat(), other, given, state, case, event, reason, record.released
    )
