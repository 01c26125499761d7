"""Files that are there as a whole or not at all, also after a power cut."""

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make a folder's list of files durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace(path: Path, content: bytes) -> None:
    """Write a file (readable by its owner only) as a whole or not at all, durably."""
    draft = path.with_name(path.name + ".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def destroy(path: Path) -> None:
    """Overwrite a file where it lies on the disk, then delete it, each durably; nothing where there is none."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
        file.flush()
        os.fsync(file.fileno())
    path.unlink()
    sync_folder(path.parent)


def hexadecimal(path: Path) -> bytes:
    """Return the bytes that a file of a key holds in hexadecimal; nothing where it is missing or damaged."""
    try:
        return bytes.fromhex(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return b""
