"""What a hub has decided, at the node: recorded once as the next event, or told with its reason, whatever comes in between."""

import json
import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial

import pytest
from click.testing import CliRunner

from pipeline.cli.node import node as command
from pipeline.node import deciding, entries, fates, known, revising, sent, versions, withdrawing
from pipeline.node import mark as marks
from pipeline.node.deciding import Settled
from pipeline.node.entries import Damaged, NotWritten
from pipeline.node.fates import Taken
from pipeline.node.journal import Journal, Reader
from pipeline.node.known import Known
from pipeline.node.revising import Decision
from pipeline.node.story import Line, story
from pipeline.node.told import of_decision
from schemas import decisions, notes, signing
from schemas.codes import LANGUAGES
from schemas.errors import Stops
from schemas.fates import Fate, Page, pack
from tests.unit.pipeline.node.revised import history, last, report
from tests.unit.pipeline.node.test_record import INCIDENT

SEED, OTHER, SECRET = bytes(range(32)), bytes(32), bytes(range(2, 34))
ONE, TWO = (decisions.verifier(SECRET, who) for who in ("H. Analyst", "I. Analyst"))


def key(seed):
    return notes.Key("tocsin.hub.x", notes.ED25519, signing.public_of(seed))


def body(node, number, **more):
    """Return what a hub decides on the version of event `number`."""
    found = history(node, number)
    version, incident = found.events[number], found.reported
    values = {
        "decided_at": 1_767_225_600_000,
        "incident_id": incident.event_id,
        "incident_number": incident.number,
        "version_id": version.event_id,
        "version_number": number,
        "step": "technical",
        "verifier": ONE,
        "verified_on": date(2026, 1, 2),
        "verification": "verified",
        "primary_sources": 1,
        "secondary_sources": 2,
        "un_eyewitness": True,
    }
    return values | more


def decided(node, number, seed=SEED, code="MONUSCO", **more):
    """Return a hub's decision on the version of event `number` as a record."""
    case = history(node, number).case
    return decisions.decided(code, key(seed), case.ref, case.key, body(node, number, **more)).sign(seed)


def come(node, *records):
    """Take records in and record what they decide; return what came of each."""
    assert fates.take(node, records).refused == {}
    return deciding.record(node)


@pytest.fixture
def recorded(node):
    """A node with two incidents, events 1 and 2, of which a person of its own has verified the first by event 3."""
    report(node, 2)
    verify(node, 1, "focal_point", "A. Name")
    return node


def verify(node, number, step, by):
    with Journal(node.journal) as journal:
        return revising.verify(node, journal, number, Decision("verified", step, by, primary=1))


def amend(node, number, seen=(), **changes):
    with Journal(node.journal) as journal:
        return revising.amend(node, journal, number, changes, seen)


def reason(settled):
    (one,) = settled
    assert not one.event
    return one.reason


def test_a_decision_is_the_next_event_with_all_facts_and_says_that_it_is_the_hubs(recorded):
    record = decided(recorded, 3)
    (done,) = come(recorded, record)
    event = history(recorded, 1).events[4]
    moved = {"verification": "verified", "primary_sources": 1, "secondary_sources": 2, "un_eyewitness": True}
    assert (done.incident, done.event, last(recorded)) == (1, 4, 4)
    assert event.body["incident"] == {**INCIDENT, **moved}
    assert (event.body["step"], event.body["verifier"]) == ("technical", ONE)
    assert event.body["verified_on"] == date(2026, 1, 2)
    assert event.body["decision"] == decisions.read_decision(record).decision_id
    assert event.follows == (3,)
    assert history(recorded, 1).events[3].body["decision"] is None


def test_a_hub_may_be_the_first_or_the_second_step_and_the_node_goes_on_from_it(recorded):
    come(recorded, decided(recorded, 3), decided(recorded, 2, verification="not_in_scope"))
    assert history(recorded, 2).events[5].state == "not_in_scope"
    verify(recorded, 1, "task_force", "B. Name")
    steps = ("focal_point", "technical", "task_force")
    assert tuple(step for step, _ in history(recorded, 1).chain(6)) == steps


def test_persons_of_hub_and_node_are_different_and_a_hubs_person_takes_one_step(recorded):
    come(recorded, decided(recorded, 2))
    assert reason(come(recorded, decided(recorded, 4, step="task_force"))) == "revision.same_verifier"
    (done,) = come(recorded, decided(recorded, 4, step="task_force", verifier=TWO))
    assert [who for _, who in history(recorded, 2).chain(done.event)] == [ONE, TWO]


def test_a_decision_comes_again_and_again_and_is_recorded_once(recorded):
    record = decided(recorded, 3)
    assert [one.event for one in come(recorded, record, record)] == [4]
    assert come(recorded, record) == ()
    (recorded.folder / "fates.json").unlink()  # the topic is read from its beginning
    assert come(recorded, record) == (Settled(1, 4, set={"step": "technical", "verification": "verified"}),)
    assert last(recorded) == 4


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"step": "focal_point"}, "revision.step"),
        ({"verification": "report_pending_verification"}, "revision.move_not_allowed"),
        ({"primary_sources": 0}, "incident.verified_without_primary_source"),
        ({"primary_sources": -1}, "incident.verified_without_primary_source"),
        ({"secondary_sources": 2_000_000_000}, "incident.sources_out_of_range"),
        ({"version_id": bytes(16)}, "decision.unknown_version"),
        ({"version_number": 77}, "decision.unknown_version"),
        ({"version_number": 2}, "decision.unknown_version"),
        ({"incident_id": bytes(16)}, "decision.unknown_version"),
    ],
)
def test_what_cannot_be_recorded_changes_nothing_and_is_told_once(recorded, change, expected):
    before = Reader(recorded.journal).mark
    assert reason(come(recorded, decided(recorded, 3, **change))) == expected
    assert deciding.record(recorded) == ()
    assert Reader(recorded.journal).mark == before
    assert story(recorded, Reader(recorded.journal), 1).not_recorded == (expected,)
    assert story(recorded, Reader(recorded.journal), 2).not_recorded == ()


def test_a_decision_on_a_version_that_was_replaced_is_told(recorded):
    record = decided(recorded, 3)
    amend(recorded, 1, women=2)
    assert reason(come(recorded, record)) == "decision.replaced"
    assert last(recorded) == 4


def test_a_decision_on_one_of_two_in_conflict_is_told(recorded):
    amend(recorded, 1, women=2)
    amend(recorded, 1, [3], women=3)
    assert reason(come(recorded, decided(recorded, 5))) == "decision.replaced"


def test_the_second_of_two_decisions_on_one_version_is_told(recorded):
    two = decided(recorded, 3), decided(recorded, 3, step="task_force", verifier=TWO)
    assert [one.reason for one in come(recorded, *two)] == ["", "decision.replaced"]


def test_a_decision_on_what_was_retracted_or_withdrawn_is_told(recorded):
    gone, back = decided(recorded, 3), decided(recorded, 2)
    with Journal(recorded.journal) as journal:
        withdrawing.withdraw(recorded, journal, [1], lambda _: None)
        revising.retract(recorded, journal, 2, "error")
    assert [one.reason for one in come(recorded, gone, back)] == ["decision.withdrawn", "decision.replaced"]


def test_a_decision_about_no_case_of_the_node_or_made_without_its_key_is_told(recorded):
    found, told = history(recorded, 1).case, body(recorded, 3)
    unknown = decisions.decided("MONUSCO", key(SEED), bytes(16), found.key, told).sign(SEED)
    without = decisions.decided("MONUSCO", key(SEED), found.ref, bytes(32), told).sign(SEED)
    assert {one.reason for one in come(recorded, unknown, without)} == {"decision.unknown_case"}
    other = history(recorded, 2).case
    moved = decisions.decided("MONUSCO", key(SEED), other.ref, other.key, told).sign(SEED)
    assert reason(come(recorded, moved)) == "decision.unknown_version"
    assert last(recorded) == 3


def altered(rng, record):
    at = rng.randrange(5, len(record))
    return record[:at] + bytes([record[at] ^ 1 << rng.randrange(8)]) + record[at + 1 :]


def test_a_thousand_forged_altered_and_foreign_decisions_are_all_refused_and_hurt_no_other(recorded):
    rng, good = random.Random(5), decided(recorded, 3)
    fates.take(recorded, [Page("MONUSCO", key(SEED), 1, 1, 1, (Fate("accepted"),)).sign(SEED)])
    forged, foreign = decided(recorded, 3, OTHER), decided(recorded, 3, code="UNMISS")
    bad = [rng.choice((forged, foreign, altered(rng, good))) for _ in range(1_000)]
    taken = fates.take(recorded, bad)
    assert sum(taken.refused.values()) == 1_000
    assert {"fates.other_hub", "fates.other_node", "fates.signature"} <= taken.refused.keys()
    assert deciding.record(recorded) == ()
    assert [one.event for one in come(recorded, good)] == [4]


def test_what_another_hub_decided_is_taken_when_that_is_trusted_and_not_what_the_first_still_had_open(recorded):
    first, second = decided(recorded, 3), decided(recorded, 2, OTHER)
    assert fates.take(recorded, [first, second], 2) == Taken(0, {"fates.other_hub": 1})
    fates.trust(recorded, str(key(OTHER)))
    assert known.read(recorded) == Known()  # the topic is read from its beginning
    assert fates.take(recorded, [first, second], 2) == Taken(0, {"fates.other_hub": 1})
    assert [one.incident for one in deciding.record(recorded)] == [2]
    fates.trust(recorded, str(key(OTHER)))
    assert known.read(recorded).position == 2


def test_pages_and_decisions_come_together(recorded):
    page = Page("MONUSCO", key(SEED), 3, 1, 1, (Fate("accepted", "report"),) * 3).sign(SEED)
    record = decided(recorded, 3)
    assert fates.take(recorded, [page, record, page], 3) == Taken(1, {})
    deciding.record(recorded)
    kept = known.read(recorded)
    assert (kept.position, kept.pages, [one.event for one in kept.decisions]) == (3, {1: page}, [4])
    assert fates.take(recorded, [record, page], 5) == Taken(0, {})
    assert known.read(recorded) == replace(kept, position=5)


def test_what_a_newer_tocsin_has_decided_is_told_and_recorded_when_it_can_be_read(recorded, monkeypatch):
    record = decided(recorded, 3)
    with monkeypatch.context() as older:
        older.setattr(decisions, "VERIFICATION", "Unknown")
        assert reason(come(recorded, record)) == "fates.malformed"
        assert reason(deciding.record(recorded)) == "fates.malformed"
    assert [one.event for one in deciding.record(recorded)] == [4]


def test_a_day_that_has_not_come_by_the_clock_of_the_node_is_told_and_recorded_when_it_has(recorded, monkeypatch):
    day = datetime.now(UTC).date() + timedelta(days=9)
    assert reason(come(recorded, decided(recorded, 3, verified_on=day))) == "decision.day"
    assert reason(deciding.record(recorded)) == "decision.day"
    monkeypatch.setattr(revising, "today", lambda: day)
    assert [one.event for one in deciding.record(recorded)] == [4]


def test_a_case_that_does_not_open_is_told_and_hurts_no_other(recorded, monkeypatch):
    fates.take(recorded, [decided(recorded, 3), decided(recorded, 2)])
    history_of = versions.history

    def damaged(node, reader, number):
        if number == 1:
            raise Damaged("restore the backup")
        return history_of(node, reader, number)

    with monkeypatch.context() as patch:
        patch.setattr(versions, "history", damaged)
        assert [(one.event, one.reason) for one in deciding.record(recorded)] == [(0, "decision.damaged"), (4, "")]
    assert [one.event for one in deciding.record(recorded)] == [5]


def test_while_another_command_writes_it_waits(recorded):
    with Journal(recorded.journal):
        assert reason(come(recorded, decided(recorded, 3))) == "decision.busy"
    assert [one.event for one in deciding.record(recorded)] == [4]


def test_an_old_copy_of_the_journal_records_nothing(recorded):
    sent.write(recorded, sent.Sent(events=9))
    fates.take(recorded, [decided(recorded, 3)])
    with pytest.raises(Stops, match="old copy"):
        deciding.record(recorded)
    assert last(recorded) == 3


# Crashes


class Killed(BaseException):
    pass


DURABLE = [(known, "replace"), (entries.EntryFile, "append"), (marks, "write")]


def killing(monkeypatch, at, before):
    """Have the process die before or after the durable write of this count; return how often one was begun."""
    begun = []

    def write(done, *arguments, **named):
        begun.append(done)
        if before and len(begun) == at:
            raise Killed
        result = done(*arguments, **named)
        if len(begun) == at:
            raise Killed
        return result

    for owner, name in DURABLE:
        done = getattr(owner, name)
        hook = (
            (lambda self, *a, done=done, **n: write(partial(done, self), *a, **n))
            if owner is entries.EntryFile
            else partial(write, done)
        )
        monkeypatch.setattr(owner, name, hook)
    return begun


WRITES = (
    9  # the pin, what was taken; of each of two recorded ones the event, the journal's mark, its own; that of the third
)


def records_of(node):
    return [decided(node, 3), decided(node, 2, verification="did_not_occur"), decided(node, 2)]


def test_so_many_durable_writes_there_are(recorded, monkeypatch):
    records = records_of(recorded)
    with monkeypatch.context() as patch:
        begun = killing(patch, 99, before=True)
        come(recorded, *records)
    assert len(begun) == WRITES


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("at", range(1, WRITES + 1))
def test_killed_at_any_durable_write_each_is_recorded_once(recorded, monkeypatch, at, before):
    records = records_of(recorded)
    with monkeypatch.context() as patch:
        killing(patch, at, before)
        with pytest.raises(Killed):
            come(recorded, *records)
    fates.take(recorded, records, 3)  # what was not kept is read again
    deciding.record(recorded)
    assert [(one.event, one.reason) for one in known.read(recorded).decisions] == [
        (4, ""),
        (5, ""),
        (0, "decision.replaced"),
    ]
    assert (last(recorded), history(recorded, 1).heads, history(recorded, 2).heads) == (5, [4], [5])
    assert deciding.record(recorded) == ()


def test_a_disk_that_refuses_is_told_and_loses_nothing(recorded):
    fates.take(recorded, [decided(recorded, 3)])
    (recorded.folder / "fates.json.new").mkdir()
    with pytest.raises(NotWritten, match="tocsin node sync"):
        deciding.record(recorded)
    (recorded.folder / "fates.json.new").rmdir()
    assert [one.event for one in deciding.record(recorded)] == [4]
    assert last(recorded) == 4


# What a person sees


def test_the_story_says_which_step_was_the_hubs(recorded):
    come(recorded, decided(recorded, 3))
    lines = story(recorded, Reader(recorded.journal), 1).lines
    assert [line.details for line in lines[1:]] == [
        ("focal_point", "verified"),
        ("technical", "verified", "by the hub"),
    ]
    assert isinstance(lines[0], Line)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_what_came_of_it_is_one_sentence_in_three_languages(lang):
    done = of_decision(Settled(1, 4, set={"step": "technical"}), lang)
    assert all(word in done for word in ("1", "4", "step=technical"))
    told = {of_decision(Settled(incident, reason="decision.replaced"), lang) for incident in (0, 7)}
    assert len(told) == 2
    assert any("7" in one for one in told)


def test_a_file_is_taken_in_by_a_command_and_a_second_time_says_nothing(recorded, tmp_path):
    file = tmp_path / "monusco.fates"
    file.write_bytes(pack([decided(recorded, 3), decided(recorded, 2, primary_sources=0)]))
    arguments = ["fates", "--import", str(file), "--node", str(recorded.folder), "--json"]
    first, second = (CliRunner().invoke(command, arguments) for _ in range(2))
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "The hub has decided on the incident of event 1: step=technical; " in first.output
    assert "on the incident of event 2 is not recorded. Verified without a primary source" in first.stderr
    assert "decided" not in second.output + second.stderr
    assert json.loads(second.stdout.splitlines()[-1])["counts"] == {"unsent": 4}
    shown = CliRunner().invoke(command, ["case", "--event", "2", "--node", str(recorded.folder)]).output
    assert "is not recorded. Verified without" in shown
