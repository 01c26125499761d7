"""A disk that can be full: a small tmpfs over one folder."""

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

BALLAST = "ballast"
CHUNK = 64 << 10


class NotDone(AssertionError):
    """No small disk can be made here: the run has not been done, and counts as failed."""


class Disk:
    """A tmpfs over `folder`, of so many bytes; what was in the folder is in it, and stays when the disk is taken away."""

    def __init__(self, folder, size):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._carried():
            done = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(folder)],
                capture_output=True,
                text=True,
            )
        if done.returncode:
            raise NotDone(
                f"No small disk can be mounted over {folder} ({done.stderr.strip()}): run this as root, or in a "
                "name space of its own by `unshare --map-root-user --mount`."
            )

    @contextmanager
    def _carried(self):
        """Take the contents of the folder from the file system before to the one after."""
        with tempfile.TemporaryDirectory(dir=self.folder.parent) as aside:
            held = Path(aside) / "held"
            shutil.copytree(self.folder, held, symlinks=True, ignore=shutil.ignore_patterns("*.sock"))
            yield
            shutil.copytree(held, self.folder, symlinks=True, dirs_exist_ok=True)

    def fill(self, leave=0):
        """Take all space but `leave` bytes, page by page to the last."""
        with (self.folder / BALLAST).open("ab", buffering=0) as file, suppress(OSError):
            left = self.left() - leave
            while left > 0:
                left -= file.write(bytes(min(left, CHUNK)))

    def left(self):
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def free(self):
        """Give the space back."""
        (self.folder / BALLAST).unlink(missing_ok=True)

    def close(self):
        """Take the disk away, also from under who still holds a file on it."""
        self.free()
        with self._carried():
            done = subprocess.run(["umount", "--lazy", str(self.folder)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@contextmanager
def small(folder, size):
    """Yield a disk of `size` bytes over `folder`."""
    disk = Disk(folder, size)
    try:
        yield disk
    finally:
        disk.close()
