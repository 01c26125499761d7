"""Crash points and planted bugs still name functions that there are; they are put on in a process of their own."""

import subprocess
import sys

import pytest

from tests.chaos.planted import BUGS, PLANTED, PROVOCATIONS
from tests.chaos.points import POINTS
from tests.chaos.rig import ROOT
from tests.chaos.worker import taken, write_plan

EVERYTHING = """
import inspect
from tests.chaos import bugs, planted, points, provoke, worker
worker.tuned(session_seconds=6.0, snapshot_bytes=1000)
for point in points.POINTS:
    points.arm(point, 1)
for lives in planted.PROVOCATIONS.values():
    for life in lives:
        worker.apply(life)
provoke.late("EndTxn", 1)
for name in planted.PLANTED:
    getattr(bugs, name)()
known = {n for n, f in vars(bugs).items() if inspect.isfunction(f) and f.__module__ == bugs.__name__ and n[0] != "_"}
print(sorted(known ^ set(planted.PLANTED)))
"""


@pytest.mark.timeout(120)
def test_every_patch_finds_what_it_patches():
    done = subprocess.run([sys.executable, "-c", EVERYTHING], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "[]"


def test_there_are_24_points_and_at_least_30_bugs():
    assert len(POINTS) == 24
    assert len(PLANTED) >= 30
    assert {bug.provocation for bug in PLANTED.values()} == set(PROVOCATIONS)
    assert BUGS.startswith("tests.chaos.")


def test_each_life_takes_one_entry_of_the_queue(tmp_path):
    plan = tmp_path / "chaos" / "refine-1.json"
    assert taken(plan) == []
    write_plan(plan, {"patches": [["a:b", {}]], "queue": [[["c:d", {}]], [["e:f", {}]]]})
    assert [taken(plan) for _ in range(3)] == [
        [["a:b", {}], ["c:d", {}]],
        [["a:b", {}], ["e:f", {}]],
        [["a:b", {}]],
    ]
