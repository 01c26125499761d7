"""An incident as its node knows it, for the load: what was said of it, and what may be said next.

Moves and steps of verification stand here in the generator's own words, and it makes none that is forbidden: what may
be refused is what names an event that refine does not have, and a retraction that leaves a version standing.
"""

import random
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from tests import synthetic
from tests.synthetic import EPOCH, zigzag

PENDING, VERIFIED, NOT_IN_SCOPE, DID_NOT_OCCUR = range(4)
STATES = ("report_pending_verification", "verified", "not_in_scope", "did_not_occur")
STEPS = ("unspecified", "focal_point", "technical", "task_force")
REASONS = ("unspecified", "error", "duplicate", "did_not_occur", "out_of_scope", "security")
TO = {  # a state as often as it is to be chosen
    PENDING: (VERIFIED, VERIFIED, VERIFIED, PENDING, NOT_IN_SCOPE, DID_NOT_OCCUR),
    VERIFIED: (VERIFIED, VERIFIED, NOT_IN_SCOPE, DID_NOT_OCCUR),
    NOT_IN_SCOPE: (PENDING, NOT_IN_SCOPE),
    DID_NOT_OCCUR: (PENDING, DID_NOT_OCCUR),
}
RETRACT, VERIFY, GRANT, MOVES_AWAY, LATE = 0.1, 0.35, 0.15, 0.4, 0.2
PUBLIC = 2
RECENT, LIVELY = 300, 8


@dataclass
class Version:
    """What one event said; `event` has the state of verification, `step` is the last that was taken, 0 for none."""

    event_id: bytes
    number: int
    event: synthetic.Incident
    step: int = 0


@dataclass
class Told:
    """An incident of a case: its versions, the oldest first, and those of them that none has replaced."""

    case: bytes
    versions: list[Version]
    heads: list[Version]
    strays: list[tuple[bytes, int]] = field(default_factory=list)
    referrals: list[list[Any]] = field(default_factory=list)

    @property
    def first(self) -> Version:
        return self.versions[0]

    @property
    def scope(self) -> int:
        """Return the widest audience that any version had: nobody grants less."""
        return max(one.event.scope for one in self.versions)

    def seen(self, rng: random.Random) -> list[Version]:
        """Return what an author has before her: the newest versions, or now and then an older one or not all of them."""
        if rng.random() >= LATE:
            return list(self.heads)
        if len(self.heads) > 1:
            return [rng.choice(self.heads)]
        older = [one for one in self.versions if one not in self.heads]
        return [rng.choice(older or self.heads)]

    def leaves(self, draft: "Draft") -> bool:
        """Return whether a version would stand that the draft does not name: nobody retracts what she has not seen."""
        return bool({one.event_id for one in self.heads} - {event_id for event_id, _ in draft.replaced})

    def said(self, draft: "Draft", event_id: bytes, number: int) -> None:
        """Go on with what was sent."""
        made = Version(event_id, number, draft.event, draft.taken)
        ids = {each for each, _ in draft.replaced}
        self.versions.append(made)
        self.heads = [*(one for one in self.heads if one.event_id not in ids), made]


@dataclass
class Draft:
    """What is about to be sent: `replaced` are ids and numbers, `taken` the step that the next one goes on from."""

    kind: str
    replaced: list[tuple[bytes, int]]
    event: synthetic.Incident
    taken: int = 0
    step: int = 0
    verifier: bytes = b""
    verified_on: int | None = None
    given_on: int | None = None
    reason: int = 0

    def encode(self, incident: tuple[bytes, int], recorded: int) -> bytes:
        """Return the body, by the contract of its kind."""
        named = b"".join(event_id + number.to_bytes(8, "big") for event_id, number in self.replaced)
        head = zigzag(recorded) + incident[0] + zigzag(incident[1]) + zigzag(len(named)) + named
        if self.kind == "IncidentRetracted":
            return head + zigzag(self.reason)
        if self.kind == "IncidentVerified":
            head += zigzag(self.step) + self.verifier + zigzag(self.verified_on)
            return head + self.event.encode() + zigzag(0)  # no decision of the hub
        if self.kind == "ConsentGiven":
            head += zigzag(self.given_on)
        return head + self.event.encode()

    def truth(self) -> dict:
        """Return what the body says beside the facts, as its contract names it."""
        if self.kind == "IncidentRetracted":
            return {"reason": REASONS[self.reason]}
        state = {"state": STATES[self.event.verification]}
        if self.kind != "IncidentVerified":
            change = "amended" if self.kind == "IncidentAmended" else "consent_given"
            return {**state, "change": change, "step": "unspecified", "verified_on": None, "late": False}
        late = self.verified_on > _end_of_quarter(self.event.day)
        days = {"verified_on": self.verified_on, "late": late}
        return {**state, "change": "verified", "step": STEPS[self.step], **days}


def _end_of_quarter(day: int) -> int:
    when = date.fromordinal(day + EPOCH)
    month = (when.month - 1) // 3 * 3 + 4
    return date(when.year + month // 13, (month - 1) % 12 + 1, 1).toordinal() - EPOCH - 1


class Tales:
    """The incidents of one node; some are told again and again, so that their versions meet."""

    def __init__(self) -> None:
        self.recent: list[Told] = []
        self.lively: list[Told] = []
        self.forked: list[Told] = []
        self.left: list[Told] = []

    def choose(self, rng: random.Random) -> Told:
        """Return the incident that goes on: one of the last, or one whose case is withdrawn, or whose number is forked."""
        pools = (self.left, self.forked, self.lively, self.recent)
        (pool,) = rng.choices(pools, (0.05, 0.03, 0.65, 0.27))
        chosen = rng.choice(pool or self.recent)
        if chosen not in self.lively and pool not in (self.left, self.forked):
            self.lively = [*self.lively[-LIVELY:], chosen]
        return chosen

    def report(self, case: bytes, version: Version, forked: bool) -> None:
        """Take in a report."""
        told = Told(case, [version], [version])
        if forked:
            self.forked = [*self.forked[-LIVELY:], told]
        else:
            self.recent = [*self.recent[-RECENT:], told]

    def withdraw(self, case: bytes) -> None:
        """Take it that a case is withdrawn."""
        gone = [one for one in self.recent + self.lively if one.case == case]
        self.left = [*self.left, *gone][-LIVELY:]
        self.recent = [one for one in self.recent if one.case != case]
        self.lively = [one for one in self.lively if one.case != case]


def drafted(rng: random.Random, seen: list[Version], fresh: synthetic.Incident, scope: int = 0) -> Draft:
    """Return what a node says next of an incident of which it has seen some versions; `fresh` are other facts.

    `scope` is the narrowest audience that a consent may be for.
    """
    replaced = [(one.event_id, one.number) for one in seen]
    before = max(seen, key=lambda one: one.number)
    draw = rng.random()
    if draw < RETRACT:
        return Draft("IncidentRetracted", replaced, before.event, reason=rng.randrange(1, len(REASONS)))
    if draw < RETRACT + VERIFY:
        state = rng.choice(TO[before.event.verification])
        anew = state == PENDING != before.event.verification
        last = 0 if anew else before.step
        if last + 1 < len(STEPS):
            step = rng.choice([last + 1, last + 1, len(STEPS) - 1])
            event = replace(before.event, verification=state)
            day = event.day + rng.choice([0, 20, 60, 200])
            return Draft(
                "IncidentVerified", replaced, event, 0 if anew else step, step, rng.randbytes(8), verified_on=day
            )
    if (
        len({one.event.verification for one in seen}) > 1
    ):  # an amendment would have to choose: it follows the newest alone
        replaced = [(before.event_id, before.number)]
    if draw < RETRACT + VERIFY + GRANT:
        event = replace(before.event, scope=rng.randrange(scope, PUBLIC + 1))
        return Draft("ConsentGiven", replaced, event, before.step, given_on=event.day + rng.choice([0, 20]))
    event = replace(before.event, day=fresh.day, counts=fresh.counts, deaths=rng.randrange(3))
    if rng.random() < MOVES_AWAY:
        event = replace(fresh, verification=event.verification)
    return Draft("IncidentAmended", replaced, event)
