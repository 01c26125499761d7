"""A witness: another hub, or anyone, that cosigns a log's checkpoint where the log has only grown since the last one.

It keeps one line a log: who signs it, the size and the root that it has seen. That is enough to catch a hub that cuts
or rewrites what a node has sent, or shows one log to some and another to others.
"""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.files import alone
from pipeline.files import replace
from pipeline.hub.trees import Signer
from schemas import merkle, notes
from schemas.errors import BadInput, NotSetUp, Stops


class NotGrown(Stops):
    """The log does not go on from what the witness has seen: it was cut or rewritten, or another was shown before."""

    exit_code = 70


@dataclass(frozen=True)
class Request:
    """What a hub asks: that the tree of `note` has grown from `before` records, by this proof."""

    before: int
    proof: list[bytes]
    note: str


def request(text: str) -> Request:
    """Return the request in a file. BadInput where it is none."""
    head, blank, note = text.partition("\n\n")
    first, *lines = head.split("\n")
    try:
        word, size = first.split(" ")
        proof = [base64.b64decode(line, validate=True) for line in lines]
        before = int(size)
    except ValueError:
        word, before, proof = "", 0, []
    if not blank or word != "old" or before < 0:
        raise BadInput("The file holds no request for a witness; make one by `tocsin hub checkpoint`.")
    return Request(before, proof, note)


def cosign(folder: Path, asked: Request, by: Signer, seconds: int, hub: notes.Key) -> str:
    """Return the note with the witness's own line, at a time in seconds UTC; remember what was signed.

    BadInput where the hub has not signed it, NotGrown where the log has not just grown since. One at a time: of two requests
    the second sees what the first has signed.
    """
    point = notes.point(asked.note)
    if not notes.signed(asked.note, hub):
        raise BadInput(f"The checkpoint of {point.origin} is not signed by {hub.name}; nothing was signed.")
    with alone(folder / "lock", waiting=lambda: None):
        known = _known(folder / "logs.json")
        _check(point, asked, known.get(point.origin, {"hub": str(hub), "size": 0, "root": merkle.EMPTY.hex()}), hub)
        known[point.origin] = {"hub": str(hub), "size": point.size, "root": point.root.hex()}
        replace(folder / "logs.json", json.dumps(known, indent=1).encode())
    return asked.note + notes.cosignature(str(point), by.name, by.seed, seconds)


def _known(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
    except ValueError as error:
        raise NotSetUp(
            f"{path} is damaged; restore it from a backup: without it this witness can't know what it has signed."
        ) from error


def _check(point: notes.Point, asked: Request, seen: dict[str, Any], hub: notes.Key) -> None:
    """Refuse what does not go on from what the witness has seen: BadInput, NotGrown."""
    if seen["hub"] != str(hub):
        raise BadInput(f"{point.origin} was signed by another key before; nothing was signed. Ask that hub why.")
    size, root = seen["size"], bytes.fromhex(seen["root"])
    if (point.size, point.root) == (size, root):
        return  # an answer was lost on the way
    if asked.before != size:
        raise NotGrown(
            f"This witness has seen {size} records of {point.origin} and the request goes on from {asked.before}; "
            f"nothing was signed. Ask by `tocsin hub checkpoint --since {size}`, or ask there what became of its log."
        )
    if not merkle.has_grown((size, point.size), (root, point.root), asked.proof):
        raise NotGrown(f"{point.origin} has not just grown since {size} records: it was rewritten. Nothing was signed.")
