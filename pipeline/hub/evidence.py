"""What `tocsin verify` looks at: gathered from Kafka and the hub's folder, or from a bundle that needs neither.

A bundle is a zip of `node`, `raw` and `heads` (each record after its length, 4 bytes little endian), `leaves`, `pin`, the
notes `checkpoint` and `cosigned`, and the `keys` of who signed them.
"""

import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.hub.proof import Evidence
from pipeline.hub.trees import Tree, checkpoint
from pipeline.log import Entry, read
from schemas import chain, notes
from schemas.errors import BadInput

LENGTH = struct.Struct("<I")
NOTES = ("checkpoint", "cosigned")


@dataclass(frozen=True)
class Gathered:
    """One node's evidence before anybody's word is taken: its signed notes, and the keys of who may have signed them."""

    node: str
    records: list[bytes]
    heads: list[bytes]
    leaves: list[bytes]
    pin: bytes
    signed: dict[str, str]
    keys: list[notes.Key]

    def evidence(self, pin: bytes = b"", keys: Iterable[notes.Key] = (), more: Iterable[str] = ()) -> Evidence:
        """Return the evidence as of whoever is trusted: a node's key and signers' keys, else those gathered; `more` notes."""
        trusted = list(keys) or self.keys
        points = [
            checkpoint(note, key)
            for note in (*self.signed.values(), *more)
            for key in trusted
            if notes.signed(note, key) and notes.point(note).origin.endswith(f"/raw.{self.node}")
        ]
        return Evidence(self.node, self.records, self.heads, pin or self.pin, self.leaves, points)


def gather(
    kafka: str, node: str, folder: Path, keys: list[notes.Key], step: Callable[[int], None] = lambda _: None
) -> Gathered:
    """Read the node's topics to their ends, `step` hears of each record; the key of its first head is pinned if none was."""
    tree = Tree(folder, node)
    heads = [entry.value or b"" for entry in read(kafka, f"heads.{node}")]
    pin = tree.learn(heads)
    found = {name: text for name in NOTES if (text := tree.note(name))}
    return Gathered(node, by_offset(read(kafka, f"raw.{node}"), step), heads, tree.leaves(), pin, found, keys)


def by_offset(entries: Iterable[Entry], step: Callable[[int], None] = lambda _: None) -> list[bytes]:
    """Return records by offset; an offset at which nothing is (any more) holds nothing."""
    records: list[bytes] = []
    for entry in entries:
        records += [b""] * (entry.offset - len(records))
        records.append(entry.value or b"")
        step(1)
    return records


def write_bundle(path: Path, found: Gathered) -> None:
    """Write a bundle."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("node", found.node)
        file.writestr("raw", b"".join(map(_framed, found.records)))
        file.writestr("heads", b"".join(map(_framed, found.heads)))
        file.writestr("leaves", b"".join(found.leaves))
        file.writestr("pin", found.pin.hex())
        file.writestr("keys", "".join(f"{key}\n" for key in found.keys))
        for name, text in found.signed.items():
            file.writestr(name, text)


def read_bundle(path: Path) -> Gathered:
    """Return what is in a bundle. BadInput where it is none."""
    try:
        with zipfile.ZipFile(path) as file:
            names = set(file.namelist())
            leaves = file.read("leaves")
            return Gathered(
                file.read("node").decode(),
                list(_unframed(file.read("raw"))),
                list(_unframed(file.read("heads"))),
                [leaves[at : at + chain.HASH] for at in range(0, len(leaves), chain.HASH)],
                bytes.fromhex(file.read("pin").decode()),
                {name: file.read(name).decode() for name in NOTES if name in names},
                [notes.key(line) for line in file.read("keys").decode().splitlines()],
            )
    except (OSError, KeyError, ValueError, struct.error, zipfile.BadZipFile) as error:
        raise BadInput(
            f"{path} is no bundle ({type(error).__name__}); make one by `tocsin hub bundle NODE FILE`."
        ) from error


def _framed(record: bytes) -> bytes:
    return LENGTH.pack(len(record)) + record


def _unframed(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        (length,) = LENGTH.unpack_from(data, at)
        at += LENGTH.size + length
        if at > len(data):
            raise ValueError("a record is cut off")
        yield data[at - length : at]
