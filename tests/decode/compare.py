"""Three readers over the same bytes: each must accept the same records and find the same values in them.

The fast lane (`schemas.columns.decode`), the reader of `plain.py`, and on every tenth record the slow lane
(`schemas.rows`) and the `avro` package by itself, which knows none of our limits.
"""

import io
import json
import time
from collections import Counter
from functools import cache
from itertools import pairwise

import avro.errors
import avro.io
import avro.schema
import numpy as np

from schemas import columns, rows
from schemas.errors import Quarantines
from schemas.released import by_id
from schemas.walk import Unsupported
from tests.decode import mutate, plain

CONTRACTS = plain.contracts("schemas")
SHARE = 10  # every which record the slow readers read too
REFUSED = object()
# What the avro package accepts and we refuse: our limits, and what the specification leaves to writers.
STRICTER = frozenset(
    {"varint not canonical", "date", "too long", "block count", "too many items", "duplicate item", "trailing bytes"}
    | {"outside 32 bits", "varint too long", "outside 64 bits", "enum index", "union branch", "boolean", "length"}
)


@cache
def reader_of(number):
    return plain.reader(CONTRACTS[number][2])


def read_plain(number, body):
    """Return (value, "") or (REFUSED, reason)."""
    try:
        return reader_of(number)(body), ""
    except plain.Refused as refused:
        return REFUSED, refused.reason


def check(number, count, seed):
    """Compare the readers on `count` damaged records of contract `number`; return (disagreements, what happened)."""
    release = by_id(number)
    data, bounds = mutate.mutated(mutate.corpus(CONTRACTS[number][2], 60, seed), count, seed)
    octets = data.tobytes()
    edges = bounds.tolist()
    bodies = [octets[a:b] for a, b in pairwise(edges)]
    found = [read_plain(number, body) for body in bodies]
    happened = Counter(reason or "accepted" for _, reason in found)
    told = _fast(release, data, bounds, bodies, found, happened)
    told += [one for i in range(seed % SHARE, count, SHARE) for one in _slow(release, bodies[i], *found[i])]
    happened["records"] += count
    return told[:20], happened


def _fast(release, data, bounds, bodies, found, happened):
    try:
        layout = columns.compile(release)
    except Unsupported:
        return []
    columns.decode(layout, data, bounds[:1], bounds[1:2])  # loads the kernel
    began = time.perf_counter()
    decoded = columns.decode(layout, data, bounds[:-1], bounds[1:])
    spent = time.perf_counter() - began
    happened["fast"] += len(bodies)
    happened["nanoseconds"] = max(happened["nanoseconds"], int(1e9 * spent / len(bodies)))
    good = np.flatnonzero(decoded.status == 0).tolist()
    wanted = [i for i, (value, _) in enumerate(found) if value is not REFUSED]
    told = [_words(release, bodies[i], "fast lane and plain reader differ in accepting") for i in {*good} ^ {*wanted}]
    if told:
        return told
    values = [found[i][0] for i in good]
    for name, column in layout.columns.items():
        path = name.split(".")
        theirs = [_at(value, path) for value in values]
        if column.kind == "symbols":
            theirs = [set(each) for each in theirs]
        ours = _values(decoded, column, good)
        if ours != theirs:
            bad = next(k for k in range(len(good)) if ours[k] != theirs[k])
            told.append(_words(release, bodies[good[bad]], f"{name} is {ours[bad]!r} and {theirs[bad]!r}"))
    return told + _alone(release, layout, decoded, bodies, good[:: max(1, len(good) // 20)])


def _alone(release, layout, decoded, bodies, some):
    """A record among damaged ones reads as it does alone."""
    told = []
    for i in some:
        single = columns.Blob.of([bodies[i]])
        if columns.decode(layout, single.data, single.starts, single.ends).row(0) != decoded.row(i):
            told.append(_words(release, bodies[i], "is read otherwise alone than among others"))
    return told


def _at(value, path):
    for part in path:
        value = value[part]
    return value


def _values(decoded, column, good):
    """Return the values of one column for the rows `good`, in the plain reader's terms."""
    valid = decoded.valid(column.name)[good].tolist()
    if column.kind == "strings":
        offsets, items = decoded.lists(column.name)
        texts = [decoded.octets(i, items).decode() for i in range(len(items))]
        return [texts[offsets[i] : offsets[i + 1]] if ok else None for i, ok in zip(good, valid, strict=True)]
    if column.kind in ("string", "bytes", "fixed", "record"):
        spans = decoded.spans(column.name)[good].tolist()
        octets = decoded.data.tobytes()
        cut = [octets[a:b] for a, b in spans]
        found = [one.decode() for one in cut] if column.kind == "string" else cut
    else:
        found = [_number(column, one) for one in decoded.ints(column.name)[good].tolist()]
    return [one if ok else None for one, ok in zip(found, valid, strict=True)]


def _number(column, value):
    if column.kind == "symbols":
        return {symbol for bit, symbol in enumerate(column.symbols) if value >> bit & 1}
    if column.kind == "enum":
        return column.symbols[value]
    if column.kind == "date":
        return plain.date.fromordinal(plain.EPOCH.toordinal() + value)
    return bool(value) if column.kind == "boolean" else value


def _slow(release, body, value, reason):
    """Compare the slow lane and the avro package with what the plain reader said of one record."""
    try:
        ours = rows.read(release, body)
    except Quarantines:
        ours = REFUSED
    if comparable(ours) != comparable(value):
        yield _words(release, body, f"slow lane and plain reader differ ({reason})")
    theirs, used = read_avro(release, body)
    if value is not REFUSED and (comparable(theirs), used) != (comparable(value), len(body)):
        yield _words(release, body, f"avro reads {theirs!r} of what the plain reader accepts")
    if value is REFUSED and theirs is not REFUSED and used == len(body) and reason not in STRICTER:
        yield _words(release, body, f"avro accepts what the plain reader refuses for {reason}")


def comparable(value):
    """Return a value in which the order of symbols in a set does not count."""
    if isinstance(value, dict):
        return {key: comparable(each) for key, each in value.items()}
    return sorted(value) if isinstance(value, list) else value


@cache
def _avro(release):
    return avro.schema.parse(json.dumps(rows._timestamps_as_long(release.schema)))


def read_avro(release, body):
    """Return (value, bytes used) as the avro package reads them."""
    stream = io.BytesIO(body)
    try:
        return avro.io.DatumReader(_avro(release)).read(avro.io.BinaryDecoder(stream)), stream.tell()
    except (avro.errors.AvroException, OverflowError, ValueError, IndexError, EOFError):
        return REFUSED, stream.tell()


def _words(release, body, what):
    return f"{release.name} {body.hex()}: {what}"
