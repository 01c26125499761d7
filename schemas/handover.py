"""The papers of a handover: texts that a person can read and print, signed as notes (https://c2sp.org/signed-note).

A deed says what is handed over: the leaving team offers it, the successor adds its keys and signs, the leaving team signs too.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from schemas import notes
from schemas.errors import BadInput
from schemas.limits import NODE, NUMBERS
from schemas.notes import ED25519, Key

DEED, RECEIVED, PACKAGE = (f"tocsin.handover.{name}/v1" for name in ("deed", "received", "package"))
COUNTS = (
    *("events", "cases", "consents_to_grant", "public_cases", "withdrawn_cases", "incidents", "verified"),
    *("in_conflict", "open_referrals", "patterns"),
)
KEY = 32
COUNT = re.compile(r"0|[1-9][0-9]{0,12}")


@dataclass(frozen=True)
class Deed:
    """What is handed over: node and region, through which event with which link of its chain, last epoch, and `counts`.

    `leaving` is the public key of who leaves; `signer` and `receives` are those of the successor, nothing in an offer.
    """

    node: str
    region: str
    successor: str
    through: int
    link: bytes
    epoch: int
    leaving: bytes
    counts: Mapping[str, int] = field(default_factory=dict)
    signer: bytes = b""
    receives: bytes = b""

    @property
    def offer(self) -> "Deed":
        """Return it without the successor's keys."""
        return replace(self, signer=b"", receives=b"")

    @property
    def text(self) -> str:
        """Return the text that is signed."""
        lines = [
            *(DEED, f"node {self.node}", f"region {self.region}", f"successor {self.successor}"),
            *(f"through {self.through}", f"link {self.link.hex()}", f"epoch {self.epoch}"),
            f"leaving {self.leaving.hex()}",
            *(f"count {name} {self.counts[name]}" for name in COUNTS),
        ]
        if self.signer:
            lines += [f"signer {self.signer.hex()}", f"receives {self.receives.hex()}"]
        return "".join(f"{line}\n" for line in lines)

    @property
    def digest(self) -> bytes:
        """Return the SHA-256 of the text."""
        return hashlib.sha256(self.text.encode()).digest()

    def by_leaving(self, seed: bytes) -> str:
        """Return the line by which the leaving team signs."""
        return notes.signature(self.text, self.node, seed)

    def by_successor(self, seed: bytes) -> str:
        """Return the line by which the successor signs."""
        return notes.signature(self.text, self.successor, seed)


def deed(note: str) -> Deed:
    """Return the deed of a note, signed by the keys that it names: an offer by who leaves, else by the successor too.

    BadInput where it is no deed, or is not signed so.
    """
    text, _ = notes.parts(note)
    found = _deed(text)
    if found is None or found.text != text:
        raise BadInput("That is no deed of a handover; ask for the file again.")
    if found.signer:
        check_signed(note, Key(found.successor, ED25519, found.signer))
    else:
        check_signed(note, Key(found.node, ED25519, found.leaving))
    return found


def signed_by_both(note: str) -> Deed:
    """Return the deed of a note that both have signed. BadInput."""
    found = deed(note)
    if not found.signer:
        raise BadInput("The successor has not signed the deed: bring what `tocsin node handover accept` has written.")
    check_signed(note, Key(found.node, ED25519, found.leaving))
    return found


def manifest(of: Deed, parts: Mapping[str, bytes], seed: bytes) -> str:
    """Return the note by which the leaving team signs for each part of the package, by its name."""
    text = _listed(of, parts)
    return f"{text}\n{notes.signature(text, of.node, seed)}"


def check_manifest(note: str, of: Deed, parts: Mapping[str, bytes]) -> None:
    """Refuse parts that are not those which the leaving team has signed for: BadInput."""
    check_signed(note, Key(of.node, ED25519, of.leaving))
    if notes.parts(note)[0] != _listed(of, parts):
        raise BadInput("The parts of the package are not those that the leaving team has signed for.")


def _listed(of: Deed, parts: Mapping[str, bytes]) -> str:
    lines = [f"part {name} {hashlib.sha256(parts[name]).hexdigest()}" for name in sorted(parts)]
    return "".join(f"{line}\n" for line in (PACKAGE, f"deed {of.digest.hex()}", *lines))


def received(of: Deed, seed: bytes) -> str:
    """Return the note by which the successor says that it has everything."""
    text = f"{RECEIVED}\ndeed {of.digest.hex()}\n"
    return f"{text}\n{notes.signature(text, of.successor, seed)}"


def check_received(note: str, of: Deed) -> None:
    """Refuse what is not the successor's word on this deed: BadInput."""
    if notes.parts(note)[0] != f"{RECEIVED}\ndeed {of.digest.hex()}\n":
        raise BadInput(f"That is not what {of.successor} has written when it opened this handover; ask for it again.")
    check_signed(note, Key(of.successor, ED25519, of.signer))


def _deed(text: str) -> Deed | None:
    """Return the deed that a text may be; whoever calls compares its text."""
    first, *lines = text.splitlines()
    words = dict(line.rpartition(" ")[::2] for line in lines)
    try:
        counts = {name: _number(words[f"count {name}"]) for name in COUNTS}
        named = [bytes.fromhex(words.get(name, "")) for name in ("link", "leaving", "signer", "receives")]
        good = first == DEED and NODE.fullmatch(words["node"]) and NODE.fullmatch(words["successor"])
        sizes = [len(each) for each in named]
        if not good or sizes not in ([KEY] * 4, [KEY, KEY, 0, 0]):
            return None
        through, epoch = _number(words["through"]), _number(words["epoch"])
        return Deed(
            words["node"], words["region"], words["successor"], through, named[0], epoch, named[1], counts, *named[2:]
        )
    except (KeyError, ValueError):
        return None


def _number(word: str) -> int:
    if not COUNT.fullmatch(word) or int(word) >= NUMBERS:
        raise ValueError("no number of events")
    return int(word)


def check_signed(note: str, who: Key) -> None:
    """Refuse a note that this signer has not signed: BadInput."""
    if not notes.signed(note, who):
        raise BadInput(f"The file is not signed by {who.name} with the key {who.public.hex()[:16]}…: ask for it again.")
