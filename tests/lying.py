"""What lies in a folder in which servers write, and rename and remove files while it is looked through."""

import os
from contextlib import suppress
from itertools import chain
from pathlib import Path


def files(folder):
    """Yield the paths of all files below a folder, in an order that is always the same."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(root, name) for name in sorted(names))


def contents(folder):
    """Yield path and bytes of each file below a folder; it is walked twice, since one may have got another name meanwhile."""
    seen = set()
    for path in chain(files(folder), files(folder)):
        with suppress(OSError):
            if path not in seen and path.is_file() and not path.is_socket():
                yield path, path.read_bytes()
                seen.add(path)
