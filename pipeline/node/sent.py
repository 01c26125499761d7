"""How far a node's journal and keys were sent and acknowledged: `sent.json`, replaced as a whole after each group.

Losing it, or being killed before it is written, only makes `sync` send again what the hub has: it knows a repeat.
"""

import json
from dataclasses import asdict, dataclass
from dataclasses import replace as replace_fields

from pipeline.files import replace
from pipeline.node.entries import writing
from pipeline.node.journal import Journal
from pipeline.node.node import Node
from schemas.errors import Stops


class OlderThanSent(Stops):
    """The journal ends before what was sent from it, or its keys do: new events would take numbers or keys of before."""

    exit_code = 70


@dataclass(frozen=True)
class Sent:
    """Number of the last event that was acknowledged, and the lengths of `keys.log` and `heads.log` up to which they were.

    `end`, `keys_end` and `heads_end` are the offsets in raw.<node>, keys.<node> and heads.<node> after the last acknowledged
    record: a topic that ends before them has lost its tail. `mended` is such an offset too: what was sent again lies before it.
    `refill` is the number from which on all is to be sent again, 0 where nothing is: a sync that is killed goes on from there.
    `epoch` is the newest epoch that the topic was seen to hold and this folder does not know.
    """

    events: int = 0
    keys: int = 0
    end: int = 0
    keys_end: int = 0
    mended: int = 0
    heads: int = 0
    heads_end: int = 0
    refill: int = 0
    epoch: int = 0


def read(node: Node) -> Sent:
    """Return how far it was sent; nothing where that is not known."""
    try:
        kept = json.loads((node.folder / "sent.json").read_text())
        offsets = (
            int(kept.get(name, 0)) for name in ("end", "keys_end", "mended", "heads", "heads_end", "refill", "epoch")
        )
        return Sent(int(kept["events"]), int(kept["keys"]), *offsets)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Sent()


def write(node: Node, sent: Sent) -> None:
    """Keep how far it was sent, durably. NotWritten where the disk refuses."""
    advice = "run `tocsin node sync` again: it repeats what it can't remember, and the hub drops repeats."
    with writing(node.folder, advice):
        replace(node.folder / "sent.json", json.dumps(asdict(sent)).encode())


def refill(node: Node, first: int) -> None:
    """Keep from which number on all is to be sent again; 0 where that is done."""
    kept = read(node)
    if kept.refill != first:
        write(node, replace_fields(kept, refill=first))


def open_journal(node: Node) -> Journal:
    """Open the node's journal for writing. OlderThanSent where an old copy of it was put back."""
    journal = Journal(node.journal)
    try:
        check(node, journal.last)
    except OlderThanSent:
        journal.close()
        raise
    return journal


def check(node: Node, last: int, known: int = 0) -> None:
    """Refuse a journal whose last event is `last` where more was sent, by what is kept or `known` otherwise: OlderThanSent."""
    known = max(known, read(node).events)
    if last < known:
        raise OlderThanSent(
            f"The journal of {node.code} ends at event {last}, but {known} were sent: an old copy was put "
            f"back. Restore the newest backup of {node.folder}; a new event would take a number that the hub has."
        )
