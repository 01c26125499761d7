"""The supervisor: starts the worker's process, starts it again where that may help, and never outlives its duty.

A worker leaves at every error, since what it held may be stale; here is the one place that begins anew. The child is
forked, so that what the supervisor has loaded need not be loaded again: seconds of each restart. It dies with its parent,
also where the parent is killed.
"""

import ctypes
import fcntl
import multiprocessing
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO, Any

from schemas.errors import Retries, Stops

PR_SET_PDEATHSIG = 1
BACKOFF = (0.1, 10.0)  # seconds before the next start: first, longest; doubled after each short life
LONG_LIFE = 5.0  # seconds after which a worker's end is news and not a repetition
STOPPING = 15.0  # seconds that a worker has to stop by itself
LOOK = 0.05
TOLD_BY = (signal.SIGTERM, signal.SIGINT)
FINAL = frozenset({0, 65, 70, 77, 78})  # done, or a person has to act; anything else is started again


class Taken(Stops):
    """Another worker of this name runs on this data folder."""


@dataclass
class Supervisor:
    """Keeps one worker running: `life` is one of its lives, and `note(event, **fields)` hears of restarts.

    `load` is called once, here, before the first: what it leaves loaded every life finds loaded. It may start no thread.
    """

    life: Callable[[], int]
    note: Callable[..., None]
    load: Callable[[], object] = lambda: None
    _child: BaseProcess | None = field(default=None, repr=False)
    _told: threading.Event = field(default_factory=threading.Event, repr=False)
    _asked: float = field(default=0.0, repr=False)

    def run(self) -> int:
        """Return the worker's last exit code, once it is done or a person has to act; 0 where it was told to stop."""
        for number in TOLD_BY:
            signal.signal(number, self._stop)
        self.load()
        pause = BACKOFF[0]
        while True:
            began = time.monotonic()
            code = self._once()
            if code in FINAL:
                return code
            pause = BACKOFF[0] if time.monotonic() - began > LONG_LIFE else pause
            if not self._told.is_set():
                self.note("restart", code=code, after=pause)
            if self._told.wait(pause):
                return 0
            pause = min(2 * pause, BACKOFF[1])

    def _once(self) -> int:
        child = multiprocessing.get_context("fork").Process(target=self._live, args=(os.getpid(),))
        signal.pthread_sigmask(signal.SIG_BLOCK, TOLD_BY)  # not to be taken by these handlers in the child
        try:
            child.start()
            self._child = child
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, TOLD_BY)
        if self._told.is_set():  # between the last look and the start
            child.terminate()
        try:
            while child.exitcode is None:
                child.join(timeout=0.5)
                self._end_the_stuck(child)
            return child.exitcode
        finally:
            child.kill()  # where this ends by an error: nobody would wait for it

    def _live(self, parent: int) -> None:
        """Be the child: live once and leave, whatever threads there are."""
        for number in TOLD_BY:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, TOLD_BY)
        die_with(parent)
        code = self.life()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    def _end_the_stuck(self, child: BaseProcess) -> None:
        if self._told.is_set() and time.monotonic() - self._asked > STOPPING:
            child.kill()
            self.note("killed", why=f"The worker did not stop within {STOPPING:.0f} s; nothing is lost by ending it.")

    def _stop(self, number: int, frame: Any) -> None:
        del number, frame
        self._asked = time.monotonic()
        self._told.set()
        if self._child is None:
            sys.exit(0)  # still loading
        self._child.terminate()


def die_with(parent: int) -> None:
    """Have this process killed when `parent` ends, however it ends; at once where it has ended already."""
    if platform.system() != "Linux":
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
        return
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise Retries("The kernel did not take the wish to end with the supervisor; the worker begins anew.")
    if os.getppid() != parent:
        os._exit(Retries.exit_code)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK)
    os._exit(Retries.exit_code)


@contextmanager
def named(folder: Path, name: str | None) -> Iterator[str]:
    """Hold a worker's name on this data folder: the one asked for (Taken where it is in use), else the first free number.

    The system lets go of it when the process ends, however it ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    held, chosen = _hold(folder, name)
    os.register_at_fork(after_in_child=held.close)  # else a child that outlives this process by a moment holds it
    try:
        yield chosen
    finally:
        held.close()


def _hold(folder: Path, name: str | None) -> tuple[IO[bytes], str]:
    for candidate in (name,) if name else map(str, range(1, 1_000)):
        file = (folder / f"{candidate}.lock").open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        return file, candidate
    raise Taken(f"A worker named {name} runs already on {folder}; give this one another --name, or none.")
