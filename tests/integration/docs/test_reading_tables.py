"""Each program of docs/reading-tables.md is run as it stands, without tocsin, and counts what is there."""

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from pipeline.hub.reading import table
from quality.confidence import with_confidence
from schemas import rows, wire
from schemas.confidence import CREDIBILITY, RELIABILITY, default
from sinks.store import Store
from sinks.writer import DeltaSink
from tests.conformance.hub_events import DAY, assessment, batch, closure, incident, link, pattern, removal, revision

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
PAGE = Path(__file__).parents[3] / "docs" / "reading-tables.md"
PROGRAMS = dict(re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?```python\n(.*?)```", PAGE.read_text(), re.M | re.S))
CONNECTING = PROGRAMS.pop("Connecting")
INCIDENTS = 40
SCOPES = ("hub", "headquarters", "public", "hub")


@pytest.fixture(scope="module")
def region(cluster):
    """A region of the test's own: incidents, and a link from one of them to a pattern."""
    name = f"docs-{uuid4().hex[:8]}"
    store = Store(f"http://{cluster.s3}", cluster.access_key, cluster.secret_key, cluster.bucket)
    sink = DeltaSink(store, f"hub.{name}", 0)
    log = {number: incident(number, sharing_scope=SCOPES[number % 4]) for number in range(INCIDENTS)} | {
        INCIDENTS: link(5),
        INCIDENTS + 1: pattern(6),
    }
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


HISTORY = [
    *(incident(number, verification="report_pending_verification") for number in range(6)),
    revision(0, 100, recorded=810, change="verified", verification="verified"),
    revision(1, 101, current=False, recorded=812, verification="verified"),
    closure(0, None, 810, "verified"),
    closure(2, None, 815, "did_not_occur"),
    revision(1, 102, recorded=818, change="verified", verification="verified"),
    closure(1, 101, 818, "verified"),
    closure(1, None, 818, "verified"),
    incident(7, recorded=830, verification="report_pending_verification"),
    incident(8, verification="report_pending_verification"),
    removal(8),
    revision(3, 103, current=False, recorded=840, verification="verified"),
    assessment(0, 200),
    assessment(0, 201, "disputed", node="UNMIL"),
    assessment(1, 202, "disputed"),
    assessment(1, 203, "corroborated", 2),
    assessment(3, 204),
    assessment(3, 205, "taken_back", 2),
    assessment(4, 206),
    assessment(4, 207, node="UNMIL"),
    assessment(5, 208, node="MONUSCO"),
    assessment(2, 209),
    assessment(99, 210),
]
UNVERIFIED, VERIFIED = "report_pending_verification", "verified"
STOOD = {
    799: [],
    809: [(UNVERIFIED, 6)],
    810: [(UNVERIFIED, 5), (VERIFIED, 1)],
    814: [(UNVERIFIED, 5), (VERIFIED, 1)],
    815: [(UNVERIFIED, 4), (VERIFIED, 1)],
    818: [(UNVERIFIED, 3), (VERIFIED, 2)],
    850: [(UNVERIFIED, 4), (VERIFIED, 2)],
}


@pytest.fixture(scope="module")
def revised(cluster):
    """A region whose incidents were amended, verified, retracted and withdrawn."""
    name = f"docs-{uuid4().hex[:8]}"
    store = Store(f"http://{cluster.s3}", cluster.access_key, cluster.secret_key, cluster.bucket)
    sink = DeltaSink(store, f"hub.{name}", 0)
    for start in range(0, len(HISTORY), 4):
        sink.write(batch(f"hub.{name}", dict(enumerate(HISTORY)), start, min(start + 4, len(HISTORY))))
    return name


@pytest.mark.parametrize("tool", ["DuckDB", "Polars", "pandas"])
@pytest.mark.parametrize("day", STOOD)
def test_a_tool_says_what_stood_on_a_day(cluster, revised, tmp_path, tool, day):
    program = PROGRAMS[f"As of a day, with {tool}"]
    assert "date(2024, 3, 25)" in program
    asked = DAY + timedelta(days=day)
    program = program.replace("date(2024, 3, 25)", f"date({asked.year}, {asked.month}, {asked.day})")
    assert run(cluster, revised, program, tmp_path) == f"{STOOD[day]}\n"


@pytest.mark.parametrize("tool", ["DuckDB", "Polars"])
def test_a_tool_counts_what_other_nodes_said_last_of_current_incidents(cluster, revised, tmp_path, tool):
    expected = [(UNVERIFIED, "corroborated", 1), (VERIFIED, "corroborated", 2), (VERIFIED, "disputed", 1)]
    assert run(cluster, revised, PROGRAMS[f"Assessed by other nodes, with {tool}"], tmp_path) == f"{expected}\n"


@pytest.mark.parametrize("tool", ["DuckDB", "Polars", "pandas", "pyarrow"])
def test_a_tool_counts_what_is_there(cluster, region, tmp_path, tool):
    name, expected = region
    assert run(cluster, name, PROGRAMS[tool], tmp_path) == f"{expected}\n"


@pytest.mark.parametrize(("audiences", "count"), [('["headquarters", "public"]', 20), ('["public"]', 10)])
def test_counts_for_an_audience_are_of_what_may_go_there(cluster, region, tmp_path, audiences, count):
    program = PROGRAMS["Counts for Headquarters or the public, with DuckDB"]
    assert '["headquarters", "public"]' in program
    program = program.replace('["headquarters", "public"]', audiences)
    assert run(cluster, region[0], program, tmp_path) == f"[('verified', {count})]\n"


JUDGED = [(reliability, credibility) for reliability in RELIABILITY for credibility in CREDIBILITY]


@pytest.fixture(scope="module")
def judged(cluster):
    """A region with a report for each pair of codes, each of another day, and verified incidents among them."""
    name = f"docs-{uuid4().hex[:8]}"
    store = Store(f"http://{cluster.s3}", cluster.access_key, cluster.secret_key, cluster.bucket)
    codes = [dict(zip(("source_reliability", "information_credibility"), pair, strict=True)) for pair in JUDGED]
    log = {number: incident(number * 19, verification=UNVERIFIED, **pair) for number, pair in enumerate(codes)}
    log |= {number: incident(number * 19, **pair) for number, pair in enumerate(codes, len(codes))}
    DeltaSink(store, f"hub.{name}", 0).write(batch(f"hub.{name}", log, 0, len(log)))
    return name, table(store, f"hub/{name}/incidents")


@pytest.mark.parametrize("day", [date(2024, 3, 25), DAY, DAY + timedelta(days=300)])
def test_confidence_is_what_tocsin_says(cluster, judged, tmp_path, day):
    name, incidents = judged
    program = PROGRAMS["Confidence, with DuckDB"]
    assert "date(2024, 3, 25)" in program
    program = program.replace("date(2024, 3, 25)", f"date({day.year}, {day.month}, {day.day})")
    found = dict(ast.literal_eval(run(cluster, name, program, tmp_path)))
    expected = dict(with_confidence(incidents, default(), day).select("incident_id", "confidence").rows())
    assert found == pytest.approx({key: value for key, value in expected.items() if value is not None}, rel=1e-12)
    assert len(found) == len(JUDGED) == len(expected) / 2
    assert len(set(found.values())) >= 9


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
        "Counts for Headquarters or the public, with DuckDB",
        "As of a day, with DuckDB",
        "As of a day, with Polars",
        "As of a day, with pandas",
        "Assessed by other nodes, with DuckDB",
        "Assessed by other nodes, with Polars",
        "Confidence, with DuckDB",
        "As the table was",
    }
    assert PAGE.read_text().count("```python") == len(PROGRAMS) + 1
