"""A lane on Kafka: one input partition, one state, one transactional id, each batch exactly once.

The order is always: fence, read the ledger to its end, compare with the committed offset, process. Whoever calls
ends the process on any error; what was under way is then either wholly done or wholly undone, and the ledger tells.
"""

import asyncio
import inspect
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from schemas.columns import Blob
from schemas.errors import Fenced, LedgerGap, Unreachable
from streams import ledger, ledgerlog, snapshot
from streams.attempt import Piece, Spoiled, divided, whole
from streams.base import BatchObserved, Output, Records, Stage
from streams.beside import beside
from streams.client import LOADING, Broker, NotYet, name_of, patiently
from streams.line import Line
from streams.protocol import Place, Reader, StableOffset
from streams.recordbatch import Draft, drafts
from streams.transaction import Batches, Transactions

UNSTABLE = frozenset({88})  # the end of a transaction on the offset is still being applied


def _silent(event: str, **fields: Any) -> None:
    del event, fields


@dataclass(frozen=True)
class Membership:
    """A lane's place in its worker: who reads since this assignment, the shared connection, and what is assigned now."""

    reader: Reader
    broker: Broker
    holds: Callable[[str, int], bool]


@dataclass(frozen=True)
class LaneSettings:
    """Where snapshots lie, who hears of a batch, and the bounds.

    `batch_bytes` is how long an output batch may be before compression, below the topics' max.message.bytes;
    `snapshot_bytes` how much the ledger may grow, at the least, before a lane's state is written down again: a large
    state waits until half its size has come, at most `tail_bytes`, so that writing costs little and a start reads little.
    """

    snapshots: Path
    observe: Callable[[BatchObserved], None]
    note: Callable[..., None] = _silent
    batch_bytes: int = 4 << 20
    snapshot_bytes: int = 4 << 20
    tail_bytes: int = 64 << 20
    transaction_seconds: float = 60.0


class KafkaLane:
    """The lane of `topic`-`partition`; `side` belongs to this lane and its `refresh`, if any, runs before each batch."""

    def __init__(
        self, stage: Stage[Any], side: Any, topic: str, partition: int, membership: Membership, settings: LaneSettings
    ) -> None:
        """Touch nothing yet."""
        self._stage, self._side, self._settings, self._membership = stage, side, settings, membership
        self._source: Place = (topic, partition)
        self._name = f"{topic}-{partition}"
        self._ledger = ledger.place_of(stage.name, self._name)
        self._broker = membership.broker
        self._transactions = Transactions(
            membership.broker, f"tocsin.{stage.name}.{self._name}", settings.transaction_seconds
        )
        self._state: Any = None
        self._next, self._anchor, self._grown, self._written = -1, -1, 0, 0
        self._turn, self._looked, self._counts = asyncio.Lock(), 0, Counter[str]()

    async def open(self) -> int:
        """Fence others, rebuild the state, return the next input offset.

        Fenced where the partition is not this worker's now: a worker that lost it must not fence its owner.
        LedgerGap where the ledger has a hole or the group's committed offset is not the ledger's end.
        """
        if not self._membership.holds(*self._source):
            raise Fenced(f"{self._name} was taken away before it was opened; the worker begins anew.")
        await self._transactions.fence()
        await self._settle()
        self._state = await self._rebuilt()
        await self._agree()
        self._looked = self._anchor if self._anchor >= 0 else await ledgerlog.bound(self._broker, self._ledger)
        return self._next

    async def _settle(self) -> None:
        """End what the broker has left open of this lane's transactions."""
        topics = (*self._stage.topics, self._ledger[0])
        count, how = await self._transactions.settle(self._membership.reader.group, topics)
        if count:
            self._settings.note("transaction_settled", lane=self._name, partitions=count, how=how)

    async def _rebuilt(self) -> Any:
        """Return the state after all that the ledger says is done; a snapshot that does not fit is thrown away."""
        folder = self._settings.snapshots
        saved, why = await asyncio.to_thread(snapshot.load, folder, self._name)
        if saved is not None:
            try:
                return await self._folded(saved, saved.anchor)
            except (LedgerGap, snapshot.Unfit) as error:
                why = str(error) if isinstance(error, snapshot.Unfit) else "not of this ledger"
        if why:
            self._settings.note(
                "snapshot_discarded", lane=self._name, why=snapshot.SET_ASIDE.format(lane=self._name, why=why)
            )
            await asyncio.to_thread(snapshot.discard, folder, self._name)
        return await self._from_beginning()

    async def _from_beginning(self) -> Any:
        """Return the fold of the whole ledger; where its beginning is deleted meanwhile, of what there is then."""
        while True:
            begin = await ledgerlog.bound(self._broker, self._ledger, ledgerlog.EARLIEST)
            try:
                return await self._folded(None, begin)
            except ledgerlog.Deleted:
                if await ledgerlog.bound(self._broker, self._ledger, ledgerlog.EARLIEST) == begin:
                    raise

    async def _folded(self, saved: snapshot.Snapshot | None, position: int) -> Any:
        """Return the fold of the ledger from `position` on: the snapshot's record, which must be there, or the beginning."""
        line, self._counts = Line(self._name), Counter()
        self._next, self._anchor, self._grown, self._written = 0, -1, 0, 0
        if saved is not None:
            if saved.anchor >= await ledgerlog.bound(self._broker, self._ledger):
                raise snapshot.Unfit("ahead of the ledger")
            state = await asyncio.to_thread(snapshot.thawed, self._stage, saved)
            self._written = len(saved.state)
        else:
            state = self._stage.empty(self._name)
        async for entry in ledgerlog.follow(self._broker, self._ledger, self._name, position):
            if saved is not None and self._anchor < 0:
                snapshot.fits(saved, entry)
                line.begin(entry.end)
            elif (taken := line.take(entry)) is not None:
                state = await asyncio.to_thread(self._restored, state, taken)
            self._next, self._anchor = line.end, entry.offset
        if saved is not None and self._anchor < 0:
            raise snapshot.Unfit("not of this ledger")
        line.check()
        return state

    def _restored(self, state: Any, entry: ledger.Entry) -> Any:
        """Return the state after one more entry, or the one with which a base begins anew."""
        self._grown += len(entry.delta)
        if entry.base:
            self._counts = Counter(entry.counts)
            return self._stage.thaw(entry.delta)
        self._counts.update(entry.counts)
        return self._stage.restore(state, entry.delta)

    async def _agree(self) -> None:
        """Compare the group's committed offset with the ledger's end; none at all is well: offsets expire, ledgers do not."""
        committed = await self._committed()
        if committed in (self._next, -1):
            return
        if await self._overtaken():
            raise Fenced(f"{self._name} was taken away while it was opened; the worker begins anew.")
        self._gap(f"the group has committed {committed} and the ledger ends at {self._next}")

    async def _overtaken(self) -> bool:
        """Return whether the ledger has grown since it was folded: then another worker has the lane, and nothing is wrong."""
        anchor = self._anchor
        begin = await ledgerlog.bound(self._broker, self._ledger, ledgerlog.EARLIEST) if anchor < 0 else anchor
        entries = ledgerlog.follow(self._broker, self._ledger, self._name, begin)
        try:
            return bool([entry async for entry in entries if entry.offset > anchor])
        except ledgerlog.Deleted:
            return True  # nothing is deleted before the lane has written a base behind it

    def _gap(self, what: str) -> None:
        raise LedgerGap(
            f"{self._name} of stage {self._stage.name}: {what}; going on would lose or double records. Stop all workers, and see "
            f"whether {self._ledger[0]} or {self._source[0]} was deleted, cut or restored, or group offsets were set by hand."
        )

    async def _committed(self) -> int:
        return await patiently(f"committed offset of {self._name}", self._committed_now)

    async def _committed_now(self) -> int:
        group = self._membership.reader.group
        request = StableOffset(group, *self._source)
        answer = await self._broker.ask(await self._broker.group_coordinator(group), request, coordinator=True)
        # A coordinator that answers with an error for the whole group may leave the partitions out.
        found = [partition for _, partitions, _ in answer.topics for partition in partitions]
        offset, code = (found[0][1], found[0][4]) if found else (-1, 0)
        code = answer.error_code or code
        if code in LOADING | UNSTABLE or not (code or found):
            self._broker.doubt_coordinator(group, code)
            raise NotYet(name_of(code))
        if code:
            raise Unreachable(
                f"The committed offset of {self._name} cannot be read ({name_of(code)}); the worker begins anew."
            )
        return int(offset)

    async def process(self, records: Records) -> None:
        """Run the stage and commit outputs, ledger record and offset as one; LedgerGap where the batch is not the next."""
        async with self._turn:
            await self._process(records)

    async def _process(self, records: Records) -> None:
        if self._state is None:
            raise Fenced(f"{self._name} was used after a fault or before it was opened; the worker must begin anew.")
        if records.start != self._next:
            self._gap(f"the batch read begins at {records.start}, and {self._next} is next")
        clock = _Clock()
        await self._refresh()
        clock.lap("refresh")
        pieces = await self._pieces(records)
        clock.lap("step")
        batches = await beside(len(records), self._drafts, pieces)
        clock.lap("encode")
        state, self._state = self._state, None
        now = int(time.time() * 1000)
        ends = await self._transactions.commit(self._membership.reader, self._source, records.end, batches, now)
        clock.lap("commit")
        self._state, self._next, self._anchor = state, records.end, ends[self._ledger] - 1
        self._grown += sum(len(piece.outcome.delta) for piece in pieces)
        self._settings.observe(_observed(self._stage.name, records, pieces, clock.laps))
        if self._grown > max(self._settings.snapshot_bytes, min(self._written // 2, self._settings.tail_bytes)):
            await self._save()

    async def tend(self) -> None:
        """Write a base where one is asked for."""
        async with self._turn:
            if self._state is None:
                return
            asked, self._looked = await ledgerlog.asked(self._broker, self._ledger, self._looked)
            if asked:
                await self._rebase()

    async def _rebase(self) -> None:
        """Write a base, in a transaction that is fenced as a batch's is: the fold of the ledger, whatever is in memory.

        Fenced where the ledger says more than this lane has done: another worker has it.
        """
        done, self._state = (self._next, self._anchor), None
        state = await self._from_beginning()
        if (self._next, self._anchor) != done:
            raise Fenced(f"{self._name} was taken away while its base was written; the worker begins anew.")
        if self._anchor < 0:
            self._state = state
            return
        frozen = await asyncio.to_thread(lambda: self._stage.freeze(self._stage.shed(state)))
        values = ledger.write_base(self._name, self._next, self._counts, frozen)
        batches = {self._ledger: [draft for value in values for draft in self._ledger_drafts(value)]}
        reader, now = self._membership.reader, int(time.time() * 1000)
        ends = await self._transactions.commit(reader, self._source, self._next, batches, now)
        self._state = await asyncio.to_thread(self._stage.thaw, frozen)
        self._anchor = ends[self._ledger] - 1
        self._settings.note("base_written", lane=self._name, end=self._next)
        await self._save()

    def _ledger_drafts(self, value: bytes) -> list[Draft]:
        one = Blob.of([self._name.encode()]), Blob.of([value]), np.zeros(1, np.int64)
        return list(drafts(*one, self._settings.batch_bytes))

    async def _refresh(self) -> None:
        refresh = getattr(self._side, "refresh", None)
        if refresh is None:
            return
        if inspect.iscoroutinefunction(refresh):
            await refresh()
        else:
            await asyncio.to_thread(refresh)

    async def _pieces(self, records: Records) -> list[Piece]:
        state, self._state = self._state, None
        stage, side, limit = self._stage, self._side, self._settings.batch_bytes
        try:
            self._state, piece = await beside(len(records), whole, stage, state, records, side, limit)
        except Spoiled as spoiled:
            self._settings.note(
                "batch_divided", lane=self._name, start=records.start, end=records.end, why=str(spoiled)
            )
            frozen = await asyncio.to_thread(stage.freeze, await self._rebuilt())
            self._state, pieces = await asyncio.to_thread(divided, stage, frozen, records, side, limit)
            return pieces
        return [piece]

    def _drafts(self, pieces: list[Piece]) -> Batches:
        """Return the record batches of each place, in order, the ledger's last."""
        batches: dict[Place, list[Draft]] = {}
        for piece in pieces:
            for output in piece.outcome.outputs:
                for place, draft in _by_place(output, self._settings.batch_bytes):
                    batches.setdefault(place, []).append(draft)
        for piece in pieces:
            out = piece.outcome
            value = ledger.write(self._name, piece.start, piece.end, out.counts, out.suite, out.delta)
            batches.setdefault(self._ledger, []).extend(self._ledger_drafts(value))
        return batches

    async def close(self) -> None:
        """Write the state down for the next start, where it is whole and has grown; let go of the side."""
        if self._state is not None and self._grown:
            await self._save()
        if hasattr(self._side, "close"):
            await self._side.close()

    async def _save(self) -> None:
        """Write the state down; where the disk refuses, say so and go on: the ledger has it all."""
        try:
            await asyncio.to_thread(self._write_snapshot)
        except snapshot.NotSaved as refusal:
            self._settings.note("snapshot_not_saved", lane=self._name, why=str(refusal))
        self._grown = 0

    def _write_snapshot(self) -> None:
        frozen = self._stage.freeze(self._state)
        self._written = len(frozen)
        snapshot.save(self._settings.snapshots, snapshot.Snapshot(self._name, self._anchor, self._next, frozen))


@dataclass
class _Clock:
    """Seconds between laps, by name."""

    laps: dict[str, float] = field(default_factory=dict)
    _since: float = field(default_factory=time.perf_counter)

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name], self._since = now - self._since, now


def _by_place(output: Output, limit: int) -> Iterator[tuple[Place, Draft]]:
    for partition in np.unique(output.partitions):
        rows = np.flatnonzero(output.partitions == partition)
        for draft in drafts(output.keys, output.values, rows, limit):
            yield (output.topic, int(partition)), draft


def _observed(stage: str, records: Records, pieces: list[Piece], seconds: Mapping[str, float]) -> BatchObserved:
    counts: dict[str, int] = {}
    for piece in pieces:
        for name, count in piece.outcome.counts.items():
            counts[name] = counts.get(name, 0) + count
    rounded = {name: round(value, 4) for name, value in seconds.items()}
    return BatchObserved(stage, records.lane, records.start, records.end, len(records), counts, rounded)
