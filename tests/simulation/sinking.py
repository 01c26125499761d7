"""The sink's rule of position under faults: the real `DeltaSink` and `Commits` over a store and a Delta log in memory.

Writers die at any point, write at the same time from stale handles, and what they ask may be done and the answer lost.
"""

import random
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction

from schemas.errors import Retries
from sinks import delta, writer
from sinks.store import Missing
from sinks.tables import REMOVAL
from sinks.writer import DeltaSink
from tests.simulation.loop import Died
from tests.simulation.patch import replaced

TOPIC, CONTRACTS = "hub.sim", ("A", "B")
NAMING = {"A": ("offset",), "B": ()}  # a removal takes rows out of the first table alone
TABLES = {
    f"table-{name}": SimpleNamespace(
        contract=name, name=name, columns=[SimpleNamespace(field="offset")], naming=NAMING[name]
    )
    for name in CONTRACTS
}


def removed(offset):
    """Return the offset whose row the event at this one takes out, or None where it brings a row."""
    return offset * 5 % offset // 2 * 2 if offset % 7 == 6 else None


class Handle:
    """A Delta table as deltalake shows it: a version that moves only when it is told to."""

    def __init__(self, place, path):
        self.place, self.log, self.seen = place, place.logs.setdefault(path, []), 0
        self.seen = len(self.log)

    def transaction_version(self, app):
        return max((end for name, _, end, _ in self.log[: self.seen] if name == app), default=None)

    def version(self):
        return self.seen

    def schema(self):
        return None

    def create_write_transaction(self, actions, mode, schema, commit_properties):
        """Commit, unless the same application has committed since this handle was loaded."""
        self.place.point("commit")
        (app,) = commit_properties.app_transactions
        if any(name == app.app_id for name, *_ in self.log[self.seen :]):
            raise CommitFailedError("Concurrent transaction failed")
        if self.place.fails("commit refused"):
            raise DeltaError("500")
        place = commit_properties.custom_metadata["tocsin"]
        files = [(isinstance(action, AddAction), action.path) for action in actions]
        self.log.append((app.app_id, place["start"], place["end"], files))
        if self.place.fails("commit answer lost"):
            raise DeltaError("timed out")

    def get_add_actions(self):
        named = sorted(self.place.named(self.log[: self.seen]))
        return pa.table({"path": pa.array(named, pa.string()), "size_bytes": pa.array([1] * len(named), pa.int64())})

    def update_incremental(self):
        self.place.point("reload")
        if self.place.fails("log not read"):
            raise DeltaError("503")
        self.seen = len(self.log)


class Cheap(DeltaSink):
    """The sink without Avro: offsets stand for rows, and the kind of an event is its offset's."""

    def _decoded(self, batch):
        gone = {at: removed(at) for at in batch.offsets.tolist() if removed(at) is not None}
        rows = batch.offsets[~np.isin(batch.offsets, list(gone))]
        kinds = {name: rows[rows % len(CONTRACTS) == i] for i, name in enumerate(CONTRACTS)}
        found = {
            name: (SimpleNamespace(arrow=lambda field, at=at: pa.array(at)), at)
            for name, at in kinds.items()
            if len(at)
        }
        ids = [at.to_bytes(16, "big") for at in gone.values()]
        if ids:
            columns = SimpleNamespace(n=len(ids), spans=lambda name: None, octets=lambda row, spans: ids[row])
            found[REMOVAL] = columns, np.array(list(gone))
        return found


class Place:
    """Store and logs of one schedule; also the store's door. `objects`: path → offsets in the file."""

    endpoint = "memory"

    def __init__(self, seed):
        self.chance, self.logs, self.objects = random.Random(seed), {}, {}
        self.end, self.depth, self.calm, self.counts = self.chance.randrange(5, 30), 0, False, {}
        self.rate = self.chance.choice((0.02, 0.1, 0.25))
        self.writers = [None, None]

    def fails(self, what):
        if self.calm or self.chance.random() >= self.rate:
            return False
        self.counts[what] = self.counts.get(what, 0) + 1
        return True

    def point(self, name):
        """Die here, or let the other writer have its turn in between."""
        if self.fails("died"):
            raise Died(name)
        if self.depth < 3 and self.fails("overtaken"):
            self.turn(self.chance.randrange(2))

    def put(self, path, data):
        self.point("put")
        if self.fails("upload refused"):
            raise Retries("503")
        self.objects[path] = data.offsets
        if self.fails("upload answer lost"):
            raise Retries("timed out")

    def get(self, path):
        if self.fails("read refused"):
            raise Retries("503")
        if path not in self.objects:
            raise Missing(path)
        return self.objects[path]

    def remove(self, path):
        self.point("remove")
        if self.fails("remove refused"):
            raise Retries("503")
        self.objects.pop(path, None)

    def list(self, prefix):
        return sorted(path for path in self.objects if path.startswith(prefix))

    @staticmethod
    def named(log):
        """Return the names of the files that a log leaves."""
        found = set()
        for *_, files in log:
            found -= {name for added, name in files if not added}
            found |= {name for added, name in files if added}
        return found

    def turn(self, number):
        """Have one writer bring in a batch from where it believes to be; a fault ends it."""
        self.depth += 1
        sink, self.writers[number] = self.writers[number], None
        try:
            sink = sink or Cheap(self, TOPIC, 0, TABLES, self.point)
            start = sink.position()
            end = min(self.end, start + self.chance.randrange(1, 9))
            sink.write(SimpleNamespace(topic=TOPIC, partition=0, start=start, end=end, offsets=np.arange(start, end)))
            self.writers[number] = sink
        except (Died, Retries):
            self.counts["ended"] = self.counts.get("ended", 0) + 1
        finally:
            self.depth -= 1

    def run(self):
        """Return what is wrong at the end."""
        for _ in range(self.chance.randrange(4, 30)):
            self.turn(self.chance.randrange(2))
        self.calm = True
        for _ in range(2 * self.end + 4):
            self.turn(0)
        self.writers = [None, None]
        self.turn(0)  # whoever opens deletes what crashes left
        return list(self.judged())

    def judged(self):
        for i, (path, table) in enumerate(TABLES.items()):
            log, following = self.logs[path], 0
            for _, start, end, _ in log:
                if start != following or end <= start:
                    yield f"{path}: a commit of {start} to {end} after {following}"
                following = end
            gone = {removed(at) for at in range(self.end)} if table.naming else set()
            named = [f"{path}/{name}" for name in self.named(log)]
            if lost := [name for name in named if name not in self.objects]:
                yield f"{path}: {min(lost)} is named and not there"
            rows = sorted(at for name in named for at in self.objects.get(name, ()))
            brought = [at for at in range(i, self.end, len(CONTRACTS)) if removed(at) is None]
            if rows != [at for at in brought if at not in gone]:
                yield f"{path} ({table.name}) has the rows {rows} of {self.end}"
            left = {name for name in self.objects if name.startswith(path) and gone & set(self.objects[name])}
            if left:
                yield f"{path}: what was removed is still in {min(left)}"
        if following != self.end:
            yield f"the sink's position is {following}, not {self.end}"


def _file(table, content):
    offsets = content.column("offset").to_pylist()
    return SimpleNamespace(nbytes=8 * len(offsets), offsets=offsets)


def _without(table, content, gone):
    """Return the rows but those of the offsets `gone`, which come as ids in hex."""
    victims = [int(each, 16) for each in gone.to_pylist()]
    chosen = [at not in victims for at in content.column("offset").to_pylist()]
    return content.filter(pa.array(chosen, pa.bool_())) if table.naming else content


def _rest(table, offsets, gone):
    content = pa.table({"offset": pa.array(offsets, pa.int64())})
    found = _without(table, content, gone)
    return None if found.num_rows == content.num_rows else found


@contextmanager
def in_memory():
    """Let the sink's modules use handles in memory within the block."""
    parquet = SimpleNamespace(
        rows=lambda table, found: pa.table(found),
        file=_file,
        Range=writer.parquet.Range,
        without=_without,
        rest=_rest,
        name_without=writer.parquet.name_without,
    )
    changes = [
        (delta, "_opened", lambda place, path, table: Handle(place, path)),
        (delta, "_check_columns", lambda handle, table, path: None),
        (writer, "parquet", parquet),
    ]
    with replaced(changes):
        yield
