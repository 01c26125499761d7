"""A case has exactly one owner at each moment, whatever is offered, answered, killed, copied or given again."""

import shutil
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.node import node as nodes
from pipeline.node import withdrawing
from pipeline.node.journal import Journal, Reader
from pipeline.node.transfer import giving, standing, taking
from schemas.errors import BadInput, NotSetUp
from tests.unit.pipeline.node.crashing import killed_at
from tests.unit.pipeline.node.transfer.moves import (
    STEPS,
    YESTERDAY,
    A,
    B,
    C,
    amended,
    arrived,
    kinds,
    left,
    made,
    moving,
    newest,
    receipted,
    records_on,
)

ACTIONS = (
    "offer",
    "cancel",
    "accept",
    "refuse",
    "answer",
    "complete",
    "sync",
    "release",
    "take",
    "amend",
    "tell",
    "way",
    "withdraw",
)
NEVER = 0


@dataclass
class World:
    """`a` has the case of event 1; `others` are two nodes and a second folder under the name of the first; papers are all that were written."""

    a: nodes.Node
    others: list[nodes.Node]
    offers: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    cancellations: list[str] = field(default_factory=list)
    cases: list[str] = field(default_factory=list)
    facts: dict = field(default_factory=dict)

    def do(self, action, which, kill=NEVER):
        self.facts = newest(self.a, 1) if records_on(self.a, 1) else self.facts
        with killed_at(kill), suppress(BadInput, NotSetUp):
            getattr(self, action)(which)

    def offer(self, which):
        with Journal(self.a.journal) as journal:
            self.offers.append(giving.offer(self.a, journal, 1, self._other(which).code, YESTERDAY).note)

    def cancel(self, which):
        with Journal(self.a.journal) as journal:
            self.cancellations.append(giving.cancellation(self.a, giving.cancel(self.a, journal, 1)))

    def accept(self, which):
        node = self._other(which)
        self.answers.append(taking.accept(node, Reader(node.journal), self._one(self.offers, which)).answer_note)

    def refuse(self, which):
        node = self._other(which)
        offered = self._one(self.offers, which)
        self.answers.append(taking.refuse(node, Reader(node.journal), offered, "no_capacity").answer_note)

    def answer(self, which):
        giving.answer(self.a, self._one(self.answers, which))

    def tell(self, which):
        taking.cancelled(self._other(which), self._one(self.cancellations, which))

    def complete(self, which):
        with Journal(self.a.journal) as journal:
            giving.complete(self.a, journal, 1)

    def sync(self, which):
        receipted(self.a)

    def release(self, which):
        self.cases.append(giving.release(self.a, Reader(self.a.journal), 1))

    def take(self, which):
        with Journal(self._other(which).journal) as journal:
            taking.take(self._other(which), journal, self._one(self.cases, which))

    def amend(self, which):
        amended(self.a, 1, women=2 + which % 50)

    def withdraw(self, which):
        """A survivor takes her consent back, which is rare."""
        with Journal(self.a.journal) as journal:
            if which == 0:
                withdrawing.withdraw(self.a, journal, [1], lambda _: None)

    def way(self, which):
        """Go as far as it goes."""
        for step in ("offer", "accept", "answer", "complete", "sync", "release"):
            self.do(step, which)

    def check(self):
        """Nobody but the owner can record, and nobody has what another has."""
        with Journal(self.a.journal):
            pass  # what a crash has left is settled when the folder is opened
        having = [number for node in self.others for number in arrived(node)]
        owners = [node for node in self.others if any(records_on(node, number) for number in arrived(node))]
        if left(self.a, 1):
            assert not records_on(self.a, 1)
            assert len(owners) == len(having) <= (left(self.a, 1) == "handed_over")
        else:
            assert having == []
            assert records_on(self.a, 1) or self.begun()

    def begun(self):
        """Return whether the key is destroyed and no event says so yet: the case is the first node's, who ends what it began."""
        values = Reader(self.a.journal).keys()
        return (
            b"" in values.values() and [one.state for one in standing.every(self.a, Reader(self.a.journal))][-1:] != []
        )

    def finish(self):
        """Go to the end of what was begun; return the nodes that can record on the case then."""
        self.do("complete", 0)
        if not records_on(self.a, 1):
            self.do("withdraw", 0)  # where that was cut off, it is ended
        if left(self.a, 1) == "handed_over":
            self.do("sync", 0)
            self.release(0)
            for which in range(len(self.others)):
                for _ in range(2):
                    node = self.others[which]
                    with Journal(node.journal) as journal, suppress(BadInput):
                        taking.take(node, journal, self.cases[-1])
        found = [(node, number) for node in self.others for number in arrived(node)]
        return [node for node in (self.a,) if records_on(node, 1)], found

    def _other(self, which):
        return self.others[which % len(self.others)]

    def _one(self, papers, which):
        if not papers:
            raise BadInput("No such paper was written.")
        return papers[-1 - which // len(self.others) % len(papers)]


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nodes")
    moving(folder)
    made(folder, C)
    made(folder / "copy", B)
    return folder


def world(template, folder):
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder)
    return World(nodes.load(folder / A), [nodes.load(folder / name) for name in (B, C, f"copy/{B}")])


STEP = st.tuples(st.sampled_from(ACTIONS), st.integers(0, 11), st.just(NEVER) | st.integers(1, 14))


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(STEP, max_size=24))
@pytest.mark.timeout(120)
def test_one_node_has_the_case_at_each_moment_and_at_the_end_what_the_first_one_had(template, tmp_path_factory, steps):
    found = world(template, tmp_path_factory.getbasetemp() / "world")
    for action, which, kill in steps:
        found.do(action, which, kill)
        found.check()
    first, others = found.finish()
    assert len(first) + len(others) == (left(found.a, 1) != "consent")
    for node, number in others:
        assert left(found.a, 1) == "handed_over"
        assert newest(node, number) == found.facts
    found.check()


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.timeout(120)
def test_killed_at_any_durable_write_a_step_is_done_again_and_the_case_has_one_owner(template, tmp_path, step):
    for count in range(1, 100):
        found = world(template, tmp_path / "world")
        for each in STEPS[: STEPS.index(step)]:
            getattr(found, each)(0)
        found.facts = newest(found.a, 1) if records_on(found.a, 1) else found.facts
        with killed_at(count) as waits, suppress(BadInput, NotSetUp):
            getattr(found, step)(0)
        found.check()
        for each in STEPS[STEPS.index(step) :]:
            with suppress(BadInput):
                getattr(found, each)(0)
            found.check()
        first, [(node, number)] = found.finish()
        assert (first, node, left(found.a, 1)) == ([], found.others[0], "handed_over")
        assert newest(node, number)["women"] == 2
        assert kinds(node) == ["IncidentReported", "ConsentGiven", "ReferralMade"]
        assert not list((node.folder / "transfers").glob("*.key"))
        if len(waits) < count:
            break
    assert count > 1 or step == "release"
