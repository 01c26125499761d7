"""An append-only file of whole entries: after a crash its tail may be torn, its middle may not.

The file begins with `MAGIC`; an entry is `length` (u32 little endian), `crc32` of length and payload (u32), payload.
A length of 0 is no entry, so that a tail of zeros, which file systems leave after a power cut, is never read as one.
"""

import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from pipeline.files import replace, sync_folder
from schemas.errors import Stops

MAGIC = b"tocsin1\n"
HEAD = struct.Struct("<II")
LONGEST = 1 << 20


class Damaged(Stops):
    """Something that was safely on the disk can't be read any more; nothing was changed."""

    exit_code = 70


class NotWritten(Stops):
    """The disk refused; what was not acknowledged counts as not recorded."""

    exit_code = 74


@contextmanager
def writing(folder: Path, advice: str = "run the command again.") -> Iterator[None]:
    """Make a disk that refuses one of our errors, NotWritten, with advice."""
    try:
        yield
    except OSError as error:
        raise NotWritten(
            f"The disk refused to write in {folder} ({error.strerror}); free some space and {advice}"
        ) from error


@dataclass(frozen=True)
class Cut:
    """What was taken off a file's tail: `at` is its length now, `lost` the number of bytes that were no whole entry."""

    file: str
    at: int
    lost: int


def frame(payload: bytes) -> bytes:
    """Return one entry."""
    assert 0 < len(payload) <= LONGEST
    length = len(payload).to_bytes(4, "little")
    return length + crc32(length + payload).to_bytes(4, "little") + payload


def whole(data: bytes, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield (offset after the entry, payload) of each entry up to the first that is not whole."""
    position = start or len(MAGIC)
    if data[: len(MAGIC)] != MAGIC:
        return
    while position + HEAD.size <= len(data):
        length, checksum = HEAD.unpack_from(data, position)
        end = position + HEAD.size + length
        if not 0 < length <= LONGEST or end > len(data):
            return
        payload = data[position + HEAD.size : end]
        if crc32(payload, crc32(data[position : position + 4])) != checksum:
            return
        yield end, payload
        position = end


@dataclass(frozen=True)
class EntryFile:
    """One such file. Whoever appends holds the folder's lock; reading needs none."""

    path: Path

    def size(self) -> int:
        """Return the length in bytes; 0 where the file does not exist."""
        return self.path.stat().st_size if self.path.exists() else 0

    def read(self, start: int = 0, end: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Yield (offset after the entry, payload) from offset `start` to offset `end`, which is known to be whole.

        Damaged where that is not so. Without `end`, up to the last whole entry.
        """
        data = self.path.read_bytes() if self.path.exists() else b""
        data = data if end is None else data[:end]
        reached = start
        for reached, payload in whole(data, start):
            yield reached, payload
        if end is not None and max(reached, len(MAGIC)) < end:
            raise self.damage(reached)

    def torn(self, floor: int | None) -> Cut | None:
        """Return what a crash left after the last whole entry and has to be cut, or None. Changes nothing.

        Up to `floor` the file was safely on the disk: Damaged where that part isn't whole. Without a floor a torn tail
        can't be told from damage: Damaged where any part isn't whole.
        """
        data = self.path.read_bytes() if self.path.exists() else b""
        good = max((end for end, _ in whole(data)), default=len(MAGIC) if data[: len(MAGIC)] == MAGIC else 0)
        if good < (len(data) if floor is None else floor):
            raise self.damage(good)
        return Cut(self.path.name, good, len(data) - good) if good < len(data) else None

    def cut(self, at: int) -> None:
        """Shorten the file to `at` bytes, durably."""
        with self.path.open("r+b") as file:
            file.truncate(at)
            os.fsync(file.fileno())

    def append(self, payloads: Iterable[bytes]) -> int:
        """Write the entries and wait for the disk; return the file's new length. NotWritten where the disk refuses."""
        fresh = self.size() == 0
        try:
            with self.path.open("ab") as file:
                file.write((MAGIC if fresh else b"") + b"".join(map(frame, payloads)))
                file.flush()
                os.fsync(file.fileno())
                end = file.tell()
            if fresh:
                sync_folder(self.path.parent)
        except OSError as error:
            raise NotWritten(
                f"The disk refused to write {self.path} ({error.strerror}); free some space and run the command again: "
                "what was recorded before is safe."
            ) from error
        return end

    def rewrite(self, changed: Sequence[bytes]) -> None:
        """Put other payloads, each of the length of the one that it stands for, in place of all: all of them, or none.

        Offsets hold. The caller has read the file and knows that it is whole.
        """
        content = MAGIC + b"".join(map(frame, changed))
        assert len(content) == self.size()
        try:
            replace(self.path, content)
        except OSError as error:
            raise NotWritten(
                f"The disk refused to write {self.path} ({error.strerror}); free some space and run the command again."
            ) from error

    def damage(self, at: int) -> Damaged:
        """Return the error for damage at a byte."""
        return Damaged(
            f"{self.path} is damaged after byte {at}; nothing was changed. "
            "Restore this file from a backup, then run `tocsin node status`."
        )
