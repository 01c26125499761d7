"""Bugs, planted on the product's functions by the tests' own entry: each a mistake that such a pipeline could hold.

tests/chaos/planted.py says how each is provoked and that the oracle sees it.
"""

import numpy as np

from tests.chaos.points import around

# --- the transaction lane


def offset_before_output() -> None:
    """Two transactions: offset and ledger first, the outputs in the next one."""
    _split(first=lambda topic: topic.startswith("ledger."))


def output_before_offset() -> None:
    """Two transactions: the outputs first, offset and ledger in the next one."""
    _split(first=lambda topic: not topic.startswith("ledger."))


def _split(first) -> None:
    from streams.transaction import Transactions

    async def commit(self, reader, source, offset, batches, now):
        parts = [{p: d for p, d in batches.items() if first(p[0]) is wanted} for wanted in (True, False)]
        ends = {}
        for part in parts:
            if any(place[0].startswith("ledger.") for place in part):
                await self._offsets(self._producer, reader, source, offset)
            if part:
                ends |= await self._records(self._producer, part, now)
                self._producer = await self._end(self._producer, commit=True)
                await _settled()
        return ends

    Transactions.commit = commit


async def _settled() -> None:
    """Let the markers be written: a transaction on them would be refused while they are not."""
    import asyncio

    await asyncio.sleep(0.1)


def no_fence() -> None:
    """A transactional id for each process: what a dead one left open stays open."""
    import os

    from streams.transaction import Transactions

    inner = Transactions.__init__

    def init(self, broker, transactional_id, timeout=60.0):
        inner(self, broker, f"{transactional_id}.{os.getpid()}", timeout)

    Transactions.__init__ = init


def reinit_without_generation() -> None:
    """A refused worker makes a new producer and commits again, says nothing of its generation, and hears late from the group."""
    from tests.chaos.provoke import stubborn

    stubborn(generation=False)
    _hears_late()


def _hears_late(seconds: float = 3.0) -> None:
    """Let the worker go on for a while with what the group has taken from it."""
    import asyncio

    from streams.lanes import Lanes

    inner = Lanes.failed
    Lanes.failed = lambda self, error: asyncio.get_running_loop().call_later(seconds, inner, self, error)


def acknowledge_before_commit() -> None:
    """The batch counts as done while its commit is under way; what becomes of that, nobody asks."""
    import asyncio

    from streams.transaction import Transactions

    inner, under_way = Transactions.commit, {}

    async def commit(self, reader, source, offset, batches, now):
        before = under_way.get(self._id)
        if before is not None:
            await asyncio.wait([before])
            if self._producer is None:
                await self.fence()
        under_way[self._id] = asyncio.ensure_future(inner(self, reader, source, offset, batches, now))
        return dict.fromkeys(batches, 1)

    Transactions.commit = commit


def reuse_after_timeout() -> None:
    """No answer to the commit: try the same batch again with the same producer."""
    from schemas.errors import Unreachable
    from streams.transaction import Transactions

    inner = Transactions.commit

    async def commit(self, reader, source, offset, batches, now):
        producer = self._producer
        try:
            return await inner(self, reader, source, offset, batches, now)
        except Unreachable:
            self._producer = producer
            await _settled()
            return await inner(self, reader, source, offset, batches, now)

    Transactions.commit = commit


def timeout_is_success() -> None:
    """No answer to the commit: it will have been committed, and a new producer goes on behind it."""
    from schemas.errors import Unreachable
    from streams.transaction import Transactions

    inner = Transactions.commit

    async def commit(self, reader, source, offset, batches, now):
        try:
            return await inner(self, reader, source, offset, batches, now)
        except Unreachable:
            await self.fence()
            return dict.fromkeys(batches, 1)

    Transactions.commit = commit


def batch_skipped_on_error() -> None:
    """A batch that fails is left out, so that the next can go on."""
    from schemas.errors import Retries
    from streams.lane import KafkaLane

    inner = KafkaLane.process

    async def process(self, records):
        state = self._state
        try:
            await inner(self, records)
        except Retries:
            await self._transactions.fence()
            self._state, self._next = state, records.end

    KafkaLane.process = process


def commits_one_too_few() -> None:
    """The offset committed is that of the last record, not the one after it."""
    from streams.transaction import Transactions

    inner = Transactions._offsets

    async def offsets(self, producer, reader, source, offset):
        await inner(self, producer, reader, source, offset - 1)

    Transactions._offsets = offsets


def end_left_out() -> None:
    """Commits are gathered: the next one ends those before it, and nobody ends the last."""
    from streams.transaction import Transactions

    inner, seen = Transactions._end, []

    async def end(self, producer, commit):
        seen.append(commit)
        return producer if len(seen) % 20 else await inner(self, producer, commit)

    Transactions._end = end


# --- ledger, snapshot, state


def ledger_not_abutting() -> None:
    """The ledger's ranges begin at the first record, not where the last one ended."""
    from streams import ledger

    inner, seen = ledger.write, []

    def write(lane, start, end, counts, suite, delta):
        seen.append(lane)
        return inner(lane, start + (seen.count(lane) == 3), end, counts, suite, delta)

    ledger.write = write


def ledger_read_to_stable() -> None:
    """The ledger is read as far as a reader of committed records sees, before another lane's open transaction."""
    from streams import ledgerlog

    ledgerlog.UNCOMMITTED = 1


def snapshot_without_tail() -> None:
    """The snapshot is the truth; what the ledger says after it counts for the position only."""
    from streams.lane import KafkaLane

    inner = KafkaLane._folded

    async def folded(self, saved, position):
        stage = self._stage
        if saved is not None:
            self._stage = _Deaf(stage)
        try:
            return await inner(self, saved, position)
        finally:
            self._stage = stage

    KafkaLane._folded = folded


class _Deaf:
    """A stage that takes no delta."""

    def __init__(self, stage) -> None:
        self._stage = stage

    def __getattr__(self, name):
        return getattr(self._stage, name)

    def restore(self, state, delta):
        return state


def snapshot_before_commit() -> None:
    """The state is written down while the batch that it holds is not committed yet."""
    from streams.lane import KafkaLane

    inner = KafkaLane._drafts

    def drafts(self, pieces):
        if self._anchor >= 0:
            self._write_snapshot()
        return inner(self, pieces)

    KafkaLane._drafts = drafts


def forgets_on_restart() -> None:
    """The numbers seen are kept in memory only."""
    from streams.refine import Refine

    Refine.restore = lambda self, state, delta: state
    Refine.thaw = lambda self, frozen: self.empty("")


def withdrawal_forgotten_on_restart() -> None:
    """A withdrawal is no part of what a batch adds to the state."""
    _forgotten(withdrawn=frozenset())


def lives_forgotten_on_restart() -> None:
    """Which version speaks for an incident is kept in memory only."""
    _forgotten(lives={})


def waiting_forgotten_on_restart() -> None:
    """What waits for another event is kept in memory only."""
    _forgotten(waiting={})


def _forgotten(**what) -> None:
    from dataclasses import replace

    from streams import refined

    inner = refined.changes
    refined.changes = lambda numbers, hashes, states, changed: inner(numbers, hashes, states, replace(changed, **what))


def states_forgotten_on_restart() -> None:
    """How a report was verified when it came is kept in memory only."""
    from streams import refined

    inner = refined.changes
    refined.changes = lambda numbers, hashes, states, changed: inner(numbers, hashes, np.zeros_like(states), changed)


def opens_one_late() -> None:
    """After a restart reading goes on one record too far, and nobody compares."""
    from streams.lane import KafkaLane

    inner = KafkaLane.open

    async def opened(self):
        at = await inner(self)
        self._next = at + (at > 0)
        return self._next

    KafkaLane.open = opened


def start_after_markers() -> None:
    """A batch begins at its first record: what markers take of the offsets belongs to no range."""
    from dataclasses import replace

    from streams.lane import KafkaLane

    inner = KafkaLane.process

    async def process(self, records):
        first = int(records.offsets[0])
        self._next = first
        await inner(self, replace(records, start=first))

    KafkaLane.process = process


# --- what refine decides


def _verdicts(change) -> None:
    from streams import dedupe

    inner = dedupe.settle

    def settle(seen, sequences, hashes):
        verdicts = inner(seen, sequences, hashes)
        return change(verdicts)

    dedupe.settle = settle


def fork_is_new() -> None:
    """A second event of one number is taken too."""
    from streams.dedupe import FORKED, NEW

    _verdicts(lambda verdicts: np.where(verdicts == FORKED, np.uint8(NEW), verdicts))


def repeat_is_new() -> None:
    """Now and then a repeated event is taken again."""
    from streams.dedupe import NEW, REPEATED

    def change(verdicts):
        rows = np.flatnonzero(verdicts == REPEATED)[:1]
        verdicts[rows] = NEW
        return verdicts

    _verdicts(change)


def withdrawal_ignored() -> None:
    """A withdrawn consent stops nothing."""
    from streams import refine

    refine._withdrawn = lambda found, rows, since: np.zeros(len(rows), np.bool_)


def version_not_ended() -> None:
    """A new version comes, and nobody is told of the end of the one before."""
    from streams import revised

    revised._ended_output = lambda *arguments: ()


def version_ended_at_home_only() -> None:
    """The end of a version is told to one lane, as if its area could not be another one's."""
    from streams import revised

    inner = revised._ended_output
    revised._ended_output = lambda followed, node, count: inner(followed, node, 1)


def conflict_is_current() -> None:
    """Whatever comes last speaks for the incident, whether its author had seen what spoke before or not."""
    from dataclasses import replace

    from streams import revisions

    inner = revisions.follow
    revisions.follow = lambda life, one: replace(inner(life, one), speaks=True)


def unknown_version_taken() -> None:
    """What a revision names is taken to be there."""
    from streams import dedupe

    dedupe.look = lambda seen, sequences, hashes: np.full(len(sequences), dedupe.REPEATED, np.uint8)


def no_reasons() -> None:
    """Quarantine without reasons."""
    from streams import refine

    inner = refine.quarantined

    def quarantined(records, refused, reasons, **more):
        return inner(records, refused, [[] for _ in reasons], **more)

    refine.quarantined = quarantined


def _outputs(change) -> None:
    from streams import refine

    inner = refine.incident_output
    refine.incident_output = lambda *arguments: change(inner(*arguments))


def last_record_dropped() -> None:
    """The last record of an output is lost where it is cut."""
    from streams.base import Output

    def change(output):
        keep = slice(0, max(0, len(output.values) - 1))
        return Output(output.topic, output.partitions[keep], output.keys, output.values)

    _outputs(change)


def facts_changed() -> None:
    """A byte of the facts is another one after copying: the last symbol of the last record."""

    def change(output):
        if len(output.values):
            output.values.data[output.values.ends[-1] - 1] ^= 2
        return output

    _outputs(change)


def counts_wrong() -> None:
    """What became of the records is counted without the repeated ones."""
    from streams import ledger

    inner = ledger.write

    def write(lane, start, end, counts, suite, delta):
        return inner(lane, start, end, {k: v for k, v in counts.items() if k != "repeated"}, suite, delta)

    ledger.write = write


# --- reading


def reads_uncommitted() -> None:
    """Whatever was aborted is read as well."""
    import aiokafka

    inner = aiokafka.AIOKafkaConsumer.__init__

    def init(self, *topics, **options):
        inner(self, *topics, **options | {"isolation_level": "read_uncommitted"})

    aiokafka.AIOKafkaConsumer.__init__ = init


# --- merge


def late_patterns_forgotten() -> None:
    """A pattern meets the incidents that come after it, not those before."""
    from streams import merge

    inner = merge.fit_late_patterns

    def fit(*arguments, **options):
        found = inner(*arguments, **options)
        return _empty(found)

    merge.fit_late_patterns = fit


def _empty(found):
    if isinstance(found, tuple):
        return tuple(_empty(one) for one in found)
    return found[:0]


def version_not_closed() -> None:
    """A lane does not let go of a version that came to its end."""
    from streams import merge

    merge._ended = lambda state, batch, gone: merge.NOTHING_ENDED


def merge_forgets_on_restart() -> None:
    """What merge holds is in memory only."""
    from streams.merge import Merge

    Merge.restore = lambda self, state, delta: state
    Merge.thaw = lambda self, frozen: self.empty("")


# --- the sink


def position_is_zero() -> None:
    """After a restart everything is read again, and nobody asks what is in the tables."""
    from sinks.writer import DeltaSink

    inner = DeltaSink._commit
    DeltaSink.position = lambda self: getattr(self, "_reached_to", 0)
    DeltaSink._check = lambda self, batch: setattr(self, "_reached_to", batch.end)

    def commit(self, one, end, file):
        at = one.position()
        return inner(self, one, max(end, at + 1), file)

    DeltaSink._commit = commit
    all_rows_again()


def all_rows_again() -> None:
    """A table's own position is not asked which rows it has already."""
    from sinks import writer

    inner = writer.rows_of
    writer.rows_of = lambda table, found, start=0: inner(table, found)


def commit_before_upload() -> None:
    """The file is named in the log before it is in the store."""
    from sinks.store import Store
    from sinks.writer import DeltaSink

    put, kept = Store.put, []

    def later(self, path, data):
        if path.endswith(".parquet"):
            kept.append((self, path, bytes(data)))
        else:
            put(self, path, data)

    def uploaded():
        while kept:
            put(*kept.pop())

    Store.put = later
    around(DeltaSink, "_commit", after=uploaded)


def refreshed_handle() -> None:
    """The table is read again before the commit, after the position was compared; and the worker hears late from the group."""
    from sinks.delta import Commits

    inner = Commits._attempt

    def attempt(self, start, end, file):
        self._reload()
        return inner(self, start, end, file)

    Commits._attempt = attempt
    Commits._settled = lambda self, start, end: True
    _hears_late()


def no_application_transaction() -> None:
    """The position is kept in memory, not in the table's log."""
    from sinks import delta

    inner = delta.CommitProperties

    def properties(**options):
        return inner(**options | {"app_transactions": []})

    delta.CommitProperties = properties
    delta.Commits.position = lambda self: getattr(self, "_at", 0)
    settled = delta.Commits._settled

    def done(self, start, end):
        self._at = end
        return settled(self, start, end)

    delta.Commits._settled = done


def one_name_for_all() -> None:
    """Each file has the name of the partition only."""
    from sinks import parquet

    parquet.Range.name = property(lambda self: f"part-{self.partition}.parquet")


def boundary_row_dropped() -> None:
    """The row at the position itself counts as one that the table has."""
    from sinks import writer

    inner = writer.rows_of
    writer.rows_of = lambda table, found, start=0: inner(table, found, start + 1)


def conflict_is_success() -> None:
    """Whatever became of the attempt, the commit counts as done."""
    from sinks.delta import Commits

    Commits._settled = lambda self, start, end: True
    position = Commits.position
    Commits.position = lambda self: max(position(self), getattr(self, "_at", 0))
    inner = Commits.commit

    def commit(self, start, end, file):
        inner(self, start, end, file)
        self._at = end

    Commits.commit = commit


def failed_upload_is_success() -> None:
    """An upload that fails is noted somewhere and forgotten."""
    from schemas.errors import Unreachable
    from sinks.store import Store

    inner = Store.put

    def put(self, path, data):
        try:
            inner(self, path, data)
        except Unreachable:
            return

    Store.put = put
