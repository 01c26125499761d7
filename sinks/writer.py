"""A hub topic or the quarantine to its Delta tables: each event's row exactly once, whatever happens between.

For each table of the batch: upload the file under a name that carries its range, then commit it. A crash between
leaves a file that no commit names; the next attempt overwrites it with the same bytes, or, with another cut of the
log, leaves it for the next sink that opens, which deletes what nobody can name any more.

The tables are committed one after another, not together. What makes it exact all the same: the last table is
committed for every batch, with or without rows, and its position is the sink's; the others only when they have rows,
each from its own position. So a table may be ahead of the sink after a crash, never behind: rows below a table's own
position are in it already and are left out.

A removal takes rows out: the files that hold them are written again without, and exchanged by the commit that moves the
position over the removal, so that it is as exact as the rows are. The old files are deleted after the commit. It is made
also where no row goes: a file of a crashed attempt may hold one, and can be deleted only below the position. It is made
as well where all rows that came are void again, lest a stale writer with a smaller batch brings them in.

A version that is closed moves from `incidents` to `versions`, which is committed first. `versions` takes a closure only
at or after its own position, so none twice; its row is looked for in the whole batch, then in the files of `incidents`,
which have it still: they drop a row only in an attempt that has committed it to `versions` up to the same offset.
`incidents`, `duplicates` and `links` drop what any closure of the batch names, which may be done again: no row of a
version comes after its closure.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sinks import parquet, voids
from sinks.base import Batch, Written, check, unwatched
from sinks.decoding import Decoded, contracts, decoded, rows_of
from sinks.delta import Change, Commits, DataFile
from sinks.sought import Sought, short
from sinks.store import Store
from sinks.tables import REVISION, Table, of_topic
from sinks.voids import Rest, Voids

READERS = 4  # files that are looked through at once


@dataclass(frozen=True)
class _Work:
    """One batch: its end, its events, what they make void, and by table what that changes in its files."""

    end: int
    found: Decoded
    void: Voids
    rests: dict[str, list[tuple[DataFile, Rest]]] = field(default_factory=dict)


class DeltaSink:
    """One partition's writer. `tables`: by path, in the order of commits; by default those of the topic.

    `reached` is told the points `decoded`, `uploaded <path>`, `committed <path>`. A batch costs one commit for each
    table that it brings rows to or takes rows from, and one for the last; nothing is held back between batches.
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
        self._wanted = contracts(placed.values())
        self._sought = {path: Sought() for path in placed}
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
            found = self._decoded(batch)
            void = Voids.of(found)
        self._reached("decoded")
        work = _Work(batch.end, found, void)
        rows, commits = {}, 0
        for one in self._tables:
            change, rows[one.table.name], moves = self._change(one, work)
            if moves or one is self._tables[-1]:
                commits += self._commit(one, batch.end, change)
            if change.removed or (len(void.gone) and one.table.naming):
                self._sweep(one)
        return Written(rows, commits, self._seconds)

    def close(self) -> None:
        """Let go of the tables."""
        self._tables = []

    def _check(self, batch: Batch) -> None:
        check(batch, self._topic, self._partition, self.position())

    def _decoded(self, batch: Batch) -> Decoded:
        return decoded(batch, self._wanted)

    def _change(self, one: Commits, work: _Work) -> tuple[Change, int, bool]:
        """Return what the next commit of a table changes, its files uploaded, how many rows come, and whether to commit.

        That is so also where all that came is void again: else a stale writer with a smaller batch could bring it in.
        """
        if one.position() >= work.end:
            return Change(), 0, False  # an attempt before a crash had read further than this batch
        with self._timed("file"):
            content, void = rows_of(one.table, work.found, one.position()), work.void
        if one.table.ends and void:
            content, void = self._ending(one, work, content)
        came = content is not None and content.num_rows > 0
        content = voids.left(one.table, content, work.void) if came else None
        added: tuple[DataFile, ...] = ()
        number = content.num_rows if content is not None else 0
        if number:
            added = (self._put(one, parquet.Range(self._partition, one.position(), work.end).name, content),)
        change = self._exchanged(one, work, void, added)
        removes = len(work.void.gone) > 0 and bool(one.table.naming)
        return change, number, came or removes or bool(change.removed)

    def _ending(self, one: Commits, work: _Work, came: pa.Table | None) -> tuple[pa.Table | None, Voids]:
        """Return the rows that come to the table in which versions end, and what is void in its files."""
        void = work.void.since(one.position())
        if not void.closed.num_rows:
            return came, void
        current = next(each for each in self._tables if REVISION in each.table.contracts and not each.table.ends)
        here = voids.moved(one.table, rows_of(current.table, work.found), void)
        left = void.but(came, here)
        held = self._rests(current, work, work.void) if left.closed.num_rows else []
        there = [voids.moved(one.table, rest.closed, left) for _, rest in held]
        parts = [each for each in (came, here, *there) if each is not None]
        return pa.concat_tables(parts) if parts else None, left.but(*there)

    def _exchanged(self, one: Commits, work: _Work, void: Voids, added: tuple[DataFile, ...]) -> Change:
        """Return what the next commit changes: the files `added`, and each in which something is void for what stays."""
        rests = self._rests(one, work, void)
        for file, rest in rests:
            name = parquet.name_without(file.name, work.end)
            added += (self._put(one, name, rest.content),) if rest.content.num_rows else ()
            self._sought[one.path].learn(name, short(*(rest.content[column] for column in one.table.naming)))
        return Change(added, tuple(file for file, _ in rests))

    def _rests(self, one: Commits, work: _Work, void: Voids) -> list[tuple[DataFile, Rest]]:
        """Return the files of a table in which something is void, and what stays of each; looked through once a batch."""
        if not void or not one.table.naming or one.position() >= work.end:
            return []
        if one.path not in work.rests:
            if REVISION in one.table.contracts and not one.table.ends:
                void = void.but(rows_of(one.table, work.found, one.position()))
            with self._timed("remove"):
                work.rests[one.path] = self._look(one, void) if void else []
        return work.rests[one.path]

    def _look(self, one: Commits, void: Voids) -> list[tuple[DataFile, Rest]]:
        """Look through the files that may name what is void."""

        def look(file: DataFile) -> tuple[NDArray[np.uint64], Rest | None]:
            data = one.read(file)
            names = voids.names(one.table, data)
            return short(*(names[column] for column in one.table.naming)), voids.rest(one.table, data, names, void)

        sought, ids, files = self._sought[one.path], void.ids, one.files()
        sought.only({file.name for file in files})
        files = [file for file in files if sought.may_name(file.name, ids)]
        with ThreadPoolExecutor(READERS) as readers:
            looked = list(readers.map(look, files))
        for file, (named, _) in zip(files, looked, strict=True):
            sought.learn(file.name, named)
        return [(file, rest) for file, (_, rest) in zip(files, looked, strict=True) if rest is not None]

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
