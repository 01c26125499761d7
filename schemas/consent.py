"""Consent to share an incident: the audiences that it may be given for, and when it can be recorded.

A node asks before it records, refine before it accepts: both by what stands here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import cache

from schemas.events import symbols

BASIS = "informed_consent"


@dataclass(frozen=True)
class Consent:
    """What a consent says: `basis` and `scope` of the facts, the days on which it was given and recorded, and the incident's."""

    basis: str
    scope: str
    given_on: date
    occurred_on: date
    recorded_on: date


@cache
def scopes() -> tuple[str, ...]:
    """Return the audiences in their order: each includes those before it."""
    return symbols("Incident", "sharing_scope")


def wider(scope: str, before: Iterable[str]) -> bool:
    """Return whether an audience is wider than each of those before."""
    return all(scopes().index(scope) > scopes().index(each) for each in before)


def refusal(before: Iterable[str], given: Consent) -> str:
    """Return why a consent can't be recorded, "" where it can: its reason as in schemas/codes/reasons.csv.

    `before` are the audiences of the versions that it takes the place of. One day of slack, since east of Greenwich the
    day begins earlier.
    """
    if given.basis != BASIS:
        return "consent.basis"
    if any(wider(each, (given.scope,)) for each in before):
        return "consent.narrower"
    timely = given.occurred_on <= given.given_on and (given.given_on - given.recorded_on).days <= 1
    return "" if timely else "consent.day"
