"""A folder in memory as `streams.snapshot` uses one; the machine's crash tears what was not synced.

A file's content is safe after fsync, its name after fsync of the folder; the rename itself is never half done.
"""

import itertools
import os

from tests.simulation.loop import Died

TEAR = 0.9


class File:
    """What lies under a name: `data` as processes see it, `safe` as it is after the power went."""

    def __init__(self):
        self.data, self.safe = bytearray(), b""


class Disk:
    """Named files of one machine; `names` as processes see them, `safe` as they are after a crash of the machine."""

    def __init__(self, chance):
        self.chance, self.names, self.safe = chance, {}, {}
        self.die_in = -1  # operations until the process that writes dies
        self.torn = 0

    def touch(self):
        """Count one operation, which may be the last of this process."""
        if self.die_in > 0:
            self.die_in -= 1
        elif self.die_in == 0:
            self.die_in = -1
            raise Died

    def crash(self):
        """Lose what was not synced: content is torn nine times of ten, and a rename may be undone."""
        if self.chance.random() < 0.5:
            self.names = dict(self.safe)
        for file in dict.fromkeys(self.names.values()):
            if bytes(file.data) != file.safe:
                self.torn += 1
                torn = file.data[: self.chance.randrange(len(file.data) + 1)]
                if torn and self.chance.random() < 0.5:
                    torn[self.chance.randrange(len(torn))] ^= 1 << self.chance.randrange(8)
                file.data = torn if self.chance.random() < TEAR else file.data
                file.safe = bytes(file.data)
        self.safe = dict(self.names)


class Path:
    """The part of `pathlib.Path` that snapshots use."""

    def __init__(self, disk, name):
        self.disk, self.name = disk, name

    def __truediv__(self, name):
        return Path(self.disk, f"{self.name}/{name}")

    def __str__(self):
        return self.name

    def with_suffix(self, suffix):
        return Path(self.disk, self.name.rpartition(".")[0] + suffix)

    def mkdir(self, parents=False, exist_ok=False):
        del parents, exist_ok

    def exists(self):
        return self.name in self.disk.names

    def read_bytes(self):
        return bytes(self.disk.names[self.name].data)

    def unlink(self, missing_ok=False):
        self.disk.touch()
        if self.disk.names.pop(self.name, None) is None and not missing_ok:
            raise FileNotFoundError(self.name)

    def replace(self, other):
        self.disk.touch()
        self.disk.names[other.name] = self.disk.names.pop(self.name)


class Descriptor:
    """An open file or folder."""

    def __init__(self, path, file):
        self.path, self.file = path, file

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def write(self, data):
        """Half of it, then the rest: a process may die in between."""
        data, disk = bytes(data), self.path.disk
        for half in (data[: len(data) // 2], data[len(data) // 2 :]):
            disk.touch()
            self.file.data += half

    def flush(self):
        self.path.disk.touch()

    def fileno(self):
        return self


class System:
    """The part of `os` that snapshots use."""

    O_WRONLY, O_CREAT, O_TRUNC, O_RDONLY = os.O_WRONLY, os.O_CREAT, os.O_TRUNC, os.O_RDONLY
    serial = itertools.count()

    def open(self, path, flags, mode=0o777):
        if flags == self.O_RDONLY:
            return Descriptor(path, None)
        path.disk.touch()
        file = path.disk.names[path.name] = File()
        return Descriptor(path, file)

    def fdopen(self, descriptor, mode):
        return descriptor

    def fsync(self, descriptor):
        disk = descriptor.path.disk
        disk.touch()
        if descriptor.file is None:
            disk.safe = dict(disk.names)
        else:
            descriptor.file.safe = bytes(descriptor.file.data)

    def close(self, descriptor):
        """Do nothing: what is open costs nothing here."""
