"""The versions of one incident as the node's own journal has them, opened with the key of their case and folded.

What the hub has refused, as far as receipts say, made no version there and makes none here.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pipeline.node import envelopes, keys, receipts
from pipeline.node.entries import Damaged
from pipeline.node.envelopes import Envelope
from pipeline.node.handover import deeds
from pipeline.node.handover.deeds import NotEntrusted
from pipeline.node.journal import Reader
from pipeline.node.keys import Case
from pipeline.node.node import Node
from schemas import lifecycle, seal
from schemas.errors import BadInput, NotSetUp, Quarantines
from schemas.released import by_fingerprint
from schemas.rows import read as read_row
from schemas.withdrawals import HANDED_OVER, RETENTION, WITHDRAWN

REPORTED, AMENDED, VERIFIED, RETRACTED = "IncidentReported", "IncidentAmended", "IncidentVerified", "IncidentRetracted"
GIVEN = "ConsentGiven"
REFERRED, FOLLOWED_UP = "ReferralMade", "ReferralFollowedUp"
VERSIONS, REFERRALS = frozenset({REPORTED, AMENDED, VERIFIED, GIVEN}), frozenset({REFERRED, FOLLOWED_UP})
CHANGES: Mapping[str, str] = {
    REPORTED: "reported",
    AMENDED: "amended",
    VERIFIED: "verified",
    RETRACTED: "retracted",
    GIVEN: "consent_given",
    REFERRED: "referred",
    FOLLOWED_UP: "followed_up",
    WITHDRAWN: "withdrawn",
}
"""What an event did to its incident, by its kind."""
FORGOTTEN: Mapping[str, str] = {RETENTION: "forgotten as its rule says", HANDED_OVER: "handed over"}
"""How a case was forgotten, by the cause; each other one is a withdrawal."""
ANOTHER = "envelope.sequence"  # another event has the number, or none can have it: this one may come yet


@dataclass(frozen=True)
class Event:
    """One event about an incident; `follows` are the numbers of the versions that it takes the place of."""

    number: int
    event_id: bytes
    kind: str
    follows: tuple[int, ...]
    body: Mapping[str, Any]

    @property
    def state(self) -> str:
        """Return the state of verification of this version."""
        return str(self.body["incident"]["verification"])

    @property
    def scope(self) -> str:
        """Return the widest audience that may receive this version."""
        return str(self.body["incident"]["sharing_scope"])


@dataclass(frozen=True)
class History:
    """All events about one incident by number, the one that reported it first, and those about its `referrals`.

    `refused` are those that the hub refused.
    """

    case: Case
    events: Mapping[int, Event]
    refused: frozenset[int] = frozenset()
    referrals: Mapping[int, Event] = field(default_factory=dict)

    @property
    def reported(self) -> Event:
        """Return the event that reported the incident."""
        return next(iter(self.events.values()))

    @cached_property
    def versions(self) -> Mapping[int, Event]:
        """Return those that made a version."""
        return {event.number: event for event in self._taken() if event.kind in VERSIONS}

    @cached_property
    def heads(self) -> list[int]:
        """Return the versions that no event has taken the place of: several are in conflict, a retraction leaves none."""
        ended = {number for event in self._taken() for number in event.follows}
        return sorted(self.versions.keys() - ended)

    @property
    def retracted(self) -> int:
        """Return the number of the event that retracted the incident, 0 where none did."""
        return next((event.number for event in self._taken() if event.kind == RETRACTED), 0)

    def chain(self, number: int) -> lifecycle.Chain:
        """Return the steps of verification that a version stands on; it follows the newest of those that it replaces."""
        event = self.events[number]
        known = [each for each in event.follows if each in self.versions]
        if event.kind not in (VERIFIED, GIVEN) or not known:
            return ()
        before = self.events[max(known)]
        if event.kind == GIVEN:
            return self.chain(before.number)
        taken = (event.body["step"], event.body["verifier"])
        return lifecycle.chain(self.chain(before.number), (before.state, event.state), taken)

    def _taken(self) -> list[Event]:
        return [event for number, event in self.events.items() if number not in self.refused]


def history(node: Node, reader: Reader, number: int) -> History:
    """Return what became of the incident of an event: the one that reported it, changed it, or is about a referral.

    BadInput where there is none, or where its case was withdrawn; Damaged where the node's folder does not open it.
    """
    found = envelopes.of_event(node, reader, number)
    if event := envelopes.withdrawn(found):
        how = FORGOTTEN.get(envelopes.why_withdrawn(found), "withdrawn")
        raise BadInput(f"The case of event {number} was {how} by event {event}: nothing of it can be opened.")
    ref = found[0]["case_ref"]
    try:
        case = case_of(node, reader.keys(), ref, number)
    except NotSetUp:  # the epoch of its key has ended while it was read
        case = case_of(node, reader.keys(), ref, number)
    try:
        every = histories(case, found, refused(node))
    except Quarantines as error:
        raise _damaged(node, number) from error
    about = (each for each in every if number in each.events or number in each.referrals)
    if (one := next(about, None)) is None:
        raise BadInput(f"Event {number} of {node.code} is about no incident.")
    return one


def histories(case: Case, found: Sequence[Envelope], refusals: frozenset[int]) -> list[History]:
    """Return what became of each incident of a case. Quarantines where an event does not open."""
    kinds, by_incident = VERSIONS | REFERRALS | {RETRACTED}, defaultdict[bytes, list[Event]](list)
    for event in (_opened(case, envelope) for envelope in found if envelope["kind"] in kinds):
        by_incident[_incident(event)].append(event)
    parted = (
        ({event.number: event for event in each if (event.kind in REFERRALS) == about} for about in (False, True))
        for each in by_incident.values()
    )
    return [History(case, events, refusals, referrals) for events, referrals in parted]


def refused(node: Node) -> frozenset[int]:
    """Return the numbers of the events that the hub refused: sent again, they stay refused."""
    known = receipts.read(node).refused.items()
    return frozenset(number for (number, _), reasons in known if number and not reasons.startswith(ANOTHER))


def case_of(node: Node, values: Mapping[bytes, bytes], ref: bytes, number: int) -> Case:
    """Return the case that `values`, the newest of `keys.<node>` by key, open; errors as those of `history`."""
    if ref in values and not values[ref]:
        raise BadInput(
            f"The key of the case of event {number} is destroyed, and no event says so yet: run "
            f"`tocsin node withdraw --event {number}` again."
        )
    try:
        return keys.opened(ref, values[ref], lambda epoch: node.secret(f"epoch-{epoch}"))
    except NotSetUp:
        if left := deeds.paper(node.folder, deeds.CLOSED):
            raise NotEntrusted(
                f"{node.code} was handed over to {left.successor}, and your keys are destroyed: nothing opens here."
            ) from None
        if deeds.paper(node.folder) is None:
            raise
        raise NotEntrusted(
            f"The case of event {number} was handed over, and its survivor has not consented anew: ask the hub for its key "
            f"by `tocsin node handover ask --event {number}`, or take the case back by `tocsin node withdraw`."
        ) from None
    except (KeyError, Quarantines) as error:
        raise _damaged(node, number) from error


def _opened(case: Case, envelope: Envelope) -> Event:
    body = read_row(by_fingerprint(envelope["body_schema"]), seal.open_event(case.key, envelope))
    follows = tuple(number for _, number in lifecycle.entries(body.get("replaces", b"")))
    return Event(envelope["sequence"], envelope["event_id"], envelope["kind"], follows, body)


def _incident(event: Event) -> bytes:
    return event.event_id if event.kind == REPORTED else bytes(event.body["incident_id"])


def _damaged(node: Node, number: int) -> Damaged:
    return Damaged(
        f"The case of event {number} does not open with its key in {node.folder}; nothing was changed. "
        "Restore the newest backup of that folder."
    )
