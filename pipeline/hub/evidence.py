"""What `tocsin verify` looks at: gathered from Kafka and the hub's folder, or from a bundle that needs neither.

A bundle is a zip of `node`, `raw` and `heads` (each record after its length, 4 bytes little endian), `leaves` and the notes
`checkpoint` and `cosigned`. It holds no key: whoever reads it knows the node's and the signers' from elsewhere.
"""

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.hub.proof import Checkpoint, Evidence
from pipeline.hub.trees import Tree, checkpoint
from pipeline.log import Entry, read
from schemas import chain, notes
from schemas.errors import BadInput
from schemas.limits import NODE

LENGTH = struct.Struct("<I")
NOTES = ("checkpoint", "cosigned")
LARGEST = 4 << 30  # bytes of a bundle's part, unpacked
TURNS = 5  # readings of a log that does not stand still


@dataclass(frozen=True)
class Gathered:
    """One node's evidence before anybody's word is taken: `signed` are its notes, `pin` its key as the hub knows it."""

    node: str
    records: list[bytes]
    heads: list[bytes]
    leaves: list[bytes]
    signed: dict[str, str]
    pin: bytes = b""

    def evidence(self, pin: bytes, keys: Iterable[notes.Key], more: Iterable[str] = ()) -> Evidence:
        """Return the evidence as of whoever trusts this node's key and these signers; `more` notes beside those gathered."""
        trusted = list(keys)
        points = [one for note in (*self.signed.values(), *more) for one in self._signed(note, trusted)]
        return Evidence(self.node, self.records, self.heads, pin, self.leaves, points)

    def _signed(self, note: str, trusted: list[notes.Key]) -> Iterator[Checkpoint]:
        """Yield what trusted signers say by a note, if it is of this node's log at a hub that is trusted, if any is."""
        hub, _, node = notes.point(note).origin.rpartition("/raw.")
        hubs = {key.name for key in trusted if key.algorithm == notes.ED25519}
        if node == self.node and (hub in hubs or not hubs):
            yield from (checkpoint(note, key) for key in trusted if notes.signed(note, key))


def gather(kafka: str, node: str, folder: Path, step: Callable[[int], None] = lambda _: None) -> Gathered:
    """Read the node's topics to their ends, `step` hears of each record; the key of its first head is pinned if none was.

    What the hub has seen is read first and the heads last, and all again where a sync went on meanwhile: else what has just
    come would look unsigned, and what was just seen cut off.
    """
    tree = Tree(folder, node)
    found = {name: text for name in NOTES if (text := tree.note(name))}
    leaves, heads = tree.leaves(), _heads(kafka, node)
    for _ in range(TURNS):
        records, before, heads = by_offset(read(kafka, f"raw.{node}"), step), heads, _heads(kafka, node)
        if heads == before:
            break
    return Gathered(node, records, heads, leaves, found, tree.learn(heads))


def _heads(kafka: str, node: str) -> list[bytes]:
    return [entry.value or b"" for entry in read(kafka, f"heads.{node}")]


def by_offset(entries: Iterable[Entry], step: Callable[[int], None] = lambda _: None) -> list[bytes]:
    """Return records by offset; an offset at which nothing is (any more) holds nothing."""
    records: list[bytes] = []
    for entry in entries:
        records += [b""] * (entry.offset - len(records))
        records.append(entry.value or b"")
        step(1)
    return records


def write_bundle(path: Path, found: Gathered) -> None:
    """Write a bundle. BadInput where the file can't be written."""
    parts = {
        "node": found.node.encode(),
        "raw": b"".join(map(_framed, found.records)),
        "heads": b"".join(map(_framed, found.heads)),
        "leaves": b"".join(found.leaves),
        **{name: text.encode() for name, text in found.signed.items()},
    }
    try:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in parts.items():
                file.writestr(name, data)
    except OSError as error:
        raise BadInput(f"{path} can't be written ({error.strerror}); give another file.") from error


def read_bundle(path: Path) -> Gathered:
    """Return what is in a bundle. BadInput where it is none."""
    try:
        with zipfile.ZipFile(path) as file:
            parts = {name: _part(file, name) for name in file.namelist()}
        leaves, node = parts["leaves"], parts["node"].decode()
        _check_code(node)
        whole = [leaves[at : at + chain.HASH] for at in range(0, len(leaves), chain.HASH)]
        signed = {name: parts[name].decode() for name in NOTES if name in parts}
        return Gathered(node, list(_unframed(parts["raw"])), list(_unframed(parts["heads"])), whole, signed)
    except (
        OSError,
        LookupError,
        ValueError,
        RuntimeError,
        EOFError,
        struct.error,
        zlib.error,
        zipfile.BadZipFile,
    ) as error:
        raise BadInput(
            f"{path} is no bundle ({type(error).__name__}); make one by `tocsin hub bundle NODE FILE`."
        ) from error


def _check_code(node: str) -> None:
    if not NODE.fullmatch(node):
        raise ValueError("no code of a node")


def _part(file: zipfile.ZipFile, name: str) -> bytes:
    if file.getinfo(name).file_size > LARGEST:
        raise ValueError("larger than any log")
    return file.read(name)


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
