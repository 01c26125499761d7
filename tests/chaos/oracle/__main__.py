"""`python -m tests.chaos.oracle DATA TRUTH`: read everything, check, say what is wrong; exit 1 where anything is.

--keep FILE keeps the book; --same-as FILE (an earlier answer of the oracle) adds I8: the tables have the same rows.
"""

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.chaos.oracle import book as books
from tests.chaos.oracle import checks, expect, lake, topics
from tests.chaos.oracle.avro import Frames

ROOT = Path(__file__).parents[3]


def _mints(data: Path) -> dict[str, bytes]:
    return {path.parent.name: bytes.fromhex(path.read_text()) for path in sorted(data.glob("regions/*/mint.key"))}


def _summary(book: sqlite3.Connection, data: Path) -> None:
    """Take what `tocsin hub summary` says is missing."""
    command = [sys.executable, "-m", "pipeline.cli", "hub", "summary", "--json"]
    environment = os.environ | {"TOCSIN_DATA": str(data)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    if done.returncode:
        book.execute("INSERT INTO unreadable VALUES('summary', ?)", (done.stderr.strip()[-500:],))
        return
    for node in json.loads(done.stdout.splitlines()[-1])["nodes"]:
        rows = [(node["node"], first, last) for first, last in node["missing"]]
        book.executemany("INSERT INTO reported VALUES(?,?,?)", rows)
        book.execute("INSERT INTO missing VALUES(?,?)", (node["node"], node["missing_count"]))
    book.commit()


def digests(book: sqlite3.Connection) -> dict[str, str]:
    """Return for each table the number of its rows and the sum of their digests: equal for equal multisets."""
    sums: dict[str, list[int]] = {}
    for path, digest in book.execute("SELECT path, digest FROM rows"):
        one = sums.setdefault(path, [0, 0])
        one[0] += 1
        one[1] = (one[1] + int.from_bytes(digest, "big")) % (1 << 128)
    return {path: f"{count}:{total:032x}" for path, (count, total) in sorted(sums.items())}


def same(now: dict[str, str], before: dict[str, str]) -> checks.Finding:
    """I8: a replay from the beginning into empty tables gives the same rows."""
    finding = checks.Finding(sum(int(value.partition(":")[0]) for value in now.values()))
    for path in sorted(now.keys() | before.keys()):
        if now.get(path) != before.get(path):
            finding.wrong.append(f"{path}: {now.get(path)} now, {before.get(path)} before")
    if not finding.looked:
        finding.wrong.append("there was nothing to look at")
    return finding


def judge(data: Path, truth: Path, keep: Path | None, names: set[str] | None, before: Path | None) -> dict[str, Any]:
    """Return the answer as plain values."""
    began = time.monotonic()
    cluster = json.loads((data / "cluster.json").read_text())
    book = books.fresh(keep or ":memory:", truth)
    topics.gather(book, cluster["kafka"], Frames(ROOT / "schemas"))
    lake.gather(book, cluster)
    if names is None or "I9" in names:
        _summary(book, data)
    books.index(book)
    expect.fold(book)
    found = checks.run(book, _mints(data), names)
    tables = digests(book)
    if before is not None:
        found["I8"] = same(tables, json.loads(before.read_text())["tables"])
    book.commit()
    book.close()
    return {
        "violations": sum(len(one.wrong) for one in found.values()),
        "checks": {name: {"looked": f.looked, "wrong": f.wrong[:20], "notes": f.notes} for name, f in found.items()},
        "tables": tables,
        "seconds": round(time.monotonic() - began, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.oracle", description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.add_argument("--keep", type=Path, help="keep the book (SQLite) here")
    parser.add_argument("--only", help="check only these invariants, by comma")
    parser.add_argument("--same-as", type=Path, help="an earlier answer whose tables must be the same")
    asked = parser.parse_args()
    names = set(asked.only.split(",")) if asked.only else None
    answer = judge(asked.data.resolve(), asked.truth, asked.keep, names, asked.same_as)
    if asked.json:
        print(json.dumps(answer))
    else:
        for name, one in answer["checks"].items():
            print(f"{name:9} {len(one['wrong'])} wrong of {one['looked']} {one['notes'] or ''}")
            for line in one["wrong"]:
                print(f"          {line}")
    return 1 if answer["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
