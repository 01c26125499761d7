"""Is it complete? Per node: the highest number seen, the numbers missing below it, and what became of its records.

All of it is folded from `ledger.refine`: no second book is kept.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.log import Entry
from streams.completeness import held, highest, missing
from streams.ledger import ASK, read
from streams.ledger import Entry as Batch
from streams.line import Line
from streams.locked import Locked
from streams.refine import Refine
from streams.refined import Refined
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


@dataclass
class Lane:
    """One node's lane of refine: the state that its ledger gives up to offset `end`, and `counts` of its records."""

    node: str
    end: int = 0
    state: Refined = field(default_factory=Refined)
    counts: Counter[str] = field(default_factory=Counter)


def lanes(ledger: Iterable[Entry], key: bytes) -> list[Lane]:
    """Return the lane of every node of the ledger, by node; `key` opens its deltas.

    Raises LedgerGap where the ranges of a lane do not abut, or neither begin at 0 nor with a base.
    """
    found: dict[str, Lane] = {}
    lines: dict[str, Line] = {}
    for record in ledger:
        if record.key == ASK:
            continue
        entry = read(record.offset, record.value or b"")
        line = lines.setdefault(entry.lane, Line(entry.lane))
        lane = found.setdefault(entry.lane, Lane(entry.lane.removeprefix("raw.").rpartition("-")[0]))
        if (taken := line.take(entry)) is not None:
            _go_on(lane, taken, Locked(Refine(lane.node, partitions=1), key))
    for line in lines.values():
        line.check()
    return sorted(found.values(), key=lambda lane: lane.node)


def _go_on(lane: Lane, entry: Batch, stage: Locked[Refined]) -> None:
    """Add one entry to a lane, or begin it anew with a base."""
    if entry.base:
        lane.state, lane.counts = stage.empty(entry.lane), Counter()
    lane.end, lane.state = entry.end, stage.restore(lane.state, entry.delta)
    lane.counts.update(entry.counts)


def fold(ledger: Iterable[Entry], key: bytes) -> list[NodeCompleteness]:
    """Return the completeness of every node of the ledger, by node; errors as those of `lanes`."""
    return [_completeness(lane) for lane in lanes(ledger, key)]


def _completeness(lane: Lane) -> NodeCompleteness:
    seen = lane.state.seen
    return NodeCompleteness(
        lane.node,
        highest(seen),
        highest(seen) - held(seen),
        [(each.start, each.stop - 1) for each in missing(seen, LISTED)],
        [Waiting(each.number, lacking(lane.state, each)) for each in lane.state.waiting.values()],
        lane.counts,
    )
