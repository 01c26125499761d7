"""A batch of a topic to columns by contract: of each contract one part for each release that is in the batch."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas import kernels
from schemas.columns import Columns, Layout, compile, decode  # noqa: A004
from schemas.errors import Quarantines, Stops
from schemas.order import order_of
from schemas.released import Release, by_id
from schemas.wire import CONFLUENT_LENGTH
from sinks import parquet
from sinks.base import Batch
from sinks.tables import CLOSURE, REMOVAL, REVISION, Table

ID = 16


class Damaged(Stops):
    """A topic that only our own stages write holds what none of them writes."""

    exit_code = 65


@dataclass(frozen=True, eq=False)
class Part:
    """The events of one release in a batch, in the order of the ids that they begin with, and their offsets int64[n]."""

    columns: Columns
    offsets: NDArray[np.int64]


Decoded = Mapping[str, tuple[Part, ...]]


def contracts(tables: Iterable[Table]) -> set[str]:
    """Return the contracts of the events that change these tables: those of their rows, and those that take rows out."""
    several = list(tables)
    voiding = {REMOVAL, CLOSURE} if any(table.naming for table in several) else set()
    return voiding.union(*(table.contracts for table in several))


def decoded(batch: Batch, wanted: Collection[str]) -> Decoded:
    """Return the parts by contract; Damaged for the first record that is none of those `wanted`."""
    found: dict[str, tuple[Part, ...]] = {}
    for release, there in _by_release(batch):
        if release.name not in wanted:
            raise _damaged(batch, there[0], f"holds {release.name}, which has no table here")
        layout = compile(release)
        rows = there[_order(layout, batch, there)]
        starts = batch.values.starts[rows] + CONFLUENT_LENGTH
        columns = decode(layout, batch.values.data, starts, batch.values.ends[rows])
        if columns.status.any():
            bad = min(np.flatnonzero(columns.status).tolist(), key=rows.__getitem__)
            raise _damaged(batch, rows[bad], f"is no {release.name} ({columns.reason(bad)})")
        found[release.name] = (*found.get(release.name, ()), Part(columns, batch.offsets[rows]))
    return found


def _order(layout: Layout, batch: Batch, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return in which order to decode events: that of the ids in front, which is the tables', so that no column is sorted."""
    ids = sum(1 for _ in takewhile(lambda line: (line[0], line[2]) == (kernels.FIXED, ID), layout.table))
    starts = batch.values.starts[rows] + CONFLUENT_LENGTH
    spans = np.stack([starts, starts + ids * ID], axis=1)
    if not ids or (spans[:, 1] > batch.values.ends[rows]).any():
        return np.arange(len(rows))
    front = np.empty((len(rows), ids * ID), np.uint8)
    kernels.gather(batch.values.data, spans, np.arange(len(rows) + 1) * ids * ID, front.reshape(-1))
    return order_of(front)


def rows_of(table: Table, found: Decoded, start: int = 0) -> pa.Table | None:
    """Return the rows that a batch brings to a table from offset `start` on; None where it brings none.

    A further version is a row of `incidents` where it is the current one, else of the table in which versions end.
    """
    parts = [
        _rows(table, part, mine)
        for contract in table.contracts
        for part in found.get(contract, ())
        if (mine := _mine(table, contract, part) & (part.offsets >= start)).any()
    ]
    return pa.concat_tables(parts) if parts else None


def _mine(table: Table, contract: str, part: Part) -> NDArray[np.bool_]:
    """Return which events of a part are rows of the table as they come."""
    if contract != REVISION:
        return np.full(part.columns.n, not table.ends)
    current: NDArray[np.bool_] = part.columns.ints("current") != 0
    return ~current if table.ends else current


def _rows(table: Table, part: Part, mine: NDArray[np.bool_]) -> pa.Table:
    columns = part.columns
    arrays = {each.field: columns.arrow(each.field) for each in table.columns if each.field in columns.layout.columns}
    if table.ends:
        arrays["conflict"] = pa.array(np.ones(columns.n, np.bool_))
    content = parquet.rows(table, arrays, columns.n)
    return content if mine.all() else content.filter(pa.array(mine))


def _by_release(batch: Batch) -> Iterator[tuple[Release, NDArray[np.int64]]]:
    """Yield each release in the batch with the rows (indexes) that it frames; Damaged for a frame of another kind.

    A tombstone, which has no value, brings nothing: what it takes out of the log is void already.
    """
    starts, ends, data = batch.values.starts, batch.values.ends, batch.values.data
    valued = ends > starts
    framed = ends - starts >= CONFLUENT_LENGTH
    framed[framed] = data[starts[framed]] == 0
    if not framed[valued].all():
        raise _damaged(batch, int(np.flatnonzero(valued & ~framed)[0]), "is not in Confluent framing")
    there = np.flatnonzero(valued)
    ids = data[starts[there, None] + np.arange(1, CONFLUENT_LENGTH)].astype(np.int64) @ (1 << np.arange(24, -1, -8))
    for number in np.unique(ids):
        rows = there[ids == number]
        try:
            release = by_id(int(number))
        except Quarantines as error:
            raise _damaged(batch, rows[0], f"has an unknown schema ({error.reason})") from error
        yield release, rows


def _damaged(batch: Batch, row: int, what: str) -> Damaged:
    place = f"{batch.topic}-{batch.partition} at offset {batch.offsets[row]}"
    return Damaged(
        f"the record of {place} {what}; only our own stages write there: keep the topic, report this, "
        "and rebuild the topic from `accepted` before starting the sink again"
    )
