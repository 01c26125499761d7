"""The supervisor: what is started again, what ends it, and that no child is left."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from streams.supervisor import Taken, named

ROOT = Path(__file__).parents[3]
PARENT = """
import json, sys
from streams.supervisor import Supervisor
say = lambda event, **fields: print(json.dumps({"event": event, **fields}), flush=True)
load, life, folder = sys.argv[1:]
given = {"folder": folder}
sys.exit(Supervisor(lambda: exec(life, given), say, lambda: exec(load, given)).run())
"""
LIFE = """
import os, pathlib, signal, sys, time
lives = pathlib.Path(folder)
number = len(list(lives.iterdir()))
(lives / f"{number}-{os.getpid()}").touch()
"""


@pytest.fixture
def start(tmp_path):
    running = []

    def start(life, load=""):
        command = [sys.executable, "-c", PARENT, load, LIFE + life, str(tmp_path)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()


def lives(folder, count, seconds=10):
    until = time.monotonic() + seconds
    while len(found := sorted(path.name for path in folder.iterdir())) < count:
        assert time.monotonic() < until
        time.sleep(0.02)
    return [int(name.split("-")[1]) for name in found]


def gone(pid, seconds=5):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] if sys.platform == "linux" else "?"
            os.kill(pid, 0)
        except (ProcessLookupError, FileNotFoundError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_a_worker_that_asks_for_it_or_crashes_is_started_again_until_it_is_done(start, tmp_path):
    process = start("sys.exit([75, 69, 1, 0][number])")
    out, _ = process.communicate(timeout=15)
    assert process.returncode == 0
    assert len(lives(tmp_path, 4)) == 4
    restarts = [json.loads(line) for line in out.splitlines()]
    assert [event["code"] for event in restarts] == [75, 69, 1]
    assert [event["after"] for event in restarts] == [0.1, 0.2, 0.4]


@pytest.mark.parametrize("code", [70, 78, 65])
def test_where_a_person_has_to_act_nothing_is_started_again(start, tmp_path, code):
    process = start(f"sys.exit({code})")
    process.communicate(timeout=15)
    assert process.returncode == code
    assert len(lives(tmp_path, 1)) == 1


def test_a_killed_worker_is_started_again(start, tmp_path):
    process = start("time.sleep(60) if number == 0 else sys.exit(0)")
    os.kill(lives(tmp_path, 1)[0], signal.SIGKILL)
    out, _ = process.communicate(timeout=15)
    assert process.returncode == 0
    assert json.loads(out)["code"] == -9


def test_sigterm_is_handed_on_and_the_worker_may_finish(start, tmp_path):
    process = start(
        "signal.signal(signal.SIGTERM, lambda *_: (lives / '1-0').touch() or sys.exit(0))\n(lives / '2-0').touch()\ntime.sleep(60)"
    )
    (pid, *_) = lives(tmp_path, 2)
    process.terminate()
    assert process.wait(timeout=15) == 0
    assert (tmp_path / "1-0").exists()
    assert gone(pid)


def test_what_is_loaded_once_every_life_has(start, tmp_path):
    process = start(
        "sys.exit(0 if number == 2 and loaded == [1] else 75)", load="loaded = [*globals().get('loaded', []), 1]"
    )
    process.communicate(timeout=15)
    assert process.returncode == 0
    assert len(lives(tmp_path, 3)) == 3


def test_sigterm_while_it_loads_ends_it_at_once(start, tmp_path):
    process = start("sys.exit(70)", load="import pathlib, time\n(pathlib.Path(folder) / '0-0').touch()\ntime.sleep(60)")
    lives(tmp_path, 1)
    process.terminate()
    assert process.wait(timeout=5) == 0
    assert len(lives(tmp_path, 1)) == 1


def test_sigterm_during_the_pause_ends_it_at_once(start, tmp_path):
    process = start("sys.exit(75)")
    lives(tmp_path, 3)
    process.terminate()
    assert process.wait(timeout=5) in (0, 75)


def test_the_worker_dies_with_a_supervisor_that_is_killed(start, tmp_path):
    process = start("time.sleep(60)")
    (pid,) = lives(tmp_path, 1)
    process.kill()
    assert gone(pid)


def test_a_forked_process_does_not_hold_the_name(tmp_path):
    with named(tmp_path, "1"):
        forked, tell = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(tell, b"it runs")
            time.sleep(60)
        os.read(forked, 7)
    try:
        with named(tmp_path, "1") as again:
            assert again == "1"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_names_are_given_out_once_and_come_back(tmp_path):
    with named(tmp_path, None) as first, named(tmp_path, None) as second:
        assert (first, second) == ("1", "2")
        with pytest.raises(Taken, match="another --name"), named(tmp_path, "2"):
            pass
    with named(tmp_path, None) as again:
        assert again == "1"
