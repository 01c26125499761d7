"""Processes that outlive the command which started them: started apart, known by pid and start time, always ended."""

import os
import secrets
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LOG_LINES = 12
LOG_BYTES = 8_000_000
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Process:
    """A process as the operating system knew it: `born` tells it from a later one with the same pid."""

    pid: int
    born: str

    def alive(self) -> bool:
        """Return whether this very process still runs."""
        return self.born != "" and born(self.pid) == self.born


def born(pid: int) -> str:
    """Return the start time of a running process in the system's own form; empty where there is none."""
    if not BOOT.exists():
        done = subprocess.run(["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return done.stdout.strip()
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else f"{BOOT.read_text().strip()}+{fields[19]}"


def start(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Process:
    """Start `command` in a session of its own, its output appended to `log`; a long log is put aside first."""
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_name(log.name + ".1"))
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=dict(environment),
            cwd=log.parent,
        )
    child.returncode = 0  # it is not ours to wait for: `born` sees when it ends
    return Process(child.pid, born(child.pid))


def uninterrupted(act: Callable[[], None]) -> None:
    """Do something short to its end, also when a signal comes: that has its effect afterwards.

    Else its exception may be raised at any line: between a process's start and the note of its pid, for one.
    """
    if threading.current_thread() is not threading.main_thread():
        act()  # Python raises nothing here
        return
    caught: list[int] = []
    before = {sign: signal.signal(sign, lambda number, _: caught.append(number)) for sign in ENDING}
    try:
        act()
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
    for number in caught:
        signal.raise_signal(number)


def stop(processes: Mapping[Process, float]) -> None:
    """End the processes, all at once: ask each, wait the seconds given for it, then kill; return when all are gone."""
    asked = time.monotonic()
    for process in processes:
        _signal(process, signal.SIGTERM)
    for process, patience in sorted(processes.items(), key=lambda item: item[1]):
        _wait(process, asked + patience)
        _signal(process, signal.SIGKILL)
    for process in processes:
        _wait(process, time.monotonic() + 10)


def _signal(process: Process, sign: signal.Signals) -> None:
    if process.alive():
        with suppress(ProcessLookupError):  # it ended in between
            os.kill(process.pid, sign)


def _wait(process: Process, until: float) -> None:
    while process.alive() and time.monotonic() < until:
        time.sleep(0.02)
    with suppress(ChildProcessError):  # a process of an earlier command is not ours to reap
        os.waitpid(process.pid, os.WNOHANG)


def free_ports(count: int, twin: int = 0) -> list[int]:
    """Return ports of 127.0.0.1 that nobody uses now, nor the port `twin` above each (up to 10,000).

    All stay below 32768, so that no outgoing connection takes one.
    """
    found: list[int] = []
    candidate = 12_000 + secrets.randbelow(10_000)
    while len(found) < count:
        candidate += 1
        if port_is_free(candidate) and port_is_free(candidate + twin):
            found.append(candidate)
    return found


def port_is_free(port: int) -> bool:
    """Return whether a server could listen on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def tail(log: Path) -> str:
    """Return the last lines of a log, for an error that names it; not where in Java's code something happened."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 16_384))
        lines = file.read().decode(errors="replace").splitlines()
    telling = [line for line in lines if not line.startswith("\tat ")]
    return "\n".join(telling[-LOG_LINES:])
