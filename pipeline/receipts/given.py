"""The receipts that were given, read back for people and for the worker that goes on from them."""

from typing import Any

from pipeline.log import read, topics
from schemas.errors import NotSetUp
from schemas.rows import read as read_row
from schemas.wire import unframe

RECENT = 16  # two workers may have given the same ones in any order


def last_receipt(kafka: str, node: str) -> dict[str, Any] | None:
    """Return the furthest receipt of a node as a row of ReceiptGiven, None where there is none."""
    recent = [read_row(*unframe(entry.value or b"")) for entry in read(kafka, f"receipts.{node}", from_end=RECENT)]
    furthest: dict[str, Any] | None = max(recent, key=lambda row: row["end"], default=None)
    return furthest


def receipted(kafka: str, nodes: list[str]) -> dict[str, int]:
    """Return, for each of these nodes, the number through which everything is receipted; 0 where nothing is."""
    known = set(topics(kafka, "receipts."))
    last = {node: last_receipt(kafka, node) for node in nodes if f"receipts.{node}" in known}
    return {node: found["through"] if (found := last.get(node)) else 0 for node in nodes}


def check_topic(kafka: str, node: str) -> None:
    """Raise NotSetUp where the node has no topic for receipts: the cluster was set up by an older tocsin."""
    if not topics(kafka, f"receipts.{node}"):
        raise NotSetUp(f"Kafka has no topic receipts.{node}; run `tocsin up` to make it.")
