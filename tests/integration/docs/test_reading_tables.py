"""Each program of docs/reading-tables.md is run as it stands, without tocsin, and counts what is there."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from uuid import uuid4

import pytest

from schemas import rows, wire
from sinks.store import Store
from sinks.writer import DeltaSink
from tests.conformance.hub_events import batch, incident, link, pattern

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
PAGE = Path(__file__).parents[3] / "docs" / "reading-tables.md"
PROGRAMS = dict(re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?```python\n(.*?)```", PAGE.read_text(), re.M | re.S))
CONNECTING = PROGRAMS.pop("Connecting")
INCIDENTS = 40


@pytest.fixture(scope="module")
def region(cluster):
    """A region of the test's own: incidents, and a link from one of them to a pattern."""
    name = f"docs-{uuid4().hex[:8]}"
    store = Store(f"http://{cluster.s3}", cluster.access_key, cluster.secret_key, cluster.bucket)
    sink = DeltaSink(store, f"hub.{name}", 0)
    log = {number: incident(number) for number in range(INCIDENTS)} | {INCIDENTS: link(5), INCIDENTS + 1: pattern(6)}
    for start in range(0, len(log), 9):
        sink.write(batch(f"hub.{name}", log, start, min(start + 9, len(log))))
    found = Counter()
    for number in range(INCIDENTS):
        facts = rows.read(*wire.unframe(incident(number)))["incident"]
        found.update((facts["verification"], form) for form in facts["forms"])
    return name, [(*key, count) for key, count in sorted(found.items())]


def run(cluster, region, program, folder):
    text = CONNECTING.replace('"great-lakes"', f'"{region}"') + program
    assert region in text
    environment = {**os.environ, "TOCSIN_DATA": str(cluster.data), "HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, "-I", "-c", text], cwd=folder, env=environment, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("tool", ["DuckDB", "Polars", "pandas", "pyarrow"])
def test_a_tool_counts_what_is_there(cluster, region, tmp_path, tool):
    name, expected = region
    assert run(cluster, name, PROGRAMS[tool], tmp_path) == f"{expected}\n"


def test_links_lead_from_incidents_to_patterns(cluster, region, tmp_path):
    assert run(cluster, region[0], PROGRAMS["Incidents and the patterns they fit"], tmp_path) == "[(1, 1)]\n"


def test_a_version_says_how_far_it_reaches(cluster, region, tmp_path):
    now, first = run(cluster, region[0], PROGRAMS["As the table was"], tmp_path).splitlines()
    assert now.split(" ", 1)[1].startswith("[")
    assert int(first) == 1


def test_every_program_of_the_page_is_run():
    assert set(PROGRAMS) == {
        "DuckDB",
        "Polars",
        "pandas",
        "pyarrow",
        "Incidents and the patterns they fit",
        "As the table was",
    }
    assert PAGE.read_text().count("```python") == len(PROGRAMS) + 1
