import json
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.node import node as nodes
from pipeline.node import receipts, revising, versions, withdrawing
from pipeline.node.entries import Damaged
from pipeline.node.journal import Journal
from pipeline.node.receipts import Receipted
from pipeline.node.record import Recorder
from pipeline.node.revising import Decision
from schemas import consent, lifecycle, seal
from schemas.errors import BadInput
from tests.unit.pipeline.node.revised import history, last, report
from tests.unit.pipeline.node.test_record import INCIDENT, PATTERN

SEEN = st.lists(st.integers(0, 9), max_size=3)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("amend"), SEEN),
        st.tuples(st.just("verify"), SEEN, st.sampled_from(lifecycle.states()), st.sampled_from(lifecycle.steps())),
        st.tuples(st.sampled_from(["amend", "amend", "retract"]), SEEN),
        st.tuples(st.just("grant"), SEEN, st.sampled_from(consent.scopes())),
    ),
    max_size=8,
)


class Model:
    """Which versions there are, with state and audience, and which were replaced; nothing else."""

    def __init__(self):
        self.versions, self.replaced, self.retracted = [1], set(), 0
        self.states = {1: INCIDENT["verification"]}
        self.shared = {1: (INCIDENT["sharing_basis"], INCIDENT["sharing_scope"])}

    def allows(self, operation, replaced):
        """Whether an event can be recorded; a verification, whose moves have tests of their own, is not asked for."""
        kind, heads = operation[0], set(self.heads)
        alike = len({self.states[version] for version in replaced}) == 1
        if kind == "amend":
            return alike
        if kind == "retract":
            return heads <= set(replaced)
        order = ["hub", "headquarters", "public"]
        narrowest = max(order.index(self.shared[version][1]) for version in replaced)
        news = self.shared[replaced[-1]] != ("informed_consent", operation[2]) or len(heads & set(replaced)) > 1
        return alike and order.index(operation[2]) >= narrowest and news

    @property
    def heads(self):
        return [number for number in self.versions if number not in self.replaced]

    def take(self, operation, number, seen):
        kind, replaced = operation[0], seen or self.heads
        self.replaced |= set(replaced)
        self.states[number] = operation[2] if kind == "verify" else self.states[replaced[-1]]
        self.shared[number] = ("informed_consent", operation[2]) if kind == "grant" else self.shared[replaced[-1]]
        if kind == "retract":
            self.retracted = number
        else:
            self.versions.append(number)


def run(node, journal, operation, number, seen):
    kind, _, *decided = operation
    if kind == "amend":
        return revising.amend(node, journal, 1, {"women": 10 + number}, seen)
    if kind == "verify":
        return revising.verify(node, journal, 1, Decision(*decided, by=f"person {number}", primary=1), seen)
    if kind == "grant":
        return revising.grant(node, journal, 1, *decided, seen=seen)
    return revising.retract(node, journal, 1, "error", seen)


@given(OPERATIONS)
@settings(max_examples=25, deadline=None)
def test_what_stands_is_what_a_plain_model_says(operations):
    with TemporaryDirectory() as folder, patch("os.fsync"):
        node = report(nodes.create(Path(folder) / "T-1", "T-1", "sahel", seal.region_pair()[0]))
        model = Model()
        with Journal(node.journal) as journal:
            for operation in operations:
                before, number = journal.last, journal.last + 1
                seen = sorted({model.versions[index % len(model.versions)] for index in operation[1]})
                verifies = operation[0] == "verify"
                possible = not model.retracted and (verifies or model.allows(operation, seen or model.heads))
                try:
                    done = run(node, journal, operation, number, seen)
                except BadInput:
                    assert verifies or not possible
                    assert journal.last == before
                    continue
                if done.before:
                    assert (operation[0], done.event, journal.last) == ("retract", model.retracted, before)
                    continue
                assert possible
                assert (done.event, list(done.replaces)) == (number, seen or model.heads)
                model.take(operation, number, seen)
                assert sorted([*done.conflicts, *([] if model.retracted else [number])]) == model.heads
            for number in {1, journal.last}:
                found = versions.history(node, journal, number)
                assert (found.heads, found.retracted) == (model.heads, model.retracted)
                assert list(found.versions) == model.versions
                assert all(found.versions[each].scope == model.shared[each][1] for each in model.versions)


@pytest.fixture
def recorded(node):
    return report(node, 2)


def test_an_incident_is_known_by_its_report_and_by_all_that_changed_it(recorded):
    with Journal(recorded.journal) as journal:
        revising.amend(recorded, journal, 1, {"women": 2})
        revising.amend(recorded, journal, 2, {"women": 9})
        revising.amend(recorded, journal, 3, {"women": 3})
        revising.retract(recorded, journal, 1, "error")
    for number in (1, 3, 5, 6):
        assert list(history(recorded, number).events) == [1, 3, 5, 6]
    assert history(recorded, 4).events.keys() == {2, 4}


def test_two_incidents_of_one_case_are_kept_apart(recorded):
    with Journal(recorded.journal) as journal:
        case = versions.history(recorded, journal, 1).case
        with Recorder(recorded, journal) as recorder:
            recorder.follow(case, "IncidentReported", {"incident": INCIDENT})
        revising.amend(recorded, journal, 3, {"women": 2})
        revising.amend(recorded, journal, 1, {"women": 3})
    assert (list(history(recorded, 1).events), list(history(recorded, 3).events)) == ([1, 5], [3, 4])


def test_what_is_about_no_incident_is_one_sentence(recorded):
    with Journal(recorded.journal) as journal, Recorder(recorded, journal) as recorder:
        recorder.record("PatternObserved", {"pattern": PATTERN})
    for number in (3, 4, 99):
        with pytest.raises(BadInput, match=f"Event {number} of MONUSCO is about no case"):
            history(recorded, number)


def test_a_withdrawn_case_says_so(recorded):
    with Journal(recorded.journal) as journal:
        withdrawing.withdraw(recorded, journal, [1], lambda _: None)
    for number in (1, 3):
        with pytest.raises(BadInput, match=f"The case of event {number} was withdrawn by event 3"):
            history(recorded, number)


def test_a_key_that_is_destroyed_without_its_event_asks_to_withdraw_again(recorded):
    ref = history(recorded, 1).case.ref
    with Journal(recorded.journal) as journal:
        journal.append([], [(ref, b"")])
    with pytest.raises(BadInput, match="tocsin node withdraw --event 1"):
        history(recorded, 1)


def test_another_key_is_damage_and_names_the_backup(recorded):
    (recorded.folder / "epoch-1.key").write_bytes(b"00" * 32)
    with pytest.raises(Damaged, match="backup"):
        history(recorded, 1)


def test_what_the_hub_refused_is_no_version_unless_another_event_had_its_number(recorded):
    with Journal(recorded.journal) as journal:
        for women in (2, 3, 4):
            revising.amend(recorded, journal, 1, {"women": women})
    refusals = {(4, 9): "revision.unknown_version", (5, 10): "seal.no_key", (3, 8): "envelope.sequence_forked"}
    receipts.write(recorded, Receipted(position=1, refused=refusals))
    found = history(recorded, 1)
    assert (found.refused, list(found.versions), found.heads) == ({4, 5}, [1, 3], [3])
    with Journal(recorded.journal) as journal:
        done = revising.amend(recorded, journal, 5, {"women": 7})
        assert (done.replaces, journal.last) == ((3,), 6)
        with pytest.raises(BadInput, match="Event 4 is no version"):
            revising.amend(recorded, journal, 1, {"women": 8}, [4])


def test_what_amended_a_report_that_the_hub_refused_goes_on(recorded):
    with Journal(recorded.journal) as journal:
        revising.amend(recorded, journal, 1, {"women": 2})
        receipts.write(recorded, Receipted(position=1, refused={(1, 5): "incident.persons_none"}))
        assert revising.amend(recorded, journal, 1, {"women": 3}).replaces == (3,)


def test_an_amendment_does_not_end_a_conflict_over_verification(recorded):
    with Journal(recorded.journal) as journal:
        revising.verify(recorded, journal, 1, Decision("verified", "focal_point", "A. Name", primary=1))
        revising.amend(recorded, journal, 1, {"women": 3}, [1])
        with pytest.raises(BadInput, match="Events 3 and 4 are in conflict over the state of verification"):
            revising.amend(recorded, journal, 1, {"women": 4})
        assert revising.verify(recorded, journal, 1, Decision("verified", "technical", "B. Name", primary=1)).resolves


def test_a_report_that_the_hub_refused_is_imported_again_not_amended(recorded):
    receipts.write(recorded, Receipted(position=1, refused={(1, 5): "incident.persons_none"}))
    with Journal(recorded.journal) as journal, pytest.raises(BadInput, match="The hub refused event 1"):
        revising.amend(recorded, journal, 1, {"women": 2})
    assert last(recorded) == 2


def test_nothing_of_a_case_stands_in_clear_in_the_journal(recorded):
    with Journal(recorded.journal) as journal:
        revising.amend(recorded, journal, 1, {"party": "March 23 Movement"})
        revising.verify(recorded, journal, 1, Decision("verified", "technical", "Planted Name", primary=1))
    data = b"".join(path.read_bytes() for path in recorded.folder.rglob("*") if path.is_file())
    assert not any(word in data for word in (b"March 23", b"Planted Name", b"planted name"))
    assert json.loads((recorded.folder / "node.json").read_text())["code"] == "MONUSCO"
