"""What a hub knew at a moment: its incidents as the log that had come by then makes them, minus what was withdrawn since.

The log is replayed into memory, and nothing of it is filed: a withdrawal that comes later would not reach it there.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl
import pyarrow as pa

from pipeline.hub.asof import standing
from pipeline.hub.moment import Moment, come
from pipeline.log import ends, since
from pipeline.replay import Replay
from schemas.errors import BadInput, NotSetUp
from sinks.memory import MemorySink
from sinks.tables import table

RAW = "raw."


@dataclass(frozen=True)
class Log:
    """The log of all nodes at `kafka`; `privates` and `secrets` are the regions' keys by region."""

    kafka: str
    privates: Mapping[str, Sequence[bytes]]
    secrets: Mapping[str, bytes]

    def size(self) -> int:
        """Return how many offsets it has now."""
        return sum(ends(self.kafka, RAW).values())

    def rows(
        self, region: str, moment: Moment, day: date, step: Callable[[int], None] = lambda _: None
    ) -> pl.DataFrame:
        """Return the rows of a region's incidents as they stood at the end of a day, by what was known at a moment.

        `step` hears of every so many records read. BadInput where nothing had come by the moment, NotSetUp where nothing has.
        """
        first, later = since(self.kafka, RAW, 0, moment.after)
        _begun([came for _, came in first.values() if came is not None], first == later, moment)
        known = {name.removeprefix(RAW): offset for name, (offset, _) in later.items()}
        sink = MemorySink(f"hub.{region}", 0, [table("versions"), table("incidents")])
        replay = Replay(self.kafka, self.privates, self.secrets, region, sink, step=step, known=known)
        asyncio.run(replay.run(sorted(known)))
        return standing(_frame(sink.table("incidents")), _frame(sink.table("versions")), day)


def _begun(came: Sequence[int], all_later: bool, moment: Moment) -> None:
    """Refuse what can't be answered; `came` has the times of the nodes' first records, `all_later` whether all are after it."""
    if not came:
        raise NotSetUp("No node has sent anything yet: run `tocsin node sync` at a node, then ask again.")
    if all_later:
        earliest = come(min(came))
        raise BadInput(f"Nothing had come by {moment.text}; give {earliest}, when the first record had come, or later.")


def _frame(rows: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)
    return frame
