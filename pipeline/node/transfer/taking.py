"""The node that is offered a case: it answers, and takes the case when the other node has given it out.

What it takes is recorded under a key of its own, each event once however often the file comes; then the private key that opened
the file is destroyed, so that a withdrawal here is final.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from pipeline.files import destroy, hexadecimal
from pipeline.node import envelopes, versions
from pipeline.node.handover import owning
from pipeline.node.importing import broken, not_recorded, sentence
from pipeline.node.journal import Journal, Reader
from pipeline.node.node import Node
from pipeline.node.record import Recorder, now, today
from pipeline.node.transfer import boxes, contents, records
from pipeline.node.transfer.contents import Contents, Incident
from pipeline.node.transfer.records import Record
from pipeline.node.versions import GIVEN, REFERRED, REPORTED, History
from schemas import consent, lifecycle, referrals, transfers
from schemas.consent import BASIS, Consent
from schemas.errors import BadInput, Quarantines
from schemas.handover import check_signed
from schemas.notes import ED25519, Key
from schemas.released import UnknownSchema
from schemas.rows import read as read_row
from schemas.transfers import ACCEPTED, Answer, Given, Offer
from schemas.wire import unframe
from schemas.withdrawals import HANDED_OVER, WITHDRAWN, cause


@dataclass(frozen=True)
class Taken:
    """The case that came from `sender`: the numbers of the events that reported its incidents here, and of all that was recorded now.

    `withdrawn` is the event by which it was forgotten here since, 0 where none did.
    """

    sender: str
    incidents: tuple[int, ...]
    recorded: tuple[int, ...]
    withdrawn: int = 0


def accept(node: Node, reader: Reader, note: str) -> Record:
    """Accept an offer with a fresh key for its case, and return it with the answer; done before, the same one.

    BadInput where the offer is for another node, or was refused.
    """
    record = _offered(node, reader, note)
    if record.cancelled:
        raise BadInput(f"{record.offer.sender} has cancelled this offer: ask for another one.")
    if record.answer and record.answer.accepts:
        return record
    if record.answer:
        raise BadInput(
            f"{node.code} has refused this offer, and that stands: ask {record.offer.sender} to offer the case again."
        )
    receives = boxes.pair(node, record.offer)[:32]
    return _answered(node, record, Answer(record.offer.digest, node.code, ACCEPTED, node.public, receives))


def refuse(node: Node, reader: Reader, note: str, reason: str) -> Record:
    """Refuse an offer by a code of why, and return it with the answer; done before, the same one.

    BadInput where the offer is for another node, or was accepted: the case may be on its way.
    """
    record = _offered(node, reader, note)
    if record.answer and record.answer.accepts:
        raise BadInput(
            f"{node.code} has accepted this offer: ask {record.offer.sender} to run `tocsin node transfer cancel`, and for its file."
        )
    if record.answer:
        return record
    return _answered(node, record, Answer(record.offer.digest, node.code, reason, node.public))


def cancelled(node: Node, note: str) -> Record:
    """Take in that an offer was cancelled: the key for its case is destroyed. BadInput where its sender has not said so."""
    said = transfers.answered(note)
    record = records.of_offer(node, said.offer)
    if record is None or record.case_ref or (said.node, said.signer) != (record.offer.sender, record.offer.signer):
        raise BadInput(f"That cancels no offer that {node.code} was made: `tocsin node transfer status` lists them.")
    destroy(boxes.key_of(node, record.offer))
    return record if record.cancelled else records.keep(node, replace(record, cancelled=True))


def take(node: Node, journal: Journal, note: str) -> Taken:
    """Record the case that a node has given out to this one. Taken again, or after a kill, only what is lacking is recorded.

    BadInput where the file is not as that node has signed it, answers no acceptance of this folder, or breaks a rule; nothing is
    recorded then.
    """
    given = transfers.given(note)
    record = records.of_offer(node, given.offer)
    if record is None or record.answer is None or not record.open or record.answer.digest != given.answer:
        raise BadInput(f"That answers no acceptance of {node.code}: `tocsin node transfer status` lists them.")
    offer = record.offer
    check_signed(note, Key(offer.sender, ED25519, offer.signer))
    _check_event(offer, given)
    owning.check(node.folder, journal)
    before, private = _number(journal, boxes.digest_of(node, offer)), hexadecimal(boxes.key_of(node, offer))[32:]
    gone = envelopes.withdrawn(envelopes.of_event(node, journal, before)) if before else 0
    if before and (gone or not private):
        destroy(boxes.key_of(node, offer))
        return Taken(offer.sender, (before,), (), gone)
    found, last = _opened(offer, given, private), journal.last
    _check(node, found)
    incidents = tuple(_record(node, journal, offer, found, at) for at in range(len(found.incidents)))
    destroy(boxes.key_of(node, offer))
    return Taken(offer.sender, incidents, tuple(range(last + 1, journal.last + 1)))


def _offered(node: Node, reader: Reader, note: str) -> Record:
    """Return what is kept of an offer that is for this node. BadInput."""
    owning.check(node.folder, reader)
    offer = transfers.offered(note)
    if offer.receiver != node.code or offer.sender == node.code:
        raise BadInput(f"The case is offered to {offer.receiver}, not to {node.code}: ask for an offer of your own.")
    return records.of_offer(node, offer.digest) or Record(note, now())


def _answered(node: Node, record: Record, answer: Answer) -> Record:
    return records.keep(node, replace(record, answer_note=answer.signed(node.code, node.secret("sign"))))


def _check_event(offer: Offer, given: Given) -> None:
    """Refuse a file without the event by which its case left: BadInput."""
    try:
        event = read_row(*unframe(given.event))
        why = cause(event["body_schema"], event["body"]) if event["kind"] == WITHDRAWN else ""
    except (Quarantines, KeyError):
        why = ""
    if why != HANDED_OVER or event["node"] != offer.sender:
        raise BadInput(f"The file does not show that {offer.sender} has handed its case over; ask for the file again.")


def _opened(offer: Offer, given: Given, private: bytes) -> Contents:
    """Return what the case is. BadInput where it does not open, or is another offer's."""
    try:
        found = contents.unsealed(private, given.box)
    except UnknownSchema as error:
        raise BadInput(
            "The case is written by a newer tocsin: update tocsin here, then take the file again."
        ) from error
    except (Quarantines, ValueError, TypeError) as error:
        raise BadInput(
            "The case does not open with the key for which you have accepted it: ask for the file again, and change nothing in "
            f"the node's folder ({type(error).__name__})."
        ) from error
    if found.offer != offer.digest or not found.incidents:
        raise BadInput(
            f"The file holds another case than the one that {offer.sender} has offered: ask for the file again."
        )
    return found


def _check(node: Node, found: Contents) -> None:
    """Refuse what breaks a rule, before anything is recorded: BadInput."""
    for incident in found.incidents:
        if against := broken("incident", incident.facts):
            said = "".join(f"\n  {code}  {sentence(code, node.lang)}" for code in against)
            raise BadInput(f"Nothing was recorded; rules refuse it, update tocsin here or there:{said}")
        for known in incident.referrals:
            if reason := referrals.refusal(known, incident.area, today()):
                raise not_recorded(reason, node.lang)
        if incident.facts["sharing_basis"] == BASIS and found.consented_on is None:
            raise BadInput("The file names no day on which the survivor has consented: ask for a new offer with it.")
        if (given := _consent(found, incident)) and (reason := consent.refusal((given.scope,), given)):
            raise not_recorded(reason, node.lang)


def _consent(found: Contents, incident: Incident) -> Consent | None:
    """Return the consent by which an incident is shared, None where it is public information."""
    facts = incident.facts
    if facts["sharing_basis"] != BASIS or found.consented_on is None:
        return None
    return Consent(BASIS, facts["sharing_scope"], found.consented_on, facts["occurred_on"], today())


def _record(node: Node, journal: Journal, offer: Offer, found: Contents, at: int) -> int:
    """Record what is lacking of one incident, and return the number of the event that reports it."""
    incident = found.incidents[at]
    digest = boxes.digest_of(node, offer, f"incident {at}")
    if digest not in journal.digests:
        with Recorder(node, journal) as recorder:
            recorder.record(REPORTED, {"incident": incident.facts}, digest)
    number = _number(journal, digest)
    history = versions.history(node, journal, number)
    about = {"incident_id": history.reported.event_id, "incident_number": number}
    with Recorder(node, journal) as recorder:
        for part, kind, body in _following(found, incident, history):
            digest = boxes.digest_of(node, offer, f"{part} of {at}")
            if digest not in journal.digests:
                recorder.follow(history.case, kind, {**about, **body}, digest)
    return number


def _following(found: Contents, incident: Incident, history: History) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield what follows the report of an incident: what names it, kind and body of each event."""
    if (given := _consent(found, incident)) and history.heads:
        newest = history.versions[history.heads[-1]]
        replaces = lifecycle.replaces([(newest.event_id, newest.number)])
        yield "consent", GIVEN, {"replaces": replaces, "given_on": given.given_on, "incident": newest.body["incident"]}
    for number, known in enumerate(incident.referrals):
        yield f"referral {number}", REFERRED, {"area": incident.area, "referral": asdict(known)}


def _number(reader: Reader, digest: bytes) -> int:
    """Return the number of the event that the journal knows by a digest, 0 where there is none."""
    return next((entry.sequence for entry in reader.read() if entry.digest == digest), 0)
