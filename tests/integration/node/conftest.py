import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra import topics
from infra.table import expand
from pipeline.keyrings import ensure_keys

ROOT = Path(__file__).parents[3]
TOCSIN = [sys.executable, "-c", "from pipeline.cli.app import main; main()"]
GOOD = {
    "sind event id": "1",
    "date": "2021-05-03",
    "country iso": "COD",
    "admin 1": "Ituri",
    "location where sexual violence was committed": "Victims Home",
    "reported perpetrator": "NSA",
    "reported perpetrator name": "Unidentified Armed Actor",
    "survivor or victim sex": "Female",
    "adult or minor": "Adult, ",
    "type of sv": "Rape",
    "sv context": "CRSV",
    "number of reported victims": "1",
    "reported deaths following the sexual violence": "",
}


@dataclass
class Desk:
    """A data folder with the regions' keys, and the command line to work with it."""

    data: Path

    def start(self, *args):
        command = [*TOCSIN, "node", args[0], "--data", str(self.data), *args[1:]]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def tocsin(self, *args, data=True):
        """Run any command; with the data folder, unless it needs none."""
        command = [*TOCSIN, *args, *(["--data", str(self.data)] if data else [])]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    def run(self, *args):
        """Return exit status, what was said, and the last line as JSON where it is some."""
        process = self.start(*args)
        out, err = process.communicate(timeout=60)
        last = out.strip().split("\n")[-1]
        return process.returncode, out + err, json.loads(last) if last.startswith("{") else None

    def init(self, code, region="great-lakes"):
        status, said, _ = self.run("init", code, "--region", region, "--new")
        assert status == 0, said
        return self.data / "nodes" / code

    def journal(self, code):
        return self.data / "nodes" / code / "journal"


@pytest.fixture
def desk(tmp_path):
    ensure_keys(tmp_path / "data")
    return Desk(tmp_path / "data")


@pytest.fixture
def rows(tmp_path):
    """Write a file of so many synthetic rows that are all taken."""

    def write(count, name="rows.json", **changes):
        path = tmp_path / name
        path.write_text(json.dumps([{**GOOD, "sind event id": str(n), **changes} for n in range(count)]))
        return str(path)

    return write


@pytest.fixture
def node_topics(cluster):
    """Make the topics of a node; a test takes a code of its own."""

    def make(code):
        topics.ensure(cluster.kafka, [topic for topic in expand([code], []) if topic.name.endswith(f".{code}")])

    return make
