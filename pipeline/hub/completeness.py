"""Is it complete? Per node: the highest number seen, the numbers missing below it, and what became of its records.

All of it is folded from `ledger.refine`: no second book is kept.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pipeline.log import Entry
from schemas.errors import LedgerGap
from schemas.rows import read
from schemas.wire import unframe
from streams.completeness import held, highest, missing
from streams.locked import Locked
from streams.refine import Refine
from streams.revisions import lacking

LISTED = 20  # so many missing ranges are named


@dataclass(frozen=True)
class Waiting:
    """An event that waits, by its number at the node, and the numbers that it waits for."""

    event: int
    needs: tuple[int, ...]


@dataclass
class NodeCompleteness:
    """`missing` are the first ranges of missing numbers, both ends included, `missing_count` counts all of them.

    `waiting` are the revisions that wait, `counts` records by what became of them when they came.
    """

    node: str
    highest: int = 0
    missing_count: int = 0
    missing: list[tuple[int, int]] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def complete(self) -> bool:
        """Return whether no number below the highest is missing."""
        return self.missing_count == 0


def fold(ledger: Iterable[Entry], key: bytes) -> list[NodeCompleteness]:
    """Return the completeness of every node of the ledger, by node; `key` opens its deltas.

    Raises LedgerGap where the ranges of a lane do not abut.
    """
    states: dict[str, Any] = {}
    ends: dict[str, int] = {}
    found: dict[str, NodeCompleteness] = {}
    for entry in ledger:
        release, body = unframe(entry.value or b"")
        row = read(release, body)
        lane = row["lane"]
        node = lane.removeprefix("raw.").rpartition("-")[0]
        if ends.get(lane, row["start"]) != row["start"]:
            raise LedgerGap(
                f"ledger.refine jumps from {ends[lane]} to {row['start']} in {lane}; stop the workers and keep the data."
            )
        ends[lane] = row["end"]
        stage = Locked(Refine(node, partitions=1), key)
        states[lane] = stage.restore(states.get(lane) or stage.empty(lane), row["delta"])
        found.setdefault(lane, NodeCompleteness(node)).counts.update(row["counts"])
    for lane, state in states.items():
        node = found[lane]
        node.highest = highest(state.seen)
        node.missing_count = node.highest - held(state.seen)
        node.missing = [(each.start, each.stop - 1) for each in missing(state.seen, LISTED)]
        node.waiting = [Waiting(each.number, lacking(state, each)) for each in state.waiting.values()]
    return sorted(found.values(), key=lambda node: node.node)
