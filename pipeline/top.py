"""How it stands now: rates, what each stage is behind by, open transactions, silent nodes; nothing is changed.

Read from the log itself: the ledgers' newest records, the groups' offsets, the tables' positions. Needs no worker to
answer, so it also tells of those that are gone.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from kafka import TopicPartition
from kafka.admin import KafkaAdminClient

from pipeline.log import RECONNECT_MS, Entry, consumer
from pipeline.receipts.given import last_receipt
from pipeline.receipts.reading import Place, Probe, Tail, answering
from streams.ledger import ASK, read

WINDOW = 60.0  # seconds over which rates are taken
BACK = 200  # ledger records of a partition read at the start
NEAR = 100  # offsets that may all be markers: looked at before they are called a lag


@dataclass(frozen=True)
class StageNow:
    """`rate` records a second over the last minute (None where no ledger tells), `lag` records by lane."""

    rate: float | None
    lag: Mapping[str, int]

    @property
    def behind(self) -> int:
        """Return the lag of all lanes."""
        return sum(self.lag.values())


@dataclass(frozen=True)
class Now:
    """One look; `quarantined` is the part of refine's records of the last minute that was refused.

    `open` maps the partitions that hold an open transaction to the records behind it, `silent` the nodes that sent
    nothing for long to the seconds since, `never` counts those that never did.
    """

    stages: Mapping[str, StageNow]
    quarantined: float | None
    open: Mapping[str, int]
    silent: Mapping[str, int]
    never: int

    def plain(self) -> dict[str, Any]:
        """Return it as plain values."""
        stages = {name: asdict(stage) | {"behind": stage.behind} for name, stage in self.stages.items()}
        return asdict(self) | {"stages": stages}


@dataclass
class Recent:
    """What a ledger says of the last minute: (time in seconds, records, quarantined) of each batch."""

    batches: deque[tuple[float, int, int]] = field(default_factory=deque)

    def add(self, at: float, counts: Mapping[str, int]) -> None:
        """Add a batch."""
        self.batches.append((at, sum(counts.values()), counts.get("quarantined", 0)))

    def rate(self, now: float) -> tuple[float, float | None]:
        """Return records a second, and the part that was refused (None where there was nothing)."""
        while self.batches and self.batches[0][0] < now - WINDOW:
            self.batches.popleft()
        records = sum(count for _, count, _ in self.batches)
        refused = sum(count for _, _, count in self.batches)
        return records / WINDOW, refused / records if records else None


class Top:
    """Looks again and again at `kafka`; `positions(topic, partition)` is how far the tables are.

    A node is silent when its last record is older than `silent` seconds.
    """

    def __init__(self, kafka: str, positions: Callable[[str, int], int], silent: float) -> None:
        self._kafka, self._positions, self._silent = kafka, positions, silent
        self._probe, self._reader = Probe(kafka), consumer(kafka, committed=False)
        self._stable = consumer(kafka)
        self._admin = KafkaAdminClient(bootstrap_servers=kafka, reconnect_backoff_max_ms=RECONNECT_MS)
        self._ledgers = {stage: Tail(kafka, f"ledger.{stage}", back=BACK) for stage in ("refine", "merge")}
        self._recent = {stage: Recent() for stage in self._ledgers}

    def look(self) -> Now:
        """Return how it stands. Unreachable where Kafka or the store does not answer."""
        with answering(self._kafka):
            return self._look()

    def _look(self) -> Now:
        names = sorted(name for name in self._reader.topics() if not name.startswith("__"))
        ends = self._probe.ends(names)
        rates = self._rates()
        raw = [place for place in ends if place[0].startswith("raw.")]
        stages = {
            "refine": StageNow(rates["refine"][0], self._lag("refine", raw, ends)),
            "merge": StageNow(rates["merge"][0], self._lag("merge", [p for p in ends if p[0] == "accepted"], ends)),
            "sink": StageNow(None, self._behind(ends, _tabled(ends), lambda place: self._positions(*place))),
            "receipts": StageNow(None, self._behind(ends, raw, self._receipted)),
        }
        last = self._last_times([place for place in raw if ends[place]])
        ages = {topic.removeprefix("raw."): int(time.time() - at) for topic, at in last.items()}
        silent = {node: age for node, age in sorted(ages.items()) if age > self._silent}
        return Now(stages, rates["refine"][1], self._open(ends), silent, sum(1 for p in raw if not ends[p]))

    def _rates(self) -> dict[str, tuple[float, float | None]]:
        for stage, tail in self._ledgers.items():
            while entries := tail.some(1_000, wait_ms=100):
                for entry in entries:
                    self._recent[stage].add(entry.timestamp / 1000, _counts(entry))
        return {stage: recent.rate(time.time()) for stage, recent in self._recent.items()}

    def _lag(self, stage: str, places: list[Place], ends: Mapping[Place, int]) -> dict[str, int]:
        wanted = [TopicPartition(*place) for place in places]
        found = self._admin.list_group_offsets({f"tocsin.{stage}": wanted})[f"tocsin.{stage}"]
        committed = {(tp.topic, tp.partition): max(int(value.offset), 0) for tp, value in found.items()}
        return self._behind(ends, places, lambda place: committed.get(place, 0))

    def _behind(
        self, ends: Mapping[Place, int], places: Iterable[Place], position: Callable[[Place], int]
    ) -> dict[str, int]:
        """Return the offsets still to go by lane, without lanes that have gone all the way."""
        found = {}
        for place in places:
            if not ends[place]:
                continue
            at = position(place)
            if at < ends[place] - NEAR or not self._probe.passed(place, at, ends[place]):
                found[f"{place[0]}-{place[1]}"] = ends[place] - at
        return found

    def _receipted(self, place: Place) -> int:
        given = last_receipt(self._kafka, place[0].removeprefix("raw."))
        return given["end"] if given else 0

    def _open(self, ends: Mapping[Place, int]) -> dict[str, int]:
        """Return, by partition, how many offsets lie behind the last stable one."""
        stable = self._stable.end_offsets([TopicPartition(*place) for place in ends])
        gaps = {f"{tp.topic}-{tp.partition}": ends[tp.topic, tp.partition] - end for tp, end in stable.items()}
        return {name: gap for name, gap in sorted(gaps.items()) if gap > 0}

    def _last_times(self, places: list[Place]) -> dict[str, float]:
        """Return when the last record of each topic was written, UTC seconds."""
        wanted = {TopicPartition(*place): end for place, end in self._probe.ends([p[0] for p in places]).items()}
        self._reader.assign(list(wanted))
        for place, end in wanted.items():
            self._reader.seek(place, end - 1)
        found: dict[str, float] = {}
        until = time.monotonic() + 10
        while len(found) < len(wanted) and time.monotonic() < until:
            for record in _flat(self._reader.poll(timeout_ms=200)):
                found[record.topic] = record.timestamp / 1000
        return found

    def close(self) -> None:
        """Let go of the broker."""
        for client in (self._probe, self._reader, self._stable, self._admin, *self._ledgers.values()):
            client.close()


def _counts(entry: Entry) -> Mapping[str, int]:
    """Return what became of a batch's records, by a record of a ledger; of a base, or what asks for one, nothing."""
    one = read(entry.offset, entry.value or b"") if entry.key != ASK else None
    return one.counts if one and not one.base else {}


def _tabled(ends: Mapping[Place, int]) -> list[Place]:
    return [place for place in ends if place[0].startswith("hub.") or place[0] == "quarantine"]


def _flat(polled: Mapping[Any, list[Any]]) -> Iterator[Any]:
    return (record for records in polled.values() for record in records)
