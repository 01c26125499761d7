"""Nodes between which a case goes in one process: each step as its command takes it, and who can record on the case."""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from pipeline.node import envelopes, receipts, referring, revising, sent, versions
from pipeline.node import node as nodes
from pipeline.node.journal import Journal, Reader
from pipeline.node.receipts import Receipted
from pipeline.node.record import today
from pipeline.node.sent import Sent
from pipeline.node.transfer import boxes, giving, records, standing, taking
from schemas import seal
from schemas.errors import BadInput
from schemas.rows import read
from schemas.wire import unframe
from tests.unit.pipeline.node.revised import report

A, B, C = "MONUSCO", "MINUSCA", "UNMISS"
CONSENT, PUBLIC = {"sharing_basis": "informed_consent"}, {"sharing_basis": "public_information"}
YESTERDAY = today() - timedelta(days=1)


def made(folder: Path, code: str):
    return nodes.create(folder / code, code, "great-lakes", seal.region_pair()[0])


@dataclass
class Moving:
    """A case of `a`, its event `number`, that goes to `b`; the last paper of each kind lies on the table between them."""

    a: nodes.Node
    b: nodes.Node
    number: int = 1
    on: date | None = YESTERDAY
    offered: str = ""
    answered: str = ""
    given: str = ""

    def offer(self):
        with Journal(self.a.journal) as journal:
            self.offered = giving.offer(self.a, journal, self.number, self.b.code, self.on).note
        return self.offered

    def cancel(self):
        with Journal(self.a.journal) as journal:
            return giving.cancellation(self.a, giving.cancel(self.a, journal, self.number))

    def accept(self):
        self.answered = taking.accept(self.b, Reader(self.b.journal), self.offered).answer_note
        return self.answered

    def refuse(self, reason="no_capacity"):
        self.answered = taking.refuse(self.b, Reader(self.b.journal), self.offered, reason).answer_note
        return self.answered

    def answer(self):
        return giving.answer(self.a, self.answered)

    def complete(self):
        with Journal(self.a.journal) as journal:
            return giving.complete(self.a, journal, self.number)

    def sync(self):
        receipted(self.a)

    def release(self):
        self.given = giving.release(self.a, Reader(self.a.journal), self.number)
        return self.given

    def take(self):
        with Journal(self.b.journal) as journal:
            return taking.take(self.b, journal, self.given)

    def through(self, last="take"):
        """Go through all steps up to one; return what that one gives."""
        for step in STEPS[: STEPS.index(last) + 1]:
            done = getattr(self, step)()
        return done

    def states(self):
        """Return how the offers stand, at both nodes."""
        return [[one.state for one in standing.every(node, Reader(node.journal))] for node in (self.a, self.b)]


STEPS = ("offer", "accept", "answer", "complete", "sync", "release", "take")


def moving(folder, **facts):
    """Return two nodes of which the first has a case by consent (event 1), amended (2), with an open referral (3) and one that is not (4, 5)."""
    a, b = made(folder, A), made(folder, B)
    report(a, 1, **{**CONSENT, **facts})
    amended(a, 1, women=2)
    with Journal(a.journal) as journal:
        referring.refer(a, journal, 1, "medical", YESTERDAY)
        referring.refer(a, journal, 1, "legal", YESTERDAY)
        referring.follow_up(a, journal, 4, "service_received")
    return Moving(a, b)


def amended(node, number, **changes):
    with Journal(node.journal) as journal:
        return revising.amend(node, journal, number, changes)


def receipted(node, through=None, missing=(), refused=None):
    last = Reader(node.journal).mark.last if through is None else through
    sent.write(node, Sent(events=last, keys=0, end=last))
    receipts.write(node, Receipted(0, last, last, missing, {}, refused or {}))


def history(node, number):
    return versions.history(node, Reader(node.journal), number)


def newest(node, number):
    """Return the facts of the newest version of an incident."""
    found = history(node, number)
    return found.versions[found.heads[-1]].body["incident"]


def records_on(node, number):
    """Return whether a node can record about the case of an event, as of now."""
    try:
        return bool(number) and history(node, number).case is not None
    except BadInput:
        return False


def arrived(node):
    """Return the numbers of the events that reported what came to a node by an offer."""
    digests = {boxes.digest_of(node, record.offer) for record in records.every(node) if not record.case_ref}
    return [entry.sequence for entry in Reader(node.journal).read() if entry.digest in digests]


def left(node, number):
    """Return why the log of a node has forgotten the case of an event, "" where it has not."""
    return envelopes.why_withdrawn(envelopes.of_event(node, Reader(node.journal), number))


def kinds(node):
    """Return the kinds of all events of a node."""
    return [read(*unframe(entry.envelope))["kind"] for entry in Reader(node.journal).read()]
