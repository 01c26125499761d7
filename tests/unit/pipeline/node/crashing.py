"""A machine that stops while a command of a node writes."""

import os
from contextlib import contextmanager, suppress


class Crash(BaseException):
    """The machine stops."""


@contextmanager
def killed_at(count):
    """Have the machine stop when the disk is waited for the `count`-th time from now on; count the times that it was."""
    times, real = [], os.fsync

    def fsync(handle):
        times.append(handle)
        if len(times) == count:
            raise Crash
        real(handle)

    os.fsync = fsync
    try:
        with suppress(Crash):
            yield times
    finally:
        os.fsync = real
