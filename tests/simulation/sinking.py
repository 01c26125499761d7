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
from sinks import delta, voids, writer
from sinks.store import Missing
from sinks.tables import CLOSURE, REVISION, Column, Table
from sinks.voids import Voids
from sinks.writer import DeltaSink
from tests.simulation.loop import Died
from tests.simulation.patch import replaced

TOPIC = "hub.sim"
CLOSES = {
    5: 4,
    12: 2,
    19: 18,
    26: 10,
}  # whose incident the event at an offset closes, or removes: one before its removal,
REMOVES = {6: 4, 13: 8, 20: 2, 27: 24}  # one long after its closure, others only once


def _table(name, contracts, *more):
    """A table of a hub with only what is looked at here."""
    names = ("incident_id", "version_id", *more)
    kinds = {"incident_id": "id", "version_id": "id", "ended_on": "date", "ending": "text", "conflict": "flag"}
    columns = tuple(Column(each, each, kinds[each], each not in ("incident_id", "conflict"), "") for each in names)
    return Table(name, contracts, "", columns, names[:2], frozenset(), ("incident_id",), ("version_id",))


TABLES = {
    "versions": _table("versions", ("IncidentShared", REVISION, CLOSURE), "ended_on", "ending", "conflict"),
    "incidents": _table("incidents", ("IncidentShared", REVISION)),
    "links": _table("links", ("PatternLinked",)),
}


def named(offset):
    """Return the table and the incident of the row that an event brings; None where it takes one out."""
    if offset in CLOSES or offset in REMOVES:
        return None
    return ("links", offset - 1) if offset % 2 else ("incidents", offset)


def standing(end):
    """Return by table the incidents of the rows that stand after the events before `end`."""
    removed = {victim for at, victim in REMOVES.items() if at < end}
    closed = {victim for at, victim in CLOSES.items() if at < end}
    rows = [place for at in range(end) if (place := named(at)) and place[1] not in removed]
    return {
        "versions": sorted(at for name, at in rows if name == "incidents" and at in closed),
        "incidents": sorted(at for name, at in rows if name == "incidents" and at not in closed),
        "links": sorted(at for name, at in rows if name == "links" and at not in closed),
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
    """The sink without Avro: an event is its offset."""

    def _decoded(self, batch):
        return batch.offsets.tolist()


def _rows_of(table, found, start=0):
    """Return the rows that events bring; None where they bring none."""
    rows = [place[1] for at in found if at >= start and (place := named(at)) and place[0] == table.name]
    if not rows:
        return None
    return pa.table({"incident_id": [f"{at:032x}" for at in rows], "version_id": pa.nulls(len(rows), pa.string())})


def _voids_of(found):
    """Return what events take out."""
    closures = [at for at in found if at in CLOSES]
    closed = {
        "key": pa.array([f"{CLOSES[at]:032x}/" for at in closures], pa.string()),
        "ended_on": pa.array(closures, pa.int32()).cast(pa.date32()),
        "ending": pa.array(["amended"] * len(closures), pa.string()),
        "offset": pa.array(closures, pa.int64()),
    }
    return Voids(pa.array([f"{REMOVES[at]:032x}" for at in found if at in REMOVES], pa.string()), pa.table(closed))


class Place:
    """Store and logs of one schedule; also the store's door. `objects`: path → the file's rows."""

    endpoint = "memory"

    def __init__(self, seed):
        self.chance, self.logs, self.objects = random.Random(seed), {}, {}
        self.end, self.depth, self.calm, self.counts = self.chance.randrange(5, 30), 0, False, {}
        self.rate = self.chance.choice((0.02, 0.1, 0.25))
        self.writers, self.missed = [None, None], []

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
        self.objects[path] = data.content
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
        except Missing as error:
            self.missed.append(f"{error} is named and not there")
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
        yield from self.missed
        for path, table in TABLES.items():
            log, following = self.logs[path], 0
            for _, start, end, _ in log:
                if start != following or end <= start:
                    yield f"{path}: a commit of {start} to {end} after {following}"
                following = end
            names = [f"{path}/{name}" for name in self.named(log)]
            if lost := [name for name in names if name not in self.objects]:
                yield f"{path}: {min(lost)} is named and not there"
            rows = sorted(at for name in names if name in self.objects for at in _incidents(self.objects[name]))
            if rows != standing(self.end)[table.name]:
                yield f"{path} has the rows {rows} of {self.end}"
            there = {
                at for name, held in self.objects.items() if name.startswith(f"{path}/") for at in _incidents(held)
            }
            if left := there & {victim for at, victim in REMOVES.items() if at < self.end}:
                yield f"{path}: what was removed is still in the store: {left}"
        if following != self.end:
            yield f"the sink's position is {following}, not {self.end}"


def _incidents(content):
    return [int(each, 16) for each in content.column("incident_id").to_pylist()]


@contextmanager
def in_memory():
    """Let the sink's modules use handles in memory within the block."""
    parquet = SimpleNamespace(
        file=lambda _table, content: SimpleNamespace(nbytes=content.num_rows, content=content),
        read=lambda _table, content, only=None: content if only is None else content.select(list(only)),
        schema_of=writer.parquet.schema_of,
        Range=writer.parquet.Range,
        name_without=writer.parquet.name_without,
    )
    changes = [
        (delta, "_opened", lambda place, path, table: Handle(place, path)),
        (delta, "_widened", lambda handle, *_given: handle),
        (writer, "parquet", parquet),
        (writer, "rows_of", _rows_of),
        (voids, "parquet", parquet),
        (Voids, "of", staticmethod(_voids_of)),
    ]
    with replaced(changes):
        yield
