"""Which partition a key belongs to, as Kafka's own clients decide it: murmur2 of the key."""

import numpy as np
from numpy.typing import NDArray

from schemas.jit import kernel

SEED = 0x9747B28C
MIX = 0x5BD1E995


@kernel
def _murmur2(data: NDArray[np.uint8], start: int, end: int) -> np.uint32:
    m = np.uint32(MIX)
    size = end - start
    h = np.uint32(SEED) ^ np.uint32(size)
    whole = start + (size & ~3)
    for at in range(start, whole, 4):
        k = np.uint32(
            np.uint32(data[at])
            | (np.uint32(data[at + 1]) << np.uint32(8))
            | (np.uint32(data[at + 2]) << np.uint32(16))
            | (np.uint32(data[at + 3]) << np.uint32(24))
        )
        k = np.uint32(k * m)
        k = np.uint32(k ^ (k >> np.uint32(24)))
        k = np.uint32(k * m)
        h = np.uint32(np.uint32(h * m) ^ k)
    rest = end - whole
    if rest == 3:
        h = np.uint32(h ^ (np.uint32(data[whole + 2]) << np.uint32(16)))
    if rest >= 2:
        h = np.uint32(h ^ (np.uint32(data[whole + 1]) << np.uint32(8)))
    if rest >= 1:
        h = np.uint32(np.uint32(h ^ np.uint32(data[whole])) * m)
    h = np.uint32(np.uint32(h ^ (h >> np.uint32(13))) * m)
    return np.uint32(h ^ (h >> np.uint32(15)))


@kernel
def _place(data: NDArray[np.uint8], spans: NDArray[np.int64], count: int, out: NDArray[np.int32]) -> None:
    for i in range(len(spans)):
        out[i] = np.int32((_murmur2(data, spans[i, 0], spans[i, 1]) & np.uint32(0x7FFFFFFF)) % np.uint32(count))


def partitions(data: NDArray[np.uint8], spans: NDArray[np.int64], count: int) -> NDArray[np.int32]:
    """Return the partition (of `count`) of each key: `spans` int64[n, 2] into `data`."""
    out = np.empty(len(spans), np.int32)
    _place(data, spans, count, out)
    return out


def murmur2(key: bytes) -> int:
    """Return Kafka's murmur2 of one key, unsigned: the plain twin of the kernel."""
    size, h = len(key), (SEED ^ len(key)) & 0xFFFFFFFF
    for at in range(0, size & ~3, 4):
        k = int.from_bytes(key[at : at + 4], "little") * MIX & 0xFFFFFFFF
        k = (k ^ (k >> 24)) * MIX & 0xFFFFFFFF
        h = (h * MIX & 0xFFFFFFFF) ^ k
    if size & 3:
        h = (h ^ int.from_bytes(key[size & ~3 :], "little")) * MIX & 0xFFFFFFFF
    h = (h ^ (h >> 13)) * MIX & 0xFFFFFFFF
    return h ^ (h >> 15)


def partition_of(key: bytes, count: int) -> int:
    """Return the partition (of `count`) of one key."""
    return (murmur2(key) & 0x7FFFFFFF) % count
