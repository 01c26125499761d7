"""How far the journal is safely on the disk: two slots in one small file, written in turn.

What lies before the mark was acknowledged by the disk and has to be there; what lies after it was never promised.
That is how a torn tail, which is cut, is told from damage, which is not touched.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

SLOT = 4_096  # a page each: what tears one leaves the other
FIELDS = struct.Struct("<QQQQQ")


@dataclass(frozen=True)
class Mark:
    """`turn` counts the marks; `last` event; `segment` (its first event's number) and `at`, `keys`: bytes that are safe."""

    turn: int = 0
    last: int = 0
    segment: int = 1
    at: int = 0
    keys: int = 0


def read(path: Path) -> Mark | None:
    """Return the newest mark that can be read, None where there is none."""
    data = path.read_bytes() if path.exists() else b""
    found = [mark for slot in (0, SLOT) if (mark := _mark(data[slot : slot + SLOT]))]
    return max(found, key=lambda mark: mark.turn, default=None)


def write(path: Path, mark: Mark) -> None:
    """Write a mark into the slot that the one before does not stand in, and wait for the disk."""
    fields = FIELDS.pack(mark.turn, mark.last, mark.segment, mark.at, mark.keys)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.pwrite(handle, fields + crc32(fields).to_bytes(4, "little"), SLOT * (mark.turn % 2))
        os.fsync(handle)
    finally:
        os.close(handle)


def _mark(slot: bytes) -> Mark | None:
    fields, checksum = slot[: FIELDS.size], slot[FIELDS.size : FIELDS.size + 4]
    if len(checksum) < 4 or crc32(fields) != int.from_bytes(checksum, "little"):
        return None
    return Mark(*FIELDS.unpack(fields))
