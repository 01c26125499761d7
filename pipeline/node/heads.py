"""The node's signed heads: one for each group of events that is sent for the first time, kept in `heads.log`.

A head is on the disk before it is sent. Losing the file is harmless: the same events give heads that agree with those sent.
Who took the node over goes on from the last head of those before her, and cites it: those she cannot make again.
"""

from bisect import bisect
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import islice, takewhile
from operator import itemgetter
from pathlib import Path

from pipeline.node.entries import Damaged, EntryFile
from pipeline.node.handover import deeds
from pipeline.node.journal import Entry, Reader
from schemas import chain, signing
from schemas.chain import Head


class Heads:
    """The heads of one node; `seed` is its secret signing key. What is left of a head that is not whole is cut."""

    def __init__(self, folder: Path, code: str, seed: bytes) -> None:
        self._code, self._seed, self._owned_from = code, seed, deeds.owned_from(folder)
        self._signer = signing.public_of(seed)
        self._file = EntryFile(folder / "heads.log")
        torn = self._file.torn(0)
        if torn:
            self._file.cut(torn.at)
        self._records = list(self._file.read())  # each with the file's length after it
        self._last: Head | None = chain.read_head(self._records[-1][1]) if self._records else None

    @property
    def size(self) -> int:
        """Return the length of the file in bytes."""
        return self._file.size()

    @property
    def through(self) -> int:
        """Return the number of the last event that a head covers."""
        return self._last.sequence if self._last else 0

    def cover(self, entries: Sequence[Entry]) -> None:
        """Sign a head for those of the events, which follow one another, that none covers yet. NotWritten where the disk refuses."""
        new = [chain.leaf(entry.envelope) for entry in entries if entry.sequence > self.through]
        if not new:
            return
        if self.through < self._owned_from - 1:
            raise Damaged(
                f"{self._file.path} has lost heads of the team before this one, and nobody can sign them again: restore that file "
                "from the newest backup of the folder, or take it out of the package that was opened."
            )
        assert entries[-1].sequence == self.through + len(new), "a head goes on from the one before"
        link = chain.extended(self._last.link if self._last else chain.START, new)
        marks = b"".join(leaf[: chain.MARK] for leaf in new)
        before = sha256(self._records[-1][1]).digest() if self._records else chain.START
        own = not self._last or self._last.signer == self._signer
        cited = (before, None) if own else (chain.START, before)
        self._last = Head(self._code, self._signer, entries[-1].sequence, link, cited[0], marks, cited[1])
        record = chain.sign_head(self._seed, self._last)
        self._records.append((self._file.append([record]), record))

    def cover_through(self, reader: Reader, last: int, group: int) -> None:
        """Sign heads, one for each group of so many, for the events up to number `last` that none covers yet."""
        entries = takewhile(lambda entry: entry.sequence <= last, reader.read(self.through + 1))
        while some := list(islice(entries, group)):
            self.cover(some)

    def unsent(self, start: int, through: int) -> Iterator[tuple[int, bytes]]:
        """Yield (length of the file after it, record) of the heads from byte `start` on that cover no event after `through`."""
        for end, record in self._records[bisect(self._records, start, key=itemgetter(0)) :]:
            if chain.read_head(record).sequence > through:
                return
            yield end, record
