"""The receipts worker: nothing is receipted before it is in the tables, whoever is killed when.

One wave after another: what refine has committed, read from its ledger, lies before the ends of `accepted` that are
asked for after it; once merge has gone past these, all that it made lies before the ends of `hub.*` and `quarantine`
that are asked for then; once the tables have gone past those, the wave is receipted. Nothing is kept between two
starts but the receipts themselves, and a second worker only repeats.

It knows which cases are withdrawn, and runs always: so it is also who buries a key that comes again.
"""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from kafka import KafkaProducer

from pipeline import observe
from pipeline.log import RECONNECT_MS, Entry
from pipeline.receipts.book import AFTER_REFINE, NO_NUMBER, Batch, Book, Refusal
from pipeline.receipts.given import check_topic, last_receipt
from pipeline.receipts.guard import Guard
from pipeline.receipts.reading import Place, Probe, Tail, answering, record_at
from schemas import rows
from schemas.errors import CutWhileRead, Quarantines, Stops, TocsinError
from schemas.released import latest
from schemas.wire import confluent, unframe
from streams import ledger
from streams.base import BatchObserved
from streams.line import Line
from streams.locked import Locked
from streams.refine import Refine

AHEAD = 500  # ledger records of one wave
BACK = 64  # where to begin in the ledger of merge, at first, before its end
PAUSE = 0.2
QUARANTINE: Place = ("quarantine", 0)
T = TypeVar("T")


@dataclass
class Wave:
    """What must be passed, `ends`, before the nodes' topics are receipted up to `raw`: of `accepted`, then of the hubs."""

    raw: dict[str, int]
    ends: dict[Place, int]
    merged: bool = False
    passed: set[Place] = field(default_factory=set)


class Receipts:
    """Gives receipts: `positions(topic, partition)` is how far the tables are, `key` opens the ledger's deltas."""

    def __init__(self, kafka: str, key: bytes, hubs: list[str], positions: Callable[[str, int], int]) -> None:
        self._kafka, self._key, self._hubs, self._positions = kafka, key, hubs, positions
        self._books: dict[str, Book] = {}
        self._lines: dict[str, Line] = {}
        self._wave: Wave | None = None
        self._merged: dict[Place, int] = {}
        self._begun = False
        self._probe, self._ledger, self._quarantine = (
            Probe(kafka),
            Tail(kafka, "ledger.refine"),
            Tail(kafka, "quarantine"),
        )
        self._before, self._guard = self._probe.ends(["ledger.refine"]), Guard(kafka)
        self._merge = self._merge_from(BACK)
        self._producer: Any = KafkaProducer(
            bootstrap_servers=kafka,
            enable_idempotence=True,
            acks="all",
            allow_auto_create_topics=False,
            reconnect_backoff_max_ms=RECONNECT_MS,
        )

    def step(self) -> bool:
        """Go on with the wave under way, or begin one, and look at the keys; return whether anything moved."""
        moved = self._go_on()
        return self._guarded() or moved

    def _go_on(self) -> bool:
        wave = self._wave
        if wave is None:
            return self._begin()
        if not wave.merged:
            self._read_merge()
            if not self._passed(wave, lambda place: self._merged.get(place, 0)):
                return False
            self._wave = Wave(wave.raw, self._probe.ends([*self._hubs, QUARANTINE[0]]), merged=True)
            return True
        if not self._passed(wave, lambda place: self._positions(*place)):
            return False
        self._read_quarantine(wave.ends[QUARANTINE])
        for node, until in wave.raw.items():
            self._give(self._books[node], until)
        self._wave = None
        return True

    def close(self) -> None:
        """Let go of the broker."""
        for client in (self._probe, self._ledger, self._quarantine, self._merge, self._guard, self._producer):
            client.close()

    def _guarded(self) -> bool:
        """Bury each key of a withdrawn case that came again; return whether there was one."""
        if not self._ledger.reached(self._before):
            return False
        found = self._guard.look({node: book.withdrawn for node, book in self._books.items()})
        for future in [self._producer.send(topic, None, case, partition=0) for topic, case in found]:
            future.get(timeout=30)
        for topic, case in found:
            observe.note("key_buried", topic=topic, key=case.hex())
        return bool(found)

    def _begin(self) -> bool:
        """Read on in the ledger of refine, and only then ask where `accepted` ends.

        CutWhileRead where it was cut before it was read: a base says the same, to one who begins anew.
        """
        entries = self._ledger.some(AHEAD)
        if self._ledger.cut:
            raise CutWhileRead(["ledger.refine"])
        for entry in entries:
            if entry.key != ledger.ASK:
                self._enter(entry)
        if not entries and any(line.cut and not line.begun for line in self._lines.values()):
            self._check()
        raw = {node: book.read for node, book in self._books.items() if book.waits}
        if raw:
            self._wave = Wave(raw, self._probe.ends(["accepted"]))
        return bool(entries or raw)

    def _enter(self, entry: Entry) -> None:
        one = _committed(entry)
        taken = self._lines.setdefault(one.lane, Line(one.lane)).take(one)
        if taken is not None:
            node = one.lane.removeprefix("raw.").rpartition("-")[0]
            self._book(node).add(Batch(taken.start, taken.end, taken.counts, taken.delta))

    def _check(self) -> None:
        """Raise LedgerGap where the ledger of a node neither begins at 0 nor with a base."""
        if self._ledger.ended():
            for line in self._lines.values():
                line.check()

    def _book(self, node: str) -> Book:
        if node not in self._books:
            check_topic(self._kafka, node)
            given = last_receipt(self._kafka, node)
            stage = Locked(Refine(node, partitions=1), self._key)
            self._books[node] = Book(node, stage, given["end"] if given else 0)
        return self._books[node]

    def _merge_from(self, back: int) -> Tail:
        """Return a reader of merge's ledger that begins early enough to see each lane's last record, if it has one."""
        while True:
            self._merge = Tail(self._kafka, "ledger.merge", back=back)
            self._read_merge()
            if self._merge.whole or len(self._merged) == len(self._probe.ends(["accepted"])):
                return self._merge
            self._merge.close()
            back *= 8

    def _read_merge(self) -> None:
        while entries := self._merge.some(100):
            for one in [_committed(entry) for entry in entries if entry.key != ledger.ASK]:
                topic, _, partition = one.lane.rpartition("-")
                self._merged[topic, int(partition)] = one.end

    def _passed(self, wave: Wave, position: Callable[[Place], int]) -> bool:
        for place in wave.ends.keys() - wave.passed:
            if not self._probe.passed(place, position(place), wave.ends[place]):
                return False
            wave.passed.add(place)
        return True

    def _read_quarantine(self, end: int) -> None:
        for entry in self._quarantine.until({QUARANTINE: end}):
            found = self._refusal(_row(entry))
            if found is not None:
                node, refusal = found
                self._book(node).refuse(refusal)
        if not self._begun:
            for book in self._books.values():
                book.begin()
        self._begun = True

    def _refusal(self, row: dict[str, Any]) -> tuple[str, Refusal] | None:
        """Return the node and what was refused; what merge refused says only where it lies in `accepted`.

        None where `accepted` has let go of it: a receipt has named it long before.
        """
        reasons = tuple(row["reasons"])
        if row["topic"].startswith("raw."):
            node = row["topic"].removeprefix("raw.")
            return node, Refusal(row["offset"], row["sequence"] or NO_NUMBER, reasons)
        entry = record_at(self._kafka, (row["topic"], row["partition"]), row["offset"])
        if entry is None:
            return None
        accepted = _row(entry)
        return accepted["node"], Refusal(AFTER_REFINE, accepted["sequence"], reasons)

    def _give(self, book: Book, until: int) -> None:
        """Send the node's receipts up to an offset of its topic and wait until the broker has them."""
        release, given = latest("ReceiptGiven"), list(book.give(until))
        sent = [
            self._producer.send(
                f"receipts.{book.node}", confluent(release, rows.write(release, row)), book.node.encode()
            )
            for row in given
        ]
        for future in sent:
            future.get(timeout=30)
        for row in given:
            refused = len(row["refused_offsets"])
            start, end = row["start"], row["end"]
            counts = {"through": row["through"], "missing": row["missing_count"], "refused": refused}
            observe.batch(BatchObserved("receipts", f"raw.{book.node}-0", start, end, end - start, counts))


def _row(entry: Entry) -> dict[str, Any]:
    """Return a record of ours as its values; Stops where it is none: only our own workers write these topics."""
    return _ours(entry, lambda: rows.read(*unframe(entry.value or b"")))


def _committed(entry: Entry) -> ledger.Entry:
    """Return a record of a ledger; Stops where it is none."""
    return _ours(entry, lambda: ledger.read(entry.offset, entry.value or b""))


def _ours(entry: Entry, read: Callable[[], T]) -> T:
    try:
        return read()
    except Quarantines as error:
        raise Stops(
            f"The record of {entry.topic}-{entry.partition} at offset {entry.offset} cannot be read ({error.reason}): "
            "update tocsin on this machine; no receipt is given until then."
        ) from error


def run(make: Callable[[], Receipts], kafka: str, until_idle: float | None) -> int:
    """Give receipts until SIGTERM or SIGINT, or until nothing has moved for `until_idle` seconds; return the exit code."""
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: stopped.append(received))
    try:
        with answering(kafka):
            worker = make()
            observe.note("ready", lanes=[])
            _loop(worker, stopped, until_idle)
            worker.close()
    except TocsinError as error:
        observe.note("stops" if isinstance(error, Stops) else "again", why=str(error), error=type(error).__name__)
        return error.exit_code
    return 0


def _loop(worker: Receipts, stopped: list[int], until_idle: float | None) -> None:
    moved = time.monotonic()
    while not stopped:
        if worker.step():
            moved = time.monotonic()
        elif until_idle is not None and time.monotonic() - moved > until_idle:
            return
        else:
            time.sleep(PAUSE)
