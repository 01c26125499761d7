"""The deed that a node's folder keeps: that by which its team has the node, has left it, or has accepted it."""

from pathlib import Path

from pipeline.files import hexadecimal
from pipeline.node.entries import Damaged
from schemas.errors import BadInput
from schemas.handover import Deed, deed
from schemas.signing import SEED, public_of

PAPER, CLOSED = "deed", "deed.closed"
"""The deed by which the folder's team has the node, or has accepted it; and that by which it has left it."""


class NotEntrusted(BadInput):
    """A case of a node that was handed over, which this folder's team cannot open, or not yet."""


def taken_over(folder: Path) -> Deed | None:
    """Return the deed by which this folder's team has the node, None where it has it from nobody."""
    given = paper(folder)
    return given if given and given.signer and given.signer == signs_with(folder) else None


def owned_from(folder: Path) -> int:
    """Return the number from which on this folder's team has recorded; 1 where it has the node from nobody."""
    given = taken_over(folder)
    return given.through + 2 if given else 1


def signs_with(folder: Path) -> bytes:
    """Return the public key that belongs to a folder's signing key; nothing where that is destroyed."""
    seed = hexadecimal(folder / "sign.key")
    return public_of(seed) if len(seed) == SEED else b""


def paper(folder: Path, name: str = PAPER) -> Deed | None:
    """Return a deed that a folder keeps; None where there is none, Damaged where it is none any more."""
    path = folder / name
    try:
        return deed(path.read_text(encoding="utf-8")) if path.exists() else None
    except (OSError, ValueError, BadInput) as error:
        raise Damaged(f"{path} is damaged; restore this file from a backup of the folder.") from error
