from collections import Counter
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from functools import partial
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.node import (
    casefiles,
    forgetting,
    keys,
    receipts,
    record,
    referring,
    retention,
    revising,
    versions,
    withdrawing,
)
from pipeline.node import mark as marks
from pipeline.node import node as nodes
from pipeline.node.entries import EntryFile, NotWritten
from pipeline.node.journal import Journal, Reader
from pipeline.node.receipts import Receipted
from pipeline.node.record import Recorder
from pipeline.node.retention import Held
from pipeline.node.revising import Decision
from pipeline.node.story import story
from schemas import seal
from schemas.errors import BadInput
from schemas.retention import ALWAYS, CLASSES, UNDER_RULE, Rules, read
from schemas.rows import read as read_row
from schemas.wire import unframe
from schemas.withdrawals import cause
from tests.unit.pipeline.node.handover.papers import Handing
from tests.unit.pipeline.node.revised import last
from tests.unit.pipeline.node.test_record import INCIDENT, PATTERN

DAY = date(2022, 2, 28)
LATER = timedelta(days=1)
YEAR = Rules("year", dict.fromkeys(UNDER_RULE, 12) | dict.fromkeys(ALWAYS))
CONSENTED = {"sharing_basis": "informed_consent"}


@contextmanager
def at(day):
    """Let it be noon of a day for all that is recorded."""
    moment = int(datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp() * 1_000_000_000)
    with mock.patch.object(record.time, "time_ns", return_value=moment):
        yield


def reported(node, count=1, on=DAY, **facts):
    with at(on), Journal(node.journal) as journal, Recorder(node, journal) as recorder:
        for _ in range(count):
            recorder.record("IncidentReported", {"incident": {**INCIDENT, **facts}})
    return node


def run(change, node, *arguments, on=DAY, **named):
    with at(on), Journal(node.journal) as journal:
        return change(node, journal, *arguments, **named)


def verified(node, number, state="verified", on=DAY):
    primary = 1 if state == "verified" else None
    return run(revising.verify, node, number, Decision(state, "technical", f"by {number}", primary=primary), on=on)


def planned(node, on, rules=YEAR):
    return retention.plan(node, Reader(node.journal), rules, on)


def part(found, name):
    return next(each for each in found.parts if each.name == name)


def forgets(node, on, rules=YEAR):
    with Journal(node.journal) as journal:
        return retention.forget(node, journal, retention.plan(node, journal, rules, on))


def envelopes(node):
    return [read_row(*unframe(entry.envelope)) for entry in Reader(node.journal).read()]


def withdrawals(node):
    """Return number, case and cause of each withdrawal."""
    found = (each for each in envelopes(node) if each["kind"] == "ConsentWithdrawn")
    return [(each["sequence"], each["case_ref"], cause(each["body_schema"], each["body"])) for each in found]


# Classes


def of_each_class(node):
    """Report a case of each class but `not_opened`, events 1 to 8, and a pattern; return the classes by the cases' numbers."""
    reported(node, 1, **CONSENTED)
    reported(node, 1)
    reported(node, 1, **CONSENTED)
    reported(node, 5)
    verified(node, 1)
    verified(node, 2)
    verified(node, 5, "not_in_scope")
    verified(node, 6, "did_not_occur")
    run(revising.retract, node, 7, "error")
    receipts.write(node, Receipted(position=1, refused={(8, 3): "incident.persons_none"}))
    with at(DAY), Journal(node.journal) as journal, Recorder(node, journal) as recorder:
        recorder.record("PatternObserved", {"pattern": PATTERN})
    return dict(enumerate(UNDER_RULE, start=1))


def test_a_case_of_each_class_goes_by_the_rule_of_its_class_and_by_no_other(node):
    by_number = of_each_class(node)
    for name in UNDER_RULE:
        found = planned(node, date(2023, 3, 1), Rules("one", dict.fromkeys(CLASSES) | {name: 12}))
        assert [by_number[number] for number in found.goes] == [name]
        assert part(found, name).goes == found.goes
        assert {each.name: each.stay for each in found.parts} == dict.fromkeys(UNDER_RULE, 1) | {
            name: 0,
            "not_opened": 0,
            "no_case": 1,
        }


def test_by_default_the_verified_ones_and_what_is_about_no_case_stay_for_ever(node):
    by_number = of_each_class(node)
    found = planned(node, date(2120, 1, 1), read())
    assert {by_number[number] for number in found.goes} == set(UNDER_RULE) - {"verified_by_consent", "verified_public"}
    assert [(part(found, name).stay, part(found, name).next_on) for name in ("verified_by_consent", "no_case")] == [
        (1, None),
        (1, None),
    ]


def test_of_a_case_with_several_incidents_the_class_that_comes_first_counts(node):
    reported(node)
    verified(node, 1, "did_not_occur")
    ref, value = next((key, value) for key, value in Reader(node.journal).keys().items() if len(key) == 16)
    case = keys.opened(ref, value, lambda epoch: node.secret(f"epoch-{epoch}"))
    with at(DAY), Journal(node.journal) as journal, Recorder(node, journal) as recorder:
        recorder.follow(case, "IncidentReported", {"incident": INCIDENT})
    assert part(planned(node, DAY), "unverified_public").stay == 1
    assert sum(each.stay for each in planned(node, DAY).parts) == 1


def test_versions_in_conflict_over_the_state_are_of_the_class_that_comes_first(node):
    reported(node)
    verified(node, 1, "not_in_scope")
    run(revising.verify, node, 1, Decision("verified", "technical", "B. Name", primary=1), [1])
    assert part(planned(node, DAY), "verified_public").stay == 1


def test_who_was_referred_has_a_case_by_consent(node):
    reported(node)
    run(referring.refer, node, 1, "medical", consented=False)
    assert part(planned(node, DAY), "unverified_by_consent").stay == 1


def test_what_was_handed_over_and_is_not_entrusted_stays_whatever_the_rules(node, pair, tmp_path):
    reported(node, 2, **CONSENTED)
    reported(node, 1)
    stick = tmp_path / "stick"
    stick.mkdir()
    successor = Handing(node, tmp_path / "new" / "MONUSCO", stick, pair).through()
    found = planned(successor, date(2122, 1, 1))
    assert (part(found, "not_opened").stay, found.goes, part(found, "no_case").stay) == (2, (3,), 1)
    assert [one.event for one in forgets(successor, date(2122, 1, 1))] == [5]
    with pytest.raises(BadInput, match="handed over"):
        forgets(node, date(2122, 1, 1))


OF_A_CASE = {
    "amend": lambda node, number: run(revising.amend, node, number, {"women": 2 + last(node)}),
    "verify": verified,
    "out of scope": lambda node, number: verified(node, number, "not_in_scope"),
    "did not occur": lambda node, number: verified(node, number, "did_not_occur"),
    "again": lambda node, number: verified(node, number, "report_pending_verification"),
    "consent": lambda node, number: run(revising.grant, node, number, "headquarters"),
    "retract": lambda node, number: run(revising.retract, node, number, "error"),
    "refer": lambda node, number: run(referring.refer, node, number, "medical"),
    "withdraw": lambda node, number: run(withdrawing.withdraw, node, [number], lambda _: None),
}


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from(sorted(OF_A_CASE)), st.integers(1, 4)), max_size=10), st.sets(st.integers(1, 9))
)
def test_each_case_has_exactly_one_class_and_is_counted_once(tmp_path_factory, changes, refused):
    folder = tmp_path_factory.mktemp("node") / "MONUSCO"
    node = nodes.create(folder, "MONUSCO", "great-lakes", seal.region_pair()[0])
    reported(node, 2)
    reported(node, 2, **CONSENTED)
    for name, number in changes:
        with suppress(BadInput):  # what cannot be recorded leaves the case as it was
            OF_A_CASE[name](node, number)
    receipts.write(node, Receipted(position=1, refused={(number, 3): "revision.step" for number in refused}))
    live = [case for case in casefiles.every(node, Reader(node.journal)) if not case.withdrawn]
    fitting = [[name for name, fits in FITS.items() if fits(case)] for case in live]
    assert [[retention.class_of(case)] for case in live] == fitting
    for on in (DAY, date(2023, 3, 1)):
        found = planned(node, on)
        counts = Counter({each.name: each.stay + len(each.goes) + len(each.held) for each in found.parts})
        assert +counts == Counter(name for [name] in fitting)
        assert found.before + len(live) == 4
        assert not set(found.goes) & {held.event for each in found.parts for held in each.held}


def states(case):
    return {history.versions[head].state for history in case.histories for head in history.heads}


def of_consent(case):
    told = [event.body for history in case.histories for event in history.events.values()]
    basis = {body["incident"]["sharing_basis"] for body in told if "incident" in body}
    return "informed_consent" in basis or any(history.referrals for history in case.histories)


PENDING = "report_pending_verification"
FITS = {
    "verified_by_consent": lambda case: "verified" in states(case) and of_consent(case),
    "verified_public": lambda case: "verified" in states(case) and not of_consent(case),
    "unverified_by_consent": lambda case: (
        "verified" not in states(case) and PENDING in states(case) and of_consent(case)
    ),
    "unverified_public": lambda case: (
        "verified" not in states(case) and PENDING in states(case) and not of_consent(case)
    ),
    "not_in_scope": lambda case: "not_in_scope" in states(case) and not states(case) & {"verified", PENDING},
    "did_not_occur": lambda case: states(case) == {"did_not_occur"},
    "retracted": lambda case: not states(case) and any(history.retracted for history in case.histories),
    "refused": lambda case: not states(case) and not any(history.retracted for history in case.histories),
}


# Days


@pytest.mark.parametrize(
    ("recorded", "goes"),
    [
        (date(2024, 2, 29), date(2025, 3, 1)),
        (date(2023, 2, 28), date(2024, 2, 29)),
        (date(2023, 12, 31), date(2025, 1, 1)),
    ],
)
def test_a_case_goes_on_the_day_after_its_last_month_and_that_day_is_told(node, recorded, goes):
    reported(node, on=recorded)
    found = planned(node, goes - LATER)
    assert (found.goes, part(found, "unverified_public").next_on) == ((), goes)
    found = planned(node, goes)
    assert (found.goes, part(found, "unverified_public").next_on) == ((1,), None)


@pytest.mark.parametrize(
    "work",
    [
        lambda node, on: run(revising.amend, node, 1, {"women": 2}, on=on),
        lambda node, on: verified(node, 1, on=on),
        lambda node, on: run(revising.grant, node, 1, "public", on=on),
        lambda node, on: run(referring.refer, node, 1, "medical", consented=False, on=on),
    ],
)
def test_whoever_works_on_a_case_keeps_it(node, work):
    reported(node, 2)
    work(node, date(2022, 12, 31))
    assert planned(node, date(2023, 3, 1)).goes == (2,)
    assert planned(node, date(2024, 1, 1)).goes == (1, 2)


def test_a_clock_that_went_back_takes_no_day_from_a_case(node):
    reported(node)
    run(revising.amend, node, 1, {"women": 2}, on=date(2021, 6, 1))
    assert planned(node, date(2022, 12, 1)).goes == ()


def test_the_next_day_is_that_of_the_case_that_goes_first(node):
    reported(node)
    reported(node, on=date(2022, 1, 31))
    assert part(planned(node, DAY), "unverified_public").next_on == date(2023, 2, 1)


# Referrals


@pytest.mark.parametrize(
    ("outcome", "open_"),
    [
        ("", True),
        ("service_ongoing", True),
        ("service_received", False),
        ("service_unavailable", False),
        ("not_reached", False),
        ("declined", False),
    ],
)
def test_a_case_with_an_open_referral_is_held_and_says_why(node, outcome, open_):
    reported(node)
    run(referring.refer, node, 1, "medical")
    if outcome:
        run(referring.follow_up, node, 2, outcome)
    found = planned(node, date(2023, 3, 1))
    held = part(found, "unverified_by_consent").held
    assert (held, found.goes) == (((Held(1, (2,)),), ()) if open_ else ((), (1,)))
    assert part(planned(node, DAY), "unverified_by_consent").held == ()


def test_a_referral_that_the_hub_refused_holds_nothing(node):
    reported(node)
    run(referring.refer, node, 1, "medical")
    receipts.write(node, Receipted(position=1, refused={(2, 3): "referral.day"}))
    assert planned(node, date(2023, 3, 1)).goes == (1,)


def test_a_retracted_incident_with_an_open_referral_is_held(node):
    reported(node)
    run(referring.refer, node, 1, "medical")
    run(revising.retract, node, 1, "error")
    assert part(planned(node, date(2023, 3, 1)), "retracted").held == (Held(1, (2,)),)


# Forgetting


def test_what_goes_is_forgotten_and_says_why_and_the_others_are_as_they_were(node):
    reported(node, 3)
    verified(node, 2, on=date(2023, 2, 1))
    refs = {each["sequence"]: each["case_ref"] for each in envelopes(node)}
    done = forgets(node, date(2023, 3, 1))
    assert {(one.case_ref, one.cause, one.before) for one in done} == {
        (refs[number].hex(), "retention", False) for number in (1, 3)
    }
    assert [(number, why) for number, _, why in withdrawals(node)] == [(5, "retention"), (6, "retention")]
    assert {ref for _, ref, _ in withdrawals(node)} == {refs[1], refs[3]}
    kept = Reader(node.journal).keys()
    assert {number: bool(kept[refs[number]]) for number in (1, 2, 3)} == {1: False, 2: True, 3: False}
    assert versions.history(node, Reader(node.journal), 2).heads == [4]
    assert not (node.folder / "forgetting.json").exists()


def test_it_names_every_version_and_referral_as_a_withdrawal_does(node):
    reported(node)
    run(revising.amend, node, 1, {"women": 2})
    run(referring.refer, node, 1, "legal", consented=False)
    ids = [each["event_id"] for each in envelopes(node)]
    forgets(node, date(2023, 3, 1))
    event = envelopes(node)[3]
    body = read_row(*unframe(b"\xc3\x01" + event["body_schema"] + event["body"]))
    assert (body["incidents"], body["cause"], body["scope"]) == (b"".join(ids), "retention", "all")


def test_run_again_it_does_nothing(node):
    reported(node, 2)
    forgets(node, date(2023, 3, 1))
    before = last(node), (node.journal / "keys.log").read_bytes()
    assert forgets(node, date(2023, 3, 1)) == []
    found = planned(node, date(2023, 3, 1))
    assert (found.goes, found.before, sum(each.stay for each in found.parts)) == ((), 2, 0)
    assert (last(node), (node.journal / "keys.log").read_bytes()) == before


def test_a_plan_changes_nothing(node):
    of_each_class(node)
    before = {path: path.read_bytes() for path in node.folder.rglob("*") if path.is_file()}
    planned(node, date(2023, 3, 1))
    assert {path: path.read_bytes() for path in node.folder.rglob("*") if path.is_file()} == before


def test_a_forgotten_case_is_told_as_one_that_was_kept_as_long_as_the_rule_said(node):
    reported(node, 2)
    verified(node, 2, on=date(2023, 2, 1))
    forgets(node, date(2023, 3, 1))
    run(withdrawing.withdraw, node, [2], lambda _: None)
    told = [story(node, Reader(node.journal), number) for number in (1, 2)]
    assert [one.state for one in told] == ["kept as long as the rule said", "withdrawn"]
    assert [[line.change for line in one.lines] for one in told] == [
        ["reported", "forgotten"],
        ["reported", "verified", "withdrawn"],
    ]
    with pytest.raises(BadInput, match="was forgotten as its rule says by event 4"):
        run(revising.amend, node, 1, {"women": 2})
    [again] = run(withdrawing.withdraw, node, [1], lambda _: None)
    assert (again.before, again.event, again.cause) == (True, 4, "retention")


# The rules of a node


def test_the_rules_are_those_that_are_given_else_the_nodes_own_else_the_default(node, tmp_path):
    text = (retention.retention.DEFAULT).read_text()
    assert (retention.rules(node).months["retracted"], retention.rules(node).source) == (
        12,
        "schemas/codes/retention.csv",
    )
    (node.folder / "retention.csv").write_text(text.replace("retracted,12", "retracted,24"))
    assert retention.rules(node).months["retracted"] == 24
    (tmp_path / "given.csv").write_text(text.replace("retracted,12", "retracted,36"))
    given_ = retention.rules(node, tmp_path / "given.csv")
    assert (given_.months["retracted"], given_.source) == (36, "given.csv")
    (node.folder / "retention.csv").write_text("class,months,why\n")
    with pytest.raises(BadInput, match="has no rule for verified_by_consent"):
        retention.rules(node)


# Crashes


class Killed(BaseException):
    pass


DURABLE = [(forgetting, "replace"), (EntryFile, "append"), (EntryFile, "rewrite"), (marks, "write")]
WRITES = 8  # what is begun; of each of two cases its key, its event and the mark; the keys overwritten


def killing(patch, at_, before):
    """Have the process die before or after the durable write of this count; return how often one was begun."""
    begun = []

    def write(done, *arguments):
        begun.append(done)
        if before and len(begun) == at_:
            raise Killed
        result = done(*arguments)
        if len(begun) == at_:
            raise Killed
        return result

    for owner, name in DURABLE:
        done = getattr(owner, name)
        hook = (
            (lambda self, *a, done=done: write(partial(done, self), *a)) if owner is EntryFile else partial(write, done)
        )
        patch.setattr(owner, name, hook)
    return begun


def test_so_many_durable_writes_there_are(node, monkeypatch):
    reported(node, 2)
    with monkeypatch.context() as patch:
        begun = killing(patch, 99, before=True)
        forgets(node, date(2023, 3, 1))
    assert len(begun) == WRITES


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("at_", range(1, WRITES + 1))
def test_killed_at_any_durable_write_a_second_run_ends_it_and_each_case_is_forgotten_once(
    node, monkeypatch, at_, before
):
    reported(node, 2)
    reported(node, on=date(2023, 2, 1))
    refs = [each["case_ref"] for each in envelopes(node)]
    with monkeypatch.context() as patch:
        killing(patch, at_, before)
        with pytest.raises(Killed):
            forgets(node, date(2023, 3, 1))
    told = {ref for _, ref, _ in withdrawals(node)}
    assert all(not Reader(node.journal).keys()[ref] for ref in told)  # no event before its key is gone
    forgets(node, date(2023, 3, 1))
    assert sorted((ref, why) for _, ref, why in withdrawals(node)) == sorted((ref, "retention") for ref in refs[:2])
    held = Reader(node.journal).keys()
    assert [bool(held[ref]) for ref in refs] == [False, False, True]
    found = planned(node, date(2023, 3, 1))
    assert (found.goes, found.unfinished, found.withdraw_again, found.before) == ((), (), (), 2)
    assert not (node.folder / "forgetting.json").exists()


def cut_off(node, monkeypatch, command):
    """Have a command die between the first key and its event."""
    done, writes = EntryFile.append, []

    def append(self, payloads):
        writes.append(self)
        if len(writes) == 2:
            raise Killed
        return done(self, payloads)

    with monkeypatch.context() as patch:
        patch.setattr(EntryFile, "append", append)
        with pytest.raises(Killed):
            command()
    Journal(node.journal).close()


def test_what_was_cut_off_after_its_key_is_told_and_ended_for_the_cause_for_which_it_was_begun(node, monkeypatch):
    reported(node)
    cut_off(node, monkeypatch, lambda: forgets(node, date(2023, 3, 1)))
    found = planned(node, DAY)
    assert (found.unfinished, found.goes, found.withdraw_again) == ((1,), (1,), ())
    [done] = run(withdrawing.withdraw, node, [1], lambda _: None)
    assert (done.cause, done.before) == ("retention", False)


def test_a_withdrawal_that_was_cut_off_is_no_matter_of_the_rules(node, monkeypatch):
    reported(node, 2)
    cut_off(node, monkeypatch, lambda: run(withdrawing.withdraw, node, [1], lambda _: None))
    found = planned(node, date(2023, 3, 1))
    assert (found.unfinished, found.goes, found.withdraw_again) == ((), (2,), (1,))
    forgets(node, date(2023, 3, 1))
    assert [why for *_, why in withdrawals(node)] == ["retention"]
    [done] = run(withdrawing.withdraw, node, [1], lambda _: None)
    assert (done.cause, done.before) == ("consent", False)


def test_what_was_begun_and_has_its_key_still_is_withdrawn_for_the_cause_of_now(node):
    reported(node)
    forgetting.write(node, {envelopes(node)[0]["case_ref"]: "retention"})
    [done] = run(withdrawing.withdraw, node, [1], lambda _: None)
    assert (done.cause, forgetting.read(node)) == ("consent", {})


@pytest.mark.parametrize("content", ["", "[]", "{", '{"x": "retention"}', '{"00": 1}'])
def test_a_damaged_note_of_what_was_begun_is_no_note(node, content):
    (node.folder / "forgetting.json").write_text(content)
    reported(node)
    assert [one.cause for one in forgets(node, date(2023, 3, 1))] == ["retention"]


def test_a_disk_that_refuses_the_note_is_told_and_no_key_is_touched(node, monkeypatch):
    reported(node)
    before = (node.journal / "keys.log").read_bytes()

    def refused(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(forgetting, "replace", refused)
    with pytest.raises(NotWritten, match="free some space"):
        forgets(node, date(2023, 3, 1))
    assert ((node.journal / "keys.log").read_bytes(), last(node)) == (before, 1)
