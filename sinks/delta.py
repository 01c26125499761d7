"""One Delta table as one lane sees it: a position, and commits that abut.

The position is the application transaction of the lane, `txn` in the log: the offset after the last event whose rows
are in the table. It is read from a handle and committed on the same handle, so that the log's own conditional write
refuses whoever is stale. A fresh handle would happily take a lower number and double the rows (delta-io/delta-rs#2580):
hence the range of a commit must start at the position.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pyarrow.fs
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from schemas.errors import Fenced, LedgerGap, Stops, Unreachable
from sinks.parquet import Range, schema_of
from sinks.store import REGION, REPEATS, Missing, Store
from sinks.tables import Table

ATTEMPTS = 4
# Also whoever compacts or rewrites later must not collect minima and maxima.
CONFIGURATION = {"delta.dataSkippingNumIndexedCols": "0"}


class OtherColumns(Stops):
    """The table was made for another contract."""


@dataclass(frozen=True)
class DataFile:
    """A file that is in the store already, by its name under the table's path, and its size in bytes."""

    name: str
    size: int


@dataclass(frozen=True)
class Change:
    """What a commit does beside moving the position: files that come, and files that go."""

    added: tuple[DataFile, ...] = ()
    removed: tuple[DataFile, ...] = ()


class Commits:
    """The table at `path`, created if there is none, for the lane `topic`-`partition`."""

    def __init__(self, store: Store, path: str, table: Table, topic: str, partition: int) -> None:
        self.store, self.path, self.table = store, path, table
        self.lane = {"topic": topic, "partition": partition}
        self.app = app_of(topic, partition)
        self._reached: int | None = None
        with _answering(store, path):
            self._handle = _opened(store, path, table)
        self._handle = _widened(self._handle, store, path, table)

    def position(self) -> int:
        """Return the offset after the last committed event, as this handle knows it; 0 for a new table."""
        if self._reached is None:
            with _answering(self.store, self.path):  # it reads in the table's log, each time
                self._reached = int(self._handle.transaction_version(self.app) or 0)
        return self._reached

    def version(self) -> int:
        """Return the table's version, as this handle knows it."""
        return int(self._handle.version())

    def files(self) -> list[DataFile]:
        """Return the files of the table, as this handle knows them."""
        found = self._handle.get_add_actions()
        names, sizes = (pa.chunked_array(found.column(name)).to_pylist() for name in ("path", "size_bytes"))
        return [DataFile(name, size) for name, size in zip(names, sizes, strict=True)]

    def litter(self) -> list[str]:
        """Return the objects under the table's path that no version names from here on.

        Those that were taken out, and those of attempts that were never committed: their range begins before the
        position, so nobody can commit them any more, however late it wakes. Of files that another program wrote only
        those that the table's log has taken out.
        """
        position, named = self.position(), {file.name for file in self.files()}
        there = {path.rsplit("/", 1)[-1]: path for path in self.store.list(f"{self.path}/part-")}
        ranges = {name: Range.of(name) for name in there.keys() - named}
        ours = [name for name, held in ranges.items() if held and held.start < position and held.upto <= position]
        others = {name for name, held in ranges.items() if held is None}
        return [there[name] for name in (*ours, *(others & self._taken_out() if others else ()))]

    def _taken_out(self) -> set[str]:
        """Return the names of the files that the table's log has taken out."""
        with _answering(self.store, self.path):
            return set(self._handle.vacuum(0, dry_run=True, enforce_retention_duration=False))

    def commit(self, start: int, end: int, change: Change) -> None:
        """Commit what `[start, end)` changes once, whatever becomes of the answers; it may be nothing but the position.

        LedgerGap if `start` is not the position, Fenced if another writer moved it meanwhile, Unreachable if the
        store does not say. Returns when the position is `end`, also if an earlier attempt of ours had made it so.
        """
        if self.position() != start:
            raise LedgerGap(
                f"{self.path} ends at offset {self.position()} of {self.lane['topic']}-{self.lane['partition']} "
                f"and the batch starts at {start}; read from the table's position"
            )
        failure: Exception | None = None
        for _ in range(ATTEMPTS):
            failure = self._attempt(start, end, change)
            self._reload()
            if self._settled(start, end):
                return
            self._unchanged(change)
        raise self._silence() from failure

    def _attempt(self, start: int, end: int, change: Change) -> Exception | None:
        """Try once and return what went wrong: a conflict, or an answer that leaves open what happened."""
        # A commit is refused if the same application transaction was committed after this handle was loaded.
        properties = CommitProperties(
            custom_metadata={"tocsin": self.lane | {"start": start, "end": end}},
            # To deltalake this is an append, which fits on any version; what takes files out fits on the one it has seen.
            max_commit_retries=0 if change.removed else ATTEMPTS,
            app_transactions=[Transaction(self.app, end)],
        )
        try:
            self._handle.create_write_transaction(
                [*map(_removed, change.removed), *map(_added, change.added)],
                "append",
                self._handle.schema(),
                commit_properties=properties,
            )
        except (DeltaError, OSError) as error:
            return error
        return None

    def _reload(self) -> None:
        """Learn what is in the log now; deltalake leaves a handle where it was, also after its own commit."""
        self._reached = None
        with _answering(self.store, self.path):
            self._handle.update_incremental()

    def read(self, file: DataFile) -> bytes:
        """Return one of the table's `files`; Fenced where another worker has taken it out meanwhile, else Missing."""
        try:
            return self.store.get(f"{self.path}/{file.name}")
        except Missing:
            before = self.position()
            self._reload()
            if self.position() != before:
                raise self._overtaken() from None
            raise

    def _settled(self, start: int, end: int) -> bool:
        if self.position() not in (start, end):
            raise self._overtaken()
        return self.position() == end

    def _unchanged(self, change: Change) -> None:
        """Refuse a change of files that are not the table's any more: their rows stand in another file now."""
        if set(change.removed) - set(self.files()):
            raise Unreachable(f"another program has rewritten {self.path} meanwhile; the worker begins anew")

    def _overtaken(self) -> Fenced:
        return Fenced(
            f"another worker has brought {self.path} to offset {self.position()} meanwhile; "
            "let go of this partition and start again"
        )

    def _silence(self) -> Unreachable:
        return Unreachable(
            f"cannot commit to {self.path}: the object store at {self.store.endpoint} does not take the write; "
            "run `tocsin status`, then start this again"
        )


def app_of(topic: str, partition: int) -> str:
    """Return the application whose transaction version is a lane's position in a table."""
    return f"tocsin.sink.{topic}-{partition}"


def dataset(store: Store, path: str) -> pyarrow.dataset.Dataset:
    """Return the table for reading, through Arrow's own S3 client.

    `DeltaTable.to_pyarrow_dataset()` alone reads through a file system written in Python. Its buffers are freed on
    Arrow's threads; one that is freed after the interpreter has ended ends the process with "terminate called without
    an active exception" (the thread asks for the GIL, Python ends the thread, the unwinding meets a destructor).
    """
    files = pyarrow.fs.S3FileSystem(
        access_key=store.access_key,
        secret_key=store.secret_key,
        endpoint_override=store.netloc,
        scheme="https" if store.secure else "http",
        region=REGION,
    )
    with _answering(store, path):
        handle = DeltaTable(store.uri(path), storage_options=store.delta_options())
        return handle.to_pyarrow_dataset(filesystem=pyarrow.fs.SubTreeFileSystem(f"{store.bucket}/{path}", files))


def _added(file: DataFile) -> AddAction:
    written = time.time_ns() // 1_000_000
    # No stats: what they hold would outlive the rows in the log and its checkpoints.
    return AddAction(file.name, file.size, {}, written, True, None)


def _removed(file: DataFile) -> RemoveAction:
    return RemoveAction(file.name, True, time.time_ns() // 1_000_000, file.size, {})


def _opened(store: Store, path: str, table: Table) -> DeltaTable:
    # A reader may wait for a store that comes back; a writer rather lets its supervisor begin anew.
    uri, options = store.uri(path), store.delta_options() | {"max_retries": str(REPEATS)}
    try:
        return DeltaTable(uri, storage_options=options)
    except TableNotFoundError:
        store.keep(path)
    # Where another worker made it in this moment, its version is the one to open.
    with suppress(CommitFailedError):
        DeltaTable.create(
            uri,
            schema_of(table),
            mode="ignore",
            name=table.name,
            description=table.doc,
            configuration=CONFIGURATION,
            storage_options=options,
            commit_properties=CommitProperties(max_commit_retries=0),
        )
    return DeltaTable(uri, storage_options=options)


def _widened(handle: DeltaTable, store: Store, path: str, table: Table) -> DeltaTable:
    """Return the table with the columns of its contracts: those that one of an older release lacks are added.

    They are at the end and may be null, so that no file is written anew. The commit that adds them moves no position.
    """
    for _ in range(ATTEMPTS):
        lacking = _lacking(handle, table, path)
        if not lacking:
            return handle
        # Where another worker adds them in this moment, or commits rows, the next look finds out.
        with suppress(DeltaError, OSError):
            handle.alter.add_columns(lacking, commit_properties=CommitProperties(max_commit_retries=0))
        with _answering(store, path):
            handle = _opened(store, path, table)
    raise Unreachable(f"cannot add columns to {path} at {store.endpoint}; run `tocsin status`, then start this again")


def _lacking(handle: DeltaTable, table: Table, path: str) -> list[Any]:
    """Return the columns that are to be added; OtherColumns where the table was made for something else."""
    found = pa.schema(handle.schema().to_arrow())
    wanted = schema_of(table)
    there, more = list(wanted)[: len(found)], list(wanted)[len(found) :]
    same = [(one.name, str(one.type)) for one in found] == [(one.name, str(one.type)) for one in there]
    if not same or not all(one.nullable for one in more):
        raise OtherColumns(
            f"{path} has other columns than the contract {' or '.join(table.contracts)}; "
            "move the table away and let the sink write it again from the topic"
        )
    return Schema.from_arrow(pa.schema(more)).fields if more else []


@contextmanager
def _answering(store: Store, path: str) -> Iterator[None]:
    """Turn deltalake's errors into ours; the store's own door knows best what is wrong with the store."""
    try:
        yield
    except (DeltaError, OSError) as error:
        store.list(f"{path}/_delta_log/_last_checkpoint")
        raise Unreachable(
            f"cannot read the log of {path} at {store.endpoint} ({type(error).__name__}); "
            "run `tocsin status`, then start this again"
        ) from error
