"""How keys travel: a case's key under its node's epoch key, the epoch key in a sealed box for one region.

Destroying the record that holds a wrapped key is the forgetting of its case. Offered to everyone by schemas/seal.py.
"""

from typing import Any

from nacl import bindings
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox
from nacl.utils import random

from schemas.errors import Quarantines

KEY = 32
CASE_KEY = b"tocsin.case-key"


class SealBroken(Quarantines):
    """The seal does not open: another key, or a bit of the body or of its envelope was changed."""

    def __init__(self) -> None:
        super().__init__("seal.broken", "The seal does not open; ask the node to send this event again.")


def new_case_key() -> bytes:
    """Return a fresh random key of 32 bytes; epoch keys are made alike."""
    return bytes(random(KEY))


def wrap(epoch_key: bytes, case_ref: bytes, case_key: bytes) -> bytes:
    """Return a case's key under the epoch's key: 48 bytes. A case has one key for its whole life."""
    nonce = case_ref + bytes(8)
    return bytes(bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(case_key, CASE_KEY, nonce, epoch_key))


def unwrap(epoch_key: bytes, case_ref: bytes, wrapped: bytes) -> bytes:
    """Return a case's key. Errors: SealBroken."""
    nonce = case_ref + bytes(8)
    return opened(bindings.crypto_aead_xchacha20poly1305_ietf_decrypt, wrapped, CASE_KEY, nonce, epoch_key)


def region_pair() -> tuple[bytes, bytes]:
    """Return a region's new (public, private) key, 32 bytes each."""
    private = PrivateKey.generate()
    return bytes(private.public_key), bytes(private)


def seal_epoch(region_public: bytes, epoch_key: bytes) -> bytes:
    """Return an epoch's key so that only the region can read it; the node itself can't open it again."""
    return bytes(SealedBox(PublicKey(region_public)).encrypt(epoch_key))


def open_epoch(region_private: bytes, sealed: bytes) -> bytes:
    """Return an epoch's key. Errors: SealBroken."""
    key = opened(SealedBox(PrivateKey(region_private)).decrypt, sealed)
    if len(key) != KEY:
        raise SealBroken
    return key


def opened(decrypt: Any, *arguments: bytes) -> bytes:
    """Call a decryption of libsodium. Errors: SealBroken."""
    try:
        return bytes(decrypt(*arguments))
    except (CryptoError, ValueError):  # ValueError: too short to be a sealed message
        raise SealBroken from None


__all__ = ["SealBroken", "new_case_key", "open_epoch", "opened", "region_pair", "seal_epoch", "unwrap", "wrap"]
