"""`make demo`: the whole way on real data, with a worker killed on the way, checked against a separate count.

Everything is done by the command `tocsin`, as a user would. It prints counts above the threshold only, never a row.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.count import count

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "demo-data"
FILES = ("svac.csv", "crsv_incidents_2020-2022.json")
NODES = {"UNMISS": "horn-of-africa", "MONUSCO": "great-lakes", "MINUSCA": "great-lakes"}
STAGES = ("refine", "merge", "sink")
TOCSIN = [sys.executable, "-m", "pipeline.cli"]
PATIENCE = 120.0


class Failed(Exception):
    """The demonstration did not show what it should."""


def tocsin(*arguments: str, show: bool = False) -> str:
    """Run one command to its end and return what it prints; Failed with its own words where it does not succeed."""
    done = subprocess.run([*TOCSIN, *arguments], cwd=ROOT, env=environment(), capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"`tocsin {' '.join(arguments)}` ended with {done.returncode}: {done.stderr or done.stdout}")
    if show:
        print(done.stdout, end="", flush=True)
    return done.stdout


def environment() -> dict[str, str]:
    """Return the environment of every command: one data folder, wide tables."""
    return {**os.environ, "TOCSIN_DATA": str(DATA), "COLUMNS": "110"}


class Worker:
    """One `tocsin worker`, its lines of JSON in a file of its own."""

    def __init__(self, stage: str, number: int) -> None:
        self.stage, self.number = stage, number
        self.log = DATA / "logs" / f"{stage}-{number}.jsonl"
        self.start()

    def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        size = ["--batch-records", "40"] if self.stage == "refine" else []
        command = [*TOCSIN, "worker", self.stage, "--name", str(self.number), "--json", *size]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = self.log.read_text().splitlines()
        events = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [event for event in events if event["event"] == name]

    def kill(self) -> None:
        """End it as a power cut would: the supervisor and its worker, without a word to either."""
        family = [self.process, *psutil.Process(self.process.pid).children(recursive=True)]
        for process in family:
            os.kill(process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Ask it to stop; it ends what it has begun."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.kill()


@contextmanager
def step(sentence: str) -> Iterator[None]:
    """Print a sentence, and after it how long the step took."""
    begun = time.monotonic()
    print(f"\n▸ {sentence}", flush=True)
    yield
    print(f"  {time.monotonic() - begun:.1f} s", flush=True)


def until(what: str, ready: Any) -> Any:
    """Wait for a true answer and return it; Failed after two minutes."""
    ends = time.monotonic() + PATIENCE
    while not (answer := ready()):
        if time.monotonic() > ends:
            raise Failed(f"{what}: not within {PATIENCE:.0f} seconds; the logs are in {DATA / 'logs'}")
        time.sleep(0.3)
    return answer


def held() -> dict[str, dict[str, int]]:
    """Return the rows in the tables of each hub, read as anybody would: by the Delta log, without tocsin."""
    from deltalake import DeltaTable

    cluster = json.loads((DATA / "cluster.json").read_text())
    options = {
        "AWS_ENDPOINT_URL": f"http://{cluster['s3']}",
        "AWS_ACCESS_KEY_ID": cluster["access_key"],
        "AWS_SECRET_ACCESS_KEY": cluster["secret_key"],
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }
    found: dict[str, dict[str, int]] = {"incidents": {}, "patterns": {}}
    for name, rows in found.items():
        key = f"{name.removesuffix('s')}_id"
        for region in ("lake-chad", "sahel", "horn-of-africa", "great-lakes", "libya-neighbours", "other-situations"):
            path = f"s3://{cluster['bucket']}/hub/{region}/{name}"
            if DeltaTable.is_deltatable(path, storage_options=options):
                column = DeltaTable(path, storage_options=options).to_pyarrow_table(columns=[key])[key]
                rows[region] = len(column)
                if len(set(column.to_pylist())) != len(column):
                    raise Failed(f"{name} of {region} holds an id twice")
    return found


def import_files() -> tuple[int, int]:
    """Let each node import its third of both files; return rows and accepted rows."""
    rows = accepted = 0
    reasons: dict[str, int] = {}
    for number, node in enumerate(NODES, 1):
        for file in FILES:
            printed = tocsin(
                "node", "import", str(DATA / "files" / file), "--node", node, "--part", f"{number}/3", "--json"
            )
            line = json.loads(printed.splitlines()[-1])
            rows, accepted = rows + line["rows"], accepted + line["accepted"]
            for reason, refused in line["rejected"].items():
                reasons[reason] = reasons.get(reason, 0) + refused
    if rows != accepted + sum(reasons.values()):
        raise Failed(f"{rows} rows are not {accepted} accepted and {sum(reasons.values())} rejected")
    print(f"  {rows} rows = {accepted} accepted + {sum(reasons.values())} rejected, each with its reason:")
    for reason, refused in sorted(reasons.items(), key=lambda each: -each[1]):
        print(f"    {refused if refused >= 5 else 'fewer than 5':>12}  {reason}")
    return rows, accepted


def kill_one(workers: list[Worker]) -> None:
    """Kill the refine worker that is at work, and start it again."""
    refine = [worker for worker in workers if worker.stage == "refine"]
    busy = until("a first committed batch", lambda: next((w for w in refine if w.events("batch")), None))
    busy.kill()
    done = sum(event["records"] for worker in refine for event in worker.events("batch"))
    print(f"  refine worker {busy.number} killed with kill -9 after {done} records were committed; started again")
    busy.start()


def check(expected: dict[str, Any], accepted: int) -> None:
    """Compare the tables with the separate count; Failed names each difference."""
    wanted = {"incidents": expected["incidents_by_region"], "patterns": expected["patterns_by_region"]}
    found = held()
    if accepted != expected["incidents"] + expected["patterns"] or found != wanted:
        raise Failed(f"the separate count says {wanted}, the tables hold {found}")
    print("  equal in each of the 6 hubs: none lost, none doubled")


def last_event(node: str) -> int:
    """Return the number of the node's last event."""
    return int(json.loads(tocsin("node", "status", "--node", node, "--json").splitlines()[-1])["last"])


def work() -> None:
    """Let a worker of each kind do what is to be done."""
    for stage in STAGES:
        tocsin("worker", stage, "--until-idle", "2")


def verify_one(node: str, number: int) -> None:
    """Verify the incident of an event, and see that each table has as many rows as before."""
    before = held()
    who = ("--step", "focal_point", "--by", "a focal point", "--primary", "1")
    done = tocsin("node", "verify", "--event", str(number), "--state", "verified", *who, "--node", node)
    print("  " + done.splitlines()[0])
    print("  " + tocsin("node", "sync", "--node", node).strip())
    work()
    if held() != before:
        raise Failed(f"before the verification the tables held {before}, after it {held()}")
    print(
        "  the verified version stands in its place in each hub, the one before in their history; no row more, none less"
    )
    for line in tocsin("node", "case", "--event", str(number), "--node", node).splitlines():
        print(f"  {line}")


def withdraw_one(node: str, number: int) -> None:
    """Withdraw the case of an event, and see that its rows, and no others, leave the tables."""
    before = held()
    done = tocsin("node", "withdraw", "--event", str(number), "--node", node, "--yes", "--json")
    (case,) = json.loads(done.splitlines()[-1])["withdrawn"]
    print(f"  {node}: event {case['event']} withdraws a case; its key is destroyed here")
    print("  " + tocsin("node", "sync", "--node", node).strip())
    work()
    after = held()
    left = {region: rows - after["incidents"][region] for region, rows in before["incidents"].items()}
    if after["patterns"] != before["patterns"] or set(left.values()) != {0, case["incidents"]}:
        raise Failed(f"before the withdrawal the tables held {before}, after it {after}")
    print("  its row has left every hub that held it, with the file; no other row has")


def tell(node: str) -> None:
    """Have the hub tell a node what became of its events, and see that each has a fate."""
    tocsin("worker", "receipts", "--until-idle", "2")
    tocsin("hub", "fates", node, "--send")
    tocsin("node", "sync", "--node", node)
    told = json.loads(tocsin("node", "fates", "--node", node, "--json").splitlines()[-1])
    if sum(told["counts"].values()) != told["sent"] or told["counts"].get("unknown"):
        raise Failed(f"{node} has sent {told['sent']} events, and these are their fates: {told['counts']}")
    print(f"  {node}: {told['sent']} events, each with one fate, signed by {told['hub']}:")
    counts = told["counts"] | {"linked to a pattern": told["linked"]}
    for fate, number in counts.items():
        print(f"    {number if number >= 5 else 'fewer than 5':>12}  {fate}")


def forget() -> None:
    """Erase what the withdrawn case has left in the log and the store, and see that each store has signed for it."""
    tocsin("worker", "receipts", "--until-idle", "2")
    workers = [Worker(stage, 1) for stage in ("refine", "merge")]  # each lane of theirs writes its base
    try:
        done = json.loads(tocsin("forget", "run", "--json").splitlines()[-1])
    finally:
        for worker in workers:
            worker.stop()
    (case,) = done["cases"]
    if done["outstanding"] or not case["stores"]:
        raise Failed(f"not all stores have signed: {case['stores']}")
    held_by = [one["store"] for one in case["stores"]]
    print(f"  {len(held_by)} stores were looked into, hold nothing of the case and have signed for it:")
    print(f"  {', '.join(held_by[:3])} …")


def run() -> None:
    """The demonstration itself."""
    expected = count(DATA / "files" / FILES[0], DATA / "files" / FILES[1])
    with step("A real Kafka and a real S3 on this machine (the first time Kafka is fetched, 45 MB)"):
        tocsin("up", show=True)
    with step("Kernels are compiled, once"):
        subprocess.run([sys.executable, "-m", "pipeline.warm"], cwd=ROOT, check=True)
    with step("Three mission nodes, offline, each import a third of two real files"):
        for node, region in NODES.items():
            tocsin("node", "init", node, "--region", region)
        _, accepted = import_files()
    workers: list[Worker] = []
    try:
        with step("Two workers of each kind: refine, merge, sink"):
            workers += [Worker(stage, number) for stage in STAGES for number in (1, 2)]
            until("six ready workers", lambda: all(worker.events("ready") for worker in workers))
        with step("The nodes come online and send; one refine worker is killed in the middle"):
            for node in NODES:
                print("  " + tocsin("node", "sync", "--node", node).strip())
            kill_one(workers)
        with step("One node sends its whole journal a second time"):
            print("  " + tocsin("node", "sync", "--node", "MONUSCO", "--again").strip())
        with step("Everything reaches the hubs' tables"):
            wanted = {"incidents": expected["incidents_by_region"], "patterns": expected["patterns_by_region"]}
            until("the tables", lambda: held() == wanted)
    finally:
        for worker in workers:
            worker.stop()
    with step("The tables against a count made straight from the files by a separate program"):
        check(expected, accepted)
    with step("What a hub sees: tocsin hub summary great-lakes"):
        tocsin("hub", "summary", "great-lakes", show=True)
    with step("Is all of it there, as the nodes sent it? tocsin verify"):
        tocsin("verify", show=True)
    with step("What became of one event: tocsin why"):
        first = json.loads(tocsin("tap", "raw.MONUSCO", "--limit", "1", "--json").splitlines()[0])
        tocsin("why", first["event_id"], show=True)
    last = last_event("MONUSCO")
    with step("A case goes on: tocsin node verify, tocsin node case"):
        verify_one("MONUSCO", last - 1)
    with step("What became of each event, told to its node: tocsin hub fates, tocsin node fates"):
        tell("MONUSCO")
    with step("A survivor takes her consent back: tocsin node withdraw"):
        withdraw_one("MONUSCO", last)
    with step("Its bytes leave the log and the store, too: tocsin forget run"):
        forget()
    with step("The audit: every table against the rules, by Great Expectations"):
        tocsin("audit", "--allow-empty", show=True)


def main() -> int:
    """Run it in a fresh data folder and leave no process behind."""
    begun = time.monotonic()
    if DATA.exists():
        tocsin("down")
        shutil.rmtree(DATA)
    (DATA / "files").mkdir(parents=True)
    for file in FILES:
        shutil.copy(ROOT / "schemas" / "data" / file, DATA / "files")
    try:
        run()
    except Failed as failed:
        print(f"\nThe demonstration failed: {failed}", file=sys.stderr)
        return 1
    finally:
        tocsin("down")
    print(f"\nDone in {time.monotonic() - begun:.0f} s; nothing runs any more. The data stays in {DATA.name}/:")
    print(f"  tocsin up --data {DATA.name}        look further, for instance with `tocsin tap quarantine`")
    print(f"  {DATA.name}/audit/docs/index.html   the audit's pages, which open offline")
    return 0


if __name__ == "__main__":
    sys.exit(main())
