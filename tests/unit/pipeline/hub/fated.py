"""A seeded log of one node, and a model that says what became of each number by going through it event by event."""

import random
from dataclasses import dataclass, field
from datetime import date

from tests.unit.streams.raw import amendment, identity, incident, pattern, retraction, withdrawal

SOURCES = ("mission_monitoring", "service_provider", "civil_society")
YEAR = {"period_start": date(2021, 1, 1), "period_end": date(2021, 12, 31)}
CASES = range(1, 40)  # have keys


@dataclass(frozen=True)
class Event:
    """One event: of a case, `of` is the number of its report; `salt` sets two events of one number apart."""

    number: int
    kind: str
    case: int = 0
    of: int = 0
    replaced: frozenset = frozenset()
    reasons: tuple = ()
    salt: int = 0
    women: int = 1
    source: str = SOURCES[0]

    @property
    def id(self):
        return identity(self.number, self.salt)

    def record(self):
        """Return it as its node sends it."""
        facts = {"women": self.women, "source_kind": self.source}
        if self.kind == "report":
            return incident(self.number, self.case, facts, event_id=self.id)
        if self.kind == "pattern":
            areas = {"areas": []} if self.reasons else {}
            return pattern(self.number, {**YEAR, **areas}, event_id=self.id)
        if self.kind == "withdrawal":
            return withdrawal(self.number, self.case, [self.of])
        if self.kind == "retraction":
            return retraction(self.number, self.case, self.replaced, of=self.of)
        return amendment(self.number, self.case, self.replaced, facts, of=self.of)


class Maker:
    """Makes a log: events in the order of their arrival, among them bytes that are no event of the node."""

    def __init__(self, seed):
        self.rng, self.number, self.log, self.late = random.Random(seed), 0, [], []
        self.cases, self.versions = iter(CASES), {}

    def make(self, count):
        for _ in range(count):
            self.step()
        self.log += self.rng.sample(self.late, len(self.late) // 2)  # the others never come
        return self.log

    def step(self):
        draw, rng = self.rng.random(), self.rng
        came = [each for each in self.log if isinstance(each, Event)]
        if draw < 0.06 and came:
            self.log.append(rng.choice(came))
        elif draw < 0.09 and came:
            self.log.append(Event(rng.choice(came).number, "pattern", salt=9))
        elif draw < 0.12:
            self.number += rng.randrange(1, 4)
        elif draw < 0.15:
            self.log.append(rng.choice((b"", b"junk", incident(1, node="OTHER"))))
        elif draw < 0.22 and self.late:
            self.log.append(self.late.pop(rng.randrange(len(self.late))))
        else:
            self.number += 1
            (self.late if rng.random() < 0.15 else self.log).append(self.event(self.number))

    def event(self, number):
        rng, draw = self.rng, self.rng.random()
        if draw < 0.5 and self.versions:
            return self.revision(number, rng.choice(list(self.versions)))
        if draw < 0.54 and self.versions:
            case = rng.choice(list(self.versions))
            return Event(number, "withdrawal", case, self.versions[case][0])
        case = next(self.cases, None) if draw < 0.85 else None
        wrong = rng.random() < 0.15
        if case is None:
            return Event(number, "pattern", reasons=("pattern.areas_missing",) if wrong else ())
        self.versions[case] = [number]
        reasons = ("incident.persons_none",) if wrong else ()
        return Event(number, "report", case, number, (), reasons, women=int(not wrong), source=rng.choice(SOURCES))

    def revision(self, number, case):
        """Return an event that follows the newest version, or any: so it meets others in conflict, or comes before them."""
        versions, rng = self.versions[case], self.rng
        some = rng.sample(versions, rng.randrange(1, min(3, len(versions)) + 1))
        replaced = frozenset(some if rng.random() < 0.5 else versions[-1:])
        kind = "retraction" if rng.random() < 0.15 else "amendment"
        of, women = versions[0], rng.randrange(1, 5)
        versions.append(number)
        return Event(number, kind, case, of, replaced, women=women, source=rng.choice(SOURCES))


@dataclass
class Model:
    """What became of each number: `events` that came first with it, and how the incidents stand, by the report's number."""

    events: dict = field(default_factory=dict)
    forked: set = field(default_factory=set)
    withdrawn: set = field(default_factory=set)
    waiting: dict = field(default_factory=dict)
    refused: dict = field(default_factory=dict)
    heads: dict = field(default_factory=dict)
    versions: dict = field(default_factory=dict)
    speaks: dict = field(default_factory=dict)

    def take(self, event):
        """Take the next record of the log."""
        if not isinstance(event, Event):
            return
        if event.number in self.events:
            self.forked |= {event.number} if event.salt != self.events[event.number].salt else set()
            return
        self.events[event.number] = event
        if event.kind == "withdrawal":
            self.withdrawn.add(event.case)
            self.waiting = {n: needs for n, needs in self.waiting.items() if self.events[n].case != event.case}
        elif event.reasons:
            self.refused[event.number] = event.reasons
        elif event.replaced and event.case not in self.withdrawn:
            self.waiting[event.number] = {event.of, *event.replaced}
        while ready := [n for n, needs in self.waiting.items() if needs <= self.events.keys() - self.waiting.keys()]:
            del self.waiting[ready[0]]
            self.follow(self.events[ready[0]])

    def follow(self, event):
        heads = self.heads.setdefault(event.of, {event.of})
        versions, speaks = self.versions.setdefault(event.of, {event.of}), self.speaks.setdefault(event.of, event.of)
        if event.kind == "retraction" and heads - event.replaced:
            self.refused[event.number] = ("revision.not_newest",)
            return
        versions.add(event.number)
        self.heads[event.of] = heads - event.replaced | {event.number}
        self.speaks[event.of] = event.number if speaks in event.replaced else speaks

    def fate(self, number):
        """Return (fate, kind, details, forked) of a number."""
        if number not in self.events:
            return "missing", "", (), False
        event = self.events[number]
        return *self.became(event), number in self.forked

    def became(self, event):
        number, kind, of = event.number, event.kind, event.of
        if event.case in self.withdrawn and kind != "withdrawal":
            return "withdrawn", kind, ()
        if number in self.refused:
            return "refused", kind, self.refused[number]
        if number in self.waiting:
            return "waiting", kind, tuple(map(str, sorted(self.lacking(number))))[:8]
        if number in self.versions.get(of, ()) and self.speaks[of] != number:
            return ("in_conflict" if number in self.heads[of] else "replaced"), kind, (str(self.speaks[of]),)
        return "accepted", kind, ()

    def lacking(self, number):
        """Return the numbers that have to come, also for those that it waits for."""
        found = set()
        for need in self.waiting[number]:
            found |= self.lacking(need) if need in self.waiting else {need} - self.events.keys()
        return found
