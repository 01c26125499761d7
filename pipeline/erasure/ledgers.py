"""What the ledgers, and this machine's snapshots of their lanes, hold of withdrawn cases: each record is unlocked and looked into.

A lane writes a base when it is asked to, and its base holds nothing of a case that is withdrawn. What lies before the bases
of all lanes of a partition can be deleted then.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.erasure.looking import among
from pipeline.receipts.reading import Tail
from schemas.errors import Quarantines
from schemas.lock import unlock
from streams import held_bytes, ledger, ledgerlog, refined, snapshot
from streams.base import Records
from streams.client import Broker
from streams.topiclog import follow

STAGES = ("refine", "merge")
DRAFT_SECONDS = 60.0


def topic_of(stage: str) -> str:
    """Return the topic of a stage's ledger, which is its store's name too."""
    return f"ledger.{stage}"


@dataclass(frozen=True)
class Ledgers:
    """The ledgers of one hub, locked under `key`; `folder` holds the files of this machine's workers, by stage."""

    broker: Broker
    key: bytes
    folder: Path

    async def look(self, stage: str, events: Mapping[bytes, bytes]) -> list[bytes]:
        """Return the cases that a stage's ledger and snapshots hold, one for each record that names an event of it.

        `events` has the case of each event. What cannot be read, or is a part of something cut off, may hold any of them.
        """
        locked: list[bytes | None] = list(self._snapshots(stage)) if events else []
        for partition in await self.broker.partitions(topic_of(stage)) if events else ():
            parts: dict[str, list[bytes]] = {}
            async for records in follow(self.broker, (topic_of(stage), partition), 0):
                locked += _deltas(_entries(records), parts)
            locked += [None] * sum(map(bool, parts.values()))
        names = [events if each is None else _NAMED[stage](unlock(self.key, each), events) for each in locked]
        return [case for named in names for case in {events[event] for event in named}]

    async def discard(self, stage: str) -> None:
        """Remove snapshots that are of no use any more, since the ledger does not have their records, and drafts of some."""
        for path in self._files(stage, "snapshot"):
            saved, _ = snapshot.load(path.parent, path.stem)
            place = ledger.place_of(stage, path.stem)
            if saved is None or saved.anchor < await ledgerlog.bound(self.broker, place, ledgerlog.EARLIEST):
                snapshot.discard(path.parent, path.stem)
        for path in self._files(stage, "new"):
            with suppress(FileNotFoundError):  # its worker is at work
                if path.stat().st_mtime < time.time() - DRAFT_SECONDS:
                    path.unlink()

    def _snapshots(self, stage: str) -> Iterator[bytes | None]:
        for path in self._files(stage, "snapshot"):
            saved, _ = snapshot.load(path.parent, path.stem)
            yield saved.state if saved else None

    def _files(self, stage: str, kind: str) -> list[Path]:
        return sorted((self.folder / stage / "snapshots").glob(f"*.{kind}"))


class Bases:
    """Reads on in a stage's ledger, and knows the bases of each lane."""

    def __init__(self, kafka: str, stage: str) -> None:
        self._topic, self._tail = topic_of(stage), Tail(kafka, topic_of(stage))
        self._bases: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))

    def ends(self, asked: Mapping[int, int]) -> dict[int, int]:
        """Return by partition the first offset that is needed, where each of its lanes has a base after that in `asked`.

        Nothing of a partition that is not read beyond that yet: which lanes it has is not known then.
        """
        while entries := self._tail.some(5_000):
            for entry in entries:
                if entry.key != ledger.ASK:
                    with suppress(Quarantines):  # what cannot be read is no base; the look before signing counts it
                        self._enter(entry.partition, ledger.read(entry.offset, entry.value or b""))
        found = {}
        for partition, offset in asked.items():
            if not self._tail.reached({(self._topic, partition): offset + 1}):
                continue
            lanes = self._bases[partition].values()
            firsts = [next((base for base in bases if base > offset), None) for bases in lanes]
            if None not in firsts:
                found[partition] = min((first for first in firsts if first is not None), default=offset)
        return found

    def _enter(self, partition: int, entry: ledger.Entry) -> None:
        bases = self._bases[partition][entry.lane]
        if entry.base and entry.part == 0:
            bases.append(entry.offset)

    def close(self) -> None:
        """Let go of the broker."""
        self._tail.close()


def _entries(records: Records) -> Iterator[ledger.Entry | None]:
    """Yield the entries of a ledger, None for one that cannot be read."""
    for row, offset in enumerate(records.offsets.tolist()):
        if records.keys.item(row) == ledger.ASK:
            continue
        try:
            yield ledger.read(offset, records.values.item(row))
        except Quarantines:
            yield None


def _deltas(entries: Iterable[ledger.Entry | None], parts: dict[str, list[bytes]]) -> Iterator[bytes | None]:
    """Yield what each entry holds, of a base the whole; None for what is left of one that is not whole.

    `parts` are those of bases, by lane, of which more is to come.
    """
    for entry in entries:
        if entry is None or not entry.base:
            yield entry.delta if entry else None
            continue
        some = parts.setdefault(entry.lane, [])
        if entry.part != len(some):
            yield None
            some.clear()
        if entry.part == len(some):
            some.append(entry.delta)
        if len(some) == entry.parts:
            yield b"".join(some)
            some.clear()


def _of_merge(delta: bytes, ids: Collection[bytes]) -> Collection[bytes]:
    return {named for _, named in among(held_bytes.named(delta), ids)}


def _of_refine(delta: bytes, ids: Collection[bytes]) -> Collection[bytes]:
    return refined.named(delta) & set(ids)


_NAMED: Mapping[str, Callable[[bytes, Collection[bytes]], Collection[bytes]]] = {
    "refine": _of_refine,
    "merge": _of_merge,
}
