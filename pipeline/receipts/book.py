"""What may be receipted of one node: a fold of its ledger of refine and of quarantine; no I/O here.

A receipt names an offset of `raw.<node>` before which everything is in the tables. Its counts are those of all batches
up to there, so that a receipt that is given twice, or by two workers, or at other offsets, is harmless: the reader
keeps the furthest. What is refused is named once, in the receipt whose range holds it.
"""

import heapq
from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from schemas.errors import LedgerGap
from schemas.limits import ITEMS
from streams.base import Stage
from streams.completeness import held, highest, missing
from streams.dedupe import BITS, LOW, PAGES
from streams.refined import Refined

AFTER_REFINE = -1  # the offset of what merge refused: it knows the number only
NO_NUMBER = 0


@dataclass(frozen=True, order=True)
class Refusal:
    """One refused record: its offset in `raw.<node>` or AFTER_REFINE, its number or NO_NUMBER, its reasons."""

    offset: int
    number: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Batch:
    """One record of the ledger of refine: offsets `start` to before `end` of the node's topic; a base starts at 0."""

    start: int
    end: int
    counts: Mapping[str, int]
    delta: bytes = field(repr=False)


class Book:
    """One node's book; `end` is that of the last receipt given, 0 where there was none.

    Batches up to there are folded at once, later ones wait: at most as many as the worker reads ahead.
    """

    def __init__(self, node: str, stage: Stage[Refined], end: int) -> None:
        self.node, self.end, self._stage = node, end, stage
        self._read = 0
        self._state = stage.empty(f"raw.{node}-0")
        self._counts: Counter[str] = Counter()
        self._batches: deque[Batch] = deque()
        self._refusals: list[Refusal] = []
        self._later: list[Refusal] = []

    @property
    def read(self) -> int:
        """Return the end of the last batch that was added."""
        return self._read

    @property
    def waits(self) -> bool:
        """Return whether a batch was added that no receipt names yet."""
        return bool(self._batches)

    @property
    def withdrawn(self) -> Collection[bytes]:
        """Return the references of the cases that are withdrawn, as of the last receipt."""
        return self._state.withdrawn

    def add(self, batch: Batch) -> None:
        """Add the next batch; LedgerGap where it is not the next. A base of what was added says nothing new."""
        if (batch.start, batch.end) == (0, self._read):
            return
        if batch.start != self._read:
            raise LedgerGap(
                f"The ledger of raw.{self.node} jumps from {self._read} to {batch.start}; no receipt is given. Stop the "
                "workers and look at it by `tocsin tap ledger.refine`."
            )
        self._read = batch.end
        if batch.end <= self.end:
            self._fold(batch)
        else:
            self._batches.append(batch)

    def refuse(self, refusal: Refusal) -> None:
        """Add a refusal; one that a receipt named already is dropped."""
        if refusal.offset == AFTER_REFINE:
            self._later.append(refusal)
        elif refusal.offset >= self.end:
            heapq.heappush(self._refusals, refusal)

    def begin(self) -> None:
        """Forget what merge refused of numbers that were receipted before: called once quarantine was read so far."""
        self._later = [refusal for refusal in self._later if not self._knows(refusal.number)]

    def give(self, until: int) -> Iterator[dict[str, Any]]:
        """Yield the receipts, as rows of ReceiptGiven, of all batches that end at or before offset `until`."""
        while self._batches and self._batches[0].end <= until:
            batch = self._batches.popleft()
            self._fold(batch)
            refused = self._refused_before(batch.end)
            while len(refused) > ITEMS:
                part, refused = refused[:ITEMS], refused[ITEMS:]
                yield self._row(max(self.end, part[-1].offset + 1), part)
            yield self._row(batch.end, refused)

    def _refused_before(self, end: int) -> list[Refusal]:
        """Take what was refused before an offset, by offset; what merge refused of a known number comes first."""
        found = [each for each in self._later if self._knows(each.number)]
        self._later = [each for each in self._later if not self._knows(each.number)]
        while self._refusals and self._refusals[0].offset < end:
            found.append(heapq.heappop(self._refusals))
        return found

    def _fold(self, batch: Batch) -> None:
        self._state = self._stage.restore(self._state, batch.delta)
        self._counts.update(batch.counts)

    def _knows(self, number: int) -> bool:
        seen = self._state.seen
        pages = np.flatnonzero(seen.numbers[: seen.marks[PAGES]] == number >> BITS)
        return bool(seen.pages[pages, number & LOW].any())

    def _row(self, end: int, refused: list[Refusal]) -> dict[str, Any]:
        start, self.end = self.end, end
        seen = self._state.seen
        gaps = missing(seen, ITEMS + 1)
        through = gaps[ITEMS].start - 1 if len(gaps) > ITEMS else highest(seen)
        return {
            "node": self.node,
            "start": start,
            "end": end,
            "through": through,
            "highest": highest(seen),
            "missing_first": [gap.start for gap in gaps[:ITEMS]],
            "missing_last": [gap.stop - 1 for gap in gaps[:ITEMS]],
            "missing_count": highest(seen) - held(seen),
            "counts": dict(self._counts),
            "refused_offsets": [each.offset for each in refused],
            "refused_numbers": [each.number for each in refused],
            "refused_reasons": [" ".join(each.reasons) for each in refused],
        }
