"""Signatures: Ed25519 (RFC 8032), of nodes, hubs and witnesses."""

from nacl import bindings
from nacl.exceptions import BadSignatureError

SIGNATURE, SEED = 64, 32


def new_signer() -> tuple[bytes, bytes]:
    """Return a new (public key, secret seed), 32 bytes each."""
    public, secret = bindings.crypto_sign_keypair()
    return bytes(public), bytes(secret[:SEED])


def public_of(seed: bytes) -> bytes:
    """Return the public key of a secret seed."""
    return bytes(bindings.crypto_sign_seed_keypair(seed)[0])


def sign(seed: bytes, words: bytes) -> bytes:
    """Return the signature over some words: 64 bytes."""
    secret = bindings.crypto_sign_seed_keypair(seed)[1]
    return bytes(bindings.crypto_sign(words, secret)[:SIGNATURE])


def signed_by(public: bytes, words: bytes, signature: bytes) -> bool:
    """Return whether this key has signed these words."""
    if len(signature) != SIGNATURE:
        return False  # libsodium would take what is too much as the beginning of the words
    try:
        bindings.crypto_sign_open(signature + words, public)
    except (BadSignatureError, ValueError):
        return False
    return True
