"""A hub topic or the quarantine to its Delta tables: each event's row exactly once, whatever happens between.

For each table of the batch: upload the file under a name that carries its range, then commit it. A crash between
leaves a file that no commit names; the next attempt overwrites it with the same bytes, or, with another cut of the
log, leaves it for the next sink that opens, which deletes what nobody can name any more.

The tables are committed one after another, not together. What makes it exact all the same: the last table is
committed for every batch, with or without rows, and its position is the sink's; the others only when they have rows,
each from its own position. So a table may be ahead of the sink after a crash, never behind: rows below a table's own
position are in it already and are left out.

A removal takes rows out: the files that hold them are written again without, and exchanged by the commit that moves the
position over the removal, so that it is as exact as the rows are. The old files are deleted after the commit.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.columns import Columns, compile, decode  # noqa: A004
from schemas.errors import LedgerGap, Quarantines, Stops
from schemas.released import Release, by_id
from schemas.wire import CONFLUENT_LENGTH
from sinks import parquet
from sinks.base import Batch, Written, unwatched
from sinks.delta import Change, Commits, DataFile
from sinks.store import Store
from sinks.tables import REMOVAL, Table, of_topic

READERS = 4  # files that are looked through at once


class Damaged(Stops):
    """A topic that only our own stages write holds what none of them writes."""

    exit_code = 65


class DeltaSink:
    """One partition's writer. `tables`: by path, in the order of commits; by default those of the topic.

    `reached` is told the points `decoded`, `uploaded <path>`, `committed <path>`. A batch costs one commit for each
    table that has rows in it, and one for the last table; nothing is held back between batches.
    """

    def __init__(
        self,
        store: Store,
        topic: str,
        partition: int,
        tables: Mapping[str, Table] | None = None,
        reached: Callable[[str], None] = unwatched,
    ) -> None:
        self._store, self._topic, self._partition, self._reached = store, topic, partition, reached
        placed = of_topic(topic) if tables is None else tables
        self._tables = [Commits(store, path, table, topic, partition) for path, table in placed.items()]
        self._seconds: dict[str, float] = {}
        for one in self._tables:
            self._sweep(one)

    def position(self) -> int:
        """Return the offset from which to read: the position of the last table."""
        return self._tables[-1].position()

    def write(self, batch: Batch) -> Written:
        """Bring one batch in; see `sinks.base.Sink.write`."""
        self._check(batch)
        if batch.start == batch.end:
            return Written()
        self._seconds = dict.fromkeys(("decode", "file", "upload", "remove", "commit"), 0.0)
        with self._timed("decode"):
            decoded = self._decoded(batch)
        self._reached("decoded")
        gone = _removed(decoded.pop(REMOVAL, None))
        rows, commits = {}, 0
        for one in self._tables:
            columns, offsets = decoded.get(one.table.contract, (None, np.empty(0, np.int64)))
            added, rows[one.table.name] = self._upload(one, columns, offsets, batch.end, gone)
            change = self._exchanged(one, batch.end, gone, added)
            if change.added or change.removed or one is self._tables[-1]:
                commits += self._commit(one, batch.end, change)
            if len(gone) and one.table.naming:
                self._sweep(one)
        return Written(rows, commits, self._seconds)

    def close(self) -> None:
        """Let go of the tables."""
        self._tables = []

    def _check(self, batch: Batch) -> None:
        if (batch.topic, batch.partition) != (self._topic, self._partition):
            raise Stops(
                f"the sink of {self._topic}-{self._partition} was given a batch of {batch.topic}-{batch.partition}; "
                "open one sink for each partition"
            )
        if batch.start != self.position() or batch.end < batch.start:
            raise LedgerGap(
                f"the tables of {self._topic}-{self._partition} end at offset {self.position()} and the batch is "
                f"{batch.start} to {batch.end}; read from the sink's position"
            )

    def _decoded(self, batch: Batch) -> dict[str, tuple[Columns, NDArray[np.int64]]]:
        """Return columns and offsets by contract; Damaged for the first record that is none of ours."""
        wanted = {one.table.contract for one in self._tables} | {REMOVAL for one in self._tables if one.table.naming}
        found: dict[str, tuple[Columns, NDArray[np.int64]]] = {}
        for release, rows in _by_release(batch):
            if release.name not in wanted:
                raise _damaged(batch, rows[0], f"holds {release.name}, which has no table here")
            starts = batch.values.starts[rows] + CONFLUENT_LENGTH
            columns = decode(compile(release), batch.values.data, starts, batch.values.ends[rows])
            if columns.status.any():
                bad = int(np.flatnonzero(columns.status)[0])
                raise _damaged(batch, rows[bad], f"is no {release.name} ({columns.reason(bad)})")
            found[release.name] = columns, batch.offsets[rows]
        return found

    def _upload(
        self, one: Commits, columns: Columns | None, offsets: NDArray[np.int64], end: int, gone: pa.Array
    ) -> tuple[tuple[DataFile, ...], int]:
        """Upload the rows that the table has not yet, but those that are `gone`; return the file, if any, and their number."""
        start = one.position()
        new = offsets >= start
        if columns is None or not new.any():
            return (), 0
        with self._timed("file"):
            content = parquet.rows(
                one.table, {column.field: columns.arrow(column.field) for column in one.table.columns}
            )
            content = parquet.without(one.table, content if new.all() else content.filter(pa.array(new)), gone)
        if not content.num_rows:
            return (), 0
        return (self._put(one, parquet.Range(self._partition, start, end).name, content),), content.num_rows

    def _exchanged(self, one: Commits, end: int, gone: pa.Array, added: tuple[DataFile, ...]) -> Change:
        """Return what the next commit changes: the files `added`, and each with rows of those `gone` for one without."""
        if not len(gone) or not one.table.naming or one.position() >= end:
            return Change(added)
        files = one.files()
        with self._timed("remove"), ThreadPoolExecutor(READERS) as readers:
            rests = list(readers.map(lambda file: parquet.rest(one.table, one.read(file), gone), files))
        changed = [(file, rest) for file, rest in zip(files, rests, strict=True) if rest is not None]
        for file, rest in changed:
            added += (self._put(one, parquet.name_without(file.name, end), rest),) if rest.num_rows else ()
        return Change(added, tuple(file for file, _ in changed))

    def _put(self, one: Commits, name: str, content: pa.Table) -> DataFile:
        with self._timed("file"):
            data = parquet.file(one.table, content)
        with self._timed("upload"):
            self._store.put(f"{one.path}/{name}", data)
        self._reached(f"uploaded {one.path}")
        return DataFile(name, data.nbytes)

    def _commit(self, one: Commits, end: int, change: Change) -> int:
        if one.position() >= end:
            return 0  # an attempt before a crash had read further than this batch
        with self._timed("commit"):
            one.commit(one.position(), end, change)
        self._reached(f"committed {one.path}")
        return 1

    def _sweep(self, one: Commits) -> None:
        """Delete what was taken out of a table, and what crashed attempts left."""
        for path in one.litter():
            self._store.remove(path)

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[part] += time.perf_counter() - begun


def _removed(found: tuple[Columns, NDArray[np.int64]] | None) -> pa.Array:
    """Return the ids of the incidents that a batch removes, as the tables have them."""
    ids = [] if found is None else [found[0].octets(row, found[0].spans("incident_id")) for row in range(found[0].n)]
    return pa.array([each.hex() for each in ids], pa.string())


def _by_release(batch: Batch) -> Iterator[tuple[Release, NDArray[np.int64]]]:
    """Yield each release in the batch with the rows (indexes) that it frames; Damaged for a frame of another kind."""
    starts, ends, data = batch.values.starts, batch.values.ends, batch.values.data
    framed = ends - starts >= CONFLUENT_LENGTH
    framed[framed] = data[starts[framed]] == 0
    if not framed.all():
        raise _damaged(batch, int(np.flatnonzero(~framed)[0]), "is not in Confluent framing")
    ids = data[starts[:, None] + np.arange(1, CONFLUENT_LENGTH)].astype(np.int64) @ (1 << np.arange(24, -1, -8))
    for number in np.unique(ids):
        rows = np.flatnonzero(ids == number)
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
