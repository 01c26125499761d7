"""Records that a hub signs: Ed25519 (RFC 8032) over all bytes of the body before the signature, behind the contract's name."""

from collections.abc import Mapping
from typing import Any

from schemas import rows
from schemas.released import Release, latest
from schemas.signing import SIGNATURE, sign, signed_by
from schemas.wire import confluent


def write(name: str, row: Mapping[str, Any], seed: bytes) -> bytes:
    """Return a row of the newest contract of this name, signed: its last field, `signature`, is made here."""
    release = latest(name)
    body = rows.write(release, {**row, "signature": bytes(SIGNATURE)})[:-SIGNATURE]
    return confluent(release, body + sign(seed, _words(release) + body))


def good(release: Release, body: bytes, signer: bytes) -> bool:
    """Return whether the body of a record is signed by this key."""
    return signed_by(signer, _words(release) + body[:-SIGNATURE], body[-SIGNATURE:])


def _words(release: Release) -> bytes:
    return f"tocsin {release.name} {release.version}\n".encode()
