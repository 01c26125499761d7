"""Facts become events of this node: numbered, sealed, written in groups."""

import os
import secrets
import time
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from types import TracebackType
from typing import Any, Self

from pipeline.node import keys
from pipeline.node.handover import owning
from pipeline.node.journal import NO_DIGEST, Entry, Journal
from pipeline.node.keys import Case
from pipeline.node.known import FUTURE
from pipeline.node.node import Node, load
from schemas import seal
from schemas.assessments import VERDICTS
from schemas.errors import BadInput
from schemas.released import Release, latest, releases
from schemas.rows import write
from schemas.wire import single_object
from schemas.withdrawals import CONSENT, stating

GROUP = 500
ABOUT_NO_CASE = frozenset({
    *("PatternObserved", "IndicatorObserved", "AccessRestricted", "NodePresence"),
    *("CommitmentMade", "CommitmentReviewed", "NodeHandedOver"),
    *VERDICTS,
})  # fmt: skip


def now() -> int:
    """Return the time, UTC milliseconds."""
    return time.time_ns() // 1_000_000


def today() -> date:
    """Return the day, UTC."""
    return datetime.fromtimestamp(now() / 1000, UTC).date()


class NotRecorded(BadInput):
    """What cannot be recorded; `reason` is the code of the first reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def decided_on(on: date | None, now: date) -> date:
    """Return the day of a decision or consent, `now` where none is given; one day of slack, since east of Greenwich it begins earlier."""
    if on and on > now + timedelta(days=1):
        raise NotRecorded(FUTURE, "The day that you give lies in the future: correct it.")
    return on or now


class Ids:
    """UUIDv7 (RFC 9562, section 5.7): each larger than the one before, also when the clock stands or goes back."""

    def __init__(self) -> None:
        self._last = 0

    def new(self, milliseconds: int) -> bytes:
        """Return 16 bytes: time in 48 bits, version, 12 random bits, variant, 62 random bits."""
        number = milliseconds << 74 | secrets.randbits(74)
        if number <= self._last:
            number = self._last + 1 + secrets.randbits(32)
        self._last = number
        high = number >> 62
        bits = (high >> 12) << 80 | 0x7 << 76 | (high & 0xFFF) << 64 | 0b10 << 62 | number & (1 << 62) - 1
        return bits.to_bytes(16, "big")


class Recorder:
    """Takes events one by one and writes them to the journal in groups; what was not flushed is not recorded.

    BadInput where the node was handed over to somebody else.
    """

    def __init__(self, node: Node, journal: Journal, clock: Callable[[], int] = now) -> None:
        owning.check(node.folder, journal)
        self.node, self.journal, self._clock = load(node.folder), journal, clock  # the epoch, now that none can begin
        self._ids = Ids()
        self._epoch_secret = self.node.secret(f"epoch-{self.node.epoch}")
        self._entries: list[Entry] = []
        self._keys: list[tuple[bytes, bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.flush()

    def record(self, kind: str, body: dict[str, Any], digest: bytes = NO_DIGEST) -> bytes:
        """Add one event and return its id; `recorded_at` is set here. Quarantines where the contract forbids a value.

        An event about a case gets a new case with a key of its own.
        """
        plain = self._plain(kind, body)
        case = None if kind in ABOUT_NO_CASE else self._new_case()
        return self._record(kind, plain, case, digest)

    def follow(self, case: Case, kind: str, body: dict[str, Any], digest: bytes = NO_DIGEST) -> bytes:
        """Add one event about a case that was recorded before, sealed under the key that it has; return its id."""
        return self._record(kind, self._plain(kind, body), case, digest)

    def take_over(self, case: Case, kind: str, body: dict[str, Any]) -> bytes:
        """Add one event about a case that this node could not open until now, and its key with it; return its id."""
        self._keys.append(keys.of_case(self.node.epoch, self._epoch_secret, case))
        return self.follow(case, kind, body)

    def withdraw(self, case_ref: bytes, incidents: Sequence[bytes], cause: str = CONSENT) -> bytes:
        """Add the withdrawal of a case, which names the ids of its incidents, and its key's tombstone; return its id."""
        moment, release = self._clock(), stating(cause)
        said = {"recorded_at": moment, "scope": "all", "incidents": b"".join(incidents)}
        body = write(release, said if cause == CONSENT else {**said, "cause": cause})
        event_id, sequence = self._next(moment)
        self._keys.append(keys.tombstone(case_ref))
        self._add(release, event_id, sequence, case_ref, body)
        return event_id

    def _plain(self, kind: str, body: dict[str, Any]) -> tuple[int, bytes]:
        """Return the moment and the body in clear."""
        moment = self._clock()
        return moment, write(latest(kind), {"recorded_at": moment, **body})

    def _new_case(self) -> Case:
        case = Case(os.urandom(16), seal.new_case_key())
        self._keys.append(keys.of_case(self.node.epoch, self._epoch_secret, case))
        return case

    def _record(self, kind: str, plain: tuple[int, bytes], case: Case | None, digest: bytes = NO_DIGEST) -> bytes:
        """Add one event, sealed where it is about a case."""
        (moment, body), release = plain, latest(kind)
        event_id, sequence = self._next(moment)
        if case:
            body = self._sealed(release, event_id, sequence, case, body)
        self._add(release, event_id, sequence, case.ref if case else None, body, digest)
        return event_id

    def _sealed(self, release: Release, event_id: bytes, sequence: int, case: Case, body: bytes) -> bytes:
        return seal.seal_body(
            case.key,
            body_schema=release.fingerprint,
            event_id=event_id,
            case_ref=case.ref,
            sequence=sequence,
            node=self.node.code,
            body=body,
        )

    def _next(self, moment: int) -> tuple[bytes, int]:
        """Return the id and the number of the next event."""
        return self._ids.new(moment), self.journal.last + len(self._entries) + 1

    def _add(
        self,
        release: Release,
        event_id: bytes,
        sequence: int,
        case_ref: bytes | None,
        body: bytes,
        digest: bytes = NO_DIGEST,
    ) -> None:
        envelope = {
            "event_id": event_id,
            "node": self.node.code,
            "sequence": sequence,
            "kind": release.name,
            "case_ref": case_ref,
            "body_schema": release.fingerprint,
            "body": body,
        }
        around = _envelope(release.name)
        self._entries.append(Entry(sequence, digest, single_object(around, write(around, envelope))))
        if len(self._entries) >= GROUP:
            self.flush()

    def flush(self) -> None:
        """Write what was added, safe on the disk."""
        entries, records = self._entries, self._keys
        self._entries, self._keys = [], []
        if entries:
            self.journal.append(entries, records)


@cache
def _envelope(kind: str) -> Release:
    """Return the first release of the envelope that names a kind: a hub of then reads it."""
    known = (release for release in releases() if release.name == "Envelope")
    return next(release for release in known if kind in _kinds(release))


def _kinds(release: Release) -> tuple[str, ...]:
    [kind] = (field["type"] for field in release.schema["fields"] if field["name"] == "kind")
    return tuple(kind["symbols"])
