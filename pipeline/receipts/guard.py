"""A key that comes again: a case whose withdrawal refine has taken in gets a tombstone for it, within about a second.

An old copy of a node that sends all that it has sends the keys of cases that were withdrawn since, too. What came before the
guard had read the ledger of refine is left to `tocsin forget run`.
"""

from collections.abc import Collection, Mapping

from pipeline.log import Entry
from pipeline.receipts.reading import Tail

KEYS, LIMIT = "keys.", 5_000


class Guard:
    """Follows `keys.<node>` of some nodes, from their beginning."""

    def __init__(self, kafka: str) -> None:
        self._kafka = kafka
        self._topics: list[str] = []
        self._tail: Tail | None = None

    def look(self, withdrawn: Mapping[str, Collection[bytes]]) -> list[tuple[str, bytes]]:
        """Read on; return topic and case of each key that may not be there, by the cases that each node has withdrawn."""
        topics = sorted(f"{KEYS}{node}" for node in withdrawn)
        if topics != self._topics:
            self.close()
            self._topics, self._tail = topics, Tail(self._kafka, *topics)
        return back(self._tail.some(LIMIT, wait_ms=0), withdrawn) if self._tail else []

    def close(self) -> None:
        """Let go of the broker."""
        if self._tail:
            self._tail.close()
            self._tail = None


def back(entries: Collection[Entry], withdrawn: Mapping[str, Collection[bytes]]) -> list[tuple[str, bytes]]:
    """Return topic and case of each withdrawn case whose last record among these is a key."""
    last = {(entry.topic, entry.key): entry.value for entry in entries}
    return [
        (topic, key) for (topic, key), value in last.items() if value and key in withdrawn[topic.removeprefix(KEYS)]
    ]
