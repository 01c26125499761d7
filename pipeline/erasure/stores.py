"""How much each store still holds of each withdrawn case: counted by looking, whatever anybody says to have erased.

A store is `keys.<node>`, `accepted`, the ledger of a stage, `hub.<region>`, the tables of a region. In `keys.<node>` an epoch's
key that its node has ended counts for each case: with an old backup of the cases' keys it opens them. The object store's volumes, which keep what was
deleted until they are written anew, cannot be looked into.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.erasure import ledgers
from pipeline.erasure.ledgers import Ledgers
from pipeline.erasure.looking import ACCEPTED, HUB, Hit, keyed, naming
from pipeline.erasure.withdrawn import Case
from pipeline.hub.reading import table as read
from schemas import seal
from schemas.nodekeys import EPOCH
from sinks.delta import dataset
from sinks.store import Store
from sinks.tables import REMOVAL, Table, of_topic
from streams.client import Broker
from streams.sharing import topic_of

ACCEPTED_TOPIC, OURS = "accepted", ("hub/", "quarantine/", ".ready/")
STRAY_SECONDS = 5.0
"""So long a file that no table names may be one that is being brought in, or taken away."""


@dataclass(frozen=True)
class Left:
    """How many records, rows or files a store holds of a case."""

    store: str
    case: bytes
    count: int


@dataclass(frozen=True)
class Looked:
    """One look through all stores: what is `left`, and the records of the log that have to go, by topic and partition.

    What is left and does not have to go is not withdrawn there: merge has not taken it out, or the node not its key.
    `shared` are the cases that a hub still has, since merge was not told to take them out; `late` those of which something came
    after they were taken out.
    """

    left: tuple[Left, ...]
    records: Mapping[tuple[str, int], tuple[Hit, ...]]
    shared: frozenset[bytes] = frozenset()
    late: frozenset[bytes] = frozenset()


@dataclass(frozen=True)
class Stores:
    """The stores of one hub; `secrets` are the regions' minting keys."""

    broker: Broker
    objects: Store
    secrets: Mapping[str, bytes]
    ledgers: Ledgers

    async def look(self, cases: Sequence[Case]) -> Looked:
        """Look through all stores for these cases."""
        places = {(ACCEPTED_TOPIC, part) for part in await self.broker.partitions(ACCEPTED_TOPIC)}
        events = {event: case.ref for case in cases for event in case.events}
        hits = {place: await naming(self.broker, place, ACCEPTED, events) for place in sorted(places)}
        left = list(_counted(ACCEPTED_TOPIC, cases, (events[hit.named] for found in hits.values() for hit in found)))
        for stage in ledgers.STAGES:
            left += _counted(ledgers.topic_of(stage), cases, await self.ledgers.look(stage, events))
        gone, shared, late = {case.ref for case in cases if case.receipted}, set[bytes](), set[bytes]()
        # An assessment may name an incident by the id of another region.
        minted = {seal.mint(secret, event): ref for secret in self.secrets.values() for event, ref in events.items()}
        for region in self.secrets:
            topic = topic_of(region)
            naming_them = await naming(self.broker, (topic, 0), HUB, minted)
            removed = {hit.named: hit.offset for hit in naming_them if hit.contract == REMOVAL}
            found = [hit for hit in naming_them if hit.contract != REMOVAL]
            hits[topic, 0] = [hit for hit in found if hit.named in removed]
            gone |= {minted[one] for one in removed}
            late |= {minted[hit.named] for hit in found if hit.offset > removed.get(hit.named, hit.offset)}
            shared |= {minted[hit.named] for hit in found if hit.named not in removed}
            left += _counted(topic, cases, (minted[hit.named] for hit in found))
            left += _counted(f"tables of {region}", cases, await asyncio.to_thread(self._rows, region, minted))
        for node, (found, buried) in (await self.keys(cases)).items():
            mine, may_not_be = [case for case in cases if case.node == node], buried | gone
            hits[f"keys.{node}", 0] = [hit for hit in found if hit.key in may_not_be]
            ended = [case.ref for hit in hits[f"keys.{node}", 0] if hit.key.startswith(EPOCH) for case in mine]
            left += _counted(f"keys.{node}", mine, (*ended, *(hit.key for hit in found)))
        records = {place: tuple(found) for place, found in hits.items() if found}
        return Looked(tuple(left), records, frozenset(shared), frozenset(late))

    async def keys(self, cases: Iterable[Case]) -> dict[str, tuple[list[Hit], set[bytes]]]:
        """Return by node where keys of these cases, and of epochs, stand in its topic, and which of them have a tombstone there."""
        refs: dict[str, set[bytes]] = {}
        for case in cases:
            refs.setdefault(case.node, set()).add(case.ref)
        return {node: await keyed(self.broker, f"keys.{node}", refs[node]) for node in sorted(refs)}

    def _rows(self, region: str, minted: Mapping[bytes, bytes]) -> list[bytes]:
        """Return the case of each row of a region's tables that names one, and every case for each file that no table names."""
        names = {ident.hex(): ref for ident, ref in minted.items()}
        found: list[bytes] = []
        for path, table in of_topic(topic_of(region)).items():
            if not names or not table.naming or not self.objects.list(f"{path}/_delta_log/"):
                continue
            found += self._naming(path, table, names)
            found += [*set(names.values())] * len(self._stray(path))
        return found

    def _naming(self, path: str, table: Table, names: Mapping[str, bytes]) -> Iterable[bytes]:
        frame = read(self.objects, path)
        for column in table.naming:
            yield from (names[name] for name in frame[column].to_list() if name in names)

    def _stray(self, path: str) -> set[str]:
        """Return the files that the table does not name, also not a few seconds later."""
        stray, until = self._unnamed(path), time.monotonic() + STRAY_SECONDS
        while stray and time.monotonic() < until:
            time.sleep(STRAY_SECONDS / 10)
            stray &= self._unnamed(path)
        return stray

    def _unnamed(self, path: str) -> set[str]:
        named = {file.rpartition("/")[2] for file in dataset(self.objects, path).files}
        return {file.rpartition("/")[2] for file in self.objects.list(f"{path}/part-")} - named

    def copies(self) -> list[str]:
        """Return the objects of the bucket that are none of the tables: what somebody has replayed there, say."""
        return [path for path in self.objects.list("") if not path.startswith(OURS)]


def _counted(store: str, cases: Sequence[Case], found: Iterable[bytes]) -> list[Left]:
    counts = Counter(found)
    return [Left(store, case.ref, counts[case.ref]) for case in cases]
