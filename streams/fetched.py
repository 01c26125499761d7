"""Kafka's record batches (format v2) as a fetch brings them, read by one kernel into columns.

A batch is checked, sifted and decompressed as a whole; no record becomes an object of Python. Layout:
https://kafka.apache.org/documentation/#recordbatch
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import cramjam
import numpy as np
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.util import calc_crc32c
from numpy.typing import NDArray

from schemas.columns import Blob
from schemas.errors import Retries, Stops
from schemas.jit import inlined, kernel
from schemas.memory import copy
from streams.base import Records

Octets = NDArray[np.uint8]
Longs = NDArray[np.int64]
Columns = tuple[Longs, Longs, Blob, Blob]
Found = tuple[Any, Any, Any]

HEADER = struct.Struct(">qiibIhiqqqhii")
HEADER_BYTES = HEADER.size  # 61
CODEC, APPEND_TIME, TRANSACTIONAL, CONTROL = 0x07, 0x08, 0x10, 0x20
FORMAT = 2
START = struct.Struct(">qi")  # base offset, length of what follows
PREFIX, MAGIC, COVERED = START.size, 16, 21  # in a batch: where its length counts from, its format, its checksum
MARKER_BYTES = 4
FARTHEST = 1 << 62  # offsets and timestamps; beyond it a difference of 32 bits might overflow
SMALLEST = 7  # bytes of a record without key and value
LIMIT = 256 << 20  # bytes of one fetch, decompressed
LIKELY, SPARE = 16, 1 << 16  # a batch is rarely longer than 16 times its payload and 64 KiB; if so it is opened again
XERIAL, XERIAL_BYTES = b"\x82SNAPPY\x00", 16  # how Java frames snappy: blocks, each after its length

REASONS = (
    "is well formed",
    "ends within a record",
    "has a number of more than 64 bits",
    "has a record that is not as long as it says",
    "has a negative count or length of a header",
    "has offsets that do not rise, or that lie beyond its last",
    "has an impossible timestamp",
    "has bytes after its last record",
)
WELL, TRUNCATED, TOO_WIDE, OTHER_LENGTH, NEGATIVE, OFFSETS, TIMESTAMP, TRAILING = range(len(REASONS))


class Damaged(Retries):
    """A record batch is not what was written: its checksum differs."""


class Unreadable(Stops):
    """What was written is no record batch: fetched again it would be the same."""


class _Header(NamedTuple):
    """What stands before a batch's records; `payload` are they, as they were compressed."""

    base: int
    attributes: int
    last: int
    first_timestamp: int
    newest_timestamp: int
    producer: int
    records: int
    payload: memoryview

    @property
    def following(self) -> int:
        """Return the first offset after the batch, also where its last record was compacted away."""
        return self.base + self.last + 1


def unpack(topic: str, partition: int, data: bytes, aborted: Iterable[tuple[int, int]], position: int) -> Records:
    """Return the committed records from offset `position` on; a last batch that the fetch cuts off is left for the next.

    `aborted` (producer, first offset) are the aborted transactions that the broker names. Damaged where a checksum
    differs, Unreadable where a batch is not well formed.
    """
    where, following, room, found = f"{topic}-{partition}", position, LIMIT, []
    for header, counts in _sifted(data, aborted, where):
        following = max(following, header.following)
        if counts:
            section = _section(header, room, where)
            room -= len(section)
            found.append((header, section))
    return Records(topic, partition, position, following, *_columns(found, position, where))


def warm() -> None:
    """Load the kernel, or compile it the first time."""
    nothing = _Header(0, 0, 0, 0, 0, -1, 0, memoryview(b""))
    _columns([(nothing, _octets(b""))], 0, "warm")


def _sifted(data: bytes, aborted: Iterable[tuple[int, int]], where: str) -> Iterator[tuple[_Header, bool]]:
    """Yield each batch, and whether it is of records that are committed."""
    waiting, aborting = sorted(aborted, key=lambda one: one[1], reverse=True), set()
    for header in _headers(data, where):
        while waiting and waiting[-1][1] <= header.base:
            aborting.add(waiting.pop()[0])
        control = bool(header.attributes & CONTROL)
        if control and header.producer in aborting and _aborts(header, where):
            aborting.discard(header.producer)
        dropped = header.attributes & TRANSACTIONAL and header.producer in aborting
        yield header, not (control or dropped)


def _headers(data: bytes, where: str) -> Iterator[_Header]:
    view, at = memoryview(data), 0
    while len(data) - at >= PREFIX:
        base, length = START.unpack_from(data, at)
        end = at + PREFIX + length
        if end > len(data):
            return
        if length < HEADER_BYTES - PREFIX or data[at + MAGIC] != FORMAT:
            raise _unreadable(where, base, f"is not of format v{FORMAT}")
        yield _header(view[at:end], where)
        at = end


def _header(batch: memoryview, where: str) -> _Header:
    base, _, _, _, checksum, attributes, last, first, newest, producer, _, _, count = HEADER.unpack_from(batch)
    if calc_crc32c(batch[COVERED:]) != checksum:
        raise Damaged(f"The record batch at offset {base} of {where} arrived damaged; the worker begins anew.")
    if not 0 <= base < FARTHEST or min(last, count) < 0 or abs(first) >= FARTHEST:
        raise _unreadable(where, base, "has an impossible header")
    return _Header(base, attributes, last, first, newest, producer, count, batch[HEADER_BYTES:])


def _aborts(header: _Header, where: str) -> bool:
    """Return whether the control batch says that its producer's transaction is aborted; an empty one says nothing."""
    _, _, _, keys = _columns([(header, _section(header, LIMIT, where))], 0, where)
    if len(keys) and keys.bounds[1] < MARKER_BYTES:
        raise _unreadable(where, header.base, "is a marker without its kind")
    return len(keys) > 0 and ControlRecord.parse(keys.item(0)) == ABORT_MARKER


def _unreadable(where: str, base: int, what: str) -> Unreadable:
    return Unreadable(
        f"The record batch at offset {base} of {where} {what}. Nothing was read beyond it: look at it with Kafka's "
        "kafka-dump-log on the broker, and restore the partition from a replica or a backup."
    )


def _section(header: _Header, room: int, where: str) -> Octets:
    """Return the records, decompressed, uint8[at most `room`]."""
    codec, payload = header.attributes & CODEC, header.payload
    if codec == 0:
        return _octets(payload)
    if codec not in CODECS:
        raise _unreadable(where, header.base, f"is compressed in a way, {codec}, that is not known")
    for size in sorted({min(LIKELY * len(payload) + SPARE, room), room}):
        out = np.empty(size, np.uint8)
        try:
            return _octets(out[: CODECS[codec](payload, out)])
        except (cramjam.DecompressionError, ValueError):
            continue
    raise _unreadable(where, header.base, f"cannot be decompressed to at most {room} bytes")


def _octets(data: bytes | memoryview | Octets) -> Octets:
    """Return the bytes read-only, whoever owns them: one specialisation of the kernel."""
    view = np.frombuffer(data, np.uint8)
    view.flags.writeable = False
    return view


def _snappy(payload: memoryview, out: Any) -> int:
    if payload[: len(XERIAL)] != XERIAL:
        return int(cramjam.snappy.decompress_raw_into(payload, out))
    at, size = XERIAL_BYTES, 0
    while at < len(payload):
        end = at + 4 + int.from_bytes(payload[at : at + 4], "big")
        size += int(cramjam.snappy.decompress_raw_into(payload[at + 4 : end], out[size:]))
        at = end
    return size


CODECS: dict[int, Callable[[Any, Any], int]] = {
    1: cramjam.gzip.decompress_into,
    2: _snappy,
    3: cramjam.lz4.decompress_into,
    4: cramjam.zstd.decompress_into,
}


def _columns(found: list[tuple[_Header, Octets]], position: int, where: str) -> Columns:
    """Return offsets, timestamps, values and keys of the records from `position` on."""
    for header, section in found:
        if header.records * SMALLEST > len(section):
            raise _unreadable(where, header.base, "has fewer bytes than its records need")
    count, size = sum(header.records for header, _ in found), sum(len(section) for _, section in found)
    offsets, timestamps = np.empty(count, np.int64), np.empty(count, np.int64)
    key_bounds, value_bounds = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64)
    keys, values, n = np.empty(size, np.uint8), np.empty(size, np.uint8), 0
    for header, section in found:
        moving = not header.attributes & APPEND_TIME
        first = header.first_timestamp if moving else header.newest_timestamp
        numbers = (header.base, header.last, first, moving, header.records)
        n, code = _walk(section, numbers, position, n, offsets, timestamps, keys, key_bounds, values, value_bounds)
        if code != WELL:
            raise _unreadable(where, header.base, REASONS[code])
    key_bounds, value_bounds = key_bounds[: n + 1], value_bounds[: n + 1]
    blobs = Blob(values[: value_bounds[n]], value_bounds), Blob(keys[: key_bounds[n]], key_bounds)
    return offsets[:n], timestamps[:n], *blobs


@kernel
def _long_varint(data: Octets, at: int, end: int) -> Found:
    bits = np.uint64(0)
    for shift in range(0, 70, 7):
        if at >= end:
            return np.int64(0), at, TRUNCATED
        byte = data[at]
        at += 1
        if shift == 63 and byte > 1:
            return np.int64(0), at, TOO_WIDE
        bits |= np.uint64(byte & 0x7F) << np.uint64(shift)
        if byte < 0x80:
            break
    return np.int64(bits >> np.uint64(1)) ^ -np.int64(bits & np.uint64(1)), at, WELL


@inlined
def _varint(data: Octets, at: int, end: int) -> Found:
    """Return (number, position after, code) of a zigzag varint of at most 64 bits that ends before `end`."""
    if at < end and data[at] < 0x80:
        byte = np.int64(data[at])
        return (byte >> 1) ^ -(byte & 1), at + 1, WELL
    return _long_varint(data, at, end)


@inlined
def _string(data: Octets, at: int, end: int, out: Octets, size: int) -> Found:
    """Append a byte string to the `size` bytes in `out`; return (size, position after, code). Null is empty."""
    length, at, code = _varint(data, at, end)
    if code != WELL or length <= 0:
        return size, at, code
    if length > end - at:
        return size, at, TRUNCATED
    copy(out, size, data, at, length)
    return size + length, at + length, WELL


@kernel
def _after_headers(data: Octets, at: int, end: int) -> tuple[int, int]:
    """Return (position after a record's headers, code); they are not kept."""
    count, at, code = _long_varint(data, at, end)
    if code == WELL and count < 0:
        code = NEGATIVE
    for i in range(2 * min(count, end - at)):
        if code != WELL:
            break
        length, at, code = _long_varint(data, at, end)
        if code == WELL and length < 0 and i % 2 == 0:  # a value may be null, a key may not
            code = NEGATIVE
        if code == WELL and length > end - at:
            code = TRUNCATED
        if code == WELL and length > 0:
            at += length
    return at, code


@kernel
def _walk(
    data: Octets,
    numbers: tuple[int, int, int, bool, int],
    position: int,
    n: int,
    offsets: Longs,
    timestamps: Longs,
    keys: Octets,
    key_bounds: Longs,
    values: Octets,
    value_bounds: Longs,
) -> tuple[int, int]:
    """Append a batch's records from offset `position` on to the `n` in the columns; return (n, code).

    `numbers` are base offset, last difference to it, first timestamp, whether timestamps differ from it, and count.
    Where none was compacted away, a record's offset is its place: a broker takes any other that a producer writes.
    """
    base, last, first, moving, count = numbers
    at, before = 0, -1
    for i in range(count):
        length, at, code = _varint(data, at, len(data))
        if code != WELL:
            return n, code
        if length < 1 or length > len(data) - at:
            return n, TRUNCATED
        end = at + length
        later, at, code = _varint(data, at + 1, end)  # after the attributes, of which there are none yet
        if code != WELL:
            return n, code
        delta, at, code = _varint(data, at, end)
        if code != WELL:
            return n, code
        delta = i if count == last + 1 else delta
        if delta <= before or delta > last:
            return n, OFFSETS
        before = delta
        key_size, at, code = _string(data, at, end, keys, key_bounds[n])
        if code != WELL:
            return n, code
        value_size, at, code = _string(data, at, end, values, value_bounds[n])
        if code != WELL:
            return n, code
        if at < end and data[at] == 0:
            at += 1
        else:
            at, code = _after_headers(data, at, end)
        if code != WELL:
            return n, code
        if at != end:
            return n, OTHER_LENGTH
        if not -FARTHEST <= later <= FARTHEST:
            return n, TIMESTAMP
        if base + delta >= position:
            offsets[n], timestamps[n] = base + delta, first + later if moving else first
            key_bounds[n + 1], value_bounds[n + 1] = key_size, value_size
            n += 1
    return n, WELL if at == len(data) else TRAILING
