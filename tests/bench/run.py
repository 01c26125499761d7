"""One measured run: a corpus that is wholly in Kafka, workers, the clock from the first batch to the last commit, the check.

What is measured and how is said in docs/performance.md. A wrong figure makes the run wrong: `ok` is false.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from infra import launcher
from infra.broker import SETTINGS
from infra.cluster import Cluster
from pipeline.keyrings import ensure_keys, ledger_key, region_keys
from pipeline.stores import open_store
from streams import merge, refine, snapshot
from streams.locked import Locked
from tests.bench import broker, check, corpus, proc
from tests.bench.plan import NODES
from tests.bench.profiled import profiled
from tests.bench.truth import Truth

ROOT = Path(__file__).parents[2]
REGION = "great-lakes"
REPLAYED = "replays"
LEVELS = {"refine": ("refine",), "merge": ("refine", "merge"), "table": ("refine", "merge", "sink")}
LOOK = 0.03
STALL = 300.0  # seconds without a batch that are too many
START = 600.0  # seconds until workers are warm and have their lanes that are too many
DOUBT = 1  # offsets at the end of a partition that may be a transaction's marker


class Failed(Exception):
    """The run did not come to its end."""


@dataclass
class Session:
    """A cluster and the corpora on it: `work` has them, or `cluster` is the data folder of one that runs already."""

    work: Path
    cluster: Path | None = None
    say: object = print
    _own: bool = field(default=False, repr=False)

    def __enter__(self) -> Self:
        self.work.mkdir(parents=True, exist_ok=True)
        self._own = self.cluster is None
        self.data = (self.cluster or self.work / "cluster").resolve()
        # Kafka's own default: engines beside ours ask for transactions longer than we allow.
        SETTINGS["transaction.max.timeout.ms"] = "900000"
        self.ends = launcher.up(self.data, say=self.say)
        ensure_keys(self.data)
        self.broker = Cluster(self.data).process("kafka").pid
        return self

    def __exit__(self, *_: object) -> None:
        if self._own:
            launcher.down(self.data)

    def prepare(self, form: str, events: int, seed: int) -> tuple[Path, Truth]:
        """Have the corpus in Kafka, and every topic of the stages empty."""
        folder = corpus.make_corpus(self.work, form, events, seed, say=self.say)
        truth = Truth.load(folder)
        kafka, mark = self.ends.kafka, self.work / "loaded"
        loaded = mark.exists() and mark.read_text() == f"{self.data}\n{folder.name}"
        if loaded:
            broker.fresh(kafka, whole=False)
            loaded = asyncio.run(_records(kafka)) == truth.figures["records"]
        if not loaded:
            self.say(f"loading {truth.figures['records']:,} records")
            mark.unlink(missing_ok=True)
            broker.fresh(kafka, whole=True)
            asyncio.run(self._load(folder, form, seed))
            mark.write_text(f"{self.data}\n{folder.name}")
        proc.settle(self.broker)
        return folder, truth

    async def _load(self, folder: Path, form: str, seed: int) -> None:
        if form == "sealed":
            public = region_keys(self.data, "public")[REGION]
            async with broker.Wire(self.ends.kafka) as wire:
                for node in NODES:
                    await wire.write({f"keys.{node}": corpus.epoch_batch(seed, node, REGION, public)})
            await broker.load(self.ends.kafka, folder, "keys")
        await broker.load(self.ends.kafka, folder, "raw")

    def folder(self) -> Path:
        """Return a new data folder for the workers of one run: this cluster, these keys, no local state, no tables."""
        run = self.work / "run"
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir(mode=0o700)
        for name in ("cluster.json", "ledger.key"):
            shutil.copy(self.data / name, run / name)
        shutil.copytree(self.data / "regions", run / "regions")
        store = open_store(run)
        for path in (path for prefix in ("hub/", "quarantine/", f"{REPLAYED}/") for path in store.list(prefix)):
            store.remove(path)
        return run


class Worker:
    """One process of a stage; what it says is read from its log."""

    def __init__(self, data: Path, stage: str, name: str, form: str, batch: int | None, gate: Path) -> None:
        self.stage, self.name, self._read, self.began = stage, name, 0, time.time()
        self.log = data / f"{stage}-{name}.jsonl"
        command = [sys.executable, "-m", "tests.bench.worker", stage, "--data", str(data), "--name", name]
        command += ["--form", form, "--gate", str(gate), "--parent", str(os.getpid())]
        command += ["--batch", str(batch)] if batch else []
        with self.log.open("ab") as output:
            self._read = output.tell()
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)

    @property
    def pid(self) -> int:
        return self.process.pid

    def news(self) -> list[dict]:
        """Return the events since the last call; Failed where the worker has left."""
        with self.log.open("rb") as file:
            file.seek(self._read)
            whole, _, _ = file.read().rpartition(b"\n")
        self._read += len(whole) + bool(whole)
        events = [json.loads(line) for line in whole.splitlines() if line.startswith(b"{")]
        if self.process.poll() is not None:
            raise Failed(f"{self.stage} {self.name} has ended with {self.process.returncode}; its log is {self.log}")
        return events

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@contextmanager
def workers(data: Path, stages, processes: int, form: str, batch: int | None, gate: Path):
    """Yield the processes of the stages, started; none outlives this."""
    gate.mkdir(exist_ok=True)
    started = [Worker(data, s, f"{s}{k}", form, batch, gate) for s in stages for k in range(processes)]
    try:
        yield started
    finally:
        for worker in started:
            worker.kill()


def assembled(started: list[Worker], gate: Path, lanes: dict[str, int]) -> dict[str, list[dict]]:
    """Let workers join once all are warm, and return their events once each stage has all its lanes and is quiet."""
    events: dict[str, list[dict]] = {worker.name: [] for worker in started}
    until, changed = time.monotonic() + START, time.monotonic()
    while time.monotonic() < until:
        for worker in started:
            found = worker.news()
            events[worker.name] += found
            changed = time.monotonic() if found else changed
        if all(any(e["event"] == "warm" for e in events[w.name]) for w in started):
            (gate / "join").touch()
        opened = {w.name: {e["lane"] for e in events[w.name] if e["event"] == "opened"} for w in started}
        sizes = {stage: sum(len(opened[w.name]) for w in started if w.stage == stage) for stage in lanes}
        complete = all(opened.values()) and all(sizes[stage] >= count for stage, count in lanes.items())
        if complete and time.monotonic() - changed > 1.0:
            return events
        time.sleep(LOOK)
    raise Failed(f"the workers did not have their lanes within {START:.0f} s: {events}")


class Progress:
    """What the workers have said of their batches so far."""

    def __init__(self) -> None:
        self.batches: dict[str, list[dict]] = {stage: [] for stage in LEVELS["table"]}
        self.ends: dict[str, dict[str, int]] = {stage: {} for stage in LEVELS["table"]}

    def add(self, event: dict) -> None:
        if event["event"] in ("again", "stops"):
            raise Failed(f"a worker gave up: {event.get('why')}")
        if event["event"] == "batch":
            stage = event["stage"]
            self.batches[stage].append(event)
            self.ends[stage][event["lane"]] = max(event["end"], self.ends[stage].get(event["lane"], 0))

    def reached(self, stage: str, ends: dict[str, int]) -> bool:
        return all(self.ends[stage].get(lane, 0) >= end for lane, end in ends.items())

    def counts(self, stage: str) -> dict[str, int]:
        total: dict[str, int] = {}
        for event in self.batches[stage]:
            for name, count in event["counts"].items():
                total[name] = total.get(name, 0) + count
        return total

    def begun(self) -> float:
        """Return when the first batch of refine was begun; its observation is written when it is done."""
        return min(event["time"] - _whole(event) for event in self.batches["refine"])

    def ended(self) -> float:
        return max(event["time"] for events in self.batches.values() for event in events)

    def seconds(self, stage: str) -> dict[str, float]:
        total: dict[str, float] = {}
        for event in self.batches[stage]:
            for name, value in event["seconds"].items():
                total[name] = round(total.get(name, 0.0) + value, 3)
        return total


def _whole(event: dict) -> float:
    seconds = event["seconds"]
    return seconds.get("whole", sum(seconds.values()))


async def _records(kafka: str) -> int:
    async with broker.Wire(kafka) as wire:
        return sum([await wire.end(f"raw.{node}") for node in NODES])


async def _ends(kafka: str, stage: str) -> dict[str, int]:
    """Return the offsets that a stage must reach, by lane; the last of a partition may be a marker."""
    places = {
        "refine": [(f"raw.{node}", 0, 0) for node in NODES],
        "merge": [("accepted", k, DOUBT) for k in range(check.ACCEPTED_PARTITIONS)],
        "sink": [*((f"hub.{region}", 0, DOUBT) for region in broker.REGIONS), ("quarantine", 0, DOUBT)],
    }[stage]
    async with broker.Wire(kafka) as wire:
        return {f"{topic}-{part}": await wire.end(topic, part) - doubt for topic, part, doubt in places}


def followed(started: list[Worker], stages, kafka: str, say) -> Progress:
    """Read what the workers say until the last stage has committed the last record."""
    progress, left = Progress(), list(stages)
    wanted, told, moved = asyncio.run(_ends(kafka, left[0])), time.monotonic(), time.monotonic()
    while left:
        events = [event for worker in started for event in worker.news()]
        for event in events:
            progress.add(event)
        moved = time.monotonic() if events else moved
        if progress.reached(left[0], wanted):
            left.pop(0)
            wanted = asyncio.run(_ends(kafka, left[0])) if left else {}
            continue
        if time.monotonic() - moved > STALL:
            raise Failed(f"{left[0]} stands still at {progress.ends[left[0]]}; it should reach {wanted}")
        if time.monotonic() - told > 5:
            told = time.monotonic()
            say("  " + ", ".join(f"{s} {sum(e['records'] for e in progress.batches[s]):,}" for s in stages))
        time.sleep(LOOK)
    return progress


def measure(
    session: Session,
    level: str,
    form: str,
    events: int,
    processes: int,
    seed: int = 1,
    batch: int | None = None,
    restart: bool = False,
    profile: bool = False,
    replay: bool = False,
) -> dict:
    """Do one run and return its figures; `ok` says whether all of them are the truth."""
    _, truth = session.prepare(form, events, seed)
    data, stages = session.folder(), LEVELS[level]
    session.say(f"{level}, {form} bodies, {processes} process(es) of each stage, {events:,} events")
    lanes = {"refine": len(NODES), "merge": check.ACCEPTED_PARTITIONS, "sink": len(broker.REGIONS) + 1}
    result = {"engine": "tocsin", "level": level, "form": form, "events": events, "processes": processes}
    with workers(data, stages, processes, form, batch, data / "gate") as started:
        assembled(started, data / "gate", {stage: lanes[stage] for stage in stages})
        before = _used(started) | {"broker": proc.cpu(session.broker), "all": proc.busy()}
        with profiled(data, {worker.name: worker.pid for worker in started}, profile) as shares:
            (data / "gate" / "go").touch()
            progress = followed(started, stages, session.ends.kafka, session.say)
        after = _used(started) | {"broker": proc.cpu(session.broker), "all": proc.busy()}
        rss = {stage: sum(proc.peak(w.pid) for w in started if w.stage == stage) for stage in stages}
        ledgers = {stage: _disk(session.data, f"ledger.{stage}-") for stage in stages[:2]}
        codes = [worker.stop() for worker in started]
    result |= _figures(truth, progress, before, after, stages)
    result |= {"rss_mb": round(sum(rss.values())), "rss_mb_by_stage": {s: round(v) for s, v in rss.items()}}
    result |= {"state_bytes": {stage: _state(data, stage, truth, ledgers[stage]) for stage in stages[:2]}}
    if profile:
        result["profile"] = shares
    if restart:
        result["restart"] = restarted(session, data, stages[:2], form)
    wrong = check.Differences()
    wrong.same("exit codes", codes, [0] * len(codes))
    rows = checked(session, data, level, truth, progress, wrong)
    if replay:
        result["replay"] = replayed(data)
        wrong.same("the replayed tables", result["replay"]["equal"], True)
    return result | {"rows": rows, "ok": not wrong, "wrong": list(wrong)[:5]}


def _used(started: list[Worker]) -> dict[str, float]:
    used: dict[str, float] = {}
    for worker in started:
        used[worker.stage] = used.get(worker.stage, 0.0) + proc.cpu(worker.pid)
    return used


def _figures(truth: Truth, progress: Progress, before: dict, after: dict, stages) -> dict:
    seconds = progress.ended() - progress.begun()
    records, size = truth.figures["records"], truth.figures["bytes"]
    millions = records / 1e6
    spent = {name: after[name] - before[name] for name in after}
    mine = sum(spent[stage] for stage in stages)
    return {
        "records": records,
        "mb": round(size / 1e6, 1),
        "seconds": round(seconds, 3),
        "rate": round(records / seconds),
        "mb_s": round(size / 1e6 / seconds, 1),
        "cpu_s_per_m": round(mine / millions, 2),
        "cpu_s_per_m_by_stage": {stage: round(spent[stage] / millions, 2) for stage in stages},
        "cpu_start_s": round(sum(before[stage] for stage in stages), 1),
        "broker_cpu_s_per_m": round(spent["broker"] / millions, 2),
        "other_cpu_s": round(spent["all"] - spent["broker"] - mine, 1),
        "batches": {stage: len(progress.batches[stage]) for stage in stages},
        "laps_s": {stage: progress.seconds(stage) for stage in stages},
    }


def _disk(data: Path, prefix: str) -> int:
    """Return the bytes of a topic's segments on the broker's disk."""
    found = (data / "kafka" / "log").glob(f"{prefix}*/*.log")
    return sum(path.stat().st_blocks * 512 for path in found)


def _state(data: Path, stage: str, truth: Truth, ledger: int) -> dict:
    """Return bytes an event: in memory, measured on the snapshots' states; in snapshots; in the ledger."""
    made = (
        refine.Refine(NODES[0], check.ACCEPTED_PARTITIONS)
        if stage == "refine"
        else merge.Merge(region_keys(data, "mint"))
    )
    locked, folder = Locked(made, ledger_key(data)), data / "streams" / stage / "snapshots"
    files = sorted(folder.glob("*.snapshot"))
    held = sum(weigh(snapshot.thawed(locked, snapshot.load(folder, path.stem)[0])) for path in files)
    events = truth.figures["events"] if stage == "refine" else truth.figures["incidents"]
    saved = sum(path.stat().st_size for path in files)
    names = {"memory": held, "snapshot": saved, "ledger": ledger}
    return {name: round(size / events, 1) for name, size in names.items()} | {"lanes": len(files)}


def weigh(value: object, seen: set[int] | None = None) -> int:
    """Return the bytes that a state holds: arrays by their buffers, whatever they are reached through."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return 0
    seen.add(id(value))
    if hasattr(value, "nbytes"):
        base = getattr(value, "base", None)
        return value.nbytes if base is None or not hasattr(base, "nbytes") else weigh(base, seen)
    inner = list(value.values()) + list(value) if isinstance(value, dict) else []
    inner += list(value) if isinstance(value, list | tuple | set | frozenset) else []
    inner += list(vars(value).values()) if hasattr(value, "__dict__") else []
    return sys.getsizeof(value) + sum(weigh(each, seen) for each in inner)


def restarted(session: Session, data: Path, stages, form: str) -> dict:
    """Start the workers again on what they left; return seconds to `ready` by stage and ledger records read."""
    tails = {stage: asyncio.run(_tail(session.ends.kafka, data, stage)) for stage in stages}
    found = {}
    for stage in stages:
        with workers(data, [stage], 1, form, None, data / "gate") as (worker,):
            until, ready = time.monotonic() + START, None
            while ready is None and time.monotonic() < until:
                ready = next((event for event in worker.news() if event["event"] == "ready"), None)
                time.sleep(LOOK)
            if ready is None:
                raise Failed(f"{stage} was not ready again within {START:.0f} s")
            found[stage] = {
                "seconds": round(ready["time"] - worker.began, 2),
                "lanes_seconds": ready["seconds"],
                "tail_records": tails[stage],
            }
            worker.stop()
    return found


def replayed(data: Path) -> dict:
    """Make one region's tables again from the log, beside the live ones, and compare the two."""
    command = [sys.executable, "-m", "pipeline.cli", "replay", f"hub.{REGION}", "--into", f"{REPLAYED}/{REGION}"]
    done = subprocess.run(
        [*command, "--check", "--json", "--data", str(data)], capture_output=True, text=True, check=False, timeout=900
    )
    if done.returncode not in (0, 1):
        raise Failed(f"replay: {done.stderr[-500:]}")
    report = json.loads(done.stdout)
    return {"seconds": report["seconds"], "rate": report["records_per_second"], "equal": report["equal"]}


async def _tail(kafka: str, data: Path, stage: str) -> int:
    """Return the ledger records that lie behind the snapshots, those of other lanes and markers among them."""
    from streams import ledger

    folder, total = data / "streams" / stage / "snapshots", 0
    async with broker.Wire(kafka) as wire:
        for path in folder.glob("*.snapshot"):
            topic, partition = ledger.place_of(stage, path.stem)
            saved = snapshot.load(folder, path.stem)[0]
            total += await wire.end(topic, partition) - saved.anchor - 1
    return total


def checked(
    session: Session, data: Path, level: str, truth: Truth, progress: Progress, wrong: check.Differences
) -> int:
    """Compare everything that came out with the truth; return the rows of the tables."""
    figures, kafka = truth.figures, session.ends.kafka
    counts = progress.counts("refine")
    wanted = {
        "accepted": figures["incidents"] + figures["patterns"],
        "repeated": figures["repeated"],
        "quarantined": figures["quarantined"],
    }
    wrong.same("refine's own counts", counts, {name: count for name, count in wanted.items() if count})
    asyncio.run(check.refined(kafka, truth, wrong))
    if level == "refine":
        return 0
    hubs = asyncio.run(check.merged(kafka, data, truth, wrong))
    return check.tabled(data, truth, hubs, wrong) if level == "table" else 0


__all__ = ["LEVELS", "REGION", "Failed", "Session", "measure"]
