"""Referrals of a survivor to a service: which services and outcomes there are, and what can be recorded of one.

A node asks before it records, refine before it accepts: both by what stands here.
"""

from dataclasses import dataclass
from datetime import date
from functools import cache

from schemas.events import symbols
from schemas.places import country_of

PENDING, ONGOING, DECLINED = "pending", "service_ongoing", "declined"


@dataclass(frozen=True)
class Referral:
    """What is known of a referral, as its contract has it."""

    service: str
    referred_on: date
    consented: bool
    outcome: str
    followed_up_on: date | None = None


@cache
def services() -> tuple[str, ...]:
    """Return the services that a survivor can be referred to."""
    return symbols("Referral", "service")


@cache
def outcomes() -> tuple[str, ...]:
    """Return what a follow-up can find."""
    return tuple(symbol for symbol in symbols("Referral", "outcome") if symbol != PENDING)


def refusal(known: Referral, area: str, recorded_on: date) -> str:
    """Return why a referral can't be recorded, "" where it can: its reason as in schemas/codes/reasons.csv.

    A referral that was never followed up is pending, or declined where she did not agree. One day of slack, since east
    of Greenwich the day begins earlier.
    """
    if known.service not in services():
        return "referral.service"
    if known.outcome not in _possible(known):
        return "referral.outcome"
    last = known.followed_up_on or known.referred_on
    if last < known.referred_on or (last - recorded_on).days > 1:
        return "referral.day"
    return "" if country_of(area) else "referral.area"


def _possible(known: Referral) -> tuple[str, ...]:
    if known.followed_up_on:
        return outcomes() if known.consented else ()
    return (PENDING,) if known.consented else (DECLINED,)
