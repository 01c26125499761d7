"""A node's chain of events and its signed heads: who holds a head can tell of every event before it whether it is as it was.

An event's hash is that of a leaf of RFC 6962: SHA-256 of a zero byte and the record as it was sent. The chain's value after
an event is SHA-256 of the byte 2, the value before and the event's hash; before the first event it is 32 zero bytes.
A head is signed with Ed25519 (RFC 8032). What is sealed is hashed sealed: forgetting a case breaks no chain.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from schemas import rows
from schemas.errors import Quarantines
from schemas.limits import NUMBERS
from schemas.released import latest
from schemas.signing import SIGNATURE, sign, signed_by
from schemas.wire import single_object, unframe

HASH, MARK = 32, 8
START = bytes(HASH)
WORDS = b"tocsin head 1\n"


class BadHead(Quarantines):
    """No head of a chain, or its signature is not the signer's; reasons `head.malformed`, `head.signature`."""


@dataclass(frozen=True)
class Head:
    """One head; `marks` are the first 8 bytes of the hash of each event since the head before, `previous` is that one's hash.

    The first head of who took a node over has no previous one: `continues` is the hash of the last head of the chain before.
    """

    node: str
    signer: bytes
    sequence: int
    link: bytes
    previous: bytes
    marks: bytes
    continues: bytes | None = None

    @property
    def first(self) -> int:
        """Return the number of the first event that it adds to the head before."""
        return self.sequence - len(self.marks) // MARK + 1

    @property
    def before(self) -> bytes:
        """Return the hash of the head that it goes on from; 32 zero bytes where there is none."""
        return self.continues or self.previous

    def mark(self, sequence: int) -> bytes:
        """Return the mark of one of its events."""
        at = (sequence - self.first) * MARK
        return self.marks[at : at + MARK]


def leaf(record: bytes) -> bytes:
    """Return an event's hash, of the record as it was sent."""
    return hashlib.sha256(b"\x00" + record).digest()


def extended(link: bytes, leaves: Iterable[bytes]) -> bytes:
    """Return the chain's value after events of these hashes, which follow one another."""
    for each in leaves:
        link = hashlib.sha256(b"\x02" + link + each).digest()
    return link


def sign_head(seed: bytes, head: Head) -> bytes:
    """Return the record of a head for `heads.<node>`."""
    release = latest("HeadSigned")
    body = rows.write(release, {**vars(head), "signature": bytes(SIGNATURE)})[:-SIGNATURE]
    return single_object(release, body + sign(seed, WORDS + body))


def read_head(record: bytes) -> Head:
    """Return the head in a record of `heads.<node>`, signed by the signer that it names. Errors: BadHead."""
    try:
        release, body = unframe(record)
        row = rows.read(release, body) if release.name == "HeadSigned" else {}
    except Quarantines as error:
        raise BadHead("head.malformed", f"a record is no head of a chain ({error.reason})") from error
    count = len(row["marks"]) // MARK if row else 0
    if not count or len(row["marks"]) % MARK or not count <= row["sequence"] < NUMBERS:
        raise BadHead("head.malformed", "a record is no head of a chain")
    signature = row.pop("signature")
    if not signed_by(row["signer"], WORDS + body[:-SIGNATURE], signature):
        raise BadHead("head.signature", f"the head at event {row['sequence']} is not signed by the key that it names")
    return Head(**row)
