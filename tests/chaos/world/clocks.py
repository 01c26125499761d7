"""A clock that jumps under a running process: libfaketime, told by a file; what counts seconds (monotonic) stays true."""

import os
from contextlib import contextmanager
from pathlib import Path

import libfaketime

HOUR, DAY = 3_600, 86_400
JUMPS = (400 * DAY, -400 * DAY, HOUR, -HOUR)


def library():
    """Return the path of the library to preload."""
    path = Path(libfaketime.__file__).parent / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"
    assert path.exists(), f"libfaketime is not built: {path}"
    return path


class Clock:
    """One wall clock, shared by the processes that were started with its `environment`."""

    def __init__(self, path):
        self.path, self.jumps = Path(path), 0
        self.set(0)

    @property
    def environment(self):
        return {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self.path),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # By its default a timed wait of glibc 2.30 or later ends at once: Java's threads would spin, and Kafka starve.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DISABLE_SHM": "1",
        }

    def set(self, seconds):
        """Have the clock differ by so many seconds from now on (within about two)."""
        draft = self.path.with_suffix(".new")
        draft.write_text(f"{seconds:+d}\n")
        draft.replace(self.path)
        self.offset = seconds

    def jump(self, seconds):
        self.set(self.offset + seconds)
        self.jumps += 1

    @contextmanager
    def around(self):
        """Have processes that are started meanwhile from here live by this clock."""
        before = dict(os.environ)
        os.environ.update(self.environment)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)
