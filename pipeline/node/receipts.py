"""What the hub says became of this node's events: `receipts.json`, followed from `receipts.<node>`.

A node keeps an event until its receipt. What the hub's log cannot show is not receipted: where the topic ends before
what was read of it, it is read again from its beginning.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.files import replace
from pipeline.node import following
from pipeline.node.entries import writing
from pipeline.node.node import Node
from schemas.errors import Quarantines, Stops
from schemas.rows import read as read_row
from schemas.wire import unframe

Refused = dict[tuple[int, int], str]


class NotAReceipt(Stops):
    """The hub's topic of receipts holds what this node cannot read."""

    exit_code = 65


@dataclass(frozen=True)
class Receipted:
    """All receipts so far: `position` in their topic, `end` in `raw.<node>`, the number `through` which all is settled.

    `missing` are ranges of numbers up to there that have not arrived, both ends included; `refused` the reasons, codes
    with a space between two, by number (0: could not be read) and offset (-1: refused after refine).
    """

    position: int = 0
    end: int = 0
    through: int = 0
    missing: tuple[tuple[int, int], ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    refused: Refused = field(default_factory=dict)

    def first_unsettled(self) -> int:
        """Return the lowest number without a receipt."""
        return min((first for first, _ in self.missing), default=self.through + 1)

    def numbers(self, last: int) -> int:
        """Return how many of the numbers 1 to `last` have a receipt."""
        through = min(self.through, last)
        return through - sum(max(min(end, through) - first + 1, 0) for first, end in self.missing)


def read(node: Node) -> Receipted:
    """Return what was read of the receipts; nothing where that is not known: it is read again then."""
    try:
        kept = json.loads((node.folder / "receipts.json").read_text())
        missing = tuple((int(first), int(last)) for first, last in kept["missing"])
        refused = {(int(number), int(offset)): str(reasons) for number, offset, reasons in kept["refused"]}
        return Receipted(kept["position"], kept["end"], kept["through"], missing, dict(kept["counts"]), refused)
    except (OSError, ValueError, KeyError, TypeError):
        return Receipted()


def write(node: Node, known: Receipted) -> None:
    """Keep it, durably. NotWritten where the disk refuses."""
    refused = [[number, offset, reasons] for (number, offset), reasons in known.refused.items()]
    content = {
        "position": known.position,
        "end": known.end,
        "through": known.through,
        "missing": known.missing,
        "counts": known.counts,
        "refused": refused,
    }
    with writing(node.folder, "run `tocsin node sync` again: it reads the receipts again."):
        replace(node.folder / "receipts.json", json.dumps(content).encode())


def fold(known: Receipted, offset: int, value: bytes) -> Receipted:
    """Return the receipts with one more, the record at `offset` of their topic; the furthest says how it stands."""
    row = _row(offset, value)
    named = zip(row["refused_numbers"], row["refused_offsets"], row["refused_reasons"], strict=True)
    known.refused.update({(number, at): reasons for number, at, reasons in named})
    if row["end"] < known.end:
        return Receipted(offset + 1, known.end, known.through, known.missing, known.counts, known.refused)
    missing = tuple(zip(row["missing_first"], row["missing_last"], strict=True))
    return Receipted(offset + 1, row["end"], row["through"], missing, row["counts"], known.refused)


def _row(offset: int, value: bytes) -> dict[str, Any]:
    try:
        release, body = unframe(value)
        row: dict[str, Any] = read_row(release, body)
    except Quarantines as error:
        raise NotAReceipt(
            f"The receipt at offset {offset} cannot be read ({error.reason}): update tocsin on this node, then run "
            "`tocsin node sync` again; nothing was taken as receipted."
        ) from error
    return row


def follow(node: Node, client: Any, seconds: float) -> Receipted:
    """Read on in the node's receipts by a consumer of kafka-python, keep what they say, and return it.

    KafkaTimeoutError where the broker gives nothing more for so many seconds.
    """
    (place, end), known = following.assigned(client, f"receipts.{node.code}"), read(node)
    before = known.position
    if known.position > end:
        known = Receipted()
    client.seek(place, known.position)
    for record in following.records(client, place, end, seconds):
        known = fold(known, record.offset, record.value or b"")
    if known.position != before:
        write(node, known)
    return known
