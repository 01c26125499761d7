"""Framing: which schema a message was written with, in the message itself.

Single object (Avro specification): `C3 01`, fingerprint in 8 bytes little endian, body. Needs no registry: journal,
bundles, `raw.*`, `keys.*`. Confluent: `00`, id in 4 bytes big endian, body. Read by the users' tools: `accepted`,
`hub.*`, `quarantine`, ledgers.
"""

from schemas.errors import Quarantines
from schemas.released import Release, by_fingerprint, by_id

SINGLE_OBJECT = b"\xc3\x01"
CONFLUENT = b"\x00"
SINGLE_OBJECT_LENGTH = 10
CONFLUENT_LENGTH = 5


class BadFrame(Quarantines):
    """The message starts as no message of ours does; reasons `frame.too_short`, `frame.magic`."""


def single_object_prefix(release: Release) -> bytes:
    """Return the 10 bytes before a body in single-object encoding."""
    return SINGLE_OBJECT + release.fingerprint


def confluent_prefix(release: Release) -> bytes:
    """Return the 5 bytes before a body in Confluent framing."""
    return CONFLUENT + release.id.to_bytes(4, "big")


def single_object(release: Release, body: bytes) -> bytes:
    """Return `body` in single-object encoding."""
    return single_object_prefix(release) + body


def confluent(release: Release, body: bytes) -> bytes:
    """Return `body` in Confluent framing."""
    return confluent_prefix(release) + body


def unframe(data: bytes) -> tuple[Release, bytes]:
    """Return the release and the body of a message in either framing.

    BadFrame (`frame.too_short`, `frame.magic`) or UnknownSchema (`frame.unknown_id`, `frame.unknown_fingerprint`).
    """
    if data[:1] == CONFLUENT:
        _long_enough(data, CONFLUENT_LENGTH)
        return by_id(int.from_bytes(data[1:5], "big")), data[5:]
    if data[:2] == SINGLE_OBJECT:
        _long_enough(data, SINGLE_OBJECT_LENGTH)
        return by_fingerprint(data[2:10]), data[10:]
    _long_enough(data, 2)
    raise BadFrame("frame.magic", "neither a single-object nor a Confluent message; the producer must frame its events")


def _long_enough(data: bytes, length: int) -> None:
    if len(data) < length:
        raise BadFrame("frame.too_short", f"the message has {len(data)} bytes and its frame alone needs {length}")
