"""Merkle trees as RFC 6962 has them, over hashes of leaves (`schemas.chain.leaf`): roots, and proofs that a log only grew.

A tree of no leaves has the SHA-256 of nothing as its root. Proofs are lists of 32-byte hashes; checking one needs neither
the leaves nor this module's other half: https://www.rfc-editor.org/rfc/rfc6962#section-2.1
"""

import hashlib
from collections.abc import Sequence

EMPTY = hashlib.sha256().digest()


def node(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over hashes of leaves."""
    if not leaves:
        return EMPTY
    level = list(leaves)
    while len(level) > 1:
        paired = [node(level[k], level[k + 1]) for k in range(0, len(level) - 1, 2)]
        level = paired + level[len(level) & ~1 :]
    return level[0]


def grown(leaves: Sequence[bytes], before: int) -> list[bytes]:
    """Return the proof that the tree of these leaves begins with the tree of the first `before` of them (0 < before <= n)."""
    assert 0 < before <= len(leaves)
    return _grown(leaves, before, whole=True)


def _grown(leaves: Sequence[bytes], before: int, whole: bool) -> list[bytes]:
    if before == len(leaves):
        return [] if whole else [root(leaves)]
    split = _split(len(leaves))
    if before <= split:
        return [*_grown(leaves[:split], before, whole), root(leaves[split:])]
    return [*_grown(leaves[split:], before - split, whole=False), root(leaves[:split])]


def _split(size: int) -> int:
    """Return the largest power of two below `size`, which is at least 2."""
    return 1 << ((size - 1).bit_length() - 1)


def has_grown(sizes: tuple[int, int], roots: tuple[bytes, bytes], proof: Sequence[bytes]) -> bool:
    """Return whether the proof shows that the second tree begins with the first; `sizes` are of (first, second).

    RFC 9162, section 2.1.4.2. Nothing grows from an empty tree without a proof: that is always so.
    """
    before, size = sizes
    if before in (0, size):
        return not proof and (before == 0 or roots[0] == roots[1])
    if before > size or not proof:
        return False
    path = [roots[0], *proof] if before & (before - 1) == 0 else list(proof)
    last, top = before - 1, size - 1
    while last & 1:
        last, top = last >> 1, top >> 1
    old = new = path[0]
    for each in path[1:]:
        if top == 0:
            return False
        if last & 1 or last == top:
            old, new = node(each, old), node(each, new)
            while not last & 1 and last:
                last, top = last >> 1, top >> 1
        else:
            new = node(new, each)
        last, top = last >> 1, top >> 1
    return top == 0 and (old, new) == roots
