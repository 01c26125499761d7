"""Kafka's record batches (format v2), written by one kernel: a million records in a tenth of what `send()` takes.

A draft has everything but what the transaction knows: producer, epoch, sequence. Source of the layout:
https://kafka.apache.org/documentation/#recordbatch
"""

import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import cramjam
import numpy as np
from aiokafka.record.util import calc_crc32c
from numpy.typing import NDArray

from schemas.columns import Blob
from schemas.jit import inlined, kernel
from schemas.memory import copy
from streams import fetched
from streams.fetched import FORMAT, HEADER_BYTES, PREFIX

Octets = NDArray[np.uint8]
Longs = NDArray[np.int64]

FRONT = struct.Struct(">qiibI")
COVERED = struct.Struct(">hiqqqhii")  # what the checksum covers of the header: from the attributes on
ZSTD, TRANSACTIONAL = 4, 0x10
COMPRESS_FROM = 512  # bytes; below that a frame costs more than it saves
RECORD_OVERHEAD = 26  # five varints of at most 5 bytes, and one byte of attributes


@dataclass(frozen=True)
class Draft:
    """`count` records laid out one after the other, compressed with `codec` (0 none, 4 zstd)."""

    count: int
    codec: int
    payload: memoryview

    @property
    def size(self) -> int:
        """Return the bytes of the whole batch, as the broker's max.message.bytes counts them."""
        return HEADER_BYTES + len(self.payload)

    def sealed(self, producer: int, epoch: int, sequence: int, timestamp: int) -> bytes:
        """Return the batch as part of the producer's transaction; `timestamp` in milliseconds is that of each record."""
        attributes, last = self.codec | TRANSACTIONAL, self.count - 1
        covered = COVERED.pack(attributes, last, timestamp, timestamp, producer, epoch, sequence, self.count)
        checksum = calc_crc32c(covered + self.payload)
        length = self.size - PREFIX
        return b"".join((FRONT.pack(0, length, -1, FORMAT, checksum), covered, self.payload))


def drafts(keys: Blob, values: Blob, rows: Longs, limit: int) -> Iterator[Draft]:
    """Yield the records `rows` int64[k] in their order, in as few batches as stay under `limit` bytes uncompressed.

    A record that alone is longer than the limit has a batch of its own. An empty key is written as no key.
    """
    sizes = RECORD_OVERHEAD + np.diff(keys.bounds)[rows] + np.diff(values.bounds)[rows]
    ends = np.cumsum(sizes)
    first = 0
    while first < len(rows):
        before = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + limit - HEADER_BYTES, side="right")))
        out = _room(int(ends[last - 1]) - before)
        size = _lay(keys.data, keys.bounds, values.data, values.bounds, rows[first:last], out)
        yield _draft(last - first, out[:size])
        first = last


def warm() -> None:
    """Load the kernels of both ways, or compile them the first time: before the group is joined, not in the first batch."""
    fetched.warm()
    one = Blob.of([b"warm"])
    list(drafts(one, one, np.zeros(1, np.int64), COMPRESS_FROM))


class _Room(threading.local):
    """The bytes in which a thread lays out its batches: fresh ones for each would cost more than the laying out."""

    octets: Octets = np.empty(0, np.uint8)


ROOM = _Room()


def _room(size: int) -> Octets:
    if len(ROOM.octets) < size:
        ROOM.octets = np.empty(size, np.uint8)
    return ROOM.octets[:size]


def _draft(count: int, laid: Octets) -> Draft:
    """Return the batch of what is laid out in the thread's room, as bytes of its own."""
    if len(laid) >= COMPRESS_FROM:
        packed = memoryview(cramjam.zstd.compress(laid.data, level=1))
        if len(packed) < len(laid):
            return Draft(count, ZSTD, packed)
    return Draft(count, 0, memoryview(laid.tobytes()))


@inlined
def _varint(out: Octets, at: int, value: int) -> int:
    bits = np.uint64((value << 1) ^ (value >> 63))
    while bits >= np.uint64(0x80):
        out[at] = np.uint8(bits & np.uint64(0x7F)) | np.uint8(0x80)
        bits >>= np.uint64(7)
        at += 1
    out[at] = np.uint8(bits)
    return at + 1


@inlined
def _width(value: int) -> int:
    bits = np.uint64((value << 1) ^ (value >> 63))
    width = 1
    while bits >= np.uint64(0x80):
        bits >>= np.uint64(7)
        width += 1
    return width


@kernel
def _lay(keys: Octets, key_bounds: Longs, values: Octets, value_bounds: Longs, rows: Longs, out: Octets) -> int:
    """Write the records `rows` int64[k] one after the other; return how many bytes of `out` they take."""
    at = 0
    for i in range(len(rows)):
        row = rows[i]
        key, value = key_bounds[row], value_bounds[row]
        key_size, value_size = key_bounds[row + 1] - key, value_bounds[row + 1] - value
        key_code = key_size or -1
        body = 1 + 1 + _width(i) + _width(key_code) + key_size + _width(value_size) + value_size + 1
        at = _varint(out, at, body)
        out[at] = 0  # attributes
        out[at + 1] = 0  # timestamp, as a difference to the first
        at = _varint(out, at + 2, i)
        at = _varint(out, at, key_code)
        copy(out, at, keys, key, key_size)
        at = _varint(out, at + key_size, value_size)
        copy(out, at, values, value, value_size)
        at += value_size
        out[at] = 0  # headers
        at += 1
    return at
