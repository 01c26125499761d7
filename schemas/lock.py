"""Locking what only our own workers read back: the deltas in a ledger and the snapshots on a disk.

The nonce is a keyed digest of the contents, so equal contents under one key give equal bytes: a replay writes what the
run wrote. That two batches are equal is all that a reader without the key learns. XChaCha20-Poly1305.
"""

from hashlib import blake2b

from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt as _decrypt
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt as _encrypt
from nacl.exceptions import CryptoError

from schemas.errors import Stops

NONCE_BYTES = 24


class WrongKey(Stops):
    """The bytes were locked under another key, or were changed."""


def lock(key: bytes, data: bytes) -> bytes:
    """Return nonce (24 bytes) and sealed `data`; `key` has 32 bytes."""
    nonce = blake2b(data, key=key, digest_size=NONCE_BYTES, person=b"tocsin.nonce").digest()
    sealed: bytes = _encrypt(data, None, nonce, _sealing(key))
    return nonce + sealed


def unlock(key: bytes, locked: bytes) -> bytes:
    """Return what was locked; WrongKey where the key is another or a bit was changed."""
    try:
        return bytes(_decrypt(locked[NONCE_BYTES:], None, locked[:NONCE_BYTES], _sealing(key)))
    except (CryptoError, ValueError) as error:
        raise WrongKey(
            "A ledger or a snapshot can't be opened with ledger.key of the data folder: put the key back that wrote it."
        ) from error


def _sealing(key: bytes) -> bytes:
    return blake2b(key=key, digest_size=32, person=b"tocsin.sealing").digest()
