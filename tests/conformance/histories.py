"""Random lives of incidents as a hub's topic tells them, and a plain model of what the tables then hold.

What one change brings (its row, its links, the closures of what it replaces) comes in any order, with events of other
incidents between; but a row comes before what closes it.
"""

import random
from datetime import timedelta

from tests.conformance.hub_events import (
    DAY,
    assessment,
    closure,
    duplicate,
    incident,
    link,
    octets,
    pattern,
    referral,
    removal,
    revision,
)

LATER = ("consent_given", "followed_up")


def day(number):
    return DAY + timedelta(days=number)


def changed(version):
    """What made a version; nothing the one that was reported."""
    return None if version is None else ("amended", "verified", "consent_given")[version % 3]


def hexed(number):
    return None if number is None else octets(number).hex()


class History:
    """`log` is the topic's: event by offset, with gaps; `tables` are those of the whole log."""

    def __init__(self, seed, size=40):
        self.chance = random.Random(seed)
        self.log, self.offset, self.today, self.versions = {}, 0, 700, 1000
        names = ("versions", "incidents", "referrals", "assessments", "patterns", "duplicates", "links")
        self.tables = {name: {} for name in names}
        self.shown, self.conflicts, self.waiting, self.told, self.referred = {}, {}, {}, [], {}
        while self.offset < size:
            self.step()
        for number in self.waiting:
            while self.waiting[number]:
                self.put(*self.waiting[number].pop(0))

    def put(self, event, apply=None):
        """An event comes; now and then a transaction's marker takes the next offset."""
        self.log[self.offset] = event
        self.offset += 1 + (self.chance.random() < 0.1)
        if apply:
            apply()

    def step(self):
        self.today += self.chance.randrange(3) == 0
        waiting = [number for number, events in self.waiting.items() if events]
        if waiting and self.chance.random() < 0.6:
            self.put(*self.waiting[self.chance.choice(waiting)].pop(0))
            return
        free = [number for number in self.shown if not self.waiting[number]]
        if not free or self.chance.random() < 0.25:
            self.shares(len(self.shown))
        else:
            actions = [
                self.amends,
                self.amends,
                self.refers,
                self.assesses,
                self.conflicts_with,
                self.retracts,
                self.removes,
            ]
            self.chance.choice(actions)(self.chance.choice(free))

    def shares(self, number):
        self.shown[number], self.conflicts[number], self.waiting[number] = None, [], []
        self.told.append((self.today, number, None))
        self.row(number, None, current=True)
        self.put(*self.linked(number, None))
        self.put(pattern(number + 500), lambda: self.tables["patterns"].update({hexed(number + 500): True}))
        others = [
            each for each in self.shown if each != number and self.shown[each] != "none" and not self.waiting[each]
        ]
        if others:
            self.put(*self.paired(self.chance.choice(others), number))

    def row(self, number, version, *, current, later=False):
        """A row of a version comes now, or in its turn."""
        women, recorded = self.chance.randrange(4), self.today
        change = changed(version)
        scope = "headquarters" if change == "consent_given" else "hub"
        values = {"women": women, "recorded_on": day(recorded), "sharing_scope": scope, "change": change}
        if version is None:
            event = incident(number, recorded, women=women)
        else:
            event = revision(
                number, version, current, recorded, change, self.release(change), women=women, sharing_scope=scope
            )
        key = hexed(number), hexed(version)

        def apply():
            more = {} if current else {"ended_on": None, "ending": None, "conflict": True}
            self.tables["incidents" if current else "versions"][key] = values | more

        self.waiting[number].append((event, apply)) if later else self.put(event, apply)

    def linked(self, number, version):
        key = hexed(number), hexed(version), hexed(number + 500)
        release = 1 if version is None and self.chance.random() < 0.5 else 0
        return link(number, version, number + 500, release), lambda: self.tables["links"].update({key: True})

    def paired(self, first, second):
        versions = self.shown[first], self.shown[second]
        key = hexed(first), hexed(versions[0]), hexed(second), hexed(versions[1])
        release = 1 if versions == (None, None) and self.chance.random() < 0.5 else 0
        event = duplicate(first, second, versions, release)
        return event, lambda: self.tables["duplicates"].update({key: True})

    def amends(self, number):
        """A new version takes the place of the shown one, and of those in conflict with it."""
        if self.shown[number] == "none":
            return
        self.versions += 1
        olds = [self.shown[number], *(self.conflicts[number] if self.chance.random() < 0.7 else [])]
        self.row(number, self.versions, current=True, later=True)
        self.waiting[number] += [self.closed(number, old, changed(self.versions)) for old in olds]
        self.chance.shuffle(self.waiting[number])
        self.waiting[number].append(self.linked(number, self.versions))
        self.shown[number] = self.versions
        self.conflicts[number] = [each for each in self.conflicts[number] if each not in olds]
        self.told.append((self.today, number, self.versions))

    def refers(self, number):
        """A survivor is referred to a service, or somebody asks what became of that."""
        if self.shown[number] == "none":
            return
        self.versions += 1
        made, last = self.referred.get(number, (self.versions, None))
        outcome = "pending" if last is None else "service_ongoing"
        key = hexed(number), hexed(self.versions), hexed(made)
        event = referral(number, self.versions, made, outcome)
        self.waiting[number].append((event, lambda: self.tables["referrals"].update({key: {"outcome": outcome}})))
        self.waiting[number] += [] if last is None else [self.closed(number, last, "followed_up")]
        self.chance.shuffle(self.waiting[number])
        self.referred[number] = made, self.versions

    def assesses(self, number):
        """Another node says what it thinks of an incident, also of one that is retracted."""
        if hexed(number) not in {key[0] for name in ("incidents", "versions") for key in self.tables[name]}:
            return
        self.versions += 1
        key, verdict = (hexed(number), hexed(self.versions)), self.chance.choice(("corroborated", "disputed"))
        event = assessment(number, self.versions, verdict, self.versions)
        self.put(event, lambda: self.tables["assessments"].update({key: {"verdict": verdict}}))

    def conflicts_with(self, number):
        if self.shown[number] == "none":
            return
        self.versions += 1
        self.row(number, self.versions, current=False)
        self.conflicts[number].append(self.versions)

    def retracts(self, number):
        if self.shown[number] == "none":
            return
        self.waiting[number].append(self.closed(number, self.shown[number], "did_not_occur"))
        self.shown[number] = "none"
        self.told.append((self.today, number, "none"))

    def removes(self, number):
        """Consent is withdrawn: nothing is told of the incident any more."""
        self.shown[number] = "none"
        self.told = [each for each in self.told if each[1] != number]
        gone = hexed(number)

        def apply():
            for name, rows in self.tables.items():
                kept = {key: row for key, row in rows.items() if name == "patterns" or gone not in key[::2]}
                self.tables[name] = kept

        self.put(removal(number), apply)

    def closed(self, number, version, ending):
        key, ended = (hexed(number), hexed(version)), self.today
        event = closure(number, version, ended, ending, self.release(ending))

        def apply():
            says = {"ended_on": day(ended), "ending": ending}
            if key in self.tables["versions"]:
                self.tables["versions"][key] |= says
            if key in self.tables["incidents"]:
                self.tables["versions"][key] = self.tables["incidents"].pop(key) | says | {"conflict": False}
            for name, pairs in (
                ("links", ((0, 1),)),
                ("referrals", ((0, 1),)),
                ("duplicates", ((0, 1), (2, 3))),
            ):
                rows = self.tables[name]
                self.tables[name] = {
                    each: row for each, row in rows.items() if key not in [(each[a], each[b]) for a, b in pairs]
                }

        return event, apply

    def release(self, change):
        """The newest release of a contract, or by chance the first, which knew of neither consent nor referral."""
        return 1 if change not in LATER and self.chance.random() < 0.3 else 0

    def as_of(self, number):
        """The version of each incident that was the current one at the end of a day."""
        found = {}
        for when, each, version in self.told:
            if when <= number:
                found[hexed(each)] = version
        return {each: hexed(version) for each, version in found.items() if version != "none"}


def keyed(records):
    """Rows of tables as the model has them."""
    names = {
        "versions": ("incident_id", "version_id"),
        "incidents": ("incident_id", "version_id"),
        "referrals": ("incident_id", "version_id", "referral_id"),
        "assessments": ("incident_id", "assessment_id"),
        "patterns": ("pattern_id",),
        "duplicates": ("first_id", "first_version", "second_id", "second_version"),
        "links": ("incident_id", "version_id", "pattern_id"),
    }
    shown = {"incidents": ["women", "recorded_on", "sharing_scope", "change"]}
    shown["referrals"], shown["assessments"] = ["outcome"], ["verdict"]
    shown["versions"] = [*shown["incidents"], "ended_on", "ending", "conflict"]
    found = {}
    for name, rows in records.items():
        keys = [tuple(row[each] for each in names[name]) for row in rows]
        assert len(set(keys)) == len(keys), f"{name} has a row twice"
        values = [{each: row[each] for each in shown[name]} if name in shown else True for row in rows]
        found[name] = dict(zip([key[0] if len(key) == 1 else key for key in keys], values, strict=True))
    return found
