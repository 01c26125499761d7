"""Kafka in memory as a lane meets it: logs, transactions, a group's offsets. One call is one request that has arrived.

From Apache Kafka's TransactionCoordinator, ProducerStateManager and GroupCoordinator as of 4.x, with transactions of
version 2: what a producer writes under its present epoch joins its transaction; an end gives it the next epoch, under
which the markers are written after the end was answered.
"""

import struct
from bisect import bisect_right
from collections import defaultdict, deque
from dataclasses import dataclass, field
from types import SimpleNamespace

from aiokafka.record.util import calc_crc32c

HEAD = struct.Struct(">qiibI")
COVERED = struct.Struct(">hiqqqhii")
MARKERS = {kind: b"\x20\x00\x00\x00\x08\x00\x00\x00" + bytes([kind]) + b"\x0c" + bytes(6) + b"\x00" for kind in (0, 1)}

OK, OUT_OF_RANGE, UNKNOWN_TOPIC, MOVED_LEADER, LOADING, NOT_COORDINATOR, FEW_REPLICAS = 0, 1, 3, 6, 14, 16, 19
ILLEGAL_GENERATION, UNKNOWN_MEMBER, OUT_OF_ORDER, BAD_EPOCH, BAD_STATE = 22, 25, 45, 47, 48
OFFSETS = "__consumer_offsets", 0  # the log of all groups
BAD_MAPPING, CONCURRENT, FENCED_INSTANCE, UNSTABLE, FENCED = 49, 51, 82, 88, 90


@dataclass(slots=True)
class Batch:
    """A record batch in a log."""

    base: int
    following: int
    producer: int
    raw: bytes
    kind: str  # data, commit, abort


class Log:
    """One partition."""

    def __init__(self):
        self.batches, self.ends, self.start, self.end = [], [], 0, 0
        self.open = {}  # producer: first offset of its transaction
        self.aborted = []  # (producer, first, last)
        self.last = {}  # producer: (epoch, next sequence, {(epoch, sequence): base} of the last five batches)

    @property
    def stable(self):
        """Return the last stable offset."""
        return min(self.open.values(), default=self.end)

    def delete(self, before):
        """Let the log begin at an offset; the judge still sees what lies before it."""
        self.start = max(self.start, before)

    def put(self, raw, producer, count, kind):
        base = self.end
        self.end += count
        self.batches.append(Batch(base, self.end, producer, struct.pack(">q", base) + raw[8:], kind))
        self.ends.append(self.end)
        return base

    def read(self, position, bound, most):
        """Return up to `most` whole batches from the one that holds `position` on, up to offset `bound`."""
        at = bisect_right(self.ends, position)
        return b"".join(one.raw for one in self.batches[at : at + most] if one.following <= bound)

    def committed(self, bound=None):
        """Yield the data batches below `bound` (by default the last stable offset) that a read-committed reader sees."""
        bound = self.stable if bound is None else bound
        for one in self.batches:
            if one.following <= bound and one.kind == "data":
                hidden = any(p == one.producer and first <= one.base <= last for p, first, last in self.aborted)
                if not hidden:
                    yield one


@dataclass(slots=True)
class Transaction:
    """What the coordinator knows of a transactional id; `state`: empty, ongoing, ending."""

    producer: int
    epoch: int
    timeout: float
    state: str = "empty"
    commits: bool = False
    ended: bool | None = None  # how the one before ended
    places: dict = field(default_factory=dict)
    groups: dict = field(default_factory=dict)
    left: int = 0
    since: float = 0.0


class Cluster:
    """All of it. `group` knows who reads, see `group.py`; `now` is the time in seconds; `markers` wait to be written."""

    def __init__(self, group, clock, most=None):
        self.group, self.clock, self.most = group, clock, most
        self.logs, self.transactions, self.producers = defaultdict(Log), {}, {}
        self.offsets, self.pending, self.markers, self.next = {}, defaultdict(dict), deque(), 100
        self.absent, self.applying, self.forgotten = deque(), deque(), 0
        self.doors = {
            0: self._produce,
            1: self._fetch,
            2: self._bounds,
            9: self._offset,
            22: self._fence,
            24: self._add,
            25: self._add_group,
            26: self._end,
            27: self._marked,
            28: self._offsets,
            61: self._producers,
        }

    def handle(self, request):
        """Do what one request asks and return the answer."""
        return self.doors[request.API_KEY](request)

    def _hiccup(self, code):
        """Return a passing error where the schedule has one for the next request, else 0."""
        return code if self.absent and self.absent.popleft() else 0

    # --- transactions ---

    def _fence(self, request):
        code = self._hiccup(NOT_COORDINATOR)
        name = request._transactional_id
        mine = self.transactions.get(name)
        if not code and mine is None:
            self.next += 1
            mine = self.transactions[name] = Transaction(self.next, -1, request._transaction_timeout_ms / 1000)
            self.producers[self.next] = mine
        if not code and mine.state == "ongoing":
            mine.epoch += 1
            self._finish(mine, commits=False)
        if not code and mine.state == "ending":
            code = CONCURRENT
        if not code:
            mine.epoch += 1
            mine.ended = None
        producer, epoch = (-1, -1) if code else (mine.producer, mine.epoch)
        return SimpleNamespace(error_code=code, producer_id=producer, producer_epoch=epoch)

    def _begin(self, mine):
        """Begin a transaction where none is under way; return the error."""
        if mine.state == "ending":
            return CONCURRENT
        if mine.state == "empty":
            mine.state, mine.since = "ongoing", self.clock.now
        return OK

    def _end(self, request):
        producer, commits = request._producer, request._commit
        mine, code = self.transactions.get(producer.transactional_id), OK
        if mine is None or mine.producer != producer.id:
            return SimpleNamespace(error_code=BAD_MAPPING, producer_id=-1, producer_epoch=-1)
        if mine.epoch == producer.epoch + 1 and mine.commits == commits:  # it was asked before
            code = CONCURRENT if mine.state == "ending" else OK if mine.ended == commits else FENCED
        elif mine.epoch != producer.epoch:
            code = FENCED
        elif mine.state == "ending":
            code = CONCURRENT
        elif mine.state == "empty" and commits:
            code = BAD_STATE
        else:
            mine.epoch += 1
            self._finish(mine, commits)
        return SimpleNamespace(error_code=code, producer_id=mine.producer, producer_epoch=mine.epoch)

    def _finish(self, mine, commits):
        mine.state, mine.commits, mine.left = "ending", commits, len(mine.places) + len(mine.groups)
        self.markers.extend((mine, mine.epoch, target) for target in (*mine.places, *mine.groups))
        if not mine.left:
            mine.state, mine.ended = "empty", commits

    def mark(self, index):
        """Write one of the waiting markers."""
        mine, epoch, target = self.markers[index]
        del self.markers[index]
        if isinstance(target, str):
            held = self.pending.pop((target, mine.producer), {})
            self.applying.append((target, held if mine.commits else {}))  # the group's state follows a little later
        self._close(self.logs[OFFSETS if isinstance(target, str) else target], mine, epoch)
        self._done(mine)

    def apply(self):
        """Have the group's state follow the next of the markers that are in its log."""
        group, held = self.applying.popleft()
        self.offsets |= {(group, place): offset for place, offset in held.items()}

    def _close(self, log, mine, epoch):
        covered = COVERED.pack(0x30, 0, 0, 0, mine.producer, epoch, -1, 1) + MARKERS[int(mine.commits)]
        first = log.open.pop(mine.producer, None)
        if first is not None and not mine.commits:
            log.aborted.append((mine.producer, first, log.end))
        raw = HEAD.pack(0, len(covered) + 9, -1, 2, calc_crc32c(covered)) + covered
        log.put(raw, mine.producer, 1, "commit" if mine.commits else "abort")
        log.last[mine.producer] = epoch, 0, {}

    def expire(self):
        """End what nobody ended in time."""
        for mine in self.transactions.values():
            if mine.state == "ongoing" and self.clock.now - mine.since > mine.timeout:
                mine.epoch += 1
                self._finish(mine, commits=False)

    def forget(self, chance):
        """Come up again: a partition whose leader is not known yet is taken for deleted, and its marker never written."""
        left, self.markers = self.markers, deque()
        for mine, epoch, target in left:
            if chance.random() < 0.3:
                self.markers.append((mine, epoch, target))
                continue
            self.forgotten += 1
            self._done(mine)

    def _done(self, mine):
        mine.left -= 1
        if not mine.left:
            mine.state, mine.ended, mine.places, mine.groups = "empty", mine.commits, {}, {}

    def _add(self, request):
        mine = self._known(request)
        places = [(topic, number) for topic, numbers in request._topics for number in numbers]
        code = BAD_EPOCH if mine is None else self._begin(mine)
        if not code:
            mine.places |= dict.fromkeys(places, True)
        return SimpleNamespace(errors=[(topic, [(number, code)]) for topic, number in places])

    def _add_group(self, request):
        mine = self._known(request)
        code = BAD_EPOCH if mine is None else self._begin(mine)
        if not code:
            mine.groups[request._group_id] = True
        return SimpleNamespace(error_code=code)

    def _marked(self, request):
        ((producer, epoch, commits, topics, _, _),) = request._markers
        mine = SimpleNamespace(producer=producer, commits=commits)
        for topic, numbers, _ in topics:
            for number in numbers:
                if (topic, number) == OFFSETS:
                    groups = [group for group, p in self.pending if p == producer]
                    self.applying.extend((group, self.pending.pop((group, producer))) for group in groups)
                self._close(self.logs[topic, number], mine, epoch)
        done = [(topic, [(number, 0, {}) for number in numbers], {}) for topic, numbers, _ in topics]
        return SimpleNamespace(markers=[(producer, done, {})])

    def _known(self, request):
        mine = self.transactions.get(request._transactional_id)
        return mine if mine and (mine.producer, mine.epoch) == (request._producer_id, request._producer_epoch) else None

    def _producers(self, request):
        found = []
        for topic, numbers, _ in request._topics:
            partitions = []
            for number in numbers:
                log = self.logs[topic, number]
                known = [(p, epoch, -1, 0, 0, log.open.get(p, -1), {}) for p, (epoch, *_) in log.last.items()]
                partitions.append((number, self._hiccup(MOVED_LEADER), "", known, {}))
            found.append((topic, partitions, {}))
        return SimpleNamespace(topics=found)

    # --- records ---

    def _produce(self, request):
        topics = [
            (topic, [(p, *self._append((topic, p), data), -1, 0) for p, data, _ in partitions], {})
            for topic, partitions, _ in request._topics
        ]
        return SimpleNamespace(topics=topics)

    def _append(self, place, data):
        """Return (error, base offset) of one batch."""
        _, _, _, magic, checksum = HEAD.unpack_from(data)
        assert magic == 2
        assert checksum == calc_crc32c(data[HEAD.size :]), "a batch that no broker would take"
        _, last, _, _, producer, epoch, sequence, count = COVERED.unpack_from(data, HEAD.size)
        assert last == count - 1
        if code := self._hiccup(MOVED_LEADER):
            return code, -1
        mine, log = self.producers.get(producer), self.logs[place]
        late = self._late(log, mine, producer, epoch)
        if mine is None or (mine.epoch != epoch and not late):
            return BAD_EPOCH, -1
        known_epoch, expected, recent = log.last.get(producer, (-1, 0, {}))
        if (epoch, sequence) in recent:
            return OK, recent[epoch, sequence]
        if code := self._hiccup(FEW_REPLICAS) or (OK if late else self._begin(mine)):
            return code, -1
        if not late:
            mine.places[place] = True
        if sequence != (expected if known_epoch == epoch else 0):
            return OUT_OF_ORDER, -1
        base = log.put(data, producer, count, "data")
        log.open.setdefault(producer, base)
        recent = {**(recent if known_epoch == epoch else {}), (epoch, sequence): base}
        log.last[producer] = epoch, sequence + count, dict(list(recent.items())[-5:])
        return OK, base

    def _late(self, log, mine, producer, epoch):
        """Return whether what comes late joins a transaction that has ended: a partition takes it until the marker is there."""
        open_there = producer in log.open and log.last.get(producer, (-1,))[0] == epoch
        return mine is not None and mine.epoch != epoch and open_there

    def _fetch(self, request):
        ((topic, ((partition, position, _),)),) = request._topics
        log, code = self.logs[topic, partition], self._hiccup(MOVED_LEADER)
        bound = log.stable if request._isolation_level else log.end
        code = code or (OUT_OF_RANGE if position < log.start else OK)
        data = b"" if code else log.read(position, bound, self.most() if self.most else 1 << 30)
        return SimpleNamespace(topics=[(topic, [(partition, code, log.end, log.stable, [], data)])])

    def _bounds(self, request):
        ((topic, ((partition, which),)),) = request._topics
        log, code = self.logs[topic, partition], self._hiccup(MOVED_LEADER)
        latest = log.stable if request._isolation_level else log.end
        return SimpleNamespace(topics=[(topic, [(partition, code, -1, log.start if which == -2 else latest)])])

    # --- offsets ---

    def _offsets(self, request):
        producer, reader = request._producer, request._reader
        ((topic, ((partition, offset, *_),), *_),) = request._topics
        code = self._hiccup(NOT_COORDINATOR) or self.group.refuses(reader)
        mine = self.transactions.get(producer.transactional_id)
        log = self.logs[OFFSETS]
        late = self._late(log, mine, producer.id, producer.epoch)
        if not code and (mine is None or mine.producer != producer.id or (mine.epoch != producer.epoch and not late)):
            code = BAD_EPOCH
        code = code or (OK if late else self._begin(mine))
        if not code:
            mine.groups |= {} if late else {reader.group: True}
            log.open.setdefault(producer.id, log.end)
            log.last[producer.id] = producer.epoch, 0, {}
            self.pending[reader.group, producer.id][topic, partition] = offset
        return SimpleNamespace(topics=[(topic, [(partition, code, {})], {})])

    def _offset(self, request):
        group, (topic, (partition,)) = request._group, request._topics[0][:2]
        code = self._hiccup(LOADING)
        held = [*(one for (g, _), one in self.pending.items() if g == group), *(one for _, one in self.applying)]
        pending = getattr(request, "stable", True) and any((topic, partition) in one for one in held)
        offset = self.offsets.get((group, (topic, partition)), -1)
        one = UNSTABLE if pending else OK
        found = [] if code else [(topic, [(partition, -1 if one else offset, -1, "", one, {})], {})]
        return SimpleNamespace(topics=found, error_code=code)
