"""The eraser: what withdrawn cases left in the stores is taken out there, byte by byte, and receipted; killed, it only repeats.

A case's turn comes when its node's receipt has passed its withdrawal: then refine, merge and the sink have done with it,
and nothing of it can come any more. The keys and the tables are cleaned by those who own them; here it is looked whether
they are, and done what is left: `hub.<region>` is compacted, `accepted` purged, ledgers are cut behind bases that are asked for,
the object store's volumes written anew.

A case that has its receipt stays forgotten. Where its key comes again, as from an old copy of its node, it is buried at
once; where the log has lost its withdrawal, as after a restore, merge is told again what the withdrawal had named.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from infra.erasing import SEGMENT_SECONDS, Erasing, vacuum
from infra.table import Topic
from pipeline.erasure.ledgers import STAGES, Bases, topic_of
from pipeline.erasure.looking import ID, Hit, SharedKeys, check_keys, stands
from pipeline.erasure.receipts import KEYS, Receipt, Shelf
from pipeline.erasure.stores import ACCEPTED_TOPIC, Left, Looked, Stores
from pipeline.erasure.withdrawn import Case, withdrawn
from pipeline.hub.trees import Signer
from pipeline.receipts.given import last_receipt
from schemas.nodekeys import EPOCH
from streams.ledger import ASK
from streams.withdrawals import told

VOLUMES, REFINE, MERGE, HUB_TOPICS, TABLES = "volumes", "tocsin.refine", "tocsin.merge", "hub.", "tables of "
DERIVED = (ACCEPTED_TOPIC, HUB_TOPICS)
LEDGERS = {topic_of(stage): stage for stage in STAGES}
LOG = (KEYS, *DERIVED, *LEDGERS)
"""How the names of stores begin that are topics."""
PATIENCE = 120.0
ERASE = "to be erased: `tocsin forget run`"
WAIT = "the withdrawal is on its way: {node} has no receipt for it yet; is `tocsin worker receipts` running?"
LOST = (
    "the log has lost its withdrawal, and its receipt has it: `tocsin forget run`, while the workers of all stages run"
)


@dataclass(frozen=True)
class Standing:
    """How it stands with one case in one store: receipted on a day, or what is in the way."""

    store: str
    erased_on: str | None
    left: int
    why: str | None


@dataclass
class Eraser:
    """One hub's eraser. `topics` are those of the table, by name.

    `master` is the port of this machine's own object store, None where the store is another's.
    """

    kafka: str
    stores: Stores
    hand: Erasing
    shelf: Shelf
    signer: Signer
    topics: Mapping[str, Topic]
    master: int | None
    say: Callable[[str], object] = lambda _: None
    _why: dict[str, str] = field(default_factory=dict)

    async def cases(self, nodes: Sequence[str]) -> list[Case]:
        """Return the cases that these nodes have withdrawn."""
        known = self.shelf.forgotten(self.signer.key)
        found: list[Case] = []
        for node in nodes:
            cases = await withdrawn(self.stores.broker, node, [ref for ref, of in known.items() if of == node])
            found += [replace(case, receipted=case.ref in known) for case in cases]
        return found

    async def run(self, cases: Sequence[Case]) -> None:
        """Erase what can be erased of these cases and sign for it."""
        self.hand.put_back(self.topics[name] for name in self.topics if name.startswith(LOG))
        await self._bury([case for case in cases if case.receipted])
        ready = self._ready(cases)
        looked = await self._told(ready, await self.stores.look(ready))
        held = {one.case for one in looked.left if one.count}
        self._void(ready, looked)
        due = [case for case in ready if self._unsigned(case) or case.ref in held]
        if not due:
            return
        copied = self.hand.replicated([ACCEPTED_TOPIC, *LEDGERS, *{topic for topic, _ in looked.records}])
        self._why |= dict.fromkeys(copied, "another broker has a copy of it, which cannot be looked at from here")
        holding = {one.store for one in looked.left if one.count}.union(*map(self._unsigned, due))
        parts = [self._compact(topic, hits) for (topic, _), hits in looked.records.items() if topic != ACCEPTED_TOPIC]
        parts += [self._cut(topic) for topic in LEDGERS if topic in holding]
        if ACCEPTED_TOPIC in holding:
            parts.append(self._purge(sum(one.count for one in looked.left if one.store == ACCEPTED_TOPIC)))
        await _all(parts)  # side by side: most of it is waiting for the broker to look for what it may delete
        self._sign(due, await self.stores.look(due))
        self._vacuum(due)

    async def standing(self, cases: Sequence[Case]) -> dict[bytes, list[Standing]]:
        """Return how it stands with each case, by its reference, in each store; looks, and changes nothing."""
        ready = {case.ref for case in self._ready(cases)}
        looked = await self.stores.look(cases)
        return {case.ref: list(self._stands(case, looked.left, case.ref in ready)) for case in cases}

    def stores_of(self, case: Case) -> list[str]:
        """Return the stores that sign for a case."""
        regions = [name for region in self.stores.secrets for name in (f"hub.{region}", f"{TABLES}{region}")]
        volumes = [VOLUMES] if self.master is not None else []
        return [f"{KEYS}{case.node}", ACCEPTED_TOPIC, *LEDGERS, *regions, *volumes]

    def _ready(self, cases: Sequence[Case]) -> list[Case]:
        """Return the cases of which nothing can come any more."""
        ends = {node: self._given(node) for node in {case.node for case in cases}}
        return [case for case in cases if case.offset < ends[case.node]]

    async def _bury(self, cases: Sequence[Case]) -> None:
        """Write a tombstone for each key that stands in the log and may not."""
        for node, (hits, _) in (await self.stores.keys(cases)).items():
            if keys := sorted({hit.key for hit in hits if not hit.key.startswith(EPOCH)}):
                self.say(f"keys.{node}: {len(keys):,} keys came again, and go")
                self.hand.write(f"keys.{node}", [(0, key, None) for key in keys])

    async def _told(self, cases: Sequence[Case], looked: Looked) -> Looked:
        """Have merge take out what a withdrawal had named that the log has lost, and what came after it; return what stands then."""
        lost = {case.ref for case in cases if not case.number} & looked.shared
        again = sorted((case for case in cases if case.ref in lost | looked.late), key=lambda case: case.ref)
        if not again:
            return looked
        self.say(
            f"{ACCEPTED_TOPIC}: merge is told again of {len(again):,} cases of which it does not know the withdrawal"
        )
        parts = range(self.topics[ACCEPTED_TOPIC].partitions)
        records = [record for case in again for record in told(sorted(case.events), case.node)]
        self.hand.write(ACCEPTED_TOPIC, [(part, *record) for part in parts for record in records])
        until = time.monotonic() + PATIENCE / 2
        while _shown(looked, [case.ref for case in again]) and time.monotonic() < until:
            await asyncio.sleep(1)
            looked = await self.stores.look(cases)
        return looked

    def _void(self, cases: Sequence[Case], looked: Looked) -> None:
        """Take back what was signed of cases of which the log has records again: all stores are to sign anew."""
        back = {(one.case, one.store) for one in looked.left if one.count and one.store.startswith(DERIVED)}
        for case in cases:
            if any((case.ref, store) in back for store in self.shelf.of(case.ref, self.signer.key)):
                self.shelf.void(case.ref, self.signer.key)

    def _unsigned(self, case: Case) -> set[str]:
        return set(self.stores_of(case)) - set(self.shelf.of(case.ref, self.signer.key))

    async def _compact(self, topic: str, hits: Sequence[Hit]) -> None:
        """Have a topic compacted, after a tombstone for the key of each record that has to go."""
        if topic.startswith(HUB_TOPICS):
            try:
                await check_keys(self.stores.broker, topic)
            except SharedKeys as error:
                self._why[topic] = str(error)
                return
        self.say(f"{topic}: {len(hits):,} records to go")
        keys, until = sorted({hit.key for hit in hits if len(hit.key) >= ID}), time.monotonic() + PATIENCE  # no epoch's
        with self.hand.compacting(self.topics[topic]) as bury:
            bury(keys)
            while time.monotonic() < until:
                await asyncio.sleep(SEGMENT_SECONDS)
                bury([])
                if not await stands(self.stores.broker, (topic, 0), hits):
                    await asyncio.sleep(SEGMENT_SECONDS)  # the broker removes the old segment a second later
                    return
        self._why[topic] = f"the broker has not compacted it within {PATIENCE:.0f} s; see its log"

    async def _purge(self, count: int) -> None:
        """Have `accepted` purged of what merge has read: it is derived, and merge remembers what it needs."""
        self.say(f"{ACCEPTED_TOPIC}: {count:,} records to go, with all that merge has read")
        nodes = [name.removeprefix("raw.") for name in self.topics if name.startswith("raw.")]
        why = await asyncio.to_thread(self.hand.purge, self.topics[ACCEPTED_TOPIC], MERGE, self._receipted(nodes))
        if why:
            self._why[ACCEPTED_TOPIC] = why

    async def _cut(self, topic: str) -> None:
        """Have a ledger cut behind bases that its lanes are asked for, and useless snapshots removed."""
        self.say(f"{topic}: each lane writes a base, and what lies before goes")
        bases = Bases(self.kafka, LEDGERS[topic])
        try:
            why = await asyncio.to_thread(self.hand.cut, self.topics[topic], ASK, bases.ends)
        finally:
            bases.close()
        if why:
            self._why[topic] = why.format(stage=LEDGERS[topic])
        await self.stores.ledgers.discard(LEDGERS[topic])

    def _receipted(self, nodes: Sequence[str]) -> Callable[[], bool]:
        """Return what says whether all that refine has read by now has its receipts: they name what merge has refused."""
        reached: dict[str, int] = {}

        def done() -> bool:
            if not reached:
                reached.update(self.hand.reached(REFINE, [f"raw.{node}" for node in nodes]))
            late = {name for name, end in reached.items() if end and end > self._given(name.removeprefix("raw."))}
            return not late

        return done

    def _given(self, node: str) -> int:
        """Return up to which offset of its topic a node has receipts."""
        given = last_receipt(self.kafka, node)
        return given["end"] if given else 0

    def _sign(self, cases: Sequence[Case], looked: Looked) -> None:
        """Sign for each store that holds nothing of a case any more."""
        left = {(one.case, one.store) for one in looked.left if one.count}
        for case in cases:
            able = self._unsigned(case) - self._why.keys() - {VOLUMES}
            gone = [store for store in able if (case.ref, store) not in left]
            self._receipt(case, sorted(gone))

    def _vacuum(self, cases: Sequence[Case]) -> None:
        """Have the object store's volumes written anew, and sign for it, where the tables hold nothing of a case any more."""
        due = [
            case for case in cases if {VOLUMES} == {each for each in self._unsigned(case) if not each.startswith(LOG)}
        ]
        if due and (copies := self.stores.copies()):
            self._why[VOLUMES] = (
                f"{copies[0]} and {len(copies) - 1} objects more are no table of a hub: delete copies of tables"
            )
        elif due and self.master is not None:
            self.say("the object store writes its volumes anew")
            vacuum(self.master)
            for case in due:
                self._receipt(case, [VOLUMES])

    def _receipt(self, case: Case, stores: Sequence[str]) -> None:
        if stores:
            today = datetime.now(UTC).date()
            self.shelf.add([Receipt(case.ref, store, today) for store in stores], self.signer)

    def _stands(self, case: Case, left: Sequence[Left], ready: bool) -> Iterator[Standing]:
        signed = self.shelf.of(case.ref, self.signer.key)
        counts = {one.store: one.count for one in left if one.case == case.ref}
        for store in self.stores_of(case):
            if store in signed and not counts.get(store):
                yield Standing(store, str(signed[store].day), 0, None)
            else:
                on_its_way = LOST if not case.number else WAIT.format(node=case.node)
                why = self._why.get(store, ERASE if case.number else LOST) if ready else on_its_way
                yield Standing(store, None, counts.get(store, 0), why)


async def _all(parts: Iterable[Awaitable[None]]) -> None:
    """Wait until each part has ended, and put its topic's settings back, before one that failed is told."""
    for end in await asyncio.gather(*parts, return_exceptions=True):
        if isinstance(end, BaseException):
            raise end


def _shown(looked: Looked, refs: Collection[bytes]) -> bool:
    """Return whether the hubs or their tables still show any of these cases."""
    left = {one.case for one in looked.left if one.count and one.store.startswith(TABLES)}
    return any(ref in left or ref in looked.shared | looked.late for ref in refs)
