"""Ids of whole batches, minted for a region: `seal.mint`, which is the plain twin, for many at once.

Keyed BLAKE2b (RFC 7693) hashes two blocks, the key's and the id's. The key's is hashed once for a region. The id's has two
words that are not zero, and the loop over ids has no branch, so that the compiler makes eight of them in one go.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.jit import inlined, kernel

Octets = NDArray[np.uint8]
Words = NDArray[np.uint64]
State = Any  # 8 or 16 words, a tuple

ID = 16
SECRET = 32
BLOCK = 128
APART = 8  # words between the rows of a room, or the compiled loop thinks that they overlap
ALL = 0xFFFFFFFFFFFFFFFF
IV = (
    *(0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1),
    *(0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179),
)
SIGMA = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    (11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
    (7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
    (9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
    (2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
    (12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
    (13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
    (6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
    (10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
)


@inlined
def _turned(word: Any, by: int) -> Any:
    """Return a word, its bits turned right."""
    return (word >> np.uint64(by)) | (word << np.uint64(64 - by))


@inlined
def _mixed(a: Any, b: Any, c: Any, d: Any, x: Any, y: Any) -> State:
    """Return G of RFC 7693, section 3.1."""
    a = a + b + x
    d = _turned(d ^ a, 32)
    c = c + d
    b = _turned(b ^ c, 24)
    a = a + b + y
    d = _turned(d ^ a, 16)
    c = c + d
    return a, _turned(b ^ c, 63), c, d


@inlined
def _round(v: State, m: State, s: tuple[int, ...]) -> State:
    """Return the working state after one round; `s` is its order of the block's words."""
    a0, b0, c0, d0 = _mixed(v[0], v[4], v[8], v[12], m[s[0]], m[s[1]])
    a1, b1, c1, d1 = _mixed(v[1], v[5], v[9], v[13], m[s[2]], m[s[3]])
    a2, b2, c2, d2 = _mixed(v[2], v[6], v[10], v[14], m[s[4]], m[s[5]])
    a3, b3, c3, d3 = _mixed(v[3], v[7], v[11], v[15], m[s[6]], m[s[7]])
    a0, b1, c2, d3 = _mixed(a0, b1, c2, d3, m[s[8]], m[s[9]])
    a1, b2, c3, d0 = _mixed(a1, b2, c3, d0, m[s[10]], m[s[11]])
    a2, b3, c0, d1 = _mixed(a2, b3, c0, d1, m[s[12]], m[s[13]])
    a3, b0, c1, d2 = _mixed(a3, b0, c1, d2, m[s[14]], m[s[15]])
    return a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3


@inlined
def _block(h: State, m: State, count: int, last: int) -> State:
    """Return the working state after a block of 16 words, the `count` bytes before its end; `last` is ALL for the last one."""
    v = (
        *(h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]),
        *(np.uint64(IV[0]), np.uint64(IV[1]), np.uint64(IV[2]), np.uint64(IV[3])),
        *(np.uint64(IV[4]) ^ np.uint64(count), np.uint64(IV[5]), np.uint64(IV[6]) ^ np.uint64(last), np.uint64(IV[7])),
    )
    v = _round(_round(_round(v, m, SIGMA[0]), m, SIGMA[1]), m, SIGMA[2])
    v = _round(_round(_round(v, m, SIGMA[3]), m, SIGMA[4]), m, SIGMA[5])
    v = _round(_round(_round(v, m, SIGMA[6]), m, SIGMA[7]), m, SIGMA[8])
    return _round(_round(_round(v, m, SIGMA[9]), m, SIGMA[0]), m, SIGMA[1])


@kernel
def _begin(key: Words, out: Words) -> None:
    """Write the state after the key's block, uint64[8]; `key` uint64[4]."""
    zero = np.uint64(0)
    h = (
        *(np.uint64(IV[0] ^ 0x01010000 ^ SECRET << 8 ^ ID), np.uint64(IV[1]), np.uint64(IV[2]), np.uint64(IV[3])),
        *(np.uint64(IV[4]), np.uint64(IV[5]), np.uint64(IV[6]), np.uint64(IV[7])),
    )
    m = (key[0], key[1], key[2], key[3], *(zero, zero, zero, zero), *(zero, zero, zero, zero, zero, zero, zero, zero))
    v = _block(h, m, BLOCK, 0)
    for k in range(8):
        out[k] = h[k] ^ v[k] ^ v[k + 8]


@kernel
def _mint(h: State, first: Words, second: Words, out_first: Words, out_second: Words) -> None:
    """Hash the ids' blocks from the state `h` on, uint64[n] each; what is written lies apart from what is read."""
    zero = np.uint64(0)
    for i in range(len(first)):
        m = (
            first[i],
            second[i],
            *(zero, zero, zero, zero, zero, zero),
            *(zero, zero, zero, zero, zero, zero, zero, zero),
        )
        v = _block(h, m, BLOCK + ID, ALL)
        out_first[i], out_second[i] = h[0] ^ v[0] ^ v[8], h[1] ^ v[1] ^ v[9]


@lru_cache(maxsize=64)
def _keyed(secret: bytes) -> State:
    """Return the state after the key's block."""
    out = np.empty(8, np.uint64)
    _begin(np.frombuffer(secret, "<u8"), out)
    return tuple(out)


def mint_batch(secret: bytes, ids: Words) -> Octets:
    """Return uint8[n, 16]: seal.mint of each id, uint64[n, 2], big-endian halves; one secret of a region, 32 bytes."""
    if len(secret) != SECRET:
        raise ValueError("a region's secret has 32 bytes")
    room = np.empty((4, len(ids) + APART), np.uint64)[:, : len(ids)]
    room[:2] = ids.T.byteswap()
    _mint(_keyed(secret), room[0], room[1], room[2], room[3])
    return np.stack([room[2], room[3]], axis=1).view(np.uint8)
