"""docs/lifecycle.md, run as it stands: its commands over a new hub, and after them what the tables hold.

A block `console` has commands and what they print; a block `tables` names tables with columns and has their rows. Ids, keys and
today's date stand as …; commands that only read are run again until they print what the page says. After a change of the
product `python -m tests.integration.docs.lifecycle` writes the page anew.
"""

import csv
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from deltalake.exceptions import TableNotFoundError

from pipeline.node.importers.insecurity_insight import InsecurityInsight
from pipeline.node.importers.svac import Svac
from tests.integration.whole.rig import ROOT, Whole, rows

PAGE = ROOT / "docs" / "lifecycle.md"
BLOCK = re.compile(r"^```(console|tables)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
READING = (
    "why",
    "verify",
    "hub summary",
    "forget status",
    "node status",
    "node case",
    "node fates",
    "node handover status",
)
SOON = 60
CALM = 8  # seconds after which what no longer changes is written
NONE = "(no table)\n"
WRITING = __name__ == "__main__"
CASE = {
    "date": "2024-05-06",
    "country iso": "COD",
    "admin 1": "Nord-Kivu",
    "sv context": "CRSV",
    "type of sv": "Rape",
    "survivor or victim sex": "Female",
    "adult or minor": "Adult",
    "number of reported victims": "1",
    "reported perpetrator": "NSA",
}
PATTERN = {
    "year": "2024",
    "actor": "",
    "actor_type": "3",
    "location": "DR Congo (Zaire)",
    "form": "1",
    "state_prev": "1",
}


class World:
    """A hub with its workers, an empty folder to type commands in, and one file of an invented row."""

    def __init__(self, folder):
        self.whole, self.here = Whole(folder / "hub", ["MONUSCO"]), folder / "here"
        self.here.mkdir()
        _file(self.here / "cases.csv", InsecurityInsight.columns, CASE, {"date": "2024-05-09"})
        _file(self.here / "patterns.csv", Svac.columns, PATTERN)
        for stage in ("refine", "merge", "sink", "receipts"):
            self.whole.worker(stage, "1")

    def run(self, line):
        """Return what a command prints, and says where it fails, with … for what differs each time."""
        words = shlex.split(line.replace("$ID", self._verified()) if "$ID" in line else line)
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", *words[1:]],
            cwd=self.here,
            env={**os.environ, "TOCSIN_DATA": str(self.whole.data), "COLUMNS": "120", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        return self.plain(done.stdout + (done.stderr if done.returncode else ""))

    def _verified(self):
        """Return the id of the incident that is verified."""
        (found,) = rows(self.whole, "incidents").filter(verification="verified")["incident_id"].to_list()
        return found

    def plain(self, text):
        text = text.replace(str(self.whole.data), "$DATA").replace(f"{datetime.now(UTC).date()}", "…")
        text = re.sub(r"(tocsin\.[\w.]+)\+[0-9a-f]{8}\+\S+", r"\1+…", text)
        text = re.sub(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b|\b[0-9a-f]{8,64}\b…?", "…", text)
        return "".join(f"{line.rstrip()}\n" for line in text.splitlines() if line.strip())

    def tables(self, heads):
        """Return the rows of tables; each head is a table's name and the columns to show."""
        lines = []
        for head in heads:
            name, *columns = head.split()
            frame = rows(self.whole, name).select(columns)
            found = sorted([["–" if value is None else _shown(value) for value in row] for row in frame.rows()])
            widths = [max(map(len, each)) for each in zip(columns, *found, strict=True)]
            lines.append(f"{name:<12}{_row(columns, widths)}")
            lines += [f"{'':<12}{_row(each, widths)}" for each in found] or [f"{'':<12}(no row)"]
        return "".join(f"{line.rstrip()}\n" for line in lines)


def walk(world, text):
    """Yield each block of the page as it stands, and as it is: the commands are run in their order."""
    for kind, content in BLOCK.findall(text):
        yield content, (_console if kind == "console" else _tables)(world, content)


def _console(world, content):
    lines, said = content.splitlines(), []
    starts = [at for at, line in enumerate(lines) if line.startswith("$ ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        wanted = "".join(f"{line}\n" for line in lines[start + 1 : end])
        line = lines[start].removeprefix("$ ")
        reads = line.removeprefix("tocsin ").startswith(READING)
        said.append(
            f"{lines[start]}\n{_until(lambda line=line: world.run(line), wanted) if reads else world.run(line)}"
        )
    return "".join(said)


def _tables(world, content):
    heads = [line for line in content.splitlines() if line and not line.startswith(" ")]
    return _until(lambda: world.tables(heads), content)


def _until(found, wanted):
    """Return what is found as soon as it is what is wanted; what it is at last where it never is."""
    began = changed = time.monotonic()
    now = None
    while now != wanted and time.monotonic() - began < SOON and (not WRITING or time.monotonic() - changed < CALM):
        try:
            before, now = now, found()
        except (OSError, TableNotFoundError):
            before, now = now, NONE
        if now != before or now == NONE:
            changed = time.monotonic()
        time.sleep(0.2)
    return now


def _shown(value):
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    text = text.replace(f"{datetime.now(UTC).date()}", "…")
    return re.sub(r"^[0-9a-f]{32}$", "…", text)


def _row(cells, widths):
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))


def _file(path, columns, *changes):
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, columns)
        table.writeheader()
        row = dict.fromkeys(columns, "0" if columns == Svac.columns else "")
        for change in changes:
            table.writerow(row := row | change)


def main():
    """Write the page anew."""
    text, at = PAGE.read_text(), 0
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        try:
            for before, after in walk(world, text):
                at = text.index(before, at)
                text, at = text[:at] + after + text[at + len(before) :], at + len(after)
                PAGE.write_text(text)
        finally:
            world.whole.down()


if __name__ == "__main__":
    main()
