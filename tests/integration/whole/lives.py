"""Incidents of two nodes that go on from step to step, each on a later day, and the tables as they stood after each."""

import random
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import pytest

from pipeline.log import ends, read
from pipeline.node import record, revising, withdrawing
from pipeline.node.journal import Journal, Reader
from pipeline.node.record import Recorder
from pipeline.node.revising import Decision
from pipeline.node.sync import sync
from pipeline.receipts.given import last_receipt
from schemas import seal
from schemas.rows import read as read_row
from schemas.wire import unframe
from tests.integration.whole.conftest import INCIDENT, PATTERN
from tests.integration.whole.rig import REGION, rows, send, until

NODES = ["SYN-1", "SYN-2"]
FIRST = date(2024, 6, 1)


class Lives:
    """A case is (node, number and id of its report). `kept` has the tables of each step, and when the last record had come."""

    def __init__(self, whole, seed):
        self.whole, self.chance, self.steps = whole, random.Random(seed), 0
        self.cases, self.going_on, self.withdrawn, self.kept = [], [], [], []
        self.keys = {node: {} for node in NODES}

    @property
    def day(self):
        return FIRST + timedelta(days=5 * self.steps)

    def step(self):
        """Report, revise and withdraw; then have an amendment come before the report that it follows."""
        self.steps += 1
        with pytest.MonkeyPatch.context() as patch:
            noon = datetime(*self.day.timetuple()[:3], 12, tzinfo=UTC).timestamp()
            patch.setattr(record, "time", SimpleNamespace(time_ns=lambda: int(noon * 1e9)))
            for node in NODES:
                self.report(node, 5)
            for case in self.chance.sample(self.going_on, 6):
                self.chance.choice([self.amend, self.amend, self.disagree, self.verify, self.retract])(case)
            if self.steps > 1:
                for case in self.chance.sample(self.cases, 2):
                    self.withdraw(case)
            for node in NODES:
                sync(self.whole.reporters[node], self.whole.kafka)
            self.comes_early()
        self.keep()

    def journal(self, node):
        return Journal(self.whole.reporters[node].journal)

    def report(self, node, count):
        with self.journal(node) as journal, Recorder(self.whole.reporters[node], journal) as recorder:
            for number in range(journal.last + 1, journal.last + 1 + count):
                facts = {"women": self.chance.randrange(1, 5), "country": self.chance.choice(["COD", "CAF", "UGA"])}
                case = (node, number, recorder.record("IncidentReported", {"incident": INCIDENT | facts}))
                self.cases.append(case)
                self.going_on.append(case)
            recorder.record("PatternObserved", {"pattern": PATTERN})

    def amend(self, case, seen=()):
        node, number, _ = case
        with self.journal(node) as journal:
            revising.amend(self.whole.reporters[node], journal, number, {"women": self.chance.randrange(5, 99)}, seen)
            return journal.last

    def disagree(self, case):
        """Two persons amend an incident, of whom the second has seen the report alone."""
        self.amend(case)
        self.amend(case, [case[1]])

    def verify(self, case):
        node, number, _ = case
        decision = Decision("verified", "focal_point", "A. Name", primary=1)
        with self.journal(node) as journal:
            revising.verify(self.whole.reporters[node], journal, number, decision)
        self.going_on.remove(case)

    def retract(self, case):
        node, number, _ = case
        with self.journal(node) as journal:
            revising.retract(self.whole.reporters[node], journal, number, "duplicate")
        self.going_on.remove(case)

    def withdraw(self, case):
        node, number, _ = case
        with self.journal(node) as journal:
            self.keys[node] |= {key: value for _, key, value in journal.key_records() if value}
            withdrawing.withdraw(self.whole.reporters[node], journal, [number], lambda _: None)
        self.cases.remove(case)
        self.withdrawn.append(case)
        if case in self.going_on:
            self.going_on.remove(case)

    def comes_early(self):
        """Send an amendment, and not the report that it follows: that goes with the next step."""
        self.report("SYN-2", 1)
        number = self.amend(self.cases[-1])
        reader = Reader(self.whole.reporters["SYN-2"].journal)
        [amended] = [entry.envelope for entry in reader.read() if entry.sequence == number]
        *_, (_, key, value) = reader.key_records()
        send(self.whole.kafka, [("keys.SYN-2", key, value), ("raw.SYN-2", b"", amended)])

    def keep(self):
        """Keep the tables when all that was sent is in them."""
        until(lambda: all(map(self.receipted, NODES)))
        tables = {name: rows(self.whole, name).to_dicts() for name in ("incidents", "versions")}
        last = max(entry.timestamp for node in NODES for entry in read(self.whole.kafka, f"raw.{node}", from_end=1))
        self.kept.append((tables, last))

    def receipted(self, node):
        """All of a node's topic is in the tables."""
        found = last_receipt(self.whole.kafka, node)
        return found and found["end"] == ends(self.whole.kafka, f"raw.{node}")[f"raw.{node}"]

    def case_ref(self, case):
        node, number, _ = case
        entries = Reader(self.whole.reporters[node].journal).read()
        return next(read_row(*unframe(e.envelope))["case_ref"] for e in entries if e.sequence == number)

    def minted(self, case):
        """The id of the incident in its region."""
        return seal.mint(self.whole.secrets[REGION], case[2]).hex()
