"""The kernels of the encoder: the table of `schemas.layout` walked the other way, n rows into one buffer.

Shapes: `ints` int64[i, n]; `spans` int64[s, n, 2] in `data` uint8[*], read-only; `valid` bool[v, n]; `heads` and
`counts` int64[l, n] say which of `items` int64[t, 2] are a row's strings; `out` uint8[capacity], `bounds` int64[n+1].
"""

from typing import Any

import numpy as np

from schemas.jit import inlined
from schemas.kernels import BOOLEAN, CLOSE, FIXED, LIST, MASK, NULL, OPEN, TEXT, Bools, Found, Numbers, Octets
from schemas.limits import ITEMS, REASONS
from schemas.memory import copy

COPY = CLOSE + 1

TOO_LONG = REASONS.index("avro.too_long")
LENGTH = REASONS.index("avro.length")
TOO_MANY = REASONS.index("avro.too_many_items")
ENUM_INDEX = REASONS.index("avro.enum_index")

Written = tuple[Any, Any]


@inlined
def _varint(out: Octets, pos: int, value: int) -> int:
    """Write a zigzag varint, return the position after it."""
    bits = np.uint64((value << 1) ^ (value >> 63))
    while bits >= np.uint64(0x80):
        out[pos] = np.uint8(bits & np.uint64(0x7F)) | np.uint8(0x80)
        bits >>= np.uint64(7)
        pos += 1
    out[pos] = np.uint8(bits)
    return pos + 1


@inlined
def _copy(out: Octets, pos: int, data: Octets, start: int, end: int) -> int:
    copy(out, pos, data, start, end - start)
    return pos + end - start


@inlined
def _mask(out: Octets, pos: int, mask: int, symbols: int) -> Written:
    """Write an array of symbols in one block; return (position after, code)."""
    if mask < 0 or mask >> symbols:
        return pos, ENUM_INDEX
    count = 0
    for index in range(symbols):
        count += (mask >> index) & 1
    if count:
        pos = _varint(out, pos, count)
        for index in range(symbols):
            if (mask >> index) & 1:
                pos = _varint(out, pos, index)
    out[pos] = 0
    return pos + 1, 0


@inlined
def _list(out: Octets, pos: int, data: Octets, items: Numbers, head: int, count: int, limit: int) -> Written:
    """Write an array of strings in one block; return (position after, code)."""
    if count > ITEMS:
        return pos, TOO_MANY
    if count:
        pos = _varint(out, pos, count)
    for k in range(head, head + count):
        start, end = items[k, 0], items[k, 1]
        if end - start > limit:
            return pos, TOO_LONG
        pos = _copy(out, _varint(out, pos, end - start), data, start, end)
    out[pos] = 0
    return pos + 1, 0


@inlined
def _span(out: Octets, pos: int, data: Octets, start: int, end: int, op: int, limit: int) -> Written:
    """Write bytes, a string, a fixed or a record's bytes; return (position after, code)."""
    length = end - start
    if op == FIXED and length != limit:
        return pos, LENGTH
    if op <= TEXT:
        if length > limit:
            return pos, TOO_LONG
        pos = _varint(out, pos, length)
    return _copy(out, pos, data, start, end), 0


@inlined
def _row(
    table: Numbers,
    i: int,
    ints: Numbers,
    spans: Numbers,
    valid: Bools,
    heads: Numbers,
    counts: Numbers,
    items: Numbers,
    data: Octets,
    out: Octets,
    pos: int,
) -> Found:
    """Encode row `i` at `pos`; return (position after, code, line of the table)."""
    line = 0
    while line < len(table):
        op, slot, a, b = table[line, 0], table[line, 1], table[line, 2], table[line, 3]
        code = 0
        if op <= BOOLEAN:
            value = ints[slot, i]
            if value < a or value > b:
                return pos, table[line, 4], line
            if op == BOOLEAN:
                out[pos] = value
                pos += 1
            else:
                pos = _varint(out, pos, value)
        elif op == MASK:
            pos, code = _mask(out, pos, ints[slot, i], a)
        elif op == LIST:
            pos, code = _list(out, pos, data, items, heads[b, i], counts[b, i], a)
        elif op == NULL:
            given = valid[slot, i]
            pos = _varint(out, pos, 1 - a if given else a)
            line += 0 if given else b
        elif op not in (OPEN, CLOSE):
            pos, code = _span(out, pos, data, spans[slot, i, 0], spans[slot, i, 1], op, a)
        if code != 0:
            return pos, code, line
        line += 1
    return pos, 0, 0


@inlined
def encode_rows(
    table: Numbers,
    prefix: Octets,
    ints: Numbers,
    spans: Numbers,
    valid: Bools,
    heads: Numbers,
    counts: Numbers,
    items: Numbers,
    data: Octets,
    out: Octets,
    bounds: Numbers,
) -> Found:
    """Encode n rows, each after `prefix` uint8[p]; return (code, row, line) of the first that can't be, code 0 if none."""
    pos = 0
    bounds[0] = 0
    for i in range(len(bounds) - 1):
        pos = _copy(out, pos, prefix, 0, len(prefix))
        pos, code, line = _row(table, i, ints, spans, valid, heads, counts, items, data, out, pos)
        if code != 0:
            return code, i, line
        bounds[i + 1] = pos
    return 0, 0, 0
