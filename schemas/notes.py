"""Signed notes and the checkpoints in them, as C2SP has them, so that anyone's witness works with ours.

A note is a text, an empty line, and a line for each signature: https://c2sp.org/signed-note. A checkpoint is the text
`origin`, size, root of a log's tree: https://c2sp.org/tlog-checkpoint. A cosignature also signs the time at which the witness
had seen the log no larger: https://c2sp.org/tlog-cosignature.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from schemas import chain, signing
from schemas.errors import BadInput

ED25519, COSIGNATURE = 1, 4  # algorithms of C2SP
DASH = "\N{EM DASH}"
NAME = re.compile(r"[^\s+]{1,100}")


@dataclass(frozen=True)
class Key:
    """A public key (Ed25519) and the name of who signs with it; as text `name+hash+key`, C2SP's vkey."""

    name: str
    algorithm: int
    public: bytes

    @property
    def hash(self) -> bytes:
        """Return the 4 bytes by which a signature names its key."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.algorithm]) + self.public).digest()[:4]

    def __str__(self) -> str:
        """Return the key as one word."""
        return f"{self.name}+{self.hash.hex()}+{base64.b64encode(bytes([self.algorithm]) + self.public).decode()}"


@dataclass(frozen=True)
class Point:
    """A checkpoint: the tree over the first `size` records of the log `origin` has this root."""

    origin: str
    size: int
    root: bytes

    def __str__(self) -> str:
        """Return the text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def key(word: str) -> Key:
    """Return the key that a word names. BadInput where it is none."""
    name, _, rest = word.strip().partition("+")
    digest, _, encoded = rest.partition("+")
    blob = _decoded(encoded)
    made = Key(name, blob[0], blob[1:]) if len(blob) == 1 + chain.HASH and blob[0] in (ED25519, COSIGNATURE) else None
    if made is None or not NAME.fullmatch(name) or made.hash.hex() != digest:
        raise BadInput("That is no key of a signer; give the whole word NAME+HASH+KEY that the signer has told.")
    return made


def point(text: str) -> Point:
    """Return the checkpoint in a note's text. BadInput where there is none."""
    lines = text.split("\n")
    root = _decoded(lines[2]) if len(lines) > 2 else b""
    if len(root) != chain.HASH or not re.fullmatch(r"0|[1-9][0-9]{0,17}", lines[1]) or not lines[0]:
        raise BadInput("The file holds no checkpoint: a line of origin, a size and a root; ask for it again.")
    return Point(lines[0], int(lines[1]), root)


def parts(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """Return a note's text and its signatures as (name, bytes). BadInput where it is no note."""
    text, blank, tail = note.rpartition("\n\n")
    found = [re.fullmatch(rf"{DASH} (\S+) (\S+)", line) for line in tail.splitlines()]
    if not blank or not found or not all(found):
        raise BadInput("The file holds no signed note: a text, an empty line, and signatures; ask for it again.")
    return text + "\n", [(one[1], _decoded(one[2])) for one in found if one]


def signature(text: str, name: str, seed: bytes) -> str:
    """Return the line that signs a text."""
    who = Key(name, ED25519, signing.public_of(seed))
    return _line(who, signing.sign(seed, text.encode()))


def cosignature(text: str, name: str, seed: bytes, seconds: int) -> str:
    """Return the line by which a witness signs a text, at a time in seconds UTC."""
    who = Key(name, COSIGNATURE, signing.public_of(seed))
    return _line(who, seconds.to_bytes(8, "big") + signing.sign(seed, _cosigned(text, seconds)))


def signed(note: str, who: Key) -> bool:
    """Return whether this signer has signed, or cosigned, the note. BadInput where it is no note."""
    text, signatures = parts(note)
    return any(_good(text, blob, who) for name, blob in signatures if name == who.name and blob[:4] == who.hash)


def _good(text: str, blob: bytes, who: Key) -> bool:
    if len(blob) != (4 if who.algorithm == ED25519 else 12) + signing.SIGNATURE:
        return False
    if who.algorithm == ED25519:
        return signing.signed_by(who.public, text.encode(), blob[4:])
    seconds = int.from_bytes(blob[4:12], "big")
    return signing.signed_by(who.public, _cosigned(text, seconds), blob[12:])


def _cosigned(text: str, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()


def _line(who: Key, blob: bytes) -> str:
    return f"{DASH} {who.name} {base64.b64encode(who.hash + blob).decode()}\n"


def _decoded(word: str) -> bytes:
    try:
        return base64.b64decode(word, validate=True)
    except (binascii.Error, ValueError):
        return b""
