"""The life of an incident that was revised, or of a referral: its versions, and which of them speaks. Pure values, no columns.

A version is a head until another one replaces it. The one that speaks hands over only to a version whose author had seen
it; a head beside it is in conflict with it and is kept aside until a version replaces both. So nobody overwrites what she
has not read; of two in conflict the one that came first speaks. A referral has no conflicts: who follows it up names what
was said of it last.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from schemas import consent
from schemas.consent import Consent
from schemas.errors import Quarantines
from schemas.lifecycle import SHARED, Chain, chain, refusal
from schemas.referrals import DECLINED, PENDING, outcomes

Kind = Literal[
    "IncidentAmended", "IncidentVerified", "IncidentRetracted", "ConsentGiven", "ReferralMade", "ReferralFollowedUp"
]
NOBODY, HUB = b"", "hub"
MOST = 1_000
"""How many versions an incident may have."""
LAST: Mapping[Kind, str] = {"IncidentRetracted": "revision.not_newest", "ReferralFollowedUp": "referral.not_newest"}
"""What must follow all heads, and the reason where it does not."""


@dataclass(frozen=True)
class Version:
    """`state` of verification, or outcome of a referral; the steps that were `taken` to it; whether regions have it: `shared`.

    `scope` is its audience.
    """

    state: str
    taken: Chain = ()
    shared: bool = True
    scope: str = HUB


@dataclass(frozen=True)
class Life:
    """An incident or referral of the case `case`: `versions` by event id, the `heads` among them, and the head that `speaks`."""

    case: bytes
    versions: Mapping[bytes, Version]
    heads: frozenset[bytes]
    speaks: bytes

    @property
    def of_referral(self) -> bool:
        """Whether it is that of a referral: its states are outcomes."""
        return self.versions[self.speaks].state in (PENDING, *outcomes())


@dataclass(frozen=True)
class Revision:
    """An event `event_id` about an incident that takes the place of the versions `replaces`, the newest last.

    `state` (of a referral its outcome) and `scope` are those that its facts have, "" where it has none; `consent` is what it
    says of one.
    """

    kind: Kind
    event_id: bytes
    replaces: tuple[bytes, ...]
    state: str = ""
    step: str = "unspecified"
    verifier: bytes = NOBODY
    scope: str = ""
    consent: Consent | None = None


@dataclass(frozen=True)
class Turn:
    """What a revision does: the life after it, whether it speaks now, and the shared versions that it ends."""

    life: Life
    speaks: bool
    ended: tuple[bytes, ...]


def begin(case: bytes, incident_id: bytes, state: str, scope: str = HUB) -> Life:
    """Return the life of an incident as it was reported, or of a referral as it was made."""
    return Life(case, {incident_id: Version(state, scope=scope)}, frozenset({incident_id}), incident_id)


def follow(life: Life, one: Revision) -> Turn:
    """Return what a revision does to a life; Quarantines where it is not allowed."""
    if len(life.versions) >= MOST:
        raise Quarantines("revision.too_many")
    known = [life.versions[each] for each in one.replaces if each in life.versions]
    version = _MADE[one.kind](known or [life.versions[life.speaks]], one)
    if one.kind in LAST and life.heads - set(one.replaces):
        raise Quarantines(LAST[one.kind])
    speaks = life.speaks in one.replaces
    ended = [each for each in one.replaces if each in life.heads and life.versions[each].shared]
    after = replace(
        life,
        versions={**life.versions, one.event_id: version},
        heads=life.heads - set(one.replaces) | {one.event_id},
        speaks=one.event_id if speaks else life.speaks,
    )
    return Turn(after, speaks, tuple(dict.fromkeys(ended)))


def _amended(before: list[Version], one: Revision) -> Version:
    """Return the version of a correction: verification is as it was in all before, but nobody has examined these facts."""
    _as_before(before, one)
    return Version(one.state, (), one.state in SHARED, one.scope)


def _given(before: list[Version], one: Revision) -> Version:
    """Return the version of a consent: verification is as it was in all before, and its steps stand."""
    assert one.consent, "an event of this kind says when consent was given"
    _as_before(before, one)
    if reason := consent.refusal([each.scope for each in before], one.consent):
        raise Quarantines(reason)
    return Version(one.state, before[-1].taken, one.state in SHARED, one.scope)


def _as_before(before: list[Version], one: Revision) -> None:
    if {each.state for each in before} != {one.state}:
        raise Quarantines("revision.verification_by_amendment")


def _verified(before: list[Version], one: Revision) -> Version:
    """Return the version of an examination, a further step after those that were taken to the newest version before."""
    newest = before[-1]
    move, step = (newest.state, one.state), (one.step, one.verifier)
    if reason := refusal(newest.taken, move, step):
        raise Quarantines(reason)
    return Version(one.state, chain(newest.taken, move, step), one.state in SHARED, one.scope)


def _retracted(before: list[Version], one: Revision) -> Version:  # noqa: ARG001
    """Return the version of a retraction; what is reported again after it is verified as it was before."""
    return Version(before[-1].state, (), shared=False, scope=before[-1].scope)


def _followed_up(before: list[Version], one: Revision) -> Version:
    """Return what is said of a referral from now on; one that is declined goes no further."""
    if before[-1].state == DECLINED:
        raise Quarantines("referral.declined")
    return Version(one.state)


_MADE = {
    "IncidentAmended": _amended,
    "IncidentVerified": _verified,
    "IncidentRetracted": _retracted,
    "ConsentGiven": _given,
    "ReferralFollowedUp": _followed_up,
}


def pack(lives: Mapping[bytes, Life]) -> bytes:
    """Return lives by incident in bytes; equal lives give equal bytes."""
    return json.dumps({key.hex(): _plain(life) for key, life in lives.items()}, sort_keys=True).encode()


def unpack(packed: bytes) -> dict[bytes, Life]:
    """Return the lives that `pack` wrote."""
    return {bytes.fromhex(key): _life(plain) for key, plain in json.loads(packed or b"{}").items()}


def _plain(life: Life) -> dict[str, Any]:
    versions = {
        key.hex(): [one.state, [[step, who.hex()] for step, who in one.taken], one.shared, one.scope]
        for key, one in life.versions.items()
    }
    heads = sorted(each.hex() for each in life.heads)
    return {"case": life.case.hex(), "versions": versions, "heads": heads, "speaks": life.speaks.hex()}


def _life(plain: dict[str, Any]) -> Life:
    versions = {
        bytes.fromhex(key): Version(state, tuple((step, bytes.fromhex(who)) for step, who in steps), shared, *scope)
        for key, (state, steps, shared, *scope) in plain["versions"].items()
    }
    heads = frozenset(map(bytes.fromhex, plain["heads"]))
    return Life(bytes.fromhex(plain["case"]), versions, heads, bytes.fromhex(plain["speaks"]))
