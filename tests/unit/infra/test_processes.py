"""Processes are known by pid and start time, and stopped whether they listen or not."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest

from infra import processes
from infra.processes import Process, born, free_ports, port_is_free, start, stop, tail, uninterrupted

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
SLEEP = "import time; time.sleep(60)"


@pytest.fixture
def run(tmp_path):
    started = []

    def one(code):
        process = start([sys.executable, "-c", code], tmp_path / "log" / "one.log", os.environ)
        started.append(process)
        return process

    yield one
    for process in started:
        if process.alive():
            os.kill(process.pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(process.pid, 0)


def until(condition):
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_a_started_process_lives_in_a_session_of_its_own(run):
    process = run(SLEEP)
    assert process.alive()
    assert os.getsid(process.pid) == process.pid != os.getsid(0)


def test_a_later_process_with_the_same_pid_is_another_one(run):
    process = run(SLEEP)
    stop({Process(process.pid, "an earlier time"): 0.0})
    assert process.alive()


def test_no_process_is_not_alive():
    assert not Process(0, "").alive()
    assert born(2**22 + 1) == ""


def test_an_ended_child_is_not_alive_even_before_it_is_reaped(run):
    process = run("pass")
    assert until(lambda: not process.alive())


def test_stopping_asks_first(run):
    process = run(SLEEP)
    begun = time.monotonic()
    stop({process: 10.0})
    assert not process.alive()
    assert time.monotonic() - begun < 5


def test_stopping_kills_what_does_not_listen_and_waits_for_all_together(run, tmp_path):
    deaf = [run(DEAF), run(DEAF)]
    log = tmp_path / "log" / "one.log"
    assert until(lambda: log.read_text().count("deaf") == 2)
    begun = time.monotonic()
    stop(dict.fromkeys(deaf, 0.5))
    assert not any(process.alive() for process in deaf)
    assert 0.5 <= time.monotonic() - begun < 5


def test_a_child_does_not_hold_our_files_open(run, tmp_path):
    with (tmp_path / "held").open("w"):
        process = run(SLEEP)
        open_there = [one.path for one in psutil.Process(process.pid).open_files()]
    assert str(tmp_path / "log" / "one.log") in open_there
    assert str(tmp_path / "held") not in open_there


def test_the_environment_is_what_is_given(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "somebody's")
    log = tmp_path / "env.log"
    process = start([sys.executable, "-c", "import os; print(sorted(os.environ))"], log, {"ONLY": "this"})
    assert until(lambda: not process.alive())
    assert "AWS_SECRET_ACCESS_KEY" not in log.read_text()
    assert "ONLY" in log.read_text()
    stop({process: 0.0})


def test_free_ports_are_free_distinct_and_below_the_ports_of_outgoing_connections():
    ports = free_ports(8, 10_000)
    assert len(set(ports)) == 8
    assert all(1024 < port < port + 10_000 < 32_768 and port_is_free(port) for port in ports)


def test_a_taken_port_is_not_free():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert not port_is_free(taken.getsockname()[1])


def test_the_tail_is_the_last_lines_and_survives_any_bytes(tmp_path):
    log = tmp_path / "a.log"
    assert tail(log) == ""
    log.write_bytes(b"\xff\n" * 20_000 + b"last\n")
    assert tail(log).splitlines()[-1] == "last"
    assert len(tail(log).splitlines()) == processes.LOG_LINES


def test_a_long_log_is_put_aside(run, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "LOG_BYTES", 10)
    log = tmp_path / "log" / "one.log"
    log.parent.mkdir()
    log.write_text("older than this start")
    run("print('new')")
    assert until(lambda: log.read_text() == "new\n")
    assert log.with_name("one.log.1").read_text() == "older than this start"


def test_a_pid_file_of_another_boot_names_nobody(run):
    process = run(SLEEP)
    boot, _, ticks = process.born.partition("+")
    assert boot
    assert ticks
    assert not Process(process.pid, f"another-boot+{ticks}").alive()
    assert subprocess.run(["/bin/kill", "-0", str(process.pid)], check=False).returncode == 0


def test_a_signal_waits_for_the_end_of_what_is_not_to_be_interrupted():
    ended = []

    def act():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)
        ended.append("whole")

    with pytest.raises(KeyboardInterrupt):
        uninterrupted(act)
    assert ended == ["whole"]


def test_an_error_of_what_is_not_to_be_interrupted_is_raised():
    def fail():
        raise OSError("no program")

    with pytest.raises(OSError, match="no program"):
        uninterrupted(fail)
