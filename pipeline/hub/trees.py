"""The hub's trees over what each node has sent, their signed checkpoints, and what a witness has cosigned.

Folder `proof/nodes/<node>`: `leaves` (32 bytes a record of `raw.<node>`, by offset), `pin` (the node's public key, as first seen),
`checkpoint` (a signed note), `request` (what a witness is asked), `cosigned` (the newest that one has signed).
`proof/sign.key`, `proof/digest.key` (by which it knows persons) and `proof/name` are the hub's own; `proof/witnesses` the keys of the witnesses that it trusts, one a line.
"""

import base64
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.files import hexadecimal, replace
from pipeline.hub.proof import Checkpoint
from schemas import chain, merkle, notes, signing
from schemas.chain import HASH, BadHead
from schemas.errors import BadInput, LedgerGap, NotSetUp


@dataclass(frozen=True)
class Signer:
    """Who signs in a folder: a name and a secret seed."""

    name: str
    seed: bytes
    algorithm: int = notes.ED25519

    @property
    def key(self) -> notes.Key:
        """Return the public key with the name."""
        return notes.Key(self.name, self.algorithm, signing.public_of(self.seed))


def signer(folder: Path, name: str | None, default: str, algorithm: int = notes.ED25519) -> Signer:
    """Return the folder's signer, made at the first call; it signs under the name that was given last.

    Without one it is `default` and the first digits of its key, so that no two hubs sign for logs of one name.

    BadInput where that can't be a name, NotSetUp where the key is damaged.
    """
    named = folder / "name"
    name = name or (named.read_text(encoding="utf-8").strip() if named.exists() else None)
    if name is not None and not notes.NAME.fullmatch(name):
        raise BadInput(f"{name!r} can't sign: give a name without blanks and plus signs, at most 100 letters.")
    seed = secret(folder, "sign")
    name = name or f"{default}.{signing.public_of(seed).hex()[:8]}"
    replace(named, f"{name}\n".encode())
    return Signer(name, seed, algorithm)


def secret(folder: Path, name: str) -> bytes:
    """Return one of the folder's secrets (32 bytes), made at the first call. NotSetUp where it is damaged."""
    path = folder / f"{name}.key"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace(path, os.urandom(signing.SEED).hex().encode())
    found = hexadecimal(path)
    if len(found) != signing.SEED:
        raise NotSetUp(f"The key {path} is damaged; restore it from a backup.")
    return found


@dataclass(frozen=True)
class Tree:
    """The tree of one node's log."""

    folder: Path
    node: str

    def leaves(self) -> list[bytes]:
        """Return the hashes of the records that the hub has seen, by offset."""
        data = self.path("leaves").read_bytes() if self.path("leaves").exists() else b""
        whole = len(data) - len(data) % HASH  # a torn tail is no leaf
        return [data[at : at + HASH] for at in range(0, whole, HASH)]

    def note(self, name: str) -> str:
        """Return the note `checkpoint` or `cosigned`, nothing where there is none."""
        path = self.path(name)
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def pin(self) -> bytes:
        """Return the node's public key as the hub knows it, nothing where none was seen yet. NotSetUp where it is damaged."""
        path = self.path("pin")
        known = hexadecimal(path)
        if path.exists() and len(known) != HASH:
            raise NotSetUp(f"The node's key in {path} is damaged; write the one there that `tocsin node status` tells.")
        return known

    def learn(self, heads: Iterable[bytes]) -> bytes:
        """Pin the key that signs the node's first head, where none is pinned; return the pinned one."""
        known = self.pin()
        for record in () if known else heads:
            try:
                head = chain.read_head(record)
            except BadHead:
                continue
            if head.node == self.node:
                self.write("pin", head.signer.hex())
                return head.signer
        return known

    def grow(self, records: list[bytes], by: Signer, since: int | None = None) -> tuple[notes.Point, int]:
        """Take in what has come since, sign a checkpoint, ask for a cosignature; return the checkpoint and how many were new.

        The request goes on from what was cosigned last, or from `since` records. LedgerGap where the log is not what the
        tree has seen: it was cut or rewritten, and nothing is signed.
        """
        seen, leaves = self.leaves(), [chain.leaf(record) for record in records]
        if leaves[: len(seen)] != seen:
            how = (
                f"has {len(records)} records and had {len(seen)}: it was cut"
                if len(records) < len(seen)
                else "was rewritten"
            )
            raise LedgerGap(f"raw.{self.node} {how}. Keep everything, and see `tocsin verify {self.node}`.")
        self.write("leaves", b"".join(leaves))
        point = notes.Point(f"{by.name}/raw.{self.node}", len(leaves), merkle.root(leaves))
        note = f"{point}\n{notes.signature(str(point), by.name, by.seed)}"
        self.write("checkpoint", note)
        before = self._cosigned_size() if since is None else min(since, len(leaves))
        self.write("request", _request(leaves, before, note))
        return point, len(leaves) - len(seen)

    def adopt(self, note: str, witness: notes.Key, hub: notes.Key) -> notes.Point:
        """Keep what a witness has cosigned. BadInput where it has not, or where the checkpoint is not the hub's own."""
        if not (notes.signed(note, witness) and notes.signed(note, hub)):
            raise BadInput(f"The note is not signed by both {hub.name} and {witness.name}; ask the witness again.")
        point = notes.point(note)
        if point.size >= self._cosigned_size():
            self.write("cosigned", note)
        return point

    def write(self, name: str, content: str | bytes) -> None:
        """Write one of the tree's files, whole or not at all."""
        self.path(name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace(self.path(name), content.encode() if isinstance(content, str) else content)

    def path(self, name: str) -> Path:
        """Return where one of the tree's files lies."""
        return self.folder / "nodes" / self.node / name

    def _cosigned_size(self) -> int:
        note = self.note("cosigned")
        return notes.point(note).size if note else 0


def checkpoint(note: str, by: notes.Key) -> Checkpoint:
    """Return what a note says, in the name of a signer that has signed it."""
    point = notes.point(note)
    return Checkpoint(point.size, point.root, by.name)


def witnesses(folder: Path) -> list[notes.Key]:
    """Return the keys of the witnesses that the hub trusts."""
    path = folder / "witnesses"
    return [notes.key(line) for line in path.read_text(encoding="utf-8").splitlines() if line] if path.exists() else []


def trust(folder: Path, witness: notes.Key) -> None:
    """Trust a witness from now on."""
    known = witnesses(folder)
    if witness not in known:
        replace(folder / "witnesses", "".join(f"{each}\n" for each in [*known, witness]).encode())


def _request(leaves: list[bytes], before: int, note: str) -> str:
    """Return what a witness needs: `old <size>`, the proof that the tree has grown from there, the note."""
    proof = merkle.grown(leaves, before) if before else []
    lines = "".join(f"{base64.b64encode(each).decode()}\n" for each in proof)
    return f"old {before}\n{lines}\n{note}"
