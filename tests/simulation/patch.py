"""What the lanes see of the machine while a schedule runs: the loop's time, a disk in memory, and cheap bytes.

Ledger records and record batches are written here by a few lines of plain Python: for batches of three records the
Avro package and the kernel cost more than everything else. `test_schedules.py` compares both byte for byte.
"""

from contextlib import contextmanager
from functools import cache, lru_cache
from types import SimpleNamespace

from schemas.released import latest
from streams import client, lane, ledger, snapshot
from streams.recordbatch import Draft
from tests.simulation.disk import System


class Clock:
    """The time of whichever loop runs now."""

    loop = None

    def __call__(self):
        return self.loop.now


@contextmanager
def replaced(changes):
    """Let each (place, attribute, value) be so within the block."""
    before = [(place, name, getattr(place, name)) for place, name, _ in changes]
    for place, name, value in changes:
        setattr(place, name, value)
    try:
        yield
    finally:
        for place, name, value in before:
            setattr(place, name, value)


@contextmanager
def simulated(clock):
    """Let the modules of the lanes use the clock, a disk in memory, and cheap bytes within the block."""
    time = SimpleNamespace(time=clock, monotonic=clock, perf_counter=clock)
    changes = [
        (client, "time", time),
        (lane, "time", time),
        (snapshot, "os", System()),
        (ledger, "write", ledger_record),
        (ledger, "read", lru_cache(4096)(ledger.read)),
        (ledger, "PART_BYTES", 16),
        (lane, "drafts", _drafts),
    ]
    with replaced(changes):
        yield


def varint(value):
    """Return a number as Avro and Kafka write it."""
    bits, out = (value << 1) ^ (value >> 63), bytearray()
    while bits > 0x7F:
        out.append(bits & 0x7F | 0x80)
        bits >>= 7
    out.append(bits)
    return bytes(out)


SMALL = [varint(value) for value in range(64)]


def _number(value):
    return SMALL[value] if 0 <= value < 64 else varint(value)


@cache
def _prefix():
    return b"\x00" + latest("BatchCommitted").id.to_bytes(4, "big")


def ledger_record(name, start, end, counts, suite, delta):
    """Return what `streams.ledger.write` returns."""
    pairs = b"".join(_number(len(key)) + key.encode() + _number(count) for key, count in counts.items())
    counted = _number(len(counts)) + pairs + b"\x00" if counts else b"\x00"
    head = _prefix() + _number(len(name)) + name.encode() + _number(start) + _number(end) + counted
    return head + _number(len(suite)) + suite.encode() + _number(len(delta)) + delta


def record_batch(keys, values):
    """Return the draft of a batch short enough that nobody would compress it."""
    out = bytearray()
    for number, (key, value) in enumerate(zip(keys, values, strict=True)):
        named = _number(len(key)) + key if key else b"\x01"
        body = b"\x00\x00" + _number(number) + named + _number(len(value)) + value + b"\x00"
        out += _number(len(body)) + body
    return Draft(len(keys), 0, bytes(out))


def _drafts(keys, values, rows, limit, real=lane.drafts):
    if len(values.data) + len(keys.data) > 256:
        return real(keys, values, rows, limit)
    rows = rows.tolist()
    return [record_batch([keys.item(row) for row in rows], [values.item(row) for row in rows])]
