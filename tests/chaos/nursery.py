"""Lives by fork: the packages are imported once, each supervisor and each life of a worker begins as a copy.

A start costs a second of one core instead of five, so that the same minutes hold five times the faults. What is copied
has imported modules and nothing else: no event loop, no client, no thread of ours. A worker with an environment of its
own is a process of its own all the same.

The nursery reads a line of JSON for each supervisor to start, and answers with its pid; later with its exit code.
"""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def forked(act: Any) -> int:
    """Run `act` in a copy of this process and end it with what that returns; return the copy's pid."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        code = act()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _begin(order: dict[str, Any]) -> int:
    """Be a supervisor."""
    from streams import supervisor
    from tests.chaos import worker

    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    supervisor.die_with(os.getppid())
    return worker.main(order["arguments"])


def main() -> int:
    import deltalake
    import polars as pl

    import pipeline.bootstrap
    import streams.worker

    del deltalake, pl, pipeline, streams
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    pending, children = b"", set()
    answers.write('{"ready": true}\n')
    while True:
        if select.select([0], [], [], 0.02)[0]:
            data = os.read(0, 65_536)
            if not data:
                return 0
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                order = json.loads(line)
                children.add(pid := forked(lambda order=order: _begin(order)))
                answers.write(json.dumps({"order": order["order"], "pid": pid}) + "\n")
        for pid in list(children):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                children.discard(pid)
                answers.write(json.dumps({"pid": pid, "code": os.waitstatus_to_exitcode(status)}) + "\n")


class Supervised:
    """A supervisor that the nursery began, as far as `subprocess.Popen` is needed here."""

    def __init__(self) -> None:
        self.pid, self.returncode = 0, None
        self.begun, self.ended = threading.Event(), threading.Event()

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float = 60.0) -> int | None:
        if not self.ended.wait(timeout):
            raise subprocess.TimeoutExpired("a supervisor", timeout)
        return self.returncode

    def _send(self, number: int) -> None:
        if not self.ended.is_set():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return  # it ended in between

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)


class Nursery:
    """The nursery's process, from outside."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.chaos.nursery"]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert "ready" in self.process.stdout.readline().decode(), "the nursery did not start"
        self._orders: list[Supervised] = []
        self._by_pid: dict[int, Supervised] = {}
        self._lock = threading.Lock()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            told = json.loads(line)
            if "order" in told:
                one = self._orders[told["order"]]
                one.pid = told["pid"]
                self._by_pid[one.pid] = one
                one.begun.set()
            else:
                one = self._by_pid.pop(told["pid"])
                one.returncode = told["code"]
                one.ended.set()

    def begin(self, arguments: list[str], log: Path) -> Supervised:
        """Start a supervisor of `python -m tests.chaos.worker` with these arguments; its output goes to `log`."""
        with self._lock:
            one = Supervised()
            self._orders.append(one)
            order = {"order": len(self._orders) - 1, "arguments": arguments, "log": str(log)}
            assert self.process.stdin is not None
            self.process.stdin.write(json.dumps(order).encode() + b"\n")
            self.process.stdin.flush()
        assert one.begun.wait(60), "the nursery does not answer"
        return one

    def close(self) -> None:
        """End the nursery and all that it began."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self._listener.join(timeout=60)
        self.process.stdout.close()


if __name__ == "__main__":
    sys.exit(main())
