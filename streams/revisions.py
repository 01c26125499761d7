"""Events that revise an incident or are about a referral: read, judged, and followed through its life, in their order.

One that comes before a version that it follows waits for it; the event that brings the last that it needs releases it. So
what becomes of it does not depend on how the log is cut into batches, nor on which of both came first.
"""

from collections import ChainMap, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from heapq import heapify, heappop, heappush
from typing import TypeAlias, cast

import numpy as np

from schemas.columns import Columns, compile  # noqa: A004
from schemas.consent import Consent
from schemas.errors import Quarantines
from schemas.keyring import Keyring
from schemas.lifecycle import ID, entries
from schemas.limits import NUMBERS
from schemas.released import latest
from streams import dedupe, referrals
from streams.base import Records
from streams.bodies import Judged, Opener, day, incidents, read
from streams.dedupe import FAR, FORKED, NEW, REPEATED, Hashes, Verdicts
from streams.envelopes import REFERRALS, RETRACTION, Envelopes
from streams.lives import NOBODY, Kind, Life, Revision, Turn, begin, follow
from streams.names import Longs
from streams.refined import Refined
from streams.reported import States, told
from streams.waiting import MOST, Waits

REPLACED = 64  # versions that one event may take the place of
VERSIONS: tuple[Kind, ...] = ("IncidentAmended", "IncidentVerified", "ConsentGiven")
RETRACTIONS: tuple[Kind, ...] = ("IncidentRetracted",)
Known: TypeAlias = Callable[[Longs, Hashes, int], Verdicts]


@dataclass(frozen=True, eq=False)
class Past:
    """What a lane knows of its node: `lives` by incident, what is `waiting` by offset, and how reports came.

    `known` tells of events, by number and hash, what they are of those before a row of the batch: NEW has not come, FORKED
    never will. `withdrawn` has the case that each row of the batch withdraws.
    """

    lives: dict[bytes, Life]
    waiting: Mapping[int, Waits]
    withdrawn: Mapping[int, bytes]
    known: Known
    reported: Callable[[Longs], States]


@dataclass(frozen=True, eq=False)
class Sent:
    """Records of a node with their envelopes, and the rows of them that revise an incident or are about a referral."""

    records: Records
    found: Envelopes
    rows: Longs


@dataclass(frozen=True, eq=False)
class Event:
    """One event: the row of `sent` that it is, and the row of the columns that hold its body."""

    sent: Sent
    place: int
    columns: Columns
    row: int

    @property
    def offset(self) -> int:
        """Return its place in the log."""
        return int(self.sent.records.offsets[self.place])

    def text(self, name: str) -> str:
        """Return a coded field, "" where the contract has none of that name."""
        known = name in self.columns.layout.columns
        return self.columns.symbols(name)[int(self.columns.ints(name)[self.row])] if known else ""

    def day(self, name: str) -> date:
        """Return a date, or the day of a time."""
        return day(self.columns, self.row, name)

    def octets(self, name: str) -> bytes:
        """Return a field of bytes."""
        return self.columns.octets(self.row, self.columns.spans(name))

    def named(self, what: str) -> tuple[bytes, int]:
        """Return id and number of the event that reported an `incident` or made a `referral`."""
        return self.octets(f"{what}_id"), int(self.columns.ints(f"{what}_number")[self.row])

    def enclosed(self, name: str) -> bytes:
        """Return an id of its envelope: `event` or `case`."""
        found = self.sent.found
        return found.data[slice(*getattr(found, name)[self.place])].tobytes()


@dataclass(frozen=True, eq=False)
class Followed:
    """An event that was allowed: as a revision, and what it did."""

    event: Event
    revision: Revision
    turn: Turn


@dataclass(frozen=True, eq=False)
class Revised:
    """What the revisions of a batch come to.

    `followed` by offset, bodies `judged` and those about referrals, `referred`, the `lives` that changed, what is `waiting`
    anew, and which offsets wait no longer.
    """

    followed: dict[int, Followed] = field(default_factory=dict)
    judged: list[tuple[Sent, Judged]] = field(default_factory=list)
    referred: list[tuple[Sent, Judged]] = field(default_factory=list)
    lives: dict[bytes, Life] = field(default_factory=dict)
    waiting: dict[int, Waits] = field(default_factory=dict)
    released: set[int] = field(default_factory=set)


def revise(waited: Sent | None, now: Sent, new: Longs, keyring: Keyring, opened: Opener, past: Past) -> Revised:
    """Follow the revisions of a batch, and those that waited for what it brings; `new` int64[k] are its new rows.

    Reasons of those that are refused go to their envelopes.
    """
    revised = Revised()
    both = (waited, now) if waited else (now,)
    events = {event.offset: event for sent in both for event in _events(sent, keyring, opened, revised)}
    if waited:
        revised.released.update(waited.records.offsets[waited.found.refused].tolist())  # their key is gone
    course = _Course(past, revised, events)
    for row in _moments(now, new, past, course.waits).tolist():
        course.turn(now, row)
    return revised


def needed(waiting: Mapping[int, Waits]) -> Longs:
    """Return the numbers of the events that others wait for, int64[k]."""
    return np.array([number for each in waiting.values() for _, number in each.needs], np.int64)


def lacking(state: Refined, waits: Waits) -> tuple[int, ...]:
    """Return the numbers of the events that have to come for one that waits, also for those that it waits for."""
    asleep = {each.number: each for each in state.waiting.values()}
    found, seen, todo = set[int](), set[int](), [waits]
    while todo:
        numbers, hashes = _named(todo.pop())
        verdicts = dedupe.look(state.seen, numbers, hashes)
        found.update(numbers[verdicts == NEW].tolist())
        further = asleep.keys() & set(numbers.tolist()) - seen
        seen |= further
        todo += [asleep[number] for number in further]
    return tuple(sorted(found))


def _events(sent: Sent, keyring: Keyring, opened: Opener, revised: Revised) -> Iterator[Event]:
    """Yield the events whose bodies can be read and break no rule."""
    found = sent.found
    kinds = found.kind[sent.rows]
    retracting, referring = kinds == RETRACTION, np.isin(kinds, REFERRALS)
    for each in incidents(found, sent.rows[~retracting & ~referring], keyring, opened, VERSIONS):
        revised.judged.append((sent, each))
        for row, place in zip(each.rows.tolist(), each.records.tolist(), strict=True):
            yield Event(sent, place, each.columns, row)
    for places, columns in read(found, sent.rows[retracting], keyring, opened, RETRACTIONS):
        yield from _readable(sent, places, columns)
    for places, columns in read(found, sent.rows[referring], keyring, opened, referrals.CONTRACTS):
        rows = np.arange(len(places))
        revised.referred.append((sent, Judged(columns.layout.release, columns, rows, places)))
        yield from _readable(sent, places, columns)


def _readable(sent: Sent, places: Longs, columns: Columns) -> Iterator[Event]:
    for row in np.flatnonzero(~sent.found.refused[places]).tolist():
        yield Event(sent, int(places[row]), columns, row)


def _moments(now: Sent, new: Longs, past: Past, waits: Mapping[int, Waits]) -> Longs:
    """Return the rows of the batch with which something may happen: revisions, what one needs, withdrawals; ascending."""
    happens = np.isin(now.found.sequence[new], needed(waits)) | np.isin(new, [*now.rows.tolist(), *past.withdrawn])
    return np.sort(new[happens])


class _Course:
    """The events of a batch as they come, one after another, and what waits: by offset, by number, by what is needed."""

    def __init__(self, past: Past, revised: Revised, events: Mapping[int, Event]) -> None:
        self.past, self.revised, self.events = past, revised, events
        came = {offset: _waits(event) for offset, event in events.items() if offset not in past.waiting}
        self.waits = {**past.waiting, **came}
        self.waiting: dict[int, Waits] = {}
        self.asleep: set[int] = set()
        self.needing: dict[int, set[int]] = defaultdict(set)
        for each in past.waiting.values():
            if each.offset not in revised.released:
                self._sleep(each)

    def turn(self, now: Sent, row: int) -> None:
        """Go on with a row of the batch: follow it or let it wait, drop what its withdrawal ends, release what it brings."""
        come = [int(now.found.sequence[row])]
        event = self.events.get(int(now.records.offsets[row]))
        if event is not None and event.sent is now:
            self._come(event)
        if case := self.past.withdrawn.get(row):
            come += [self._wake(each.offset).number for each in [*self.waiting.values()] if each.case == case]
        self._release(row, come)

    def _come(self, event: Event) -> None:
        """Follow an event, or have it wait for what it follows."""
        waits = self.waits[event.offset]
        verdict = self._verdict(waits, event.place)
        if verdict == NEW and len(self.waiting) < MOST:
            self.revised.waiting[event.offset] = waits
            self._sleep(waits)
        else:
            self._settle(event, verdict)

    def _release(self, row: int, come: Iterable[int]) -> None:
        """Settle all that waited for what has come with a row, and what waited for those; the first that came first."""
        ready = [offset for number in come for offset in self.needing[number]]
        heapify(ready)
        while ready:
            waits = self.waiting.get(heappop(ready))
            verdict = self._verdict(waits, row + 1) if waits and waits.offset in self.events else NEW
            if waits and verdict != NEW:
                self._wake(waits.offset)
                self._settle(self.events[waits.offset], verdict)
                for offset in self.needing[waits.number]:
                    heappush(ready, offset)

    def _sleep(self, waits: Waits) -> None:
        self.waiting[waits.offset] = waits
        self.asleep.add(waits.number)
        for _, number in waits.needs:
            self.needing[number].add(waits.offset)

    def _wake(self, offset: int) -> Waits:
        """Let an event wait no longer."""
        waits = self.waiting.pop(offset)
        self.asleep.discard(waits.number)
        for _, number in waits.needs:
            self.needing[number].discard(offset)
        self.revised.released.add(offset)
        return waits

    def _verdict(self, waits: Waits, before: int) -> int:
        """Return REPEATED where all that an event follows came before a row and none of it waits, FORKED where it never will."""
        numbers, hashes = _named(waits)
        verdicts = self.past.known(numbers, hashes, before)
        if np.isin(verdicts, (FORKED, FAR)).any() or numbers.max(initial=0) >= waits.number:
            return FORKED
        return NEW if not self.asleep.isdisjoint(numbers.tolist()) or (verdicts == NEW).any() else REPEATED

    def _settle(self, event: Event, verdict: int) -> None:
        """Follow an event that can be followed; refuse it where what it follows is not there, or it is not allowed."""
        try:
            key, one = _revision(event, self.waits[event.offset], verdict)
            life = self._life(event, key, one)
            turn = Turn(life, speaks=True, ended=()) if one.kind == referrals.MADE else follow(life, one)
        except Quarantines as refusal:
            event.sent.found.add(event.place, [refusal.reason])
        else:
            self.revised.lives[key] = turn.life
            self.revised.followed[event.offset] = Followed(event, one, turn)

    def _life(self, event: Event, key: bytes, one: Revision) -> Life:
        """Return the life that an event goes on with, or begins; Quarantines where the incident is another case's."""
        case, lives = self.waits[event.offset].case, ChainMap(self.revised.lives, self.past.lives)
        incident, life = lives.get(event.octets("incident_id")), lives.get(key)
        referring = one.kind in referrals.CONTRACTS
        if any(each and each.case != case for each in (incident, life)):
            raise Quarantines("revision.other_incident")
        if one.kind == referrals.MADE:
            return begin(case, key, one.state)
        if referring and not (life and life.of_referral):
            raise Quarantines("referral.unknown")
        if life and life.of_referral != referring:
            raise Quarantines("revision.other_incident")
        if life is None:
            number = event.columns.ints("incident_number")[[event.row]]
            return begin(case, key, *_reported(int(self.past.reported(number)[0])))
        return life


def _waits(event: Event) -> Waits:
    """Return an event as one that waits for all that it names; for nothing where it names no version that it has to."""
    kind, named = event.columns.layout.release.name, [event.named("incident")]
    replaced = _replaced(event) if kind != referrals.MADE else ()
    named += [event.named("referral")] if kind == referrals.FOLLOWED_UP else []
    number, value = int(event.sent.found.sequence[event.place]), event.sent.records.values.item(event.place)
    needs = (*named, *replaced) if replaced or kind == referrals.MADE else ()
    return Waits(event.offset, number, event.enclosed("event"), event.enclosed("case"), needs, value)


def _named(waits: Waits) -> tuple[Longs, Hashes]:
    """Return the numbers of the events that another one follows, int64[k], and the hashes of their ids, uint32[k]."""
    ids = np.frombuffer(b"".join(event_id for event_id, _ in waits.needs), np.uint8)
    numbers = np.array([number for _, number in waits.needs], np.int64)
    return numbers, dedupe.hashes(ids, np.arange(0, len(ids), ID))


def _replaced(event: Event) -> Sequence[tuple[bytes, int]]:
    """Return the versions that an event takes the place of, the newest last; none where that cannot be read or be."""
    try:
        found = sorted(entries(event.octets("replaces")), key=lambda entry: entry[1])
    except ValueError:
        return ()
    return found if len(found) <= REPLACED and all(1 <= number < NUMBERS for _, number in found) else ()


def _revision(event: Event, waits: Waits, verdict: int) -> tuple[bytes, Revision]:
    """Return whose life an event goes on with, and the event; Quarantines where it names no version, or one not there."""
    if not waits.needs:
        raise Quarantines("revision.replaces")
    if verdict != REPEATED:
        raise Quarantines("revision.unknown_version")
    if event.columns.layout.release.name in referrals.CONTRACTS:
        return _about_referral(event, waits)
    (incident_id, _), *replaced = waits.needs
    return incident_id, Revision(
        cast(Kind, event.columns.layout.release.name),
        waits.event_id,
        tuple(event_id for event_id, _ in replaced),
        event.text("incident.verification"),
        event.text("step") or "unspecified",
        event.octets("verifier") if "verifier" in event.columns.layout.columns else NOBODY,
        event.text("incident.sharing_scope"),
        _consent(event),
    )


def _about_referral(event: Event, waits: Waits) -> tuple[bytes, Revision]:
    """Return the id of a referral, and what an event says of it; Quarantines where that cannot be recorded."""
    outcome = referrals.judged(event.columns, event.row)
    if event.columns.layout.release.name == referrals.MADE:
        return waits.event_id, Revision("ReferralMade", waits.event_id, (), outcome)
    _, (referral_id, _), *replaced = waits.needs
    ids = tuple(event_id for event_id, _ in replaced)
    return referral_id, Revision("ReferralFollowedUp", waits.event_id, ids, outcome)


def _consent(event: Event) -> Consent | None:
    """Return what an event says of a consent, None where it is about none."""
    if "given_on" not in event.columns.layout.columns:
        return None
    basis, scope = (event.text(f"incident.sharing_{name}") for name in ("basis", "scope"))
    return Consent(basis, scope, event.day("given_on"), event.day("incident.occurred_on"), event.day("recorded_at"))


def _reported(state: int) -> tuple[str, str]:
    """Return the state of verification and the audience of a report."""
    columns, (verification, scope) = compile(latest("Incident")).columns, told(state)
    return columns["verification"].symbols[verification], columns["sharing_scope"].symbols[scope]
