"""Other engines in the same session: two programs on the same corpus, and a folder of engines on a job of their own.

The two programs (peers/faust_app.py, peers/confluent_app.py) do what refine does, on the same topics with plain bodies.
A folder given by `--peers` is copied, built there, and run as it says itself; its JSON lines are taken over as they are.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from schemas.places import areas_of, country_of, monitored_countries
from schemas.released import latest
from schemas.wire import single_object_prefix
from tests.bench import broker, check, proc
from tests.bench.plan import BREAKS, NODES
from tests.bench.run import Failed, Session
from tests.bench.truth import Truth

HERE = Path(__file__).parent / "peers"
LOOK, QUIET, LIMIT = 0.1, 5.0, 900.0
# Engine, levels, where the copy has it; what the folder's own README says.
ENGINES = {"rust": (1, 2), "flink": (1, 2, 3), "ks": (1, 2)}
PROCESSES = {"faust": 1, "confluent": 2}  # Faust keeps the first partition of all topics in one process


def program(session: Session, engine: str, events: int, seed: int) -> dict:
    """Run one of the two programs on the corpus with plain bodies and return its figures."""
    _, truth = session.prepare("plain", events, seed)
    folder, python = session.work / f"peer-{engine}", _venv(session)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "job.json").write_text(json.dumps(_job(session, engine)))
    session.say(f"{engine}, plain bodies, {PROCESSES[engine]} process(es), {events:,} events")
    started = [_start(python, engine, folder, number) for number in range(PROCESSES[engine])]
    try:
        figures = asyncio.run(_watched(session, started, folder, truth))
        rss = sum(proc.peak(process.pid) for process in started)
    finally:
        for process in started:
            process.kill()
            process.wait()
    wrong = check.Differences()
    asyncio.run(_checked(session.ends.kafka, truth, wrong))
    named = {"engine": engine, "level": "refine", "form": "plain", "events": events, "processes": len(started)}
    return named | figures | {"rss_mb": round(rss), "ok": not wrong, "wrong": list(wrong)[:3]}


def _venv(session: Session) -> Path:
    folder = session.work / "peers-venv"
    if not (folder / "done").exists():
        session.say("setting up the peers' own Python, once")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--requirement", str(HERE / "requirements.txt")], check=True)
        (folder / "done").touch()
    return folder / "bin" / "python"


def _job(session: Session, engine: str) -> dict:
    areas = {area: country_of(area) for country in sorted(monitored_countries()) for area in areas_of(country)}
    return {
        "kafka": session.ends.kafka,
        "run": f"bench-{engine}-{int(time.time())}",
        "topics": [f"raw.{node}" for node in NODES],
        "areas": areas,
        "schemas": {name: latest(name).schema for name in ("Envelope", "IncidentReported", "PatternObserved")},
        "prefix": single_object_prefix(latest("Envelope")).hex(),
    }


def _start(python: Path, engine: str, folder: Path, number: int) -> subprocess.Popen:
    command = {
        "faust": [str(python), "-m", "faust", "-A", "faust_app", "worker", "-l", "warn", "--without-web"],
        "confluent": [str(python), str(HERE / "confluent_app.py")],
    }[engine]
    given = {
        "BENCH_JOB": str(folder / "job.json"),
        "BENCH_WORK": str(folder),
        "BENCH_MARK": str(folder / "mark"),
        "BENCH_NUMBER": str(number),
        "PYTHONPATH": str(HERE),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with (folder / f"{number}.log").open("wb") as log:
        return subprocess.Popen(command, env=os.environ | given, cwd=folder, stdout=log, stderr=subprocess.STDOUT)


def _marks(folder: Path) -> list[float]:
    """Return when each process got its first record."""
    return [float(text) for path in folder.glob("mark.*") if (text := path.read_text())]


async def _watched(session: Session, started: list, folder: Path, truth: Truth) -> dict:
    """Return rate and CPU from the first record handed over to the last move of an output's last stable offset."""
    begun, last, first_cpu = time.time(), None, None
    moved, used, broker_cpu = time.time(), 0.0, (proc.cpu(session.broker), 0.0)
    records = truth.figures["records"]
    async with broker.Wire(session.ends.kafka) as wire:
        while time.time() - begun < LIMIT:
            for process in started:
                if process.poll() is not None:
                    raise Failed(f"the peer has ended with {process.returncode}; its log is in {folder}")
            marks = _marks(folder)
            spent = sum(proc.cpu(process.pid) for process in started)
            if marks and first_cpu is None:
                first_cpu, broker_cpu = spent, (proc.cpu(session.broker), 0.0)
            ends = [await wire.end("accepted", k) for k in range(4)] + [await wire.end("quarantine")]
            if ends != last:
                last, moved, used = ends, time.time(), spent
                broker_cpu = broker_cpu[0], proc.cpu(session.broker)
            if marks and sum(ends) and time.time() - moved > QUIET:
                break
            await asyncio.sleep(LOOK)
    seconds, size = moved - min(marks), truth.figures["bytes"]
    return {
        "records": records,
        "mb": round(size / 1e6, 1),
        "seconds": round(seconds, 2),
        "rate": round(records / seconds),
        "mb_s": round(size / 1e6 / seconds, 1),
        "cpu_s_per_m": round((used - first_cpu) / records * 1e6, 2),
        "broker_cpu_s_per_m": round((broker_cpu[1] - broker_cpu[0]) / records * 1e6, 2),
    }


async def _checked(kafka: str, truth: Truth, wrong: check.Differences) -> None:
    found, reasons = (0, 0), {}
    async with broker.Wire(kafka) as wire:
        for partition in range(4):
            async for batch in wire.read("accepted", partition):
                ids = batch.data[batch.spans[:, 2, None] + range(10, 26)]
                count, total = check.digest(ids)
                found = found[0] + count, (found[1] + total) & check.MASK
        async for batch in wire.read("quarantine"):
            for start, end, *_ in batch.spans.tolist():
                name = batch.data[start:end].tobytes().decode()
                reasons[name] = reasons.get(name, 0) + 1
    incidents, patterns = check.digest(truth.ids), check.digest(truth.pattern_ids)
    wrong.same("accepted", found, (incidents[0] + patterns[0], (incidents[1] + patterns[1]) & check.MASK))
    wanted = {name or "undecodable": truth.figures["reasons"][name or "undecodable"] for name in BREAKS}
    wrong.same("quarantined", reasons, {name: count for name, count in wanted.items() if count})


def engines(session: Session, given: Path, events: int, wanted: list[tuple[str, int]] | None = None):
    """Yield the JSON line of each engine and level of the folder; a copy of it is built in the work folder."""
    copy = session.work / "peers"
    if not copy.exists():
        shutil.copytree(given, copy, ignore=shutil.ignore_patterns("venvs", "target", "__pycache__"))
    times = max(1, round(events / 1_000_000))
    corpus = session.work / "peers-corpus"
    if not (corpus / "oracle.json").exists():
        session.say("the peers' own corpus of a million events, once")
        subprocess.run([str(_venv(session)), str(copy / "gen.py"), "1000000", "11", str(corpus)], check=True)
    megabytes = (corpus / "incidents.bin").stat().st_size * times / 1e6
    broker.forget(session.ends.kafka, "raw.", "keys.", "hub.", "accepted", "quarantine", "ledger.")
    (session.work / "loaded").unlink(missing_ok=True)
    for engine, level in wanted or [(engine, level) for engine, levels in ENGINES.items() for level in levels]:
        session.say(f"{engine}, level {level} of the peers' own job, {times} million events")
        line = _engine(session, copy, corpus, engine, level, times)
        if "raw" in line:
            line |= {"mb_s": round(megabytes / line["steady_s"], 1)}
        yield line | {"events": times * 1_000_000, "job": "peers"}
    broker.forget(session.ends.kafka, "raw.", "keys.", "hub.", "accepted", "quarantine", "ledger.")


def _engine(session: Session, copy: Path, corpus: Path, engine: str, level: int, times: int) -> dict:
    ends = session.ends
    given = {"MULT": str(times), "PY": sys.executable, "LIMIT_S": "600", "TMPDIR": str(session.work)}
    if level == 3:
        given |= {
            "S3_ENDPOINT": f"http://{ends.s3}",
            "S3_BUCKET": ends.bucket,
            "AWS_ACCESS_KEY_ID": ends.access_key,
            "AWS_SECRET_ACCESS_KEY": ends.secret_key,
        }
    command = ["bash", str(copy / "jvm" / "run.sh"), engine, str(level), ends.kafka, str(corpus)]
    done = subprocess.run(command, env=os.environ | given, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        return {"engine": engine, "level": level, "ok": False, "wrong": [done.stderr.strip()[-500:]]}
    return json.loads(lines[-1])
