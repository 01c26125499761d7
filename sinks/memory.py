"""A topic's tables in memory: the rows that `sinks.writer` would file, and no copy of them anywhere else.

For what may leave no file behind, since a withdrawal that comes later would not reach it.
"""

from collections.abc import Collection

import pyarrow as pa

from sinks import voids
from sinks.base import Batch, Written, check
from sinks.decoding import Decoded, contracts, decoded, rows_of
from sinks.parquet import schema_of
from sinks.tables import REVISION, Table, of_topic
from sinks.voids import Voids


class MemorySink:
    """One partition's tables, gone with the process; `tables` in the order of commits, by default those of the topic.

    Events that only the topic's other tables are made of are passed over: it holds the rows of `tables`, nothing more.
    """

    def __init__(self, topic: str, partition: int, tables: Collection[Table] | None = None) -> None:
        placed = of_topic(topic).values()
        self._topic, self._partition, self._position = topic, partition, 0
        self._tables = list(placed if tables is None else tables)
        self._wanted = contracts(placed)
        self._rows = {one.name: schema_of(one).empty_table() for one in self._tables}

    def position(self) -> int:
        """Return the offset from which to go on."""
        return self._position

    def table(self, name: str) -> pa.Table:
        """Return a table's rows as they are now."""
        return self._rows[name]

    def write(self, batch: Batch) -> Written:
        """Bring one batch in; see `sinks.base.Sink.write`."""
        check(batch, self._topic, self._partition, self._position)
        found = decoded(batch, self._wanted)
        void = Voids.of(found)
        rows = {one.name: self._bring(one, found, void) for one in self._tables}
        self._position = batch.end
        return Written(rows)

    def close(self) -> None:
        """Do nothing: there is no client, and the rows stay."""

    def _bring(self, one: Table, found: Decoded, void: Voids) -> int:
        """Bring in what a batch changes in a table, and return how many rows came to stay."""
        came = _joined(one, rows_of(one, found), self._moved(one, found, void))
        came = voids.left(one, came, void)
        self._rows[one.name] = _joined(one, voids.left(one, self._rows[one.name], void), came)
        return int(came.num_rows)

    def _moved(self, one: Table, found: Decoded, void: Voids) -> pa.Table | None:
        """Return what moves to a table in which versions end; the table that it leaves is changed after this one."""
        current = next((each for each in self._tables if REVISION in each.contracts and not each.ends), None)
        if not one.ends or current is None or not void.closed.num_rows:
            return None
        return voids.moved(one, _joined(current, self._rows[current.name], rows_of(current, found)), void)


def _joined(one: Table, *parts: pa.Table | None) -> pa.Table:
    return pa.concat_tables([schema_of(one).empty_table(), *(part for part in parts if part is not None)])
