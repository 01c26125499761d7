"""Referrals as their node knows them, for the load: what was said of one, and what may be said next."""

import random
from dataclasses import dataclass, replace

from tests.chaos.versions import Told, Version
from tests.synthetic import text, zigzag

SERVICES = (
    "unspecified", "medical", "mental_health_psychosocial", "legal", "shelter", "security", "livelihood",
    "child_protection",
)  # fmt: skip
OUTCOMES = (
    "unspecified", "pending", "service_received", "service_ongoing", "service_unavailable", "not_reached", "declined",
)  # fmt: skip
PENDING, DECLINED = OUTCOMES.index("pending"), OUTCOMES.index("declined")
ANOTHER, LATE, DECLINES = 0.3, 0.4, 0.2


@dataclass
class Referral:
    """The fields of a referral, codes as their numbers."""

    area: str
    service: int
    day: int
    consented: bool
    outcome: int
    followed_up_on: int | None = None

    def encode(self) -> bytes:
        followed = b"\x00" if self.followed_up_on is None else b"\x02" + zigzag(self.followed_up_on)
        known = zigzag(self.service) + zigzag(self.day) + (b"\x01" if self.consented else b"\x00")
        return known + zigzag(self.outcome) + followed


@dataclass
class Said:
    """What one event said of a referral."""

    event_id: bytes
    number: int
    event: Referral


@dataclass
class Draft:
    """What is about to be sent: `made` is the event that made the referral, None for this one, `last` what was said of it."""

    event: Referral
    made: Said | None = None
    last: Said | None = None

    @property
    def kind(self) -> str:
        return "ReferralFollowedUp" if self.made else "ReferralMade"

    @property
    def replaced(self) -> list[tuple[bytes, int]]:
        """Return what it names beside its incident: the referral, then what was said of it last."""
        return [(one.event_id, one.number) for one in (self.made, self.last) if one]

    def encode(self, incident: tuple[bytes, int], recorded: int) -> bytes:
        """Return the body, by the contract of its kind."""
        head = zigzag(recorded) + incident[0] + zigzag(incident[1])
        if self.made and self.last:
            named = self.last.event_id + self.last.number.to_bytes(8, "big")
            head += self.made.event_id + zigzag(self.made.number) + zigzag(len(named)) + named
        return head + text(self.event.area) + self.event.encode()

    def truth(self) -> dict:
        """Return what the body says, as its contract names it."""
        one = self.event
        coded = {"service": SERVICES[one.service], "outcome": OUTCOMES[one.outcome], "consented": one.consented}
        return {**coded, "area": one.area, "referred_on": one.day, "followed_up_on": one.followed_up_on}


def drafted(rng: random.Random, told: Told, known: list[list[Said]]) -> Draft:
    """Return what a node says next of the referrals of an incident, each with what was said of it so far."""
    if not known or rng.random() < ANOTHER:
        newest: Version = told.versions[-1]
        consented = rng.random() >= DECLINES
        outcome = PENDING if consented else DECLINED
        day = newest.event.day + rng.choice([0, 3, 20])
        return Draft(Referral(newest.event.area, rng.randrange(1, len(SERVICES)), day, consented, outcome))
    said = rng.choice(known)
    last = rng.choice(said) if rng.random() < LATE else said[-1]
    outcome, day = rng.randrange(PENDING + 1, len(OUTCOMES)), said[0].event.day + rng.choice([1, 9, 40])
    return Draft(replace(said[0].event, consented=True, outcome=outcome, followed_up_on=day), said[0], last)
