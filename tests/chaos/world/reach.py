"""How the faults of the world come between: workers that reach Kafka and S3 elsewhere, and a node of the run's own."""

import json
import os
import subprocess
import sys
import time
from unittest import mock

from infra import table, topics
from pipeline import bootstrap, keyrings, stores
from pipeline.keyrings import region_keys
from pipeline.node import node as nodes
from pipeline.node.entries import NotWritten
from pipeline.node.journal import NO_DIGEST, Entry, Journal
from tests.chaos import load as loads

ROUTE = "tests.chaos.world.reach:route"
HOME = "great-lakes"
ROOT = loads.__file__.rpartition("/tests/")[0]


def route(ways):
    """In a worker: reach `kafka` or `s3` at another host:port, by stage; see `pipeline.keyrings.endpoint`."""
    real = keyrings.endpoint

    def through(builder, fields):
        def build(name, data):
            bootstrap.endpoint = stores.endpoint = lambda data, field: fields.get(field) or real(data, field)
            return builder(name, data)

        return build

    for stage, fields in ways.items():
        setattr(bootstrap, f"_{stage}", through(getattr(bootstrap, f"_{stage}"), fields))


def ways_of(world):
    """Return the ways of the world's workers, by stage and field; what is put there holds from a worker's next life."""
    for where, arguments in world.patches:
        if where == ROUTE:
            return arguments["ways"]
    ways = {stage: {} for stage in ("refine", "merge", "sink")}
    world.patches.append((ROUTE, {"ways": ways}))
    return ways


class OwnNode:
    """A real node with a real journal, whose events are of the world's load; made before the workers start."""

    def __init__(self, world, seed, code="SYN-9"):
        self.world, self.code, self.folder = world, code, world.data / "own" / code
        topics.ensure(world.kafka, table.expand([self.code], [HOME]))
        public = region_keys(world.data, "public")[HOME]
        self.node = nodes.create(self.folder, self.code, HOME, public)
        self.load = loads.Load(seed, [self.code], {self.code: self.node.secret(f"epoch-{self.node.epoch}")})
        self.entries, self.acknowledged, self.said, self.environment = [], 0, [], {}

    def record(self, count):
        """Write so many more events into the journal; what it refuses is written the next time."""
        with mock.patch.multiple(loads, GAP=0.0, FORK=0.0, JUNK=0.0):
            for _ in range(count):
                _, value = self.load._one(self.code)
                self.entries.append(Entry(self.load.sequence[self.code], NO_DIGEST, value))
        keys, self.load.keys = [(case, value) for _, case, value in self.load.keys], []
        try:
            with Journal(self.node.journal) as journal:
                assert journal.last >= self.acknowledged, f"{journal.last} are left of {self.acknowledged}"
                journal.append([one for one in self.entries if one.sequence > journal.last], keys)
                self.acknowledged = journal.last
        except NotWritten as refusal:
            self.load.keys = [(f"keys.{self.code}", *key) for key in keys] + self.load.keys
            self.said.append(str(refusal))
            return False
        return True

    def sync(self, kafka):
        """Start `tocsin node sync` through `kafka`."""
        command = [sys.executable, "-m", "pipeline.cli", "node", "sync", "--node", str(self.folder), "--kafka", kafka]
        pipe, environment = subprocess.PIPE, os.environ | self.environment
        return subprocess.Popen(
            [*command, "--json"], cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )

    def ended(self, process):
        """Return whether the sync is done; one that is not has said one sentence, which is kept."""
        out, err = process.communicate(timeout=120)
        if process.returncode == 0:
            assert json.loads(out.splitlines()[-1])["node"] == self.code
            return True
        sentences = [line for line in err.splitlines() if line.startswith("tocsin:")]
        assert process.returncode in (69, 75), f"sync ended with {process.returncode}: {err[-2000:]}"
        assert len(sentences) == 1, f"more or less than one sentence: {err[-2000:]}"
        assert "Traceback" not in err, err[-2000:]
        self.said += sentences
        return False

    def finish(self):
        """Send all, and tell the world's truth of these events."""
        until = time.monotonic() + 180
        while not self.ended(self.sync(self.world.kafka)):
            assert time.monotonic() < until, f"the node cannot send: {self.said[-1]}"
        self.world.load.rows |= self.load.rows
        self.world.load.revisions |= self.load.revisions
        self.world.load.valid |= self.load.valid
