"""Records that are nearly right: valid encodings made from a schema by a seed, and damaged by one kernel, also by a seed."""

import random

import numpy as np
from numba import njit

from tests.decode import plain

ROOM = 96  # bytes that damage may add to a record

HOSTILE = [
    bytes.fromhex(text)
    for text in (
        "8000",  # zero in two bytes
        "ff8000",  # over-long
        "80808080808080808001",  # 2^62 and more: a huge count or length
        "8080808010",  # 2^31: outside 32 bits
        "ffffffff0f",  # -2^31
        "ffffffff1f",  # over 32 bits
        "8080808080",  # does not end within five bytes
        "ffffffffffffffffff01",  # -2^63
        "ffffffffffffffffff02",  # over 64 bits
        "feffffffffffffffff01",  # 2^63 - 1
        "80808080808080808080",  # does not end within ten bytes
        "8080808080808080808000",  # eleven bytes
        "01",  # -1
        "02",  # 1, or a boolean of 2
        "808002",  # 16,384
        "d00f",  # 1,000
        "d20f",  # 1,001
        "80a8d6b907",  # 10^9
        "00",
        "feffff07",
        "c0843d",
    )
]
HOSTILE_DATA = np.frombuffer(b"".join(HOSTILE), np.uint8).copy()
HOSTILE_BOUNDS = np.concatenate(([0], np.cumsum([len(one) for one in HOSTILE]))).astype(np.int64)


def number(value):
    """Return a number as Avro writes it."""
    bits, out = ((value << 1) ^ (value >> 63)) & (1 << 64) - 1, bytearray()
    while bits > 0x7F:
        out.append(bits & 0x7F | 0x80)
        bits >>= 7
    return bytes(out) + bytes([bits])


class Maker:
    """Valid encodings of one schema, as the contracts allow them."""

    def __init__(self, schema, seed):
        self.schema, self.chance, self.named = schema, random.Random(seed), {}

    def one(self):
        """Return the bytes of one value."""
        return self._write(self.schema, "")

    def _write(self, schema, field):
        if isinstance(schema, list):
            branch = self.chance.randrange(len(schema))
            return number(branch) + self._write(schema[branch], field)
        if isinstance(schema, str) and schema in self.named:
            schema = self.named[schema]
        kind = schema if isinstance(schema, str) else schema["type"]
        if isinstance(schema, dict) and "name" in schema:
            self.named[schema["name"]] = schema
        return getattr(self, f"_{kind}")(schema, field)

    def _record(self, schema, field):
        return b"".join(self._write(one["type"], one["name"]) for one in schema["fields"])

    def _enum(self, schema, field):
        return number(self.chance.randrange(len(schema["symbols"])))

    def _fixed(self, schema, field):
        return self.chance.randbytes(schema["size"])

    def _array(self, schema, field):
        items = schema["items"]
        if isinstance(items, dict) and items["type"] == "enum":
            self.named[items["name"]] = items
            chosen = self.chance.sample(range(len(items["symbols"])), self.chance.randrange(len(items["symbols"]) + 1))
            return self._blocks([number(index) for index in chosen])
        return self._blocks([self._write(items, field) for _ in range(self.chance.choice((0, 1, 2, 5)))])

    def _map(self, schema, field):
        keys = self.chance.sample(range(1000), self.chance.choice((0, 1, 3)))
        return self._blocks([number(3) + b"%03d" % key + self._write(schema["values"], field) for key in keys])

    def _blocks(self, items):
        """Write items in one block or in several, all of a positive count."""
        out = b""
        while items:
            count = self.chance.randrange(1, len(items) + 1) if self.chance.random() < 0.3 else len(items)
            out += number(count) + b"".join(items[:count])
            items = items[count:]
        return out + b"\x00"

    def _null(self, schema, field):
        return b""

    def _boolean(self, schema, field):
        return bytes([self.chance.randrange(2)])

    def _int(self, schema, field):
        low, high = (-(1 << 31), (1 << 31) - 1) if isinstance(schema, str) else plain.DATES
        return number(self._within(low, high))

    def _long(self, schema, field):
        low, high = (-(1 << 63), (1 << 63) - 1) if isinstance(schema, str) else plain.TIMESTAMPS
        return number(self._within(low, high))

    def _within(self, low, high):
        bound = self.chance.choice((70, 70, 20_000, high))
        return self.chance.choice((low, high, *[self.chance.randint(max(low, -bound), bound)] * 8))

    def _double(self, schema, field):
        return self.chance.randbytes(8)

    def _string(self, schema, field):
        letters = "abcxyz ÄßéقнД語😀\u007f\u0080\uffff\U0010ffff"
        text = "".join(self.chance.choice(letters) for _ in range(self.chance.choice((0, 1, 3, 9, 40)))).encode()
        return number(len(text)) + text

    def _bytes(self, schema, field):
        data = self.chance.randbytes(self.chance.choice((0, 1, 7, 60)))
        return number(len(data)) + data


@njit(cache=True)
def _next(state):
    """Return the next number of xorshift64*, `state` uint64[1]."""
    x = state[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    state[0] = x
    return np.int64((x * np.uint64(2685821657736338717)) >> np.uint64(33))


@njit(cache=True)
def _insert(out, size, at, count):
    """Make room for `count` bytes at `at`; return the new size."""
    for i in range(size - 1, at - 1, -1):
        out[i + count] = out[i]
    return size + count


@njit(cache=True)
def _remove(out, size, at, count):
    count = min(count, size - at)
    for i in range(at, size - count):
        out[i] = out[i + count]
    return size - count


@njit(cache=True)
def _damage(out, size, state, data, bounds, hostile, hostile_bounds):
    """Damage one record in place; return its new size. `out` uint8[*] has room for 16 bytes more."""
    kind = _next(state) % 14
    at = _next(state) % (size + 1)
    if kind <= 1 and at < size:  # a bit
        out[at] ^= np.uint8(1 << (_next(state) % 8))
    elif kind == 2 and at < size:  # a byte
        out[at] = np.uint8(_next(state) % 256)
    elif kind == 3 and at < size:  # one more or less: a length, a count, an index, a branch, a boolean
        out[at] = np.uint8((np.int64(out[at]) + (2 if _next(state) % 2 else 254)) % 256)
    elif kind == 4:  # a cut
        size = at
    elif kind == 5:  # some bytes less
        size = _remove(out, size, at, 1 + _next(state) % 4)
    elif kind == 6:  # some bytes more
        count = 1 + _next(state) % 4
        size = _insert(out, size, at, count)
        for i in range(count):
            out[at + i] = np.uint8(_next(state) % 256)
    elif kind <= 8:  # a hostile number, beside a byte or in its place
        which = _next(state) % (len(hostile_bounds) - 1)
        size = _remove(out, size, at, _next(state) % 2)
        count = hostile_bounds[which + 1] - hostile_bounds[which]
        size = _insert(out, size, at, count)
        for i in range(count):
            out[at + i] = hostile[hostile_bounds[which] + i]
    elif kind == 9 and at < size:  # a byte written in two, as no number should be
        size = _insert(out, size, at + 1, 1)
        out[at] |= np.uint8(0x80)
        out[at + 1] = np.uint8(0)
    elif kind == 10:  # a piece twice
        count = min(1 + _next(state) % 8, size - at)
        size = _insert(out, size, at, count)
        for i in range(count):
            out[at + i] = out[at + count + i]
    elif kind == 11:  # the rest of another record
        other = _next(state) % (len(bounds) - 1)
        begin = bounds[other] + min(at, bounds[other + 1] - bounds[other])
        count = min(bounds[other + 1] - begin, size + 16 - at)
        for i in range(count):
            out[at + i] = data[begin + i]
        size = at + count
    elif kind == 12 and at < size:
        out[at] = np.uint8(_next(state) % 4)
    else:  # bytes after the end
        count = 1 + _next(state) % 3
        for i in range(count):
            out[size + i] = np.uint8(_next(state) % 256)
        size += count
    return size


@njit(cache=True)
def _mutate(data, bounds, n, every, state, hostile, hostile_bounds, out, ends, scratch):
    """Write n records one after another: each `every`-th whole, the others damaged one to three times."""
    at = 0
    for row in range(n):
        base = _next(state) % (len(bounds) - 1)
        size = bounds[base + 1] - bounds[base]
        scratch[:size] = data[bounds[base] : bounds[base + 1]]
        if row % every:
            for _ in range(max(1, _next(state) % 5 - 1)):
                size = _damage(scratch, size, state, data, bounds, hostile, hostile_bounds)
        out[at : at + size] = scratch[:size]
        at += size
        ends[row] = at


def corpus(schema, count, seed):
    """Return `count` valid encodings."""
    maker = Maker(schema, seed)
    return [maker.one() for _ in range(count)]


def mutated(bodies, n, seed, every=8):
    """Return (data uint8[*], bounds int64[n+1]) of n records made from `bodies`, every eighth of them undamaged."""
    lengths = [len(body) for body in bodies]
    data = np.frombuffer(b"".join(bodies), np.uint8)
    bounds = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    state = np.array([(seed * 2 + 1) * 0x9E3779B97F4A7C15 & (1 << 64) - 1], np.uint64)
    out = np.empty(n * (max(lengths) + ROOM), np.uint8)
    ends = np.zeros(n, np.int64)
    scratch = np.zeros(max(lengths) + ROOM + 64, np.uint8)
    _mutate(data, bounds, n, every, state, HOSTILE_DATA, HOSTILE_BOUNDS, out, ends, scratch)
    return out[: ends[-1]].copy(), np.concatenate(([0], ends))
