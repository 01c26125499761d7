"""What must become of each raw record: the contract in a few lines, folded over the log in its order."""

import json
import sqlite3
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.chaos.oracle.book import plain

INCIDENT, PATTERN, WITHDRAWAL, RETRACTION = (
    "IncidentReported",
    "PatternObserved",
    "ConsentWithdrawn",
    "IncidentRetracted",
)
REVISIONS = ("IncidentAmended", "IncidentVerified", "ConsentGiven", RETRACTION)
REFERRALS = MADE, FOLLOWED_UP = "ReferralMade", "ReferralFollowedUp"
SHARED = ("report_pending_verification", "verified")
DECLINED, NO_REFERRAL, LATER = "referral.declined", "referral.unknown", "referral.not_newest"
UNKNOWN, NOT_NEWEST, FORKED = "revision.unknown_version", "revision.not_newest", "envelope.sequence_forked"


# Incidents, versions and referrals that were accepted and whose withdrawal counts: it names them, and came after them.
GONE = """
INSERT OR IGNORE INTO gone
SELECT w.event_id, v.incident FROM withdrawals w
  JOIN raw r ON r.topic=w.topic AND r.offset=w.offset AND r.expected='consent_withdrawn'
  JOIN (SELECT topic, event_id, offset, incident FROM versions WHERE accepted UNION ALL
        SELECT topic, event_id, offset, incident FROM referred) v
    ON v.topic=w.topic AND v.event_id=w.event_id AND v.offset<w.offset"""


class Record(NamedTuple):
    """One raw record."""

    topic: str
    part: int
    offset: int
    digest: bytes
    event_id: bytes | None
    sequence: int
    kind: str
    case: bytes | None


@dataclass
class Body:
    """What the generator says that a sealed body says of an incident: which versions it is to take the place of."""

    incident: bytes
    number: int
    replaced: list[tuple[bytes, int]]
    recorded: int
    more: dict[str, Any]

    @property
    def shared(self) -> bool:
        """Return whether regions are to have it: an incident that was taken back, or found to be none, they are not."""
        return self.more.get("state") in SHARED

    @property
    def ending(self) -> str:
        """Return what it means to a version whose place it takes."""
        if "reason" in self.more:
            return str(self.more["reason"])
        if self.shared:
            return str(self.more["change"])
        return "out_of_scope" if self.more["state"] == "not_in_scope" else "did_not_occur"


@dataclass
class Life:
    """The versions of an incident that nothing has replaced, which of all are shared, and the one that speaks."""

    heads: set[bytes]
    shared: set[bytes]
    speaks: bytes


@dataclass
class Sayings:
    """What was said of a referral: the outcomes by event, and the event that said the last."""

    outcomes: dict[bytes, str]
    last: bytes


@dataclass
class Lane:
    """What has come from one node so far."""

    numbers: dict[int, bytes] = field(default_factory=dict)
    done: set[bytes] = field(default_factory=set)
    withdrawn: set[bytes | None] = field(default_factory=set)
    lives: dict[bytes, Life] = field(default_factory=dict)
    referrals: dict[bytes, Sayings] = field(default_factory=dict)
    referred: list[tuple[Any, ...]] = field(default_factory=list)
    waiting: dict[int, tuple[Record, Body]] = field(default_factory=dict)
    taken: list[tuple[int, str, Record]] = field(default_factory=list)
    versions: list[tuple[Any, ...]] = field(default_factory=list)
    ended: list[tuple[bytes, str, int]] = field(default_factory=list)


def fold(book: sqlite3.Connection) -> None:
    """Write the expected outcome beside each raw record, and what must become of each version of an incident."""
    known = {
        (topic, digest): json.loads(refused)
        for topic, digest, refused in book.execute("SELECT topic, digest, refused FROM t.events")
    }
    bodies = _bodies(book)
    lanes: dict[str, Lane] = {}
    out = []
    query = (
        "SELECT topic, part, offset, digest, event_id, sequence, kind, case_ref FROM raw ORDER BY topic, part, offset"
    )
    for record in map(Record._make, book.execute(query)):
        lane, name = lanes.setdefault(record.topic, Lane()), (record.topic, record.digest)
        refused = known.get(name)
        outcome, reasons = ("unknown", []) if refused is None else _outcome(lane, record, refused, bodies.get(name))
        first = outcome not in ("repeated", "forked", "unknown")
        out.append((outcome, first, json.dumps(reasons), record.topic, record.part, record.offset))
        _release(lane, record)
    book.executemany("UPDATE raw SET expected=?, first=?, reasons=? WHERE topic=? AND part=? AND offset=?", out)
    for lane in lanes.values():
        taken = [
            (at, json.dumps([reason] if reason else []), r.topic, r.part, r.offset) for at, reason, r in lane.taken
        ]
        book.executemany("UPDATE raw SET taken=?, reasons=? WHERE topic=? AND part=? AND offset=?", taken)
        book.executemany("INSERT INTO versions VALUES(?,?,?,?,?,?,?)", lane.versions)
        book.executemany("INSERT INTO referred VALUES(?,?,?,?,?,?)", lane.referred)
        book.executemany("INSERT INTO ended VALUES(?,?,?)", lane.ended)
    book.execute(GONE)
    book.commit()


def _bodies(book: sqlite3.Connection) -> dict[tuple[str, bytes], Body]:
    found = {}
    query = "SELECT topic, digest, incident, number, replaced, recorded, more FROM t.revisions"
    for topic, digest, incident, number, replaced, recorded, more in book.execute(query):
        named = [(bytes.fromhex(event_id), at) for event_id, at in json.loads(replaced)]
        found[topic, digest] = Body(incident, number, named, recorded, json.loads(more))
    return found


def _outcome(lane: Lane, record: Record, refused: list[str], body: Body | None) -> tuple[str, list[str]]:
    """Return what becomes of a record, and the reasons of its quarantine."""
    event_id = record.event_id
    if event_id is None:
        return "quarantined", refused
    if lane.numbers.setdefault(record.sequence, event_id) != event_id:
        return "forked", [FORKED]
    if event_id in lane.done:
        return "repeated", []
    lane.done.add(event_id)
    if record.kind == WITHDRAWAL:
        lane.withdrawn.add(record.case)
        lane.waiting = {at: one for at, one in lane.waiting.items() if one[0].case != record.case}
        return "consent_withdrawn", []
    if record.kind in (INCIDENT, *REVISIONS, *REFERRALS) and record.case in lane.withdrawn:
        return "withdrawn", []
    if refused:
        return "quarantined", refused
    if body is not None:
        if not _hopeless(lane, record, body) and not _came(lane, body):
            lane.waiting[record.offset] = record, body
            return "waiting", []
        reason = _revised(lane, record, body, record.offset)
        return ("quarantined", [reason]) if reason else ("accepted" if record.kind in REFERRALS else "revised", [])
    if record.kind == INCIDENT:
        lane.versions.append((event_id, record.topic, record.offset, event_id, True, True, plain()))
    return "accepted", []


def _release(lane: Lane, record: Record) -> None:
    """Go on with what waited for a record, and with what waited for that; of several the one that came first."""
    while ready := [at for at, (r, body) in lane.waiting.items() if _hopeless(lane, r, body) or _came(lane, body)]:
        waited, body = lane.waiting.pop(min(ready))
        lane.taken.append((record.offset, _revised(lane, waited, body, record.offset), waited))


def _revised(lane: Lane, record: Record, body: Body, at: int) -> str:
    """Go on with an incident's life; return the reason where what is named is not there, or stands that is to be gone.

    What a rule has refused has come all the same, and may be named. Nobody takes the place of a version that she has
    not named: where that one speaks for the incident, the new one stands beside it, in conflict.
    """
    event_id = record.event_id
    assert event_id is not None
    if _hopeless(lane, record, body):
        return UNKNOWN
    if record.kind in REFERRALS:
        return _referred(lane, record, body, at)
    replaced = {event_id for event_id, _ in body.replaced}
    life = lane.lives.get(body.incident) or Life({body.incident}, {body.incident}, body.incident)
    if record.kind == RETRACTION and life.heads - replaced:
        return NOT_NEWEST
    lane.lives[body.incident] = life
    for version in replaced & life.heads & life.shared:
        lane.ended.append((version, body.ending, body.recorded))
    speaks = life.speaks in replaced
    life.heads = life.heads - replaced | {event_id}
    life.speaks = event_id if speaks else life.speaks
    if body.shared:
        life.shared.add(event_id)
    lane.versions.append((event_id, record.topic, at, body.incident, body.shared, speaks, _more(body)))
    return ""


def _referred(lane: Lane, record: Record, body: Body, at: int) -> str:
    """Go on with a referral, of which `replaced` names the first and the last event; return why that cannot be."""
    event_id = record.event_id
    assert event_id is not None
    referral = event_id
    if record.kind == FOLLOWED_UP:
        (referral, _), (last, _) = body.replaced
        said = lane.referrals.get(referral)
        if said is None:
            return NO_REFERRAL
        if said.outcomes.get(last, said.outcomes[said.last]) == "declined":
            return DECLINED
        if last != said.last:
            return LATER
        lane.ended.append((last, "followed_up", body.recorded))
        said.outcomes[event_id], said.last = body.more["outcome"], event_id
    else:
        lane.referrals[event_id] = Sayings({event_id: body.more["outcome"]}, event_id)
    lane.referred.append((event_id, record.topic, at, body.incident, referral, plain(**body.more)))
    return ""


def _named(body: Body) -> list[tuple[bytes, int]]:
    return [(body.incident, body.number), *body.replaced]


def _hopeless(lane: Lane, record: Record, body: Body) -> bool:
    """Return whether one of the events that it names can never come: its number is another's, or not before its own."""
    return any(
        not 1 <= number < record.sequence or lane.numbers.get(number, event_id) != event_id
        for event_id, number in _named(body)
    )


def _came(lane: Lane, body: Body) -> bool:
    """Return whether each of the events that it names came, and waits for nothing itself."""
    asleep = {record.sequence for record, _ in lane.waiting.values()}
    return all(lane.numbers.get(number) == event_id and number not in asleep for event_id, number in _named(body))


def _more(body: Body) -> str:
    """Return what is said of a version beside its facts; nothing of one that no region is to have."""
    if not body.shared:
        return plain()
    step = None if body.more["step"] == "unspecified" else body.more["step"]
    said = {name: body.more[name] for name in ("change", "verified_on", "late")}
    return plain(**said, step=step)
