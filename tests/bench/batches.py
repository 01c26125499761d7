"""Record batches (format 2) for loading and for checking, apart from those of the product.

Source of the layout: https://kafka.apache.org/documentation/#recordbatch
"""

import struct
from collections.abc import Iterator

import cramjam
import numba
import numpy as np
from aiokafka.record.util import calc_crc32c

HEAD = struct.Struct(">qiibI")
COVERED = struct.Struct(">hiqqqhii")
WHOLE = struct.Struct(">qiibIhiqqqhii")
LEAST = 12  # bytes before the length's end
RECORD_OVERHEAD = 26
TRANSACTIONAL, CONTROL = 0x10, 0x20
ZSTD, LZ4 = 4, 3


def build(keys: tuple, values: tuple, rows: np.ndarray, moment: int, limit: int) -> Iterator[bytes]:
    """Yield plain batches of the records `rows`, each under `limit` bytes; `keys` and `values` are data and bounds.

    As a node's producer sends them: not compressed, since what is sealed does not shrink.
    """
    sizes = RECORD_OVERHEAD + np.diff(keys[1])[rows] + np.diff(values[1])[rows]
    ends = np.cumsum(sizes)
    first = 0
    while first < len(rows):
        before = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + limit, side="right")))
        out = np.empty(int(ends[last - 1]) - before, np.uint8)
        size = _lay(*keys, *values, rows[first:last], out)
        yield _framed(out[:size].tobytes(), last - first, moment)
        first = last


def _framed(payload: bytes, count: int, moment: int) -> bytes:
    covered = COVERED.pack(0, count - 1, moment, moment, -1, -1, -1, count)
    checksum = calc_crc32c(covered + payload)
    return HEAD.pack(0, len(payload) + WHOLE.size - LEAST, -1, 2, checksum) + covered + payload


def cut(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where each whole batch of `data` begins and ends."""
    at = 0
    while at + WHOLE.size <= len(data):
        end = at + LEAST + int.from_bytes(data[at + 8 : at + LEAST], "big")
        if end > len(data):
            return
        yield at, end
        at = end


def count(data: bytes, start: int) -> int:
    """Return the records of the batch that begins at `start`."""
    return int(WHOLE.unpack_from(data, start)[12])


class Opened:
    """A batch as it was read: `base` and `following` offsets, `producer`, `control`, and spans of keys and values.

    `data` uint8[*]; `spans` int64[n, 4]: key from, to, value from, to; `offsets` int64[n].
    """

    def __init__(self, data: bytes, start: int, end: int) -> None:
        head = WHOLE.unpack_from(data, start)
        attributes, last, self.producer = head[5], head[6], head[9]
        self.base, self.following = head[0], head[0] + last + 1
        self.control, self.transactional = bool(attributes & CONTROL), bool(attributes & TRANSACTIONAL)
        payload = data[start + WHOLE.size : end]
        codec = attributes & 7
        if codec == ZSTD:
            payload = bytes(cramjam.zstd.decompress(payload))
        elif codec == LZ4:
            payload = bytes(cramjam.lz4.decompress(payload))
        elif codec:
            raise ValueError(f"codec {codec} is not one that tocsin writes")
        self.data = np.frombuffer(payload, np.uint8)
        self.spans = np.zeros((head[12], 4), np.int64)
        self.offsets = np.zeros(head[12], np.int64)
        _walk(self.data, self.spans, self.offsets)
        self.offsets += self.base


@numba.njit(nogil=True, cache=True)
def _varint(out, at, value):
    bits = np.uint64((value << 1) ^ (value >> 63))
    while bits >= np.uint64(0x80):
        out[at] = np.uint8(bits & np.uint64(0x7F)) | np.uint8(0x80)
        bits >>= np.uint64(7)
        at += 1
    out[at] = np.uint8(bits)
    return at + 1


@numba.njit(nogil=True, cache=True)
def _lay(keys, key_bounds, values, value_bounds, rows, out):
    at, scratch = 0, np.empty(10, np.uint8)
    for i in range(len(rows)):
        row = rows[i]
        key, value = key_bounds[row], value_bounds[row]
        key_size, value_size = key_bounds[row + 1] - key, value_bounds[row + 1] - value
        body = 3 + _varint(scratch, 0, i) + _varint(scratch, 0, key_size) + _varint(scratch, 0, value_size)
        at = _varint(out, at, body + key_size + value_size)
        out[at], out[at + 1] = 0, 0
        at = _varint(out, at + 2, i)
        at = _varint(out, at, key_size)
        out[at : at + key_size] = keys[key : key + key_size]
        at = _varint(out, at + key_size, value_size)
        out[at : at + value_size] = values[value : value + value_size]
        at += value_size
        out[at] = 0
        at += 1
    return at


@numba.njit(nogil=True, cache=True)
def _number(data, at):
    bits, shift = np.uint64(0), np.uint64(0)
    while True:
        octet = np.uint64(data[at])
        bits |= (octet & np.uint64(0x7F)) << shift
        at += 1
        if octet < np.uint64(0x80):
            break
        shift += np.uint64(7)
    return np.int64(bits >> np.uint64(1)) ^ -np.int64(bits & np.uint64(1)), at


@numba.njit(nogil=True, cache=True)
def _walk(data, spans, offsets):
    at = 0
    for i in range(len(spans)):
        size, at = _number(data, at)
        end = at + size
        _, at = _number(data, at + 1)
        offsets[i], at = _number(data, at)
        key, at = _number(data, at)
        spans[i, 0], spans[i, 1] = at, at + max(key, 0)
        value, at = _number(data, spans[i, 1])
        spans[i, 2], spans[i, 3] = at, at + max(value, 0)
        at = end
