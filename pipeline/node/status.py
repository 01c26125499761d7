"""What a node's folder holds, checked from the first event to the last."""

from dataclasses import dataclass
from typing import Any

from pipeline.node import receipts, sent
from pipeline.node.entries import Damaged, EntryFile
from pipeline.node.handover import deeds, owning
from pipeline.node.handover.owning import Standing
from pipeline.node.journal import Reader
from pipeline.node.node import Node
from schemas.chain import read_head


@dataclass(frozen=True)
class Status:
    """`public` is the key under which the node signs, in hex. `damage` is the sentence where an event could not be read, and `missing` the numbers not read.

    `receipted` is how many events are settled at the hub, as of the last `sync`; `became` counts records by what the hub
    made of them, `refused` has number (0: could not be read there) and reasons of each that it refused. `handover` is None where
    the node never changed hands; `known_by` is the key by which its log is known then, in hex: that of its first team.
    """

    node: str
    region: str
    first: int
    last: int
    missing: int
    sent: int
    to_send: int
    keys_to_send: int
    cuts: list[dict[str, Any]]
    rejected: dict[str, int]
    damage: str | None
    receipted: int
    became: dict[str, int]
    refused: list[tuple[int, list[str]]]
    public: str
    handover: Standing | None
    known_by: str


def status(node: Node) -> Status:
    """Read the whole journal and say how it stands; changes nothing."""
    reader, kept, known = Reader(node.journal), sent.read(node), receipts.read(node)
    last, found, keys, damage = reader.mark.last, 0, 0, None
    stands = None
    try:
        for entry in reader.read():
            found = entry.sequence
        stands = owning.standing(node.folder, reader)
        keys = sum(1 for _ in reader.key_records(kept.keys))
        sent.check(node, last)
    except (Damaged, sent.OlderThanSent) as error:
        damage = str(error)
    return Status(
        node=node.code,
        region=node.region,
        first=min(found, 1),
        last=last,
        missing=max(last - found, 0),
        sent=kept.events,
        to_send=max(last - kept.events, 0),
        keys_to_send=keys,
        cuts=reader.cuts(),
        rejected=node.rejected(),
        damage=damage,
        receipted=known.numbers(last),
        became=dict(known.counts),
        refused=[(number, reasons.split()) for (number, _), reasons in sorted(known.refused.items())],
        public=node.public.hex() if not (stands and stands.role == "left") else deeds.signs_with(node.folder).hex(),
        handover=stands,
        known_by=_known_by(node, stands),
    )


def _known_by(node: Node, stands: Standing | None) -> str:
    first = next(EntryFile(node.folder / "heads.log").read(), None) if stands else None
    return read_head(first[1]).signer.hex() if first else ""
