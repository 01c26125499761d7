"""The papers by which one case goes from a node to another: an offer, its answer, and the case itself, sealed.

Each is a text that a person can read, signed as a note (https://c2sp.org/signed-note). Offer and answer tell counts and nothing
of the case; who has the third can open it only with the private key that belongs to the answer.
"""

import base64
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from nacl.exceptions import CryptoError
from nacl.public import PublicKey, SealedBox

from schemas import notes
from schemas.errors import BadInput
from schemas.handover import check_signed
from schemas.limits import NODE
from schemas.notes import ED25519, Key
from schemas.tables import read

OFFER, ANSWER, CASE = (f"tocsin.transfer.{name}/v1" for name in ("offer", "answer", "case"))
ACCEPTED, CANCELLED = "accepted", "cancelled"
ID, KEY, LARGEST = 16, 32, 9_999


class Paper(ABC):
    """A paper: its text, what names it, and the note by which it is signed."""

    @property
    @abstractmethod
    def text(self) -> str:
        """Return the text that is signed."""

    @property
    def digest(self) -> bytes:
        """Return the SHA-256 of the text, by which other papers name it."""
        return hashlib.sha256(self.text.encode()).digest()

    def signed(self, who: str, seed: bytes) -> str:
        """Return the note."""
        return f"{self.text}\n{notes.signature(self.text, who, seed)}"


@dataclass(frozen=True)
class Offer(Paper):
    """`sender` offers a case to `receiver`: how many `incidents` and open `referrals` it has; `signer` is the sender's public key."""

    offer_id: bytes
    sender: str
    receiver: str
    day: date
    incidents: int
    referrals: int
    signer: bytes

    @property
    def text(self) -> str:
        """Return the text that is signed."""
        about = {"offer": self.offer_id.hex(), "from": self.sender, "to": self.receiver, "day": self.day.isoformat()}
        counts = {"incidents": self.incidents, "referrals": self.referrals}
        return _text(OFFER, {**about, **counts, "signer": self.signer.hex()})


@dataclass(frozen=True)
class Answer(Paper):
    """What a node says to the offer that has this digest: ACCEPTED, or a code of why not; CANCELLED, its sender says.

    `signer` is the node's public key; `receives` is the one for which the case is to be sealed, nothing where it is not accepted.
    """

    offer: bytes
    node: str
    verdict: str
    signer: bytes
    receives: bytes = b""

    @property
    def accepts(self) -> bool:
        """Return whether the case is wanted."""
        return self.verdict == ACCEPTED

    @property
    def text(self) -> str:
        """Return the text that is signed."""
        about = {"offer": self.offer.hex(), "by": self.node, "verdict": self.verdict, "signer": self.signer.hex()}
        return _text(ANSWER, {**about, **({"receives": self.receives.hex()} if self.accepts else {})})


@dataclass(frozen=True)
class Given(Paper):
    """The case: digests of offer and answer, the event by which it left its node, as it was recorded, and what it is, sealed."""

    offer: bytes
    answer: bytes
    event: bytes
    box: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """Return the text that is signed."""
        event, box = (base64.b64encode(each).decode() for each in (self.event, self.box))
        return _text(CASE, {"offer": self.offer.hex(), "answer": self.answer.hex(), "event": event, "box": box})


def reasons() -> tuple[str, ...]:
    """Return the codes of why an offer is refused."""
    codes = (row["code"].partition(".") for row in read("transfer_words"))
    return tuple(code for kind, _, code in codes if kind == "reason")


def offered(note: str) -> Offer:
    """Return the offer in a note, signed by the key that it names. BadInput."""
    text, words = _words(note, OFFER)
    try:
        offer_id, signer = bytes.fromhex(words["offer"]), bytes.fromhex(words["signer"])
        counts = int(words["incidents"]), int(words["referrals"])
        found = Offer(offer_id, words["from"], words["to"], date.fromisoformat(words["day"]), *counts, signer)
    except (KeyError, ValueError):
        raise _no_paper("offer") from None
    good = len(offer_id) == ID and len(signer) == KEY and all(0 <= count <= LARGEST for count in counts)
    if found.text != text or not good or not all(map(NODE.fullmatch, (found.sender, found.receiver))):
        raise _no_paper("offer")
    check_signed(note, Key(found.sender, ED25519, signer))
    return found


def answered(note: str) -> Answer:
    """Return the answer in a note, signed by the key that it names. BadInput."""
    text, words = _words(note, ANSWER)
    try:
        offer, signer, receives = (bytes.fromhex(words.get(name, "")) for name in ("offer", "signer", "receives"))
        found = Answer(offer, words["by"], words["verdict"], signer, receives)
    except (KeyError, ValueError):
        raise _no_paper("answer") from None
    sizes = [len(offer), len(signer), len(receives)]
    known = found.accepts or found.verdict in (*reasons(), CANCELLED)
    if found.text != text or not known or sizes != [KEY, KEY, KEY if found.accepts else 0]:
        raise _no_paper("answer")
    if found.accepts and not _seals(receives):
        raise _no_paper("answer")
    check_signed(note, Key(found.node, ED25519, signer))
    return found


def given(note: str) -> Given:
    """Return the case in a note; whether it is signed, only who knows the offer can tell. BadInput."""
    text, words = _words(note, CASE)
    try:
        offer, answer = (bytes.fromhex(words[name]) for name in ("offer", "answer"))
        found = Given(offer, answer, *(base64.b64decode(words[name], validate=True) for name in ("event", "box")))
    except (KeyError, ValueError):
        raise _no_paper("case") from None
    if found.text != text:
        raise _no_paper("case")
    return found


def _seals(receives: bytes) -> bool:
    """Return whether anything can be sealed for a public key: for a point of small order it can't (RFC 7748, section 6.1)."""
    try:
        SealedBox(PublicKey(receives)).encrypt(b"")
    except CryptoError:
        return False
    return True


def _text(kind: str, words: Mapping[str, object]) -> str:
    return "".join(f"{line}\n" for line in (kind, *(f"{name} {word}" for name, word in words.items())))


def _words(note: str, kind: str) -> tuple[str, dict[str, str]]:
    """Return the text of a note and its lines, by their first words. BadInput where it is no paper of this kind."""
    text, _ = notes.parts(note)
    first, *lines = text.splitlines()
    if first != kind:
        raise _no_paper({OFFER: "offer", ANSWER: "answer", CASE: "case"}[kind])
    return text, {name: word for name, _, word in (line.partition(" ") for line in lines)}


def _no_paper(kind: str) -> BadInput:
    command = {"offer": "offer", "answer": "accept` or `tocsin node transfer refuse", "case": "release"}[kind]
    return BadInput(
        f"The file is no {kind} of a transfer: `tocsin node transfer {command}` writes one; ask for it again."
    )
