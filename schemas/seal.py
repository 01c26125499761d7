"""Seal what is about a case under that case's own key; forgetting the case is destroying the key.

XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha, libsodium's `crypto_aead_xchacha20poly1305_ietf`): the nonce of 24 bytes is
event_id + sequence, never used twice under one key; the associated data binds schema, event, case, sequence and node, so
that a sealed body can't be put into another envelope. A case's key travels wrapped under its node's epoch key, the epoch
key in a sealed box (X25519, XSalsa20-Poly1305) that only the region's private key opens. The hub mints its own ids from a
node's with keyed BLAKE2b (RFC 7693). The twins for whole batches are in schemas/unseal.py and schemas/minting.py.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from nacl import bindings

from schemas.wrapping import SealBroken, new_case_key, open_epoch, opened, region_pair, seal_epoch, unwrap, wrap


def seal_body(
    key: bytes, *, body_schema: bytes, event_id: bytes, case_ref: bytes, sequence: int, node: str, body: bytes
) -> bytes:
    """Return the body sealed under the case's key; 16 bytes longer.

    The same key must never seal two bodies with the same event_id and sequence.
    """
    nonce, bound = _bind(body_schema, event_id, case_ref, sequence, node)
    return bytes(bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(body, bound, nonce, key))


def open_body(
    key: bytes, *, body_schema: bytes, event_id: bytes, case_ref: bytes, sequence: int, node: str, body: bytes
) -> bytes:
    """Return the body in clear. Errors: SealBroken (`seal.broken`)."""
    nonce, bound = _bind(body_schema, event_id, case_ref, sequence, node)
    return opened(bindings.crypto_aead_xchacha20poly1305_ietf_decrypt, body, bound, nonce, key)


def open_event(key: bytes, envelope: Mapping[str, Any]) -> bytes:
    """Return the body of an event in clear, by its envelope as it was read. Errors: SealBroken (`seal.broken`)."""
    named = ("body_schema", "event_id", "case_ref", "sequence", "node", "body")
    return open_body(key, **{name: envelope[name] for name in named})


def mint(secret: bytes, event_id: bytes) -> bytes:
    """Return the region's own id for a node's event: 16 bytes, not to be linked without the region's 32-byte secret."""
    return hashlib.blake2b(event_id, digest_size=16, key=secret).digest()


def _bind(body_schema: bytes, event_id: bytes, case_ref: bytes, sequence: int, node: str) -> tuple[bytes, bytes]:
    """Return the nonce and the associated data of an event's body."""
    number = sequence.to_bytes(8, "little", signed=True)
    return event_id + number, body_schema + event_id + case_ref + number + node.encode()


__all__ = [
    "SealBroken",
    "mint",
    "new_case_key",
    "open_body",
    "open_epoch",
    "open_event",
    "region_pair",
    "seal_body",
    "seal_epoch",
    "unwrap",
    "wrap",
]
