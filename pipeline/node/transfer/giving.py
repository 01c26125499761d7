"""The node that has the case: it offers it, takes in the answer, and hands it over by one event of its own log.

That event forgets the case as a withdrawal does, and is the moment at which the owner changes. What the case is lies sealed for
the other node before, so it is lost at no moment, and given out when the hub has taken it out of its tables.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as changed
from datetime import date

from pipeline.node import casefiles, envelopes, forgetting, receipts, sent, versions, withdrawing
from pipeline.node.casefiles import CaseFile
from pipeline.node.entries import Damaged
from pipeline.node.handover import owning
from pipeline.node.importing import not_recorded
from pipeline.node.journal import Journal, Reader
from pipeline.node.node import Node, mission
from pipeline.node.record import now, today
from pipeline.node.transfer import boxes, contents, records, standing
from pipeline.node.transfer.records import Record
from pipeline.node.versions import REFERRALS, VERSIONS, History
from schemas import lifecycle, transfers, wrapping
from schemas.consent import BASIS, Consent, refusal
from schemas.errors import BadInput, NotSetUp
from schemas.transfers import CANCELLED, ID, Answer, Given, Offer
from schemas.withdrawals import HANDED_OVER, WITHDRAWN

Step = Callable[[int], None]


@dataclass(frozen=True)
class HandedOver:
    """The case of which event `number` was the first left for `receiver` by event `event`; `before`, had done so before."""

    number: int
    event: int
    receiver: str
    before: bool


def offer(
    node: Node, journal: Journal, number: int, receiver: str, consented_on: date | None, step: Step = lambda _: None
) -> Record:
    """Offer the case of an event to another node, and return the offer, which is kept; done before alike, the same one.

    BadInput where the case can't go as it is, is offered already, or its survivor has not consented.
    """
    owning.check(node.folder, journal)
    if mission(receiver) == node.code:
        raise BadInput(f"{node.code} has the case already: name another node by --to.")
    case = _ready(node, journal, number, step)
    if before := records.of_case(node, case.ref):
        if before.offer.receiver == receiver and _unwrapped(case, before) == consented_on:
            return before
        raise BadInput(
            f"The case of event {number} is offered to {before.offer.receiver} already: `tocsin node transfer cancel "
            f"--event {number}` takes that back."
        )
    _check_consent(node, case, consented_on)
    found = contents.of_case(b"", None, case.histories)
    referrals = sum(len(incident.referrals) for incident in found.incidents)
    made = Offer(os.urandom(ID), node.code, receiver, today(), len(found.incidents), referrals, node.public)
    consented = _wrapped(case, made, consented_on) if consented_on else b""
    record = Record(
        made.signed(node.code, node.secret("sign")), now(), case_ref=case.ref.hex(), consented=consented.hex()
    )
    return records.keep(node, record)


def cancel(node: Node, journal: Journal, number: int) -> Record:
    """Take an offer back before the case has left; done before, it changes nothing. BadInput where there is none, or it is too late."""
    found = envelopes.of_event(node, journal, number)
    ref = found[0]["case_ref"]
    if records.of_case(node, ref) is None and (before := records.cancelled(node, ref)):
        return before
    record = _open(node, ref, number)
    if envelopes.why_withdrawn(found) == HANDED_OVER:
        raise BadInput(
            f"The case of event {number} has left by event {envelopes.withdrawn(found)}: it is {record.offer.receiver}'s."
        )
    if _cut_off(node, journal, ref):
        raise BadInput(
            f"The case of event {number} is leaving, its key is destroyed: `tocsin node transfer complete --event {number}` ends it."
        )
    boxes.forget_box(node, ref)
    return records.keep(node, changed(record, cancelled=True))


def cancellation(node: Node, record: Record) -> str:
    """Return the note by which the other node learns that an offer was cancelled."""
    said = Answer(record.offer.digest, node.code, CANCELLED, node.public)
    return said.signed(node.code, node.secret("sign"))


def answer(node: Node, note: str) -> Record:
    """Take in what the other node says; done before, it changes nothing.

    BadInput where it answers no offer of this node that is open, or another answer was taken in before.
    """
    said = transfers.answered(note)
    record = records.of_offer(node, said.offer)
    own = record is not None and record.case_ref and record.offer.receiver == said.node
    if record is None or not own or said.verdict == CANCELLED:
        raise BadInput(f"That answers no offer of {node.code}: `tocsin node transfer status` lists them.")
    if record.answer == said:
        return record
    if record.cancelled:
        raise BadInput("The offer was cancelled: its answer changes nothing. Offer the case again.")
    if record.answer:
        raise BadInput(
            f"{said.node} has answered otherwise before, and that stands: ask them which of the two is theirs."
        )
    return records.keep(node, changed(record, answer_note=note))


def complete(node: Node, journal: Journal, number: int, step: Step = lambda _: None) -> HandedOver:
    """Hand over the case of an event to the node that has accepted it. Killed at any moment it is run again, and ends it.

    BadInput where nobody has accepted it, or it can't go as it is now.
    """
    owning.check(node.folder, journal)
    found = envelopes.of_event(node, journal, number)
    ref = found[0]["case_ref"]
    record = _open(node, ref, number)
    event, why = envelopes.withdrawn(found), envelopes.why_withdrawn(found)
    if event and why == HANDED_OVER:
        return HandedOver(found[0]["sequence"], event, record.offer.receiver, before=True)
    if record.answer is None:
        raise BadInput(
            f"{record.offer.receiver} has not answered: take in what it writes by `tocsin node transfer answer FILE`."
        )
    if not _cut_off(node, journal, ref):
        case = _ready(node, journal, number, step)
        on = _unwrapped(case, record)
        _check_consent(node, case, on)
        sealed = contents.of_case(record.offer.digest, on, case.histories).seal(record.answer.receives)
        boxes.write(node, boxes.box_of(node, ref), sealed)
    [done] = withdrawing.withdraw(node, journal, [number], lambda _: None, HANDED_OVER)
    return HandedOver(done.number, done.event, record.offer.receiver, before=False)


def release(node: Node, reader: Reader, number: int, put: Callable[[str], object] = lambda _: None) -> str:
    """Return the note that gives a case out which has left, when the hub has taken it out of its tables; `put` writes it.

    BadInput where it has not left, NotSetUp where the hub has not receipted that, Damaged where it is not in the folder.
    """
    found = envelopes.of_event(node, reader, number)
    record = records.of_case(node, found[0]["case_ref"])
    if record is None or record.answer is None or envelopes.why_withdrawn(found) != HANDED_OVER:
        raise BadInput(
            f"The case of event {number} is not handed over: `tocsin node transfer status` says how it stands."
        )
    left = [envelope["sequence"] for envelope in found if envelope["kind"] == WITHDRAWN]
    _check_receipted(node, left)
    box = boxes.box_of(node, found[0]["case_ref"])
    if not box.exists():
        raise Damaged(f"{box} is missing; restore this file from a backup of the node's folder.")
    event = next(reader.read(left[0])).envelope
    given = Given(record.offer.digest, record.answer.digest, event, box.read_bytes())
    note = given.signed(node.code, node.secret("sign"))
    put(note)
    if not record.released:
        records.keep(node, changed(record, released=True))
    return note


def _ready(node: Node, reader: Reader, number: int, step: Step) -> CaseFile:
    """Return the case of an event, if it can go as it is. BadInput says what to do first."""
    found = envelopes.of_event(node, reader, number)
    history = versions.history(node, reader, number)
    case = next(each for each in casefiles.every(node, reader, lambda _: step(1)) if each.ref == history.case.ref)
    if sum(envelope["kind"] in VERSIONS | REFERRALS for envelope in found) > withdrawing.NAMED:
        raise BadInput(
            f"The case of event {number} has more than {withdrawing.NAMED:,} versions: it can't go by one event."
        )
    for each in case.histories:
        _check_stands(each)
    if any(
        one.case == case.number and one.state == "accepted" and not one.given for one in standing.every(node, reader)
    ):
        raise BadInput(
            f"The case of event {number} has not come to you wholly: run `tocsin node transfer take` again with its file."
        )
    return case


def _check_stands(history: History) -> None:
    """Refuse an incident that no region has, or has two versions of: BadInput."""
    report, heads = history.reported.number, history.heads
    if history.retracted:
        raise BadInput(
            f"The incident of event {report} was retracted by event {history.retracted}: there is nothing to go on with."
        )
    if not heads:
        raise BadInput(f"The hub refused event {report}: `tocsin node status` says why. Correct its row and import it.")
    if len(heads) > 1:
        raise BadInput(
            f"Events {', '.join(map(str, heads))} are in conflict: end it first by `tocsin node amend` or `tocsin node verify`."
        )
    if history.versions[heads[0]].state not in lifecycle.SHARED:
        raise BadInput(
            f"The incident of event {report} is no longer shared, as event {heads[0]} says: only what regions have goes to "
            "another node. `tocsin node verify` may open its examination anew."
        )


def _check_consent(node: Node, case: CaseFile, on: date | None) -> None:
    """Refuse a case that needs a consent without the day of one, or with an impossible one: BadInput."""
    if not casefiles.by_consent(case):
        return
    if on is None:
        raise BadInput(
            f"The case of event {case.number} is shared by a survivor's consent, which is yours alone: ask her whether the other "
            "node may go on with it, and give the day on which she agreed by --consented-on. Cancel an offer without it."
        )
    for history in case.histories:
        newest = history.versions[history.heads[-1]]
        given = Consent(BASIS, newest.scope, on, newest.body["incident"]["occurred_on"], today())
        if reason := refusal((newest.scope,), given):
            raise not_recorded(reason, node.lang)


def _open(node: Node, ref: bytes, number: int) -> Record:
    record = records.of_case(node, ref)
    if record is None:
        raise BadInput(
            f"The case of event {number} is offered to nobody: `tocsin node transfer offer --event {number} --to CODE`."
        )
    return record


def _cut_off(node: Node, journal: Journal, ref: bytes) -> bool:
    """Return whether a run that was killed has destroyed the key already, and sealed the case before."""
    gone = journal.keys().get(ref) == b""
    return gone and (forgetting.read(node).get(ref) == HANDED_OVER or boxes.box_of(node, ref).exists())


def _check_receipted(node: Node, left: list[int]) -> None:
    """Refuse to give a case out that a table may still show: NotSetUp, BadInput."""
    known, gone = receipts.read(node), sent.read(node)
    if any(number in left for number, _ in known.refused):
        raise BadInput(f"The hub refused event {left[0]}: `tocsin node status` says why; ask your hub.")
    # What this folder has not sent itself, a receipt is not about: an old copy may have been put back.
    covered = gone.events >= left[-1] and known.end >= gone.end and known.through >= left[-1]
    if not covered or any(first <= number <= last for first, last in known.missing for number in left):
        raise NotSetUp(
            f"The hub has no receipt yet for event {left[-1]}, by which the case left: its tables may still show it. Run "
            "`tocsin node sync`, and again a little later; then this."
        )


def _wrapped(case: CaseFile, made: Offer, on: date) -> bytes:
    """Return a day, so that only who can open the case reads it; no other offer has the nonce."""
    assert case.key is not None
    return wrapping.wrap(case.key, made.offer_id, on.isoformat().ljust(wrapping.KEY).encode())


def _unwrapped(case: CaseFile, record: Record) -> date | None:
    assert case.key is not None
    if not record.consented:
        return None
    return date.fromisoformat(
        wrapping.unwrap(case.key, record.offer.offer_id, bytes.fromhex(record.consented)).decode().strip()
    )
