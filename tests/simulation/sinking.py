"""The sink's rule of position under faults: the real `DeltaSink` and `Commits` over a store and a Delta log in memory.

Writers die at any point, write at the same time from stale handles, and what they ask may be done and the answer lost.
"""

import random
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
from deltalake.exceptions import CommitFailedError, DeltaError

from schemas.errors import Retries
from sinks import delta, writer
from sinks.writer import DeltaSink
from tests.simulation.loop import Died
from tests.simulation.patch import replaced

TOPIC, CONTRACTS = "hub.sim", ("A", "B")
TABLES = {
    f"table-{name}": SimpleNamespace(contract=name, name=name, columns=[SimpleNamespace(field="offset")])
    for name in CONTRACTS
}


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
        self.log.append((app.app_id, place["start"], place["end"], [action.path for action in actions]))
        if self.place.fails("commit answer lost"):
            raise DeltaError("timed out")

    def update_incremental(self):
        self.place.point("reload")
        if self.place.fails("log not read"):
            raise DeltaError("503")
        self.seen = len(self.log)


class Cheap(DeltaSink):
    """The sink without Avro: offsets stand for rows, and the kind of an event is its offset's."""

    def _decoded(self, batch):
        kinds = {name: batch.offsets[batch.offsets % len(CONTRACTS) == i] for i, name in enumerate(CONTRACTS)}
        return {
            name: (SimpleNamespace(arrow=lambda field, at=at: pa.array(at)), at)
            for name, at in kinds.items()
            if len(at)
        }


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

    def list(self, prefix):
        return []

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
        return list(self.judged())

    def judged(self):
        for i, (path, table) in enumerate(TABLES.items()):
            log, following = self.logs[path], 0
            for _, start, end, _ in log:
                if start != following or end <= start:
                    yield f"{path}: a commit of {start} to {end} after {following}"
                following = end
            rows = sorted(at for *_, files in log for name in files for at in self.objects[f"{path}/{name}"])
            if rows != list(range(i, self.end, len(CONTRACTS))):
                yield f"{path} ({table.name}) has the rows {rows} of {self.end}"
        if following != self.end:
            yield f"the sink's position is {following}, not {self.end}"


def _file(table, content):
    offsets = content.column("offset").to_pylist()
    return SimpleNamespace(nbytes=8 * len(offsets), offsets=offsets)


@contextmanager
def in_memory():
    """Let the sink's modules use handles in memory within the block."""
    parquet = SimpleNamespace(rows=lambda table, found: pa.table(found), file=_file, Range=writer.parquet.Range)
    changes = [
        (delta, "_opened", lambda place, path, table: Handle(place, path)),
        (delta, "_check_columns", lambda handle, table, path: None),
        (writer, "parquet", parquet),
    ]
    with replaced(changes):
        yield
