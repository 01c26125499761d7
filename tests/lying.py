"""What lies in a folder in which servers write: files that go while it is looked through are passed over."""

import os
from contextlib import suppress
from pathlib import Path


def files(folder):
    """Yield the paths of all files below a folder, in an order that is always the same."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(root, name) for name in sorted(names))


def contents(folder):
    """Yield path and bytes of each file below a folder."""
    for path in files(folder):
        with suppress(OSError):
            if path.is_file() and not path.is_socket():
                yield path, path.read_bytes()
