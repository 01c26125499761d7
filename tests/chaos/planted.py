"""Planted bugs: each must be caught. `python -m tests.chaos.planted [NAME ...]`, `--json` for a line each.

One Kafka and one S3 for all. The same few thousand raw records lie there; each trial begins with empty outputs, runs
the stage with a bug and what provokes it, and asks the oracle. Each provocation is also tried without a bug, and must
be green: else "caught" would mean nothing.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from infra import launcher, table, topics
from pipeline.keyrings import ensure_keys, region_keys
from pipeline.stores import open_store
from tests import synthetic
from tests.chaos.load import Load, write_truth
from tests.chaos.nursery import Nursery
from tests.chaos.rig import HOME, REGIONS, STAGES, TUNED, Worker
from tests.chaos.runner import oracle

# Both nodes' lanes write to one partition of the ledger.
RECORDS, NODES, SESSION = 3_000, ["SYN-1", "SYN-5"], 6.0
READY_SECONDS = 20.0  # so long a worker may take to commit again after a crash
SLIPS = {"TypeError", "AttributeError", "NameError", "ImportError"}  # of a patch that no longer fits what it patches
ARM, BUGS = "tests.chaos.points:arm", "tests.chaos.bugs:"

REFINED, MERGED = "I1,I2,I3,I4,I5,I6", "I1 hub,I2,I3,I5"
SUNK = "I1 table,I2,I3,I7"


def crash(*points: tuple[str, int]) -> list[list]:
    return [[[ARM, {"point": point, "visit": visit}]] for point, visit in points]


def provoke(name: str, **arguments: Any) -> list[list]:
    return [[[f"tests.chaos.provoke:{name}", arguments]]]


PROVOCATIONS: dict[str, list[list]] = {
    "nothing": [],
    "crash after the first end": crash(("end.after", 3), ("end.after", 1), ("end.after", 2)),
    "crash before the end": crash(("end.before", 4), ("end.before", 3)),
    "crash after a commit": crash(("commit.after", 4), ("commit.after", 5)),
    "crash with a transaction open": [
        *provoke("overtaken", lane="raw.SYN-5", visit=4),
        *provoke("fences_late", lane="raw.SYN-5-0"),
    ],
    "crash after many commits": crash(("commit.after", 11), ("commit.after", 8)),
    "answer of the end lost": provoke("unanswered", request="EndTxn", visit=5),
    "end lost": provoke("unanswered", request="EndTxn", visit=5, sent=False),
    "records lost": provoke("unanswered", request="Produce", visit=5, sent=False),
    "small fetches": provoke("small_fetches"),
    "zombie": provoke("sleep_at", point="step.after", visit=5),
    "sink crash after a table, then other batches": [
        *crash(("table.after", 1)),
        *provoke("small_batches", records=70),
    ],
    "sink crash after a commit": crash(("delta.after", 4), ("delta.after", 3)),
    "sink zombie": provoke("sleep_at", point="delta.before", visit=5),
    "upload fails": provoke("upload_fails", visit=6),
    "commit fails": provoke("commit_fails", visit=4),
}


@dataclass(frozen=True)
class Bug:
    """`stage` that has it, what provokes it, the batch size in records."""

    stage: str
    provocation: str
    batch: int = 100


PLANTED: dict[str, Bug] = {
    "offset_before_output": Bug("refine", "crash after the first end"),
    "output_before_offset": Bug("refine", "crash after the first end"),
    "no_fence": Bug("refine", "crash before the end"),
    "reinit_without_generation": Bug("refine", "zombie"),
    "acknowledge_before_commit": Bug("refine", "end lost"),
    "reuse_after_timeout": Bug("refine", "answer of the end lost"),
    "timeout_is_success": Bug("refine", "end lost"),
    "batch_skipped_on_error": Bug("refine", "records lost"),
    "commits_one_too_few": Bug("refine", "nothing"),
    "end_left_out": Bug("refine", "nothing"),
    "ledger_not_abutting": Bug("refine", "nothing"),
    "ledger_read_to_stable": Bug("refine", "crash with a transaction open"),
    "snapshot_without_tail": Bug("refine", "crash after many commits"),
    "snapshot_before_commit": Bug("refine", "crash before the end"),
    "forgets_on_restart": Bug("refine", "crash after a commit"),
    "withdrawal_forgotten_on_restart": Bug("refine", "crash after a commit"),
    "lives_forgotten_on_restart": Bug("refine", "crash after a commit"),
    "waiting_forgotten_on_restart": Bug("refine", "crash after a commit"),
    "states_forgotten_on_restart": Bug("refine", "crash after a commit"),
    "opens_one_late": Bug("refine", "crash after a commit"),
    "fork_is_new": Bug("refine", "nothing"),
    "repeat_is_new": Bug("refine", "nothing"),
    "withdrawal_ignored": Bug("refine", "nothing"),
    "version_not_ended": Bug("refine", "nothing"),
    "version_ended_at_home_only": Bug("refine", "nothing"),
    "conflict_is_current": Bug("refine", "nothing"),
    "unknown_version_taken": Bug("refine", "nothing"),
    "no_reasons": Bug("refine", "nothing"),
    "last_record_dropped": Bug("refine", "nothing"),
    "facts_changed": Bug("refine", "nothing"),
    "counts_wrong": Bug("refine", "nothing"),
    "reads_uncommitted": Bug("merge", "nothing"),
    "start_after_markers": Bug("merge", "small fetches"),
    "late_patterns_forgotten": Bug("merge", "nothing"),
    "version_not_closed": Bug("merge", "nothing"),
    "merge_forgets_on_restart": Bug("merge", "crash after a commit"),
    "position_is_zero": Bug("sink", "sink crash after a commit"),
    "all_rows_again": Bug("sink", "sink crash after a table, then other batches"),
    "commit_before_upload": Bug("sink", "sink crash after a commit"),
    "refreshed_handle": Bug("sink", "sink zombie"),
    "no_application_transaction": Bug("sink", "sink crash after a commit"),
    "one_name_for_all": Bug("sink", "nothing"),
    "boundary_row_dropped": Bug("sink", "nothing"),
    "conflict_is_success": Bug("sink", "commit fails"),
    "failed_upload_is_success": Bug("sink", "upload fails"),
}


@dataclass
class Verdict:
    """What the oracle said; a worker that does not come to an end, or stops with an alarm, is a finding as well."""

    bug: str
    stage: str
    provocation: str
    provoked: int = 0
    seconds: float = 0.0
    findings: list[str] = field(default_factory=list)

    @property
    def caught(self) -> bool:
        return bool(self.findings)


class Lab:
    """One cluster with the raw records of a seed; `trial` runs one stage on them."""

    def __init__(self, data: Path, seed: int) -> None:
        self.data, self.seed, self.workers = data, seed, []
        self.patches = [(TUNED, {"session_seconds": SESSION, "snapshot_bytes": 2_000})]
        self.nursery = Nursery()
        endpoints = launcher.up(data)
        self.kafka = endpoints.kafka
        ensure_keys(data)
        self.topics = table.expand(NODES, REGIONS)
        topics.ensure(self.kafka, self.topics)
        self._fill()
        self.sound: set[str] = set()

    def _fill(self) -> None:
        public = region_keys(self.data, "public")[HOME]
        epochs = {node: synthetic.new_epoch(node, HOME, public) for node in NODES}
        load = Load(self.seed, NODES, {node: key for node, (key, _) in epochs.items()}, places=6, recent=1_000)
        records = list(islice(load.records(), RECORDS))
        producer = KafkaProducer(bootstrap_servers=self.kafka, linger_ms=20)
        for topic, key, value in [*(one for _, one in epochs.values()), *load.keys, *records]:
            producer.send(topic, value=value, key=key, partition=0)
        producer.flush()
        producer.close()
        write_truth(self.data / "truth.sqlite", load, [], [], {"seed": self.seed})

    def trial(self, name: str, bug: Bug) -> Verdict:
        """Prepare what comes before the stage without a bug, then run the stage with it."""
        verdict, began = Verdict(name, bug.stage, bug.provocation), time.monotonic()
        self._prepare(bug.stage)
        self._empty(bug.stage)
        patches = [] if name.startswith("(none)") else [[f"{BUGS}{name}", {}]]
        self._run(bug, patches, verdict)
        only = {"refine": REFINED, "merge": MERGED, "sink": SUNK}[bug.stage]
        answer = oracle(self.data, self.data / "truth.sqlite", "--only", only)
        verdict.findings += [f"{one}: {line}" for one, c in answer["checks"].items() for line in c["wrong"]]
        verdict.seconds = round(time.monotonic() - began, 1)
        return verdict

    def _prepare(self, stage: str) -> None:
        """Run what comes before, soundly; refine with crashes, so that there are aborted records to be read wrongly."""
        for one in STAGES[: STAGES.index(stage)]:
            if one in self.sound:
                continue
            self._empty(one)
            verdict = Verdict("sound", one, "preparing")
            self._life(one, [], PROVOCATIONS["crash before the end"] if one == "refine" else [], 100, verdict)
            assert not verdict.findings, verdict.findings
            self.sound.add(one)
        self.sound -= set(STAGES[STAGES.index(stage) :])

    def _empty(self, stage: str) -> None:
        """Take away all that the stage has written."""
        if stage == "sink":
            store = open_store(self.data)
            for path in store.list(""):
                store.remove(path)
        else:
            names = {"refine": ["accepted", "quarantine"], "merge": [f"hub.{region}" for region in REGIONS]}[stage]
            self._recreate([*names, f"ledger.{stage}"], f"tocsin.{stage}")
        shutil.rmtree(self.data / "streams" / stage, ignore_errors=True)
        for log in self.data.glob(f"{stage}-*.jsonl"):
            log.unlink()

    def _recreate(self, names: list[str], group: str) -> None:
        admin = KafkaAdminClient(bootstrap_servers=self.kafka)
        try:
            admin.delete_topics(names)
            until = time.monotonic() + 60
            while not self._gone(admin, group):
                assert time.monotonic() < until, f"group {group} is not empty"
                time.sleep(0.5)
        finally:
            admin.close()
        while set(names) & set(self._known()):
            time.sleep(0.1)
        topics.ensure(self.kafka, self.topics)

    def _gone(self, admin: Any, group: str) -> bool:
        try:
            admin.delete_groups([group])
        except KafkaError as error:
            return "NotFound" in type(error).__name__ or "not found" in str(error)
        return True

    def _known(self) -> set[str]:
        client = KafkaConsumer(bootstrap_servers=self.kafka)
        try:
            return client.topics()
        finally:
            client.close()

    def _run(self, bug: Bug, patches: list, verdict: Verdict) -> None:
        lives = PROVOCATIONS[bug.provocation]  # beside the patches, which each life has
        if "zombie" in bug.provocation:
            self._zombie(bug, patches, lives, verdict)
        else:
            self._life(bug.stage, patches, lives, bug.batch, verdict)

    def _worker(self, stage: str, name: str, patches: list, batch: int) -> Worker:
        worker = Worker(self, stage, name, batch_records=batch, until_idle=2.0)
        worker.patches = patches
        return worker

    def _life(self, stage: str, patches: list, lives: list, batch: int, verdict: Verdict) -> None:
        """Run one worker through its lives until it is idle."""
        worker = self._worker(stage, "1", patches, batch)
        worker.start(lives)
        self._ended(worker, verdict)
        verdict.provoked = sum(len(worker.events(event)) for event in ("crash", "lost", "late", "reads otherwise"))
        verdict.findings += _slow(worker)
        if lives and verdict.provoked < len(lives):
            verdict.findings += [] if verdict.findings else ["(the provocation did not happen)"]

    def _zombie(self, bug: Bug, patches: list, lives: list, verdict: Verdict) -> None:
        """One worker falls asleep in a batch, another takes all over and ends, the first wakes."""
        sleeper = self._worker(bug.stage, "1", patches, bug.batch)
        sleeper.start(lives)
        self._until(lambda: sleeper.events("sleeps"), f"{bug.stage} falls asleep")
        other = self._worker(bug.stage, "2", [], bug.batch)
        other.start()
        self._ended(other, verdict)

        sleeper.signal(signal.SIGCONT)
        self._ended(sleeper, verdict)
        verdict.provoked = len(sleeper.events("wakes"))

    def _until(self, done: Any, what: str, seconds: float = 180.0) -> None:
        until = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < until, f"waited for: {what}"
            time.sleep(0.1)

    def _ended(self, worker: Worker, verdict: Verdict, seconds: float = 240.0) -> None:
        try:
            code = worker.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            verdict.findings.append(f"I16: {worker.stage} does not come to an end")
            worker.kill()
            return
        if slips := {event["error"] for event in worker.events("again")} & SLIPS:
            verdict.findings.insert(0, f"(no trial) the bug itself is broken: {', '.join(sorted(slips))}")
        if code:
            why = [event["why"] for event in worker.events("stops")] or [worker.log.read_text()[-300:]]
            verdict.findings.append(f"alarm: {worker.stage} ended with {code}: {why[-1][:200]}")

    def close(self) -> None:
        self.nursery.close()
        launcher.down(self.data)


def _slow(worker: Worker) -> list[str]:
    """Return a finding where a worker took too long to commit again after a crash."""
    batches = [line["time"] for line in worker.events("batch")]
    waited = [
        min((time - crash["time"] for time in batches if time > crash["time"]), default=0.0)
        for crash in worker.events("crash")
    ]
    longest = max(waited, default=0.0)
    return [f"I16: {worker.stage} committed {longest:.0f} s after a crash"] if longest > READY_SECONDS else []


def controls() -> dict[str, Bug]:
    """Return each pair of stage and provocation that a bug needs, without a bug."""
    pairs = {(bug.stage, bug.provocation, bug.batch) for bug in PLANTED.values()}
    return {
        f"(none) {stage}, {provocation}": Bug(stage, provocation, batch) for stage, provocation, batch in sorted(pairs)
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.planted", description=__doc__)
    parser.add_argument("names", nargs="*", help="these only")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--controls", action="store_true", help="only the provocations without a bug")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--results", type=Path, help="write the verdicts as JSON here")
    asked = parser.parse_args()
    chosen = {**controls(), **PLANTED} if not asked.controls else controls()
    chosen = {name: bug for name, bug in chosen.items() if not asked.names or name in asked.names}
    order = sorted(chosen, key=lambda name: STAGES.index(chosen[name].stage))
    lab = Lab(asked.data or Path(tempfile.mkdtemp(prefix="planted-")), asked.seed)
    verdicts = []
    try:
        for name in order:
            try:
                verdict = lab.trial(name, chosen[name])
            except (AssertionError, subprocess.TimeoutExpired) as error:
                verdict = Verdict(name, chosen[name].stage, chosen[name].provocation, findings=[f"(no trial) {error}"])
            verdicts.append(verdict)
            if asked.results:
                asked.results.write_text(json.dumps([asdict(one) for one in verdicts], indent=1) + "\n")
            line = asdict(verdict) | {"caught": verdict.caught}
            print(
                json.dumps(line) if asked.json else f"{verdict.bug}: {'; '.join(verdict.findings[:2]) or 'green'}",
                flush=True,
            )
    finally:
        lab.close()
    return _told(verdicts)


def _told(verdicts: list[Verdict]) -> int:
    """Say what was not caught, and which control was not green."""
    sound = [one for one in verdicts if one.bug.startswith("(none)")]
    planted = [one for one in verdicts if not one.bug.startswith("(none)")]
    real = [one for one in planted if one.caught and not one.findings[0].startswith("(")]
    missed = [one.bug for one in planted if one not in real]
    red = [one.bug for one in sound if one.findings]
    print(f"{len(real)} of {len(planted)} caught; not caught: {', '.join(missed) or 'none'}", file=sys.stderr)
    print(f"{len(sound) - len(red)} of {len(sound)} controls green; red: {'; '.join(red) or 'none'}", file=sys.stderr)
    return 1 if missed or red else 0


if __name__ == "__main__":
    sys.exit(main())
