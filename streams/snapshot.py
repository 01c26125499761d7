"""Snapshots: a lane's state in a local file, so that only the ledger's tail is read at a start.

Never a second source of truth: a snapshot names the ledger record (`anchor`) whose fold it is, the lane finds that
record again before it believes the rest, and whatever is torn, foreign or ahead of the ledger is thrown away.
"""

import os
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from schemas.errors import NotSaved, Quarantines
from schemas.lock import WrongKey
from streams.base import Stage
from streams.ledger import Entry

S = TypeVar("S")
MAGIC = b"TOCSIN\x00\x01"
HEAD = struct.Struct("<8sI")
BODY = struct.Struct("<qqH")
# What a person is told of a snapshot that cannot be used; `why` as `load` and Unfit give it.
SET_ASIDE = (
    "The snapshot of {lane} is {why}; it is thrown away and the whole ledger read instead: nothing is lost and nothing needs "
    "doing, only this start takes longer."
)


@dataclass(frozen=True)
class Snapshot:
    """The state after the ledger record at offset `anchor`, whose range ended at input offset `end`."""

    lane: str
    anchor: int
    end: int
    state: bytes = field(repr=False)


class Unfit(Quarantines):
    """The snapshot is whole, but not of this ledger or of another version of the stage: rebuild from the ledger."""

    def __init__(self, why: str) -> None:
        super().__init__("snapshot.unfit", why)


def path_of(folder: Path, lane: str) -> Path:
    """Return the file of a lane's snapshot; a lane's name is a topic's and so safe as a file's."""
    return folder / f"{lane}.snapshot"


def save(folder: Path, snapshot: Snapshot) -> None:
    """Write the snapshot so that after a crash at any moment either the old or the new one is whole on disk.

    NotSaved where the disk refuses: the old one is whole then, and no draft takes the disk's last space.
    """
    path = path_of(folder, snapshot.lane)
    draft = path.with_suffix(".new")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(draft, snapshot)
        draft.replace(path)
        _sync_folder(folder)
    except OSError as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise NotSaved(
            f"The disk refused to write {path} ({error.strerror}); free some space: nothing is lost, the ledger has it all."
        ) from error


def _write(draft: Path, snapshot: Snapshot) -> None:
    name = snapshot.lane.encode()
    body = BODY.pack(snapshot.anchor, snapshot.end, len(name)) + name + snapshot.state
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(HEAD.pack(MAGIC, zlib.crc32(body)))
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def load(folder: Path, lane: str) -> tuple[Snapshot | None, str]:
    """Return the lane's snapshot, or None and why there is none that can be used ("" where there is no file)."""
    path = path_of(folder, lane)
    if not path.exists():
        return None, ""
    data = path.read_bytes()
    if len(data) < HEAD.size + BODY.size:
        return None, "torn"
    magic, checksum = HEAD.unpack_from(data)
    body = memoryview(data)[HEAD.size :]
    if magic != MAGIC:
        return None, "of another version"
    if zlib.crc32(body) != checksum:
        return None, "damaged"
    anchor, end, length = BODY.unpack_from(body)
    name = bytes(body[BODY.size : BODY.size + length])
    if name != lane.encode():
        return None, "of another lane"
    return Snapshot(lane, anchor, end, bytes(body[BODY.size + length :])), ""


def discard(folder: Path, lane: str) -> None:
    """Remove the lane's snapshot."""
    path_of(folder, lane).unlink(missing_ok=True)


def thawed(stage: Stage[S], snapshot: Snapshot) -> S:
    """Return the state; Unfit where the stage cannot read it."""
    try:
        return stage.thaw(snapshot.state)
    except WrongKey as error:
        raise Unfit("locked under another ledger.key") from error
    except Exception as error:
        raise Unfit(f"not readable by this version ({type(error).__name__})") from error


def fits(snapshot: Snapshot, entry: Entry) -> None:
    """Do nothing where `entry`, the first of the lane from the anchor on, is the one that the snapshot is the fold of."""
    if (entry.offset, entry.end) != (snapshot.anchor, snapshot.end):
        raise Unfit("not of this ledger")


__all__ = ["SET_ASIDE", "NotSaved", "Snapshot", "Unfit", "discard", "fits", "load", "path_of", "save", "thawed"]
