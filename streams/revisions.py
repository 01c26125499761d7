"""Events that revise an incident, on their way to `accepted`: read, judged, and followed through the incident's life.

A version goes to its area as a whole. What it ends is told to every partition, as a withdrawal is: the area of the version
before is sealed, and may be another one.
"""

from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from schemas.build import Part, Spans, encode, part
from schemas.columns import Blob, Columns, compile  # noqa: A004
from schemas.errors import Quarantines
from schemas.keyring import Keyring
from schemas.lifecycle import entries
from schemas.released import latest
from schemas.wire import confluent_prefix
from streams import dedupe
from streams.accepted import TOPIC, revision_output
from streams.base import Output
from streams.bodies import Judged, Opener, incidents, read
from streams.dedupe import Hashes
from streams.envelopes import KINDS, RETRACTION, Envelopes
from streams.lives import NOBODY, SHARED, Kind, Life, Revision, Turn, begin, follow
from streams.match import QUARTERLY, last_days
from streams.names import Longs
from streams.reported import States

ID = 16
VERSIONS: tuple[Kind, ...] = ("IncidentAmended", "IncidentVerified")
RETRACTIONS: tuple[Kind, ...] = ("IncidentRetracted",)
FOUND = {"not_in_scope": "out_of_scope"}  # a state of verification, as the ending that it means
Known: TypeAlias = Callable[[Longs, Hashes, int], NDArray[np.bool_]]


@dataclass(frozen=True)
class Past:
    """What a lane knows of its node: `lives` by incident, and how reports came.

    `known` tells of events, by number and hash, which came before a record of the batch.
    """

    lives: dict[bytes, Life]
    known: Known
    reported: Callable[[Longs], States]


@dataclass(frozen=True, eq=False)
class _Event:
    """One event: the `record` of the batch that it is, and the row of the columns that hold its body."""

    record: int
    columns: Columns
    row: int

    def text(self, name: str) -> str:
        """Return a coded field, "" where the contract has none of that name."""
        known = name in self.columns.layout.columns
        return self.columns.symbols(name)[int(self.columns.ints(name)[self.row])] if known else ""

    def octets(self, name: str) -> bytes:
        """Return a field of bytes."""
        return self.columns.octets(self.row, self.columns.spans(name))


@dataclass(frozen=True, eq=False)
class Followed:
    """An event that was allowed: as a revision, and what it did."""

    event: _Event
    revision: Revision
    turn: Turn


@dataclass(frozen=True, eq=False)
class Revised:
    """What the revisions of a batch come to: `followed` by record, bodies `judged`, the `lives` that changed."""

    followed: dict[int, Followed]
    judged: list[Judged]
    lives: dict[bytes, Life]


NOTHING = Revised({}, [], {})


def revise(found: Envelopes, records: Longs, keyring: Keyring, opened: Opener, past: Past) -> Revised:
    """Follow the revisions `records` int64[k] in their order; reasons of those that are refused go to `found`."""
    retracting = found.kind[records] == RETRACTION
    judged = incidents(found, records[~retracting], keyring, opened, VERSIONS)
    retracted = read(found, records[retracting], keyring, opened, RETRACTIONS)
    lives: dict[bytes, Life] = {}
    now, followed = ChainMap(lives, past.lives), dict[int, Followed]()
    for event in sorted(_events(found, judged, retracted), key=lambda one: one.record):
        try:
            incident_id, one = _revision(found, event, past)
            turn = follow(_life(found, event, incident_id, now, past), one)
        except Quarantines as refusal:
            found.add(event.record, [refusal.reason])
            continue
        lives[incident_id], followed[event.record] = turn.life, Followed(event, one, turn)
    return Revised(followed, judged, lives)


def _events(found: Envelopes, judged: list[Judged], retracted: list[tuple[Longs, Columns]]) -> Iterator[_Event]:
    for each in judged:
        for row, record in zip(each.rows.tolist(), each.records.tolist(), strict=True):
            yield _Event(record, each.columns, row)
    for records, columns in retracted:
        for row in np.flatnonzero(~found.refused[records]).tolist():
            yield _Event(int(records[row]), columns, row)


def _revision(found: Envelopes, event: _Event, past: Past) -> tuple[bytes, Revision]:
    """Return which incident an event is about, and the event; Quarantines where it names what its node has not sent before."""
    incident_id, number = event.octets("incident_id"), int(event.columns.ints("incident_number")[event.row])
    try:
        replaced = sorted(entries(event.octets("replaces")), key=lambda entry: entry[1])
    except ValueError:
        replaced = []
    if not replaced:
        raise Quarantines("revision.replaces")
    named = [(incident_id, number), *replaced]
    ids = np.frombuffer(b"".join(one for one, _ in named), np.uint8)
    hashes = dedupe.hashes(ids, np.arange(0, len(ids), ID))
    if not past.known(np.array([each for _, each in named], np.int64), hashes, event.record).all():
        raise Quarantines("revision.unknown_version")
    return incident_id, Revision(
        _kind(found, event.record),
        found.data[slice(*found.event[event.record])].tobytes(),
        tuple(one for one, _ in replaced),
        event.text("incident.verification"),
        event.text("step") or "unspecified",
        event.octets("verifier") if "verifier" in event.columns.layout.columns else NOBODY,
    )


def _kind(found: Envelopes, record: int) -> Kind:
    name = KINDS[int(found.kind[record])]
    return next(kind for kind in (*VERSIONS, *RETRACTIONS) if kind == name)


def _life(found: Envelopes, event: _Event, incident_id: bytes, lives: Mapping[bytes, Life], past: Past) -> Life:
    """Return the life that an event goes on with; Quarantines where the incident is another case's."""
    case = found.data[slice(*found.case[event.record])].tobytes()
    life = lives.get(incident_id)
    if life is None:
        number = event.columns.ints("incident_number")[[event.row]]
        return begin(case, incident_id, _states()[int(past.reported(number)[0])])
    if life.case != case:
        raise Quarantines("revision.other_incident")
    return life


def _states() -> tuple[str, ...]:
    return compile(latest("Incident")).columns["verification"].symbols


def _shared(revised: Revised) -> Iterator[tuple[Judged, list[Followed]]]:
    """Yield, release by release, the versions that the regions are to have."""
    for each in revised.judged:
        some = [revised.followed[record] for record in each.records.tolist() if record in revised.followed]
        chosen = [one for one in some if one.revision.state in SHARED]
        if chosen:
            rows, records = ([getattr(one.event, name) for one in chosen] for name in ("row", "record"))
            judged = Judged(each.release, each.columns, np.array(rows, np.int64), np.array(records, np.int64))
            yield judged, chosen


def revised_output(found: Envelopes, revised: Revised, node: str, count: int) -> list[Output]:
    """Return a RevisionAccepted for each version that the regions are to have, then a VersionEnded for each that ends."""
    versions = [
        revision_output(found, judged, _of_versions(judged, chosen), node, count) for judged, chosen in _shared(revised)
    ]
    return [*versions, *_ended_output(revised, node, count)]


def _of_versions(judged: Judged, chosen: list[Followed]) -> dict[str, Part]:
    """Return what a version has beside an incident."""
    columns, rows = judged.columns, judged.rows
    verified = judged.release.name == "IncidentVerified"
    values: dict[str, Part] = {
        "incident_id": part(columns, "incident_id", rows),
        "current": np.array([one.turn.speaks for one in chosen], np.int64),
        "change": "verified" if verified else "amended",
    }
    if not verified:
        return {**values, "step": "unspecified", "verified_on": None, "late_verification": False}
    days = columns.ints("verified_on")[rows]
    happened = last_days(columns.ints("incident.occurred_on")[rows], columns.ints("incident.date_precision")[rows])
    late = days > last_days(happened, np.full(len(rows), QUARTERLY))
    step = part(columns, "step", rows)
    return {**values, "step": step, "verified_on": days, "late_verification": late.astype(np.int64)}


def _ended_output(revised: Revised, node: str, count: int) -> tuple[Output, ...]:
    """Return a VersionEnded for each version that came to its end, for each of `count` partitions; nothing for none."""
    ended = [(version, one) for one in revised.followed.values() for version in one.turn.ended]
    if not ended:
        return ()
    release, layout = latest("VersionEnded"), compile(latest("VersionEnded"))
    symbols = layout.columns["ending"].symbols
    times = [int(one.event.columns.ints("recorded_at")[one.event.row]) for _, one in ended]
    ids = Blob.of([version for version, _ in ended] * count)
    values: dict[str, Part] = {
        "event_id": Spans.of(ids),
        "node": node,
        "ended_at": np.array(times * count, np.int64),
        "ending": np.array([symbols.index(_ending(one)) for _, one in ended] * count, np.int64),
    }
    partitions = np.repeat(np.arange(count, dtype=np.int32), len(ended))
    return (Output(TOPIC, partitions, ids, encode(layout, len(ids), values, confluent_prefix(release))),)


def _ending(one: Followed) -> str:
    """Return what an event means to the version that it ends."""
    if one.revision.kind == "IncidentRetracted":
        return one.event.text("reason")
    state = one.revision.state
    if state not in SHARED:
        return FOUND.get(state, state)
    return "amended" if one.revision.kind == "IncidentAmended" else "verified"
