"""A survivor is referred to a service, and somebody asks what became of that. Each is one event under her case's key.

A follow-up says the whole referral anew, and names what was said of it last.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from pipeline.node import versions
from pipeline.node.importing import not_recorded
from pipeline.node.journal import Journal
from pipeline.node.node import Node
from pipeline.node.record import Recorder, today
from pipeline.node.versions import FOLLOWED_UP, REFERRED, Event, History
from schemas import lifecycle
from schemas.errors import BadInput
from schemas.referrals import DECLINED, ONGOING, PENDING, Referral, refusal


@dataclass(frozen=True)
class Referred:
    """The numbers of the event, of the one that made the referral and the one that reported the incident; what is known now."""

    event: int
    referral: int
    incident: int
    known: Referral


def refer(
    node: Node, journal: Journal, number: int, service: str, on: date | None = None, *, consented: bool = True
) -> Referred:
    """Record that a survivor was referred to a service, or declined to be; `number` names her incident.

    BadInput where the incident is not shared, or the day is impossible.
    """
    history = versions.history(node, journal, number)
    incident = _newest(history).body["incident"]
    known = Referral(service, on or today(), consented, PENDING if consented else DECLINED)
    if known.referred_on < incident["occurred_on"]:
        raise not_recorded("referral.day", node.lang)
    body = {"area": incident["admin1"] or incident["country"]}
    event = _recorded(node, journal, history, REFERRED, known, body)
    return Referred(event, event, history.reported.number, known)


def follow_up(node: Node, journal: Journal, number: int, outcome: str, on: date | None = None) -> Referred:
    """Record what became of a referral; `number` is that of the event that made it, or of any that followed it up.

    BadInput where it is about no referral, she had declined it, or the day is impossible.
    """
    history = versions.history(node, journal, number)
    made, last = _referral(history, number)
    before = Referral(**last.body["referral"])
    if before.outcome == DECLINED:
        raise not_recorded("referral.declined", node.lang)
    known = Referral(before.service, before.referred_on, before.consented, outcome, on or today())
    named = {
        "referral_id": made.event_id,
        "referral_number": made.number,
        "replaces": lifecycle.replaces([(last.event_id, last.number)]),
        "area": made.body["area"],
    }
    event = _recorded(node, journal, history, FOLLOWED_UP, known, named)
    return Referred(event, made.number, history.reported.number, known)


def outcomes(history: History) -> dict[int, str]:
    """Return what was said last of each referral that stands, by the number of the event that made it."""
    taken = [event for event in history.referrals.values() if event.number not in history.refused]
    made = {event.event_id: event.number for event in taken if event.kind == REFERRED}
    return {made[_made(event)]: event.body["referral"]["outcome"] for event in taken if _made(event) in made}


def unsettled(history: History) -> list[int]:
    """Return the numbers of the events that made referrals which are still open: nothing has come of them, or a service goes on."""
    return [number for number, outcome in outcomes(history).items() if outcome in (PENDING, ONGOING)]


def _newest(history: History) -> Event:
    """Return the newest version of an incident; BadInput where regions do not have it."""
    number = history.reported.number
    if not history.heads or history.versions[history.heads[-1]].state not in lifecycle.SHARED:
        raise BadInput(
            f"The incident of event {number} is not shared, so neither is a referral: `tocsin node case --event {number}` "
            "says what became of it."
        )
    return history.versions[history.heads[-1]]


def _referral(history: History, number: int) -> tuple[Event, Event]:
    """Return the event that made the referral which an event is about, and the one that said last what became of it."""
    taken = [event for event in history.referrals.values() if event.number not in history.refused]
    named = next((event for event in taken if event.number == number), None)
    if named is None:
        made = ", ".join(str(event.number) for event in taken if event.kind == REFERRED)
        known = f"its incident's referrals are of events {made}" if made else "make one by `tocsin node refer` first"
        raise BadInput(f"Event {number} is about no referral that stands: {known}.")
    mine = [event for event in taken if _made(event) == _made(named)]
    return mine[0], mine[-1]


def _made(event: Event) -> bytes:
    """Return the id of the event that made the referral."""
    return event.event_id if event.kind == REFERRED else bytes(event.body["referral_id"])


def _recorded(
    node: Node, journal: Journal, history: History, kind: str, known: Referral, more: Mapping[str, Any]
) -> int:
    """Record one event about a referral that can be recorded, and return its number."""
    if reason := refusal(known, more["area"], today()):
        raise not_recorded(reason, node.lang)
    report = history.reported
    about = {"incident_id": report.event_id, "incident_number": report.number, "referral": asdict(known)}
    with Recorder(node, journal) as recorder:
        recorder.follow(history.case, kind, {**about, **more})
    return journal.last
