"""Files that may open a case on its way: it, sealed for another node, and the pairs of keys for which cases are sealed to this one.

In `transfers/` of the node's folder: `<case>.box`, and `<digest>.key` by the digest under which the journal knows the incident
that comes of the case.
"""

from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

from pipeline.files import destroy, hexadecimal, replace
from pipeline.node.entries import writing
from pipeline.node.node import Node
from schemas.seal import region_pair
from schemas.transfers import Offer

FOLDER = "transfers"
INCIDENT = "incident 0"
PAIR = 64


def digest_of(node: Node, offer: Offer, part: str = INCIDENT) -> bytes:
    """Return the digest by which the journal knows an event that was recorded of a case that came by an offer."""
    named = offer.digest + part.encode()
    return blake2b(named, digest_size=16, key=node.secret("digest"), person=b"tocsin.transfer").digest()


def box_of(node: Node, ref: bytes) -> Path:
    """Return where a case of this node lies, sealed for another one."""
    return node.folder / FOLDER / f"{ref.hex()}.box"


def key_of(node: Node, offer: Offer) -> Path:
    """Return where the pair of keys lies for which the case of an offer is to be sealed."""
    return node.folder / FOLDER / f"{digest_of(node, offer).hex()}.key"


def pair(node: Node, offer: Offer) -> bytes:
    """Return the public and the private key, 32 bytes each, for which the case of an offer is to be sealed; made once."""
    path = key_of(node, offer)
    if len(found := hexadecimal(path)) != PAIR:
        found = b"".join(region_pair())
        write(node, path, found.hex().encode())
    return found


def write(node: Node, path: Path, content: bytes) -> None:
    """Write a file of the folder as a whole, durably. NotWritten where the disk refuses."""
    with writing(node.folder):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        replace(path, content)


def forget_box(node: Node, ref: bytes) -> None:
    """Destroy what a case of this node is, sealed for another one, and its draft."""
    _destroy(box_of(node, ref))


def forget_keys(node: Node, digests: Iterable[bytes]) -> None:
    """Destroy the pairs of keys, and their drafts, for which the cases were sealed of which events here have these digests."""
    for digest in digests:
        _destroy(node.folder / FOLDER / f"{digest.hex()}.key")


def _destroy(path: Path) -> None:
    for each in (path, path.with_name(f"{path.name}.new")):
        destroy(each)
