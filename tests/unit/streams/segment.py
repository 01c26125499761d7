"""Record batches written byte by byte, and read by a plain twin of `streams.fetched`; no code of ours."""

import gzip
import struct
from dataclasses import dataclass, field

import cramjam
from aiokafka.codec import lz4_encode, snappy_encode
from aiokafka.record.util import calc_crc32c

TRANSACTIONAL, CONTROL, APPEND_TIME = 0x10, 0x20, 0x08
PACK = {
    0: bytes,
    1: gzip.compress,
    2: snappy_encode,
    3: lambda data: lz4_encode(data, 1),
    4: lambda data: bytes(cramjam.zstd.compress(data, level=1)),
}
UNPACK = {
    0: bytes,
    1: gzip.decompress,
    3: lambda data: bytes(cramjam.lz4.decompress(data)),
    4: lambda data: bytes(cramjam.zstd.decompress(data)),
}


class Bad(ValueError):
    pass


def varint(number):
    bits = (number << 1) ^ (number >> 63)
    out = b""
    while bits > 0x7F:
        out += bytes([bits & 0x7F | 0x80])
        bits >>= 7
    return out + bytes([bits])


def text(octets):
    return varint(-1) if octets is None else varint(len(octets)) + octets


def record(delta, later, key, value, headers=()):
    tail = varint(len(headers)) + b"".join(text(name) + text(of) for name, of in headers)
    body = b"\x00" + varint(later) + varint(delta) + text(key) + text(value) + tail
    return varint(len(body)) + body


@dataclass
class Batch:
    """`rows` are (difference of the offset, of the timestamp, key, value, headers); `section` stands for other bytes."""

    base: int
    rows: list = field(default_factory=list)
    last: int = 0
    attributes: int = 0
    producer: int = -1
    first: int = 1_700_000_000_000
    newest: int = 1_800_000_000_000
    count: int | None = None
    section: bytes | None = None
    payload: bytes | None = None

    @property
    def following(self):
        return self.base + self.last + 1

    def octets(self):
        section = b"".join(record(*row) for row in self.rows) if self.section is None else self.section
        payload = PACK.get(self.attributes & 7, bytes)(section) if self.payload is None else self.payload
        count = len(self.rows) if self.count is None else self.count
        covered = struct.pack(
            ">hiqqqhii", self.attributes, self.last, self.first, self.newest, self.producer, 0, -1, count
        )
        checksum = calc_crc32c(covered + payload)
        return struct.pack(">qiibI", self.base, 49 + len(payload), 0, 2, checksum) + covered + payload


def marker(base, producer, aborts):
    key = struct.pack(">hh", 0, 0 if aborts else 1)
    return Batch(base, [(0, 0, key, bytes(6), ())], attributes=TRANSACTIONAL | CONTROL, producer=producer)


def number(data, at, end):
    bits = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise Bad
        byte = data[at]
        at += 1
        if shift == 63 and byte > 1:
            raise Bad
        bits |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    return (bits >> 1) ^ -(bits & 1), at


def piece(data, at, end):
    length, at = number(data, at, end)
    if length > end - at:
        raise Bad
    return (data[at : at + length], at + length) if length > 0 else (b"", at)


def rows_of(section, base, last, count, stamp, moving):
    """Yield (offset, timestamp, key, value) of a batch's records; Bad where they are not well formed."""
    at, before = 0, -1
    for i in range(count):
        length, at = number(section, at, len(section))
        end = at + length
        if length < 1 or end > len(section):
            raise Bad
        later, at = number(section, at + 1, end)
        delta, at = number(section, at, end)
        key, at = piece(section, at, end)
        value, at = piece(section, at, end)
        headers, at = number(section, at, end)
        if headers < 0:
            raise Bad
        for _ in range(headers):
            size, _ = number(section, at, end)
            if size < 0:
                raise Bad
            _, at = piece(section, at, end)
            _, at = piece(section, at, end)
        delta = i if count == last + 1 else delta
        if at != end or not before < delta <= last or abs(later) > 1 << 62:
            raise Bad
        before = delta
        yield base + delta, stamp + later if moving else stamp, key, value
    if at != len(section):
        raise Bad
