"""`python -m tests.chaos.forgetting`: cases are withdrawn under load, while workers are killed, and it is looked how long it takes.

A real Kafka, a real S3, a node that sends all the time. Cases with a tag of their own are in every store, which is looked
at first. They are withdrawn in a few syncs; a worker is killed with -9 every few seconds, and `tocsin forget run` runs
again and again. Measured from the beginning of the sync: until whoever has the region's keys and all of `keys.<node>` can
open none of its cases, and until no byte of a case is on the disk and each store has signed.
Exit status 1 where that is late, or never comes.
"""

import argparse
import json
import random
import string
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from statistics import median

from deltalake.exceptions import TableNotFoundError

from pipeline.node import withdrawing
from pipeline.node.journal import Journal, Reader
from pipeline.node.record import Recorder
from pipeline.node.sync import sync
from schemas import seal
from schemas.places import region_codes_of
from schemas.rows import read as read_row
from schemas.wire import unframe
from tests.chaos.scan import Canary, Scan
from tests.integration.whole.conftest import INCIDENT, PATTERN
from tests.integration.whole.rig import ROOT, Whole, openable

MINE, LOAD, COUNTRY = "SYN-1", "SYN-2", "TCD"
HOMES = region_codes_of(COUNTRY)
STAGES = ("refine", "merge", "sink", "receipts")
STORES, KEY_SECONDS, BYTE_SECONDS = 8, 5.0, 120.0
PAUSE, REST, PATIENCE = (2.0, 4.0), 8.0, 600.0


@dataclass
class Result:
    """What was seen: seconds from the sync for each case, kills by stage, in how many stores each case was before."""

    cases: int
    syncs: int
    unreadable: list[float] = field(default_factory=list)
    gone: list[float] = field(default_factory=list)
    stores: list[int] = field(default_factory=list)
    kills: Counter = field(default_factory=Counter)
    load: int = 0
    runs: int = 0
    left: dict[str, int] = field(default_factory=dict)
    unsigned: int = 0

    def rows(self):
        """Yield the lines of the table in docs/erasure.md."""
        yield "| from the sync that sends it | min | median | max |"
        yield "|---|---|---|---|"
        for words, seconds in (
            ("no key opens the case", self.unreadable),
            ("no byte is left, all have signed", self.gone),
        ):
            yield f"| {words} | {min(seconds):.1f} s | {median(seconds):.1f} s | {max(seconds):.1f} s |"

    def sentence(self):
        kills = ", ".join(f"{stage} {count}" for stage, count in sorted(self.kills.items()))
        return (
            f"{self.cases} cases in {self.syncs} syncs, beside {self.load:,} events of another node; killed: {kills}; "
            f"{self.runs} runs of `tocsin forget run`. Before, each case was in {min(self.stores)} stores or more."
        )


class Loop(threading.Thread):
    """Does one thing again and again until it is over; what it raises is raised by whoever ends it."""

    def __init__(self, once):
        super().__init__(daemon=True)
        self.once, self.error, self.over = once, None, threading.Event()
        self.start()

    def run(self):
        try:
            while not self.over.is_set():
                self.once()
        except BaseException as error:
            self.error = error

    def finish(self):
        self.over.set()
        self.join()
        if self.error:
            raise self.error


class Fire:
    """One run in a data folder."""

    def __init__(self, data, cases, syncs, seed=20261127):
        self.rng, self.result = random.Random(seed), Result(cases, syncs)
        self.whole = Whole(data, [MINE, LOAD])
        self.signed, self.lacking, self.born = {}, Counter(), {}

    def run(self):
        """Return the result; the data folder is stopped then."""
        whole = self.whole
        loops = []
        try:
            whole.create_reporters()
            canaries = self.report()
            self.workers = [whole.worker(stage, "1") for stage in STAGES]
            self.born = {worker: (time.monotonic(), 0) for worker in self.workers}
            loops.append(Loop(self.load))
            sync(whole.reporters[MINE], whole.kafka)
            wait(lambda: self.shown(canaries), lambda: "the cases are not in the tables")
            self.result.stores = sorted(self.counts(canaries))
            loops += [Loop(self.kill), Loop(self.forget)]
            self.withdraw(canaries)
            for loop in reversed(loops):
                loop.finish()
            self.end(canaries)
            return self.result
        finally:
            for loop in loops:
                loop.over.set()
            for loop in loops:
                loop.join()
            whole.down()

    def report(self):
        """Record the cases; return what to look for."""
        node, tags = self.whole.reporters[MINE], []
        with Journal(node.journal) as journal, Recorder(node, journal) as recorder:
            events = []
            for _ in range(self.result.cases):
                tags.append("Canary " + "".join(self.rng.choices(string.ascii_lowercase, k=24)))
                facts = INCIDENT | {"country": COUNTRY, "party": tags[-1]}
                events.append(recorder.record("IncidentReported", {"incident": facts}))
            recorder.record("PatternObserved", {"pattern": PATTERN | {"areas": [COUNTRY]}})
        reader = Reader(node.journal)
        keys = reader.keys()
        refs = [read_row(*unframe(entry.envelope))["case_ref"] for entry in reader.read()]
        self.numbers = {ref: number for number, ref in enumerate(refs, 1)}
        return [
            Canary(ref, keys[ref], tag.encode(), {home: seal.mint(self.whole.secrets[home], event) for home in HOMES})
            for ref, tag, event in zip(refs, tags, events, strict=False)
        ]

    def shown(self, canaries):
        """Whether all cases are in all tables, with their links."""
        with suppress(TableNotFoundError, OSError):
            for home in HOMES:
                wanted = {one.minted[home].hex() for one in canaries}
                if any(
                    wanted - set(self.whole.table(f"hub/{home}/{name}")["incident_id"])
                    for name in ("incidents", "links")
                ):
                    return False
            return True
        return False

    def counts(self, canaries):
        scan = Scan(self.whole.data, canaries)
        return [len({store for store in scan.of(one.ref) if not store.startswith("bytes")}) for one in canaries]

    def load(self):
        """Report some cases of another node and send them."""
        node, rng = self.whole.reporters[LOAD], random.Random(self.result.load)
        with Journal(node.journal) as journal, Recorder(node, journal) as recorder:
            for _ in range(20):
                party = "Front " + "".join(rng.choices(string.ascii_lowercase, k=12))
                day = date(2020 + rng.randrange(4), 1 + rng.randrange(12), 1 + rng.randrange(28))
                recorder.record("IncidentReported", {"incident": INCIDENT | {"party": party, "occurred_on": day}})
        sync(node, self.whole.kafka)
        self.result.load += 20
        time.sleep(0.2)

    def kill(self):
        """Kill a worker that has run for a while and committed something, every third time with its supervisor."""
        time.sleep(self.rng.uniform(*PAUSE))
        ripe = [worker for worker in self.workers if self.ripe(worker, *self.born[worker])]
        if not ripe:
            return
        worker = self.rng.choice(ripe)
        if sum(self.result.kills.values()) % 3 == 2:
            worker.kill()
            worker.start()
        elif not worker.kill_child():
            return
        self.born[worker] = time.monotonic(), worker.committed()
        self.result.kills[worker.stage] += 1

    def ripe(self, worker, born, committed):
        return time.monotonic() - born > REST and worker.committed() > committed

    def forget(self):
        """Run `tocsin forget run` and take down which cases all stores have signed for."""
        command = [sys.executable, "-m", "pipeline.cli", "forget", "run", "--json", "--data", str(self.whole.data)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 75):
            raise AssertionError(done.stdout + done.stderr)
        self.result.runs += 1
        cases = json.loads(done.stdout)["cases"]
        self.lacking = Counter((s["store"], s["why"]) for case in cases for s in case["stores"] if not s["erased_on"])
        for case in cases:
            if all(store["erased_on"] for store in case["stores"]):
                self.signed.setdefault(bytes.fromhex(case["case"]), time.monotonic())
        time.sleep(0.5)

    def withdraw(self, canaries):
        """Withdraw the cases in a few syncs, and follow each until nothing is left of it."""
        size = -(-len(canaries) // self.result.syncs)
        node, followers = self.whole.reporters[MINE], []
        for first in range(0, len(canaries), size):
            some = canaries[first : first + size]
            with Journal(node.journal) as journal:
                withdrawing.withdraw(node, journal, [self.numbers[one.ref] for one in some], lambda _: None)
            begun = time.monotonic()
            sync(node, self.whole.kafka)
            self.closed(some, begun)
            followers.append((some, begun))
        self.erased(followers)

    def closed(self, some, begun):
        """Wait until nobody can open any of the cases any more, who reads all of the node's keys from their beginning."""
        refs = {one.ref for one in some}
        wait(lambda: not refs & openable(self.whole, MINE), lambda: "the keys are still there")
        self.result.unreadable += [time.monotonic() - begun] * len(some)

    def erased(self, followers):
        """Wait for each of these lists of cases until all stores have signed, and no byte is left: looked for again where some is."""
        waiting = list(followers)

        def ended():
            signed = [(some, begun) for some, begun in waiting if all(one.ref in self.signed for one in some)]
            looked = time.monotonic()
            scan = Scan(self.whole.data, [one for some, _ in signed for one in some]) if signed else None
            for some, begun in signed:
                if not any(scan.of(one.ref) for one in some):
                    self.result.gone += [looked - begun] * len(some)
                    waiting.remove((some, begun))
            return not waiting

        wait(ended, lambda: f"bytes are still there, or these stores have not signed: {dict(self.lacking)}")

    def end(self, canaries):
        """Look once more when all is quiet."""
        scan = Scan(self.whole.data, canaries)
        self.result.left = {store: len(refs) for store, refs in scan.found.items() if refs}
        self.result.unsigned = sum(one.ref not in self.signed for one in canaries)


def wait(found, sentence):
    """Wait until it is found; `sentence` gives what to say where it never is."""
    until = time.monotonic() + PATIENCE
    while not found():
        if time.monotonic() > until:
            raise AssertionError(sentence())
        time.sleep(0.3)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.forgetting", description=__doc__)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--syncs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=20261127)
    parser.add_argument("--data", type=Path, help="where it happens; nothing may be there")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="forgetting-") as home:
        result = Fire(asked.data or Path(home) / "data", asked.cases, asked.syncs, asked.seed).run()
    print("\n".join([*result.rows(), "", result.sentence()]))
    for store, count in sorted(result.left.items()):
        print(f"RED {store} holds {count} cases")
    late = max(result.unreadable) > KEY_SECONDS or max(result.gone) > BYTE_SECONDS
    return 1 if late or result.left or result.unsigned or min(result.stores) < STORES else 0


if __name__ == "__main__":
    sys.exit(main())
