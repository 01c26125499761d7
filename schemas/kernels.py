"""The kernels of the fast lane: a table compiled from a schema is walked over n rows, without the GIL.

Shapes: `table` int64[m, 5] of (op, slot, a, b, code), see `schemas.layout`; `data` uint8[*], read-only; `starts` and
`ends` int64[n]; `ints` int64[i, n]; `spans` int64[s, n, 2] of (start, end) in `data`; `valid` bool[v, n]; `counts`
int64[l, n]. The rules and the codes are those of `schemas.walk`, which is the plain twin of everything here.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.jit import inlined
from schemas.limits import ITEMS, REASONS, STRING_BYTES
from schemas.memory import copy

INT, LONG, BOOLEAN, MASK, OCTETS, TEXT, FIXED, LIST, NULL, OPEN, CLOSE = range(11)

TRUNCATED = REASONS.index("avro.truncated")
TOO_LONG_VARINT = REASONS.index("avro.varint_too_long")
NOT_CANONICAL = REASONS.index("avro.varint_not_canonical")
INT_RANGE = REASONS.index("avro.int_range")
ENUM_INDEX = REASONS.index("avro.enum_index")
UNION_BRANCH = REASONS.index("avro.union_branch")
BAD_BOOLEAN = REASONS.index("avro.boolean")
NEGATIVE_LENGTH = REASONS.index("avro.length")
TOO_LONG = REASONS.index("avro.too_long")
UTF8 = REASONS.index("avro.utf8")
BLOCK_COUNT = REASONS.index("avro.block_count")
TOO_MANY = REASONS.index("avro.too_many_items")
DUPLICATE = REASONS.index("avro.duplicate_item")
TRAILING = REASONS.index("avro.trailing_bytes")

Octets = NDArray[np.uint8]
Numbers = NDArray[np.int64]
Numbers32 = NDArray[np.int32]
Bools = NDArray[np.bool_]
Found = tuple[Any, Any, Any]


@inlined
def _long_varint(data: Octets, pos: int, end: int, longest: int, last: int, wide: int) -> Found:
    """Return (value, position after, code) of a varint of at most `longest` bytes, the last at most `last`."""
    bits = np.uint64(0)
    for index in range(longest):
        if pos + index >= end:
            return np.int64(0), pos, TRUNCATED
        byte = data[pos + index]
        if index == longest - 1 and byte > last:
            return np.int64(0), pos, TOO_LONG_VARINT if byte & 0x80 else wide
        bits |= np.uint64(byte & 0x7F) << np.uint64(7 * index)
        if byte < 0x80:
            if byte == 0 and index > 0:
                return np.int64(0), pos, NOT_CANONICAL
            value = np.int64(bits >> np.uint64(1)) ^ -np.int64(bits & np.uint64(1))
            return value, pos + index + 1, 0
    return np.int64(0), pos, TOO_LONG_VARINT


@inlined
def read_int(data: Octets, pos: int, end: int) -> Found:
    """Return (value, position after, code) of a 32-bit varint."""
    if pos < end and data[pos] < 0x80:
        byte = np.int64(data[pos])
        return (byte >> 1) ^ -(byte & 1), pos + 1, 0
    return _long_varint(data, pos, end, 5, 0x0F, INT_RANGE)


@inlined
def read_long(data: Octets, pos: int, end: int) -> Found:
    """Return (value, position after, code) of a 64-bit varint."""
    if pos < end and data[pos] < 0x80:
        byte = np.int64(data[pos])
        return (byte >> 1) ^ -(byte & 1), pos + 1, 0
    return _long_varint(data, pos, end, 10, 0x01, TOO_LONG_VARINT)


@inlined
def _follows(data: Octets, pos: int, end: int, low: int, high: int, more: int) -> bool:
    """Say whether `more` continuation bytes follow, the first of them from `low` to `high`."""
    if pos + more > end or data[pos] < low or data[pos] > high:
        return False
    for index in range(1, more):  # noqa: SIM110 - numba knows no generator here
        if data[pos + index] & 0xC0 != 0x80:
            return False
    return True


@inlined
def is_utf8(data: Octets, pos: int, end: int) -> bool:
    """Say whether data[pos:end] is UTF-8 (RFC 3629: no surrogate, nothing overlong, nothing above U+10FFFF)."""
    while pos < end:
        byte = data[pos]
        pos += 1
        if byte < 0x80:
            continue
        more = 1 if byte < 0xE0 else 2 if byte < 0xF0 else 3
        low = 0xA0 if byte == 0xE0 else 0x90 if byte == 0xF0 else 0x80
        high = 0x9F if byte == 0xED else 0x8F if byte == 0xF4 else 0xBF
        if byte < 0xC2 or byte > 0xF4 or not _follows(data, pos, end, low, high, more):
            return False
        pos += more
    return True


@inlined
def _octets(data: Octets, pos: int, end: int, limit: int) -> Found:
    """Return (start, position after, code) of a length-prefixed run of bytes."""
    length, start, code = read_long(data, pos, end)
    if code == 0:
        if length < 0:
            code = NEGATIVE_LENGTH
        elif length > limit:
            code = TOO_LONG
        elif length > end - start:
            code = TRUNCATED
    if code != 0:
        return pos, pos, code
    return start, start + length, 0


@inlined
def _text(data: Octets, pos: int, end: int, limit: int) -> Found:
    """Return (start, position after, code) of a string."""
    start, after, code = _octets(data, pos, end, limit)
    if code == 0 and not is_utf8(data, start, after):
        code = UTF8
    return start, after, code


@inlined
def _block(data: Octets, pos: int, end: int, total: int) -> Found:
    """Return (count, position after, code) of a block's count; `total` items came before it."""
    count, after, code = read_long(data, pos, end)
    if code == 0 and count < 0:
        code = BLOCK_COUNT
    elif code == 0 and count > ITEMS - total:
        code = TOO_MANY
    return count, after, code


@inlined
def _mask(data: Octets, pos: int, end: int, symbols: int) -> Found:
    """Return (bit mask, position after, code) of an array of enum symbols."""
    mask = 0
    total = 0
    while True:
        count, pos, code = _block(data, pos, end, total)
        if code != 0 or count == 0:
            return mask, pos, code
        total += count
        for _ in range(count):
            index, pos, code = read_int(data, pos, end)
            if code == 0 and (index < 0 or index >= symbols):
                code = ENUM_INDEX
            elif code == 0 and (mask >> index) & 1:
                code = DUPLICATE
            if code != 0:
                return mask, pos, code
            mask |= np.int64(1) << index


@inlined
def _list(data: Octets, pos: int, end: int, limit: int) -> Found:
    """Return (number of items, position after, code) of an array of strings."""
    total = 0
    while True:
        count, pos, code = _block(data, pos, end, total)
        if code != 0 or count == 0:
            return total, pos, code
        total += count
        for _ in range(count):
            _, pos, code = _text(data, pos, end, limit)
            if code != 0:
                return total, pos, code


@inlined
def _number(data: Octets, pos: int, end: int, op: int, low: int, high: int, outside: int) -> Found:
    """Return (value, position after, code); `outside` is the code for a value not in [low, high]."""
    if op == LONG:
        value, pos, code = read_long(data, pos, end)
    else:
        value, pos, code = read_int(data, pos, end)
    if code == 0 and (value < low or value > high):
        code = outside
    return value, pos, code


@inlined
def _boolean(data: Octets, pos: int, end: int) -> Found:
    if pos >= end:
        return np.int64(0), pos, TRUNCATED
    return np.int64(data[pos]), pos + 1, BAD_BOOLEAN if data[pos] > 1 else 0


@inlined
def _bytes(data: Octets, pos: int, end: int, op: int, limit: int) -> Found:
    """Return (start, position after, code) of bytes, a string or a fixed."""
    if op == FIXED:
        return pos, pos + limit, TRUNCATED if limit > end - pos else 0
    if op == TEXT:
        return _text(data, pos, end, limit)
    return _octets(data, pos, end, limit)


@inlined
def _row(
    table: Numbers,
    data: Octets,
    pos: int,
    end: int,
    i: int,
    ints: Numbers,
    spans: Numbers,
    valid: Bools,
    counts: Numbers,
) -> int:
    """Decode row `i` into the columns; return its code, 0 for good."""
    line = 0
    while line < len(table):
        op, slot, a, b = table[line, 0], table[line, 1], table[line, 2], table[line, 3]
        line += 1
        code = 0
        if op <= LONG and pos < end and data[pos] < 0x80:  # most numbers and every symbol take one byte
            value = np.int64(data[pos])
            value = (value >> 1) ^ -(value & 1)
            ints[slot, i] = value
            pos += 1
            code = table[line - 1, 4] if value < a or value > b else 0
        elif op <= LONG:
            ints[slot, i], pos, code = _number(data, pos, end, op, a, b, table[line - 1, 4])
        elif op == BOOLEAN:
            ints[slot, i], pos, code = _boolean(data, pos, end)
        elif op == MASK:
            ints[slot, i], pos, code = _mask(data, pos, end, a)
        elif op <= FIXED:
            start, pos, code = _bytes(data, pos, end, op, a)
            spans[slot, i, 0], spans[slot, i, 1] = start, pos
        elif op == LIST:
            spans[slot, i, 0] = pos
            counts[b, i], pos, code = _list(data, pos, end, a)
            spans[slot, i, 1] = pos
        elif op == NULL:
            branch, pos, code = read_int(data, pos, end)
            if code == 0 and (branch < 0 or branch > 1):
                code = UNION_BRANCH
            valid[slot, i] = branch != a
            line += b if branch == a else 0
        else:
            spans[slot, i, op - OPEN] = pos
        if code != 0:
            return code
    return 0 if pos == end else TRAILING


@inlined
def decode_rows(
    table: Numbers,
    data: Octets,
    starts: Numbers,
    ends: Numbers,
    ints: Numbers,
    spans: Numbers,
    valid: Bools,
    counts: Numbers,
    status: Octets,
) -> None:
    """Decode n rows; a bad row gets its code in `status` uint8[n] and zeros in every column."""
    for i in range(len(starts)):
        start, end = starts[i], ends[i]
        if start < 0 or end < start or end > len(data):
            code = TRUNCATED
        else:
            code = _row(table, data, start, end, i, ints, spans, valid, counts)
        if code != 0:
            status[i] = code
            ints[:, i] = 0
            spans[:, i, :] = 0
            valid[:, i] = False
            counts[:, i] = 0


@inlined
def list_spans(data: Octets, bodies: Numbers, offsets: Numbers, items: Numbers) -> None:
    """Write where the strings of n already decoded arrays lie: `bodies` int64[n, 2], `items` int64[k, 2]."""
    for i in range(len(bodies)):
        pos, end = bodies[i, 0], bodies[i, 1]
        k = offsets[i]
        while k < offsets[i + 1]:
            count, pos, _ = read_long(data, pos, end)
            for _ in range(count):
                items[k, 0], items[k, 1], _ = _octets(data, pos, end, STRING_BYTES)
                pos = items[k, 1]
                k += 1


@inlined
def gather(data: Octets, spans: Numbers, offsets: Numbers, out: Octets) -> None:
    """Copy the spans one after another: item i to out[offsets[i]:offsets[i + 1]]."""
    for i in range(len(spans)):
        copy(out, offsets[i], data, spans[i, 0], spans[i, 1] - spans[i, 0])


@inlined
def hexes(data: Octets, spans: Numbers, offsets: Numbers, out: Octets) -> None:
    """Write the spans one after another in hexadecimal, two digits a byte: item i to out[offsets[i]:offsets[i + 1]]."""
    for i in range(len(spans)):
        at = offsets[i]
        for k in range(spans[i, 0], spans[i, 1]):
            high, low = data[k] >> 4, data[k] & 15
            out[at] = high + (48 if high < 10 else 87)
            out[at + 1] = low + (48 if low < 10 else 87)
            at += 2


@inlined
def unmask(masks: Numbers, offsets: Numbers, out: Numbers32) -> None:
    """Write the bit numbers of each mask, ascending, to out[offsets[i]:offsets[i + 1]]."""
    for i in range(len(masks)):
        at = offsets[i]
        mask = masks[i]
        index = 0
        while mask != 0:
            if mask & 1:
                out[at] = index
                at += 1
            mask >>= 1
            index += 1
