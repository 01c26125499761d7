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
from pipeline.log import since, topics
from pipeline.replay import Replay, ends
from schemas.errors import BadInput, NotSetUp
from sinks.memory import MemorySink
from sinks.tables import table

RAW = "raw."


@dataclass(frozen=True)
class Log:
    """The log of all nodes at `kafka`; `privates` and `secrets` are the regions' keys by region."""

    kafka: str
    privates: Mapping[str, bytes]
    secrets: Mapping[str, bytes]

    def size(self) -> int:
        """Return how many offsets it has now."""
        return asyncio.run(ends(self.kafka, self._nodes()))

    def rows(
        self, region: str, moment: Moment, day: date, step: Callable[[int], None] = lambda _: None
    ) -> pl.DataFrame:
        """Return the rows of a region's incidents as they stood at the end of a day, by what was known at a moment.

        `step` hears of every so many records read. BadInput where nothing had come by the moment, NotSetUp where nothing has.
        """
        nodes = self._nodes()
        known = self._known(nodes, moment)
        sink = MemorySink(f"hub.{region}", 0, [table("versions"), table("incidents")])
        replay = Replay(self.kafka, self.privates, self.secrets, region, sink, step=step, known=known)
        asyncio.run(replay.run(nodes))
        return standing(_frame(sink.table("incidents")), _frame(sink.table("versions")), day)

    def _nodes(self) -> list[str]:
        return [name.removeprefix(RAW) for name in topics(self.kafka, RAW)]

    def _known(self, nodes: Sequence[str], moment: Moment) -> dict[str, int]:
        """Return by node the offset of the first record that came after a moment; of nodes that sent one."""
        names = [f"{RAW}{node}" for node in nodes]
        first, later = since(self.kafka, names, 0), since(self.kafka, names, moment.after)
        if not first:
            raise NotSetUp("No node has sent anything yet: run `tocsin node sync` at a node, then ask again.")
        if first == later:
            earliest = come(min(timestamp for _, timestamp in first.values()))
            raise BadInput(
                f"Nothing had come by {moment.text}; give {earliest}, when the first record had come, or later."
            )
        return {name.removeprefix(RAW): offset for name, (offset, _) in later.items()}


def _frame(rows: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)
    return frame
