"""`python -m tests.bench`: measured runs, each a line of JSON, each checked against the generator's truth.

python -m tests.bench all --events 1000000                      what `make bench` does: a session of minutes
python -m tests.bench all --events 5000000 --peers DIR          the same, with the engines of a folder beside it
python -m tests.bench run --level merge --form plain            one run; exit status 1 where a figure is wrong
python -m tests.bench run --level merge --events 10000000 --restart
python -m tests.bench peer confluent                            a program of another make on the same corpus
python -m tests.bench peers DIR --only flink:1 --only rust:2    engines of a folder on their own job
python -m tests.bench latency --seconds 60                      from a node's sync to its hub
python -m tests.bench report                                    write the tables of docs/performance.md again
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench import beside, latency, proc, report
from tests.bench.run import LEVELS, Failed, Session, measure

WORK = Path.home() / ".cache" / "tocsin-bench"
FORMS = ("plain", "sealed")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = made.add_subparsers(dest="command", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--work", type=Path, default=WORK, help=f"folder for corpora, the cluster and the builds [{WORK}]"
    )
    common.add_argument(
        "--cluster",
        type=Path,
        help="data folder of a Kafka and S3 that run already (`tocsin up`); every topic there is emptied",
    )
    common.add_argument(
        "--out", type=Path, help="file to which each run's line is added [results.jsonl in the work folder]"
    )
    common.add_argument("--seed", type=int, default=1, help="seed of the corpus [1]")
    common.add_argument("--json", action="store_true", help="say nothing but the lines of JSON")
    corpus = argparse.ArgumentParser(add_help=False)
    corpus.add_argument("--events", type=int, default=1_000_000, help="distinct events [1000000]")

    one = commands.add_parser("run", parents=[common, corpus], help="one measured run of tocsin")
    one.add_argument("--level", choices=LEVELS, default="refine", help="how far the events go [refine]")
    one.add_argument("--form", choices=FORMS, default="sealed", help="bodies as nodes send them, or in clear [sealed]")
    one.add_argument("--processes", type=int, default=1, help="processes of each stage [1]")
    one.add_argument("--batch", type=int, help="records of a batch at most")
    one.add_argument("--restart", action="store_true", help="start the workers again and measure until they are ready")
    one.add_argument(
        "--replay", action="store_true", help="with tables and sealed bodies: make one region's tables again, compare"
    )
    one.add_argument(
        "--profile", action="store_true", help="where the workers' Python spends its time, by py-spy; it slows the run"
    )
    one.add_argument("--times", type=int, default=1, help="how often to repeat it [1]")

    other = commands.add_parser("peer", parents=[common, corpus], help="a program of another make on the same corpus")
    other.add_argument("engine", choices=sorted(beside.PROCESSES))

    folder = commands.add_parser("peers", parents=[common, corpus], help="the engines of a folder on their own job")
    folder.add_argument("folder", type=Path, help="a folder with jvm/run.sh ENGINE LEVEL HOST:PORT CORPUS and gen.py")
    folder.add_argument(
        "--only", action="append", default=[], metavar="ENGINE:LEVEL", help="only these; may be repeated"
    )

    late = commands.add_parser("latency", parents=[common], help="from a node's sync to its hub")
    late.add_argument("--seconds", type=float, default=60.0, help="how long to measure [60]")
    late.add_argument("--rate", type=int, default=100, help="events a second of all nodes together [100]")
    late.add_argument("--processes", type=int, default=1, help="processes of each stage [1]")

    whole = commands.add_parser("all", parents=[common, corpus], help="a whole session, then the report")
    whole.add_argument("--peers", type=Path, help="a folder of other engines, as for `peers`")
    whole.add_argument("--times", type=int, default=1, help="repeats of each run of refine and of merge [1]")
    whole.add_argument("--seconds", type=float, default=60.0, help="length of the latency run, 0 for none [60]")

    write = commands.add_parser("report", help="write the tables of docs/performance.md from the lines")
    write.add_argument("--results", type=Path, default=report.RESULTS, help="the file of lines")
    return made


def session_runs(session: Session, asked: argparse.Namespace) -> Iterator[dict]:
    """Yield the lines of a whole session, the cheap ones several times."""
    for form in FORMS:
        for level, processes in (("refine", 1), ("refine", 2), ("merge", 1), ("merge", 2), ("table", 1), ("table", 2)):
            for _ in range(1 if level == "table" else asked.times):
                yield measure(
                    session,
                    level,
                    form,
                    asked.events,
                    processes,
                    asked.seed,
                    restart=level == "merge" and processes == 1,
                    replay=level == "table" and form == "sealed" and processes == 1,
                )
    for engine, most in (("confluent", 1_000_000), ("faust", 50_000)):
        yield beside.program(session, engine, min(asked.events, most), asked.seed)
    if asked.seconds:
        for processes in (1, 2):
            yield latency.measure(session, asked.seconds, 100, processes, asked.seed)
    if asked.peers:
        yield from beside.engines(session, asked.peers, asked.events)


def runs(session: Session, asked: argparse.Namespace) -> Iterator[dict]:
    if asked.command == "run":
        for _ in range(asked.times):
            size = (asked.level, asked.form, asked.events, asked.processes, asked.seed, asked.batch)
            yield measure(session, *size, asked.restart, asked.profile, asked.replay)
    elif asked.command == "peer":
        yield beside.program(session, asked.engine, asked.events, asked.seed)
    elif asked.command == "peers":
        wanted = [(name, int(level)) for name, _, level in (one.partition(":") for one in asked.only)]
        yield from beside.engines(session, asked.folder, asked.events, wanted or None)
    elif asked.command == "latency":
        yield latency.measure(session, asked.seconds, asked.rate, asked.processes, asked.seed)
    else:
        yield from session_runs(session, asked)


def commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def main() -> int:
    asked = parser().parse_args()
    if asked.command == "report":
        report.write(asked.results)
        return 0
    began = time.time()

    def say(sentence: str) -> None:
        if not asked.json:
            print(f"{time.time() - began:6.0f} s  {sentence}", file=sys.stderr, flush=True)

    about = {
        "session": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit(),
        "machine": proc.machine(),
    }
    right = True
    try:
        with Session(asked.work, asked.cluster, say) as session:
            out = asked.out or asked.work / "results.jsonl"
            out.parent.mkdir(parents=True, exist_ok=True)
            for line in runs(session, asked):
                text = json.dumps(about | line)
                with out.open("a") as file:
                    file.write(text + "\n")
                print(text, flush=True)
                right = right and line["ok"]
    except Failed as error:
        print(f"tests.bench: {error}", file=sys.stderr)
        return 1
    if asked.command == "all":
        print(report.tables(report.lines(out)))
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
