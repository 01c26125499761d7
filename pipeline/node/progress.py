"""A progress bar on a terminal, for what takes longer than half a second; elsewhere nothing."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

PATIENCE = 0.5


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that takes how many more are done."""
    bar = _Bar(title, total) if sys.stderr.isatty() else None
    try:
        yield bar.advance if bar else lambda _: None
    finally:
        if bar:
            bar.close()


class _Bar:
    def __init__(self, title: str, total: int) -> None:
        self._title, self._total, self._done, self._waiting = title, total, 0, 0
        self._next = time.monotonic() + PATIENCE
        self._shown: Any = None
        self._task: Any = None

    def advance(self, count: int) -> None:
        """Count; draw at most ten times a second."""
        self._waiting += count
        if time.monotonic() >= self._next:
            self._draw()
            self._next = time.monotonic() + 0.1

    def close(self) -> None:
        """Draw the end of a bar that was shown."""
        if self._shown:
            self._draw()
            self._shown.stop()

    def _draw(self) -> None:
        if not self._shown:
            from rich.console import Console
            from rich.progress import Progress

            self._shown = Progress(console=Console(stderr=True))
            self._shown.start()
            self._task = self._shown.add_task(self._title, total=self._total)
        self._done, self._waiting = self._done + self._waiting, 0
        self._shown.update(self._task, completed=self._done)
