"""The node's journal: every event once, numbered 1, 2, 3 … without a gap, safe on the disk before it is acknowledged.

Folder: segments `<number of the first event>.log`, `keys.log`, `mark`, `lock`, `cuts.jsonl` (torn tails that were cut).
An event stands beside the digest of the row that it came from, so that "recorded" and "already imported" are one
append. Bodies come here sealed; nothing here holds a case in clear. There is no index: opening reads the segments.
"""

import fcntl
import os
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.files import sync_folder
from pipeline.node import lines
from pipeline.node import mark as marks
from pipeline.node.entries import Cut, Damaged, EntryFile, NotWritten
from pipeline.node.mark import Mark
from schemas.errors import Retries

SEGMENT_BYTES = 8 << 20
NUMBER = struct.Struct("<Q16s")
NO_DIGEST = bytes(16)


class Busy(Retries):
    """Another process of this machine writes to the same node."""


@dataclass(frozen=True)
class Entry:
    """One event: its number, the digest of its source row (16 bytes; zeros for none), the framed envelope."""

    sequence: int
    digest: bytes
    envelope: bytes

    @classmethod
    def of(cls, payload: bytes) -> Self:
        """Return the event in an entry of a segment."""
        sequence, digest = NUMBER.unpack_from(payload)
        return cls(sequence, digest, payload[NUMBER.size :])

    @property
    def payload(self) -> bytes:
        """Return the event as an entry of a segment holds it."""
        return NUMBER.pack(self.sequence, self.digest) + self.envelope


class Lock:
    """Only one process at a time; the kernel lets go of it when the process ends, however it ends."""

    def __init__(self, path: Path, sentence: str) -> None:
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._handle)
            raise Busy(sentence) from None

    def close(self) -> None:
        """Let go of it."""
        os.close(self._handle)


class Reader:
    """The journal as far as it is safely on the disk; may be read while another process writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys_file = EntryFile(folder / "keys.log")

    @property
    def mark(self) -> Mark:
        """Return how far the journal is safe."""
        return marks.read(self.folder / "mark") or Mark()

    def segments(self) -> list[int]:
        """Return the number of the first event of each segment."""
        return sorted(int(path.stem) for path in self.folder.glob("*.log") if path.stem.isdigit())

    def read(self, start: int = 1) -> Iterator[Entry]:
        """Yield the events from number `start` on; Damaged where one is missing or unreadable."""
        mark = self.mark
        segments = [first for first in self.segments() if first <= mark.last]
        needed = [first for first in segments if first <= start][-1:] + [first for first in segments if first > start]
        expected = start
        for first in needed:
            for entry in self._entries(first, mark.at if first == mark.segment else self._file(first).size()):
                if entry.sequence > expected:
                    raise self._missing(expected)
                if entry.sequence == expected:
                    yield entry
                    expected += 1
        if expected <= mark.last:
            raise self._missing(expected)

    def newest(self) -> bytes:
        """Return the envelope of the last event, nothing where there is none."""
        last = self.mark.last
        return next(self.read(last)).envelope if last else b""

    def key_records(self, start: int = 0) -> Iterator[tuple[int, bytes, bytes]]:
        """Yield (offset after it, key, value) of the records for `keys.<node>` from offset `start` on.

        A value of nothing is a tombstone. What was overwritten is passed over: what counts of its key comes after it.
        """
        for end, payload in self._key_entries(start):
            key, value = _parted(payload)
            if any(value) or not value:
                yield end, key, value

    def keys(self) -> dict[bytes, bytes]:
        """Return the newest value of each key of `keys.<node>`, of nothing where that is a tombstone."""
        return {key: value for _, key, value in self.key_records()}

    def _key_entries(self, start: int) -> list[tuple[int, bytes]]:
        """Return the entries of `keys.log` from an offset on; none that was overwritten for one which lies after the mark."""
        while True:
            end = self.mark.keys
            found = list(self.keys_file.read(start, end))
            if self.mark.keys == end:
                return found

    def cuts(self) -> list[dict[str, Any]]:
        """Return what was cut off torn tails, oldest first."""
        return lines.read(self.folder / "cuts.jsonl")

    def _file(self, first: int) -> EntryFile:
        return EntryFile(self.folder / f"{first:020}.log")

    def _entries(self, first: int, end: int | None) -> Iterator[Entry]:
        """Yield a segment's events up to byte `end`, which has to be whole; None: up to the last whole one."""
        file = self._file(first)
        expected = first
        for at, payload in file.read(0, end):
            entry = Entry.of(payload)
            if entry.sequence != expected:
                raise file.damage(at)
            yield entry
            expected += 1

    def _missing(self, sequence: int) -> Damaged:
        return Damaged(
            f"Event {sequence} is missing in {self.folder}; nothing was changed. "
            "Restore the whole folder from a backup, then run `tocsin node status`."
        )


class Journal(Reader):
    """The journal opened for writing: holds the lock, has cut a torn tail, knows every digest.

    Errors: Busy, Damaged (nothing was changed), NotWritten (after it, open the journal anew).
    """

    def __init__(self, folder: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        super().__init__(folder)
        self._segment_bytes = segment_bytes
        self._broken, self._newest = False, b""
        with ExitStack() as stack:
            lock = Lock(folder / "lock", f"Another command is writing to {folder}; wait for it, then run this again.")
            stack.callback(lock.close)
            self._mark, self.digests = self._settle(marks.read(folder / "mark"))
            self.forget()  # a crash may have come between what follows a key and this
            self._close = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the lock."""
        self._close.close()

    @property
    def last(self) -> int:
        """Return the number of the last event, 0 where there is none."""
        return self._mark.last

    def newest(self) -> bytes:
        """Return the envelope of the last event, nothing where there is none."""
        return self._newest

    def append(self, entries: Sequence[Entry], keys: Sequence[tuple[bytes, bytes]] = ()) -> None:
        """Write keys, then the events that need them, then the mark, each safe on the disk before the next.

        The numbers of `entries` follow on the last. What was acknowledged stays; of a group that a crash or a full
        disk interrupts, a part may stay, in order.
        """
        assert [entry.sequence for entry in entries] == list(range(self.last + 1, self.last + 1 + len(entries)))
        assert not self._broken, "open the journal anew after a failed write"
        self._broken = True
        mark = self._mark
        if keys:
            payloads = [bytes([len(key)]) + key + value for key, value in keys]
            mark = replace(mark, keys=self.keys_file.append(payloads))
        if entries:
            full = mark.at >= self._segment_bytes
            segment = entries[0].sequence if full or not self.last else mark.segment
            written = self._file(segment).append(entry.payload for entry in entries)
            mark = replace(mark, segment=segment, at=written, last=entries[-1].sequence)
        self._mark = self._written(mark)
        self._newest = entries[-1].envelope if entries else self._newest
        self.digests.update(entry.digest for entry in entries if entry.digest != NO_DIGEST)
        self._broken = False

    def forget(self) -> None:
        """Overwrite with zeros each key that a tombstone or a newer form of it follows: it cannot be opened on this disk again."""
        payloads = [payload for _, payload in self.keys_file.read(0, self._mark.keys)]
        known, changed = set(), list(payloads)
        for at in reversed(range(len(payloads))):
            key, value = _parted(payloads[at])
            if key in known:
                changed[at] = payloads[at][: 1 + len(key)] + bytes(len(value))
            known.add(key)
        if changed != payloads:
            self.keys_file.rewrite(changed)

    def _written(self, mark: Mark) -> Mark:
        mark = replace(mark, turn=mark.turn + 1)
        try:
            marks.write(self.folder / "mark", mark)
        except OSError as error:
            raise NotWritten(
                f"The disk refused to write in {self.folder} ({error.strerror}); free some space."
            ) from error
        return mark

    def _settle(self, mark: Mark | None) -> tuple[Mark, set[bytes]]:
        """Cut what a crash left, set the mark to what is whole, and gather the digests."""
        segments = self.segments()
        newest = segments[-1] if segments else 1
        floors = (
            {self.keys_file: mark.keys, self._file(newest): mark.at if mark.segment == newest else 0} if mark else {}
        )
        torn = [(file, file.torn(floors.get(file))) for file in (self.keys_file, self._file(newest))]
        found = self._read_all(segments, mark)
        for file, cut in torn:
            if cut:
                self._report(cut)
                file.cut(cut.at)
        last = found[-1].sequence if found else 0
        settled = Mark(mark.turn if mark else 0, last, newest, self._file(newest).size(), self.keys_file.size())
        digests = {entry.digest for entry in found} - {NO_DIGEST}
        return (mark if mark == settled else self._durable(settled)), digests

    def _read_all(self, segments: list[int], mark: Mark | None) -> list[Entry]:
        """Return every event, those after the mark too; Damaged where one that was safe is not there."""
        found: list[Entry] = []
        for first in segments:
            if first != len(found) + 1:
                raise self._missing(len(found) + 1)
            end = None if first == segments[-1] else self._file(first).size()
            for entry in self._entries(first, end):
                self._newest = entry.envelope
                found.append(replace(entry, envelope=b""))
        if mark and len(found) < mark.last:
            raise self._missing(len(found) + 1)
        return found

    def _durable(self, settled: Mark) -> Mark:
        """Wait until all that was found whole is safe on the disk, then set the mark to it."""
        for file in (self.keys_file, self._file(settled.segment)):
            if file.size():
                with file.path.open("r+b") as handle:
                    os.fsync(handle.fileno())
        sync_folder(self.folder)
        return self._written(settled)

    def _report(self, cut: Cut) -> None:
        """Write down what will be cut, before it is."""
        line = {"at": int(time.time()), "file": cut.file, "bytes_kept": cut.at, "bytes_cut": cut.lost}
        lines.append(self.folder / "cuts.jsonl", line)


def _parted(payload: bytes) -> tuple[bytes, bytes]:
    """Return key and value of an entry of `keys.log`."""
    length = payload[0]
    return payload[1 : 1 + length], payload[1 + length :]
