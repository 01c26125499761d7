"""What a case is now, as it goes to another node: the newest version of each incident and the referrals that are open.

Not its history. Facts and referrals are the bodies of events as their contracts have them, so that a newer tocsin reads them.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from nacl.public import PrivateKey, PublicKey, SealedBox

from pipeline.node import referring
from pipeline.node.versions import REFERRED, REPORTED, History
from schemas.referrals import Referral
from schemas.released import latest
from schemas.rows import read, write
from schemas.wire import single_object, unframe
from schemas.wrapping import SealBroken, opened

NOBODY = bytes(16)


@dataclass(frozen=True)
class Incident:
    """The facts of an incident, and its open referrals as they were made."""

    facts: Mapping[str, Any]
    referrals: tuple[Referral, ...] = ()

    @property
    def area(self) -> str:
        """Return the area of its referrals."""
        return str(self.facts["admin1"] or self.facts["country"])


@dataclass(frozen=True)
class Contents:
    """A case that goes by the offer of this digest; `consented_on` is the day on which the survivor agreed, None where none had to."""

    offer: bytes
    consented_on: date | None
    incidents: tuple[Incident, ...]

    def seal(self, receives: bytes) -> bytes:
        """Return it sealed for who has the private half of this public key (X25519, XSalsa20-Poly1305), and for nobody else."""
        return bytes(SealedBox(PublicKey(receives)).encrypt(self._packed()))

    def _packed(self) -> bytes:
        incidents = [
            {
                "report": _framed(REPORTED, {"recorded_at": 0, "incident": incident.facts}),
                "referrals": [_framed(REFERRED, _made(incident.area, each)) for each in incident.referrals],
            }
            for incident in self.incidents
        ]
        on = self.consented_on.isoformat() if self.consented_on else None
        return json.dumps({"offer": self.offer.hex(), "consented_on": on, "incidents": incidents}).encode()


def of_case(offer: bytes, consented_on: date | None, histories: Sequence[History]) -> Contents:
    """Return what a case is now: of each incident that stands, its only newest version."""
    return Contents(offer, consented_on, tuple(_incident(history) for history in histories if history.heads))


def unsealed(private: bytes, box: bytes) -> Contents:
    """Return what was sealed. Quarantines where it does not open (`seal.broken`), or is of a contract that is not known."""
    content = opened(SealedBox(PrivateKey(private)).decrypt, box)
    try:
        said = json.loads(content)
        on = date.fromisoformat(said["consented_on"]) if said["consented_on"] else None
        incidents = tuple(
            Incident(_body(each["report"])["incident"], tuple(map(_referral, each["referrals"])))
            for each in said["incidents"]
        )
        return Contents(bytes.fromhex(said["offer"]), on, incidents)
    except (ValueError, KeyError, TypeError) as error:
        raise SealBroken from error


def _incident(history: History) -> Incident:
    newest = history.versions[history.heads[-1]]
    made = (history.referrals[number].body["referral"] for number in referring.unsettled(history))
    return Incident(newest.body["incident"], tuple(Referral(**each) for each in made))


def _made(area: str, referral: Referral) -> dict[str, Any]:
    """Return the body of an event that makes a referral, about an incident that has no id yet."""
    return {
        "recorded_at": 0,
        "incident_id": NOBODY,
        "incident_number": 1,
        "area": area,
        "referral": asdict(referral),
    }


def _referral(word: str) -> Referral:
    return Referral(**_body(word)["referral"])


def _framed(kind: str, body: Mapping[str, Any]) -> str:
    return base64.b64encode(single_object(latest(kind), write(latest(kind), body))).decode()


def _body(word: str) -> dict[str, Any]:
    body: dict[str, Any] = read(*unframe(base64.b64decode(word, validate=True)))
    return body
