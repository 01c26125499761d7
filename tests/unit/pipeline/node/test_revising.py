from datetime import UTC, date, datetime, timedelta

import pytest

from pipeline.node import revising, withdrawing
from pipeline.node.entries import NotWritten
from pipeline.node.importing import sentence
from pipeline.node.journal import Journal, Reader
from pipeline.node.revising import Decision
from schemas import codes, consent, lifecycle
from schemas.errors import BadInput
from schemas.lifecycle import PENDING
from tests.unit.pipeline.node.revised import history, last, report
from tests.unit.pipeline.node.test_record import INCIDENT

ONE, OTHER, THIRD = "A. One", "B. Other", "C. Third"


@pytest.fixture
def recorded(node):
    """A node with two incidents, events 1 and 2."""
    return report(node, 2)


def run(revise, node, *arguments, **named):
    with Journal(node.journal) as journal:
        return revise(node, journal, *arguments, **named)


def amend(node, number, seen=(), **changes):
    return run(revising.amend, node, number, changes, seen)


def verify(node, number, state, step, by, seen=(), **more):
    return run(revising.verify, node, number, Decision(state, step, by, **{"primary": 1, **more}), seen)


def retract(node, number, reason="error", seen=(), **more):
    return run(revising.retract, node, number, reason, seen, **more)


def refused(node, match, revise, *arguments, **named):
    before = last(node), (node.journal / "keys.log").read_bytes()
    with pytest.raises(BadInput, match=match):
        revise(node, *arguments, **named)
    assert (last(node), (node.journal / "keys.log").read_bytes()) == before


# Amending


def test_an_amendment_carries_all_facts_and_names_what_it_replaces(recorded):
    done = amend(recorded, 1, women=2, party=None)
    found = history(recorded, 1)
    report, event = found.events[1], found.events[3]
    assert (done.event, done.change, done.incident, done.replaces) == (3, "amended", 1, (1,))
    assert dict(done.set) == {"women": 2, "party": None}
    assert event.body["incident"] == {**INCIDENT, "women": 2, "party": None}
    assert (event.body["incident_id"], event.body["incident_number"]) == (report.event_id, 1)
    assert lifecycle.entries(event.body["replaces"]) == [(report.event_id, 1)]
    assert found.heads == [3]


def test_a_case_keeps_its_key_and_no_record_of_keys_is_added(recorded):
    before = list(Reader(recorded.journal).key_records())
    amend(recorded, 1, women=2)
    verify(recorded, 1, "verified", "technical", ONE)
    retract(recorded, 1)
    assert list(Reader(recorded.journal).key_records()) == before


def test_an_amendment_follows_the_newest(recorded):
    amend(recorded, 1, women=2)
    done = amend(recorded, 3, girls=4)
    assert (done.replaces, dict(done.set)) == ((3,), {"girls": 4})
    assert history(recorded, 1).events[4].body["incident"] == {**INCIDENT, "women": 2, "girls": 4}


@pytest.mark.parametrize("changes", [{}, {"women": INCIDENT["women"]}, {"forms": ["rape"]}])
def test_an_amendment_that_changes_nothing_is_refused(recorded, changes):
    refused(recorded, "event 1 has these values already", amend, 1, **changes)


@pytest.mark.parametrize(
    ("lang", "word"), [("en", "No person is counted"), ("fr", "Aucune personne"), ("ar", "لم يُحتسب")]
)
def test_a_broken_rule_is_said_in_the_language_of_the_node_and_nothing_is_recorded(recorded, lang, word):
    from dataclasses import replace

    node = replace(recorded, lang=lang)
    refused(node, word, amend, 1, women=0)
    refused(node, r"incident\.month_not_first.*\n.*incident\.persons_none", amend, 1, women=0, date_precision="month")


def test_an_amendment_keeps_the_state_of_verification(recorded):
    verify(recorded, 1, "verified", "technical", ONE, secondary=2, eyewitness=True)
    amend(recorded, 1, women=2)
    facts = history(recorded, 1).events[4].body["incident"]
    assert [facts[name] for name in ("verification", "primary_sources", "secondary_sources", "un_eyewitness")] == [
        "verified",
        1,
        2,
        True,
    ]


# Conflicts


def test_two_that_saw_the_same_version_are_in_conflict_and_the_next_amendment_ends_it(recorded):
    amend(recorded, 1, women=2)
    done = amend(recorded, 1, [1], girls=1)
    assert (done.replaces, done.conflicts, done.resolves) == ((1,), (3,), ())
    assert history(recorded, 1).heads == [3, 4]
    done = amend(recorded, 1, men=1)
    assert (done.replaces, done.conflicts, done.resolves) == ((3, 4), (), (3, 4))
    found = history(recorded, 1)
    assert found.heads == [5]
    assert found.events[5].body["incident"] == {**INCIDENT, "girls": 1, "men": 1}


def test_the_newer_of_two_in_conflict_may_stand_as_it_is(recorded):
    amend(recorded, 1, women=2)
    amend(recorded, 1, [1], girls=1)
    done = amend(recorded, 1)
    assert (done.resolves, dict(done.set)) == ((3, 4), {})
    assert history(recorded, 1).events[5].body["incident"] == {**INCIDENT, "girls": 1}


def test_one_side_of_a_conflict_may_go_on_and_the_conflict_stays(recorded):
    amend(recorded, 1, women=2)
    amend(recorded, 1, [1], girls=1)
    done = amend(recorded, 1, [3], men=1)
    assert (done.conflicts, done.resolves, history(recorded, 1).heads) == ((4,), (), [4, 5])


@pytest.mark.parametrize("number", [2, 4, 77])
def test_a_version_that_is_seen_is_one_of_the_incident(recorded, number):
    amend(recorded, 1, women=2)
    amend(recorded, 2, women=2)
    refused(recorded, f"Event {number} is no version of the incident of event 1", amend, 3, [number], women=5)


# Verifying


def test_a_verification_carries_step_day_digest_and_all_facts(recorded):
    done = verify(recorded, 1, "verified", "focal_point", ONE, on=date(2024, 2, 29), secondary=3, eyewitness=True)
    event = history(recorded, 1).events[3]
    assert (done.change, done.replaces, list(done.set)) == (
        "verified",
        (1,),
        ["step", "verification", "primary_sources", "secondary_sources", "un_eyewitness"],
    )
    moved = {"verification": "verified", "primary_sources": 1, "secondary_sources": 3, "un_eyewitness": True}
    assert event.body["incident"] == {**INCIDENT, **moved}
    assert (event.body["step"], event.body["verified_on"]) == ("focal_point", date(2024, 2, 29))
    assert event.body["verifier"] == revising.verifier(recorded, ONE)


def test_a_person_is_one_digest_at_one_node_whatever_the_spelling(recorded, tmp_path, pair):
    from pipeline.node import node as nodes

    other = nodes.create(tmp_path / "nodes" / "UNMISS", "UNMISS", "great-lakes", pair[0])
    found = {revising.verifier(recorded, who) for who in ("Zoé Straße", " ZOE\u0301 STRASSE ", "zoé strasse")}
    assert len(found) == 1
    assert {len(digest) for digest in found} == {8}
    assert revising.verifier(recorded, "Zoe Strasse") not in found
    assert revising.verifier(other, "Zoé Straße") not in found


@pytest.mark.parametrize("who", ["", "  "])
def test_somebody_must_have_examined_it(recorded, who):
    refused(recorded, "--by", verify, 1, "verified", "technical", who)


def test_the_day_of_a_decision_is_today_or_before(recorded):
    today = datetime.now(UTC).date()
    refused(recorded, "future", verify, 1, "verified", "technical", ONE, on=today + timedelta(days=3))
    verify(recorded, 1, "verified", "focal_point", ONE)
    assert abs(history(recorded, 1).events[3].body["verified_on"] - today) <= timedelta(days=1)


def test_verified_without_a_primary_source_is_refused(recorded):
    refused(recorded, "Verified without a primary source", verify, 1, "verified", "technical", ONE, primary=None)


@pytest.mark.parametrize("state", ["not_in_scope", "did_not_occur"])
def test_what_ends_the_sharing_can_be_recorded_and_taken_up_again(recorded, state):
    verify(recorded, 1, state, "technical", ONE, primary=None)
    assert history(recorded, 1).events[3].state == state
    refused(recorded, "cannot move", verify, 1, "verified", "task_force", OTHER)
    verify(recorded, 1, PENDING, "focal_point", ONE)
    verify(recorded, 1, "verified", "focal_point", ONE)
    assert history(recorded, 1).events[5].state == "verified"


@pytest.mark.parametrize("state", [PENDING])
def test_a_move_that_is_not_allowed_is_refused(recorded, state):
    verify(recorded, 1, "verified", "focal_point", ONE)
    refused(recorded, "cannot move", verify, 1, state, "technical", OTHER)


def test_steps_go_up_each_by_another_person(recorded):
    verify(recorded, 1, "verified", "focal_point", ONE)
    refused(recorded, "not above the last", verify, 1, "verified", "focal_point", OTHER)
    refused(recorded, "has taken an earlier step", verify, 1, "verified", "technical", ONE.upper())
    verify(recorded, 1, "verified", "technical", OTHER)
    refused(recorded, "has taken an earlier step", verify, 1, "verified", "task_force", ONE)
    verify(recorded, 1, "verified", "task_force", THIRD)
    refused(recorded, "not above the last", verify, 1, "did_not_occur", "task_force", "D. Fourth")
    assert [step for step, _ in history(recorded, 1).chain(5)] == list(lifecycle.steps())


def test_after_an_amendment_the_steps_begin_anew(recorded):
    verify(recorded, 1, "verified", "task_force", ONE)
    amend(recorded, 1, women=2)
    done = verify(recorded, 1, "verified", "focal_point", ONE)
    assert (done.event, history(recorded, 1).chain(5)) == (5, (("focal_point", revising.verifier(recorded, ONE)),))


def test_the_steps_of_one_side_of_a_conflict_do_not_bind_the_other(recorded):
    verify(recorded, 1, "verified", "technical", ONE)
    done = verify(recorded, 1, "verified", "focal_point", ONE, [1])
    assert (done.conflicts, history(recorded, 1).heads) == ((3,), [3, 4])
    done = verify(recorded, 1, "verified", "task_force", OTHER)
    assert done.resolves == (3, 4)
    assert [step for step, _ in history(recorded, 1).chain(5)] == ["focal_point", "task_force"]


# Granting


def grant(node, number, scope, on=None, seen=()):
    return run(revising.grant, node, number, scope, on, seen)


def test_a_consent_carries_day_and_audience_and_leaves_all_other_facts(recorded):
    done = grant(recorded, 1, "headquarters", date(2024, 2, 29))
    event = history(recorded, 1).events[3]
    assert (done.event, done.change, done.incident, done.replaces) == (3, "consent_given", 1, (1,))
    shared = {"sharing_basis": "informed_consent", "sharing_scope": "headquarters"}
    assert dict(done.set) == {"given_on": date(2024, 2, 29), **shared}
    assert event.body["incident"] == {**INCIDENT, **shared}
    assert event.body["given_on"] == date(2024, 2, 29)
    assert lifecycle.entries(event.body["replaces"]) == [(history(recorded, 1).reported.event_id, 1)]


def test_an_audience_grows_and_what_is_there_is_not_recorded_again(recorded):
    assert [grant(recorded, 1, scope).event for scope in consent.scopes()] == [3, 4, 5]
    refused(recorded, "event 5 has consent for this audience already", grant, 1, "public")
    assert history(recorded, 1).heads == [5]


def test_a_report_has_the_audience_that_it_says(recorded):
    node = report(recorded, sharing_basis="informed_consent", sharing_scope="headquarters")
    refused(node, "event 3 has consent for this audience already", grant, 3, "headquarters")
    refused(node, "tocsin node withdraw", grant, 3, "hub")
    assert grant(node, 3, "public").event == 4


def test_a_narrower_audience_is_no_consent_whichever_version_had_the_wider(recorded):
    grant(recorded, 1, "public")
    refused(recorded, "withdrawal in part.*tocsin node withdraw", grant, 1, "headquarters")
    amend(recorded, 1, [1], women=3)
    refused(recorded, "tocsin node withdraw", grant, 1, "headquarters")
    done = grant(recorded, 1, "public")
    assert (done.resolves, history(recorded, 1).events[5].body["incident"]["women"]) == ((3, 4), 3)


@pytest.mark.parametrize("lang", codes.LANGUAGES)
def test_a_refused_consent_is_said_in_the_language_of_the_node(recorded, lang):
    from dataclasses import replace

    node = replace(recorded, lang=lang)
    refused(node, codes.sentence("consent.day", lang), grant, 1, "public", INCIDENT["occurred_on"] - timedelta(days=1))
    done = grant(node, 1, "public")
    assert done.warnings == (sentence("incident.consent_for_public", lang),)


def test_the_day_of_a_consent_is_from_the_incident_to_today(recorded):
    today = datetime.now(UTC).date()
    refused(recorded, "future", grant, 1, "public", today + timedelta(days=3))
    assert grant(recorded, 1, "headquarters", INCIDENT["occurred_on"]).warnings == ()
    grant(recorded, 1, "public")
    assert abs(history(recorded, 1).events[4].body["given_on"] - today) <= timedelta(days=1)


def test_consent_keeps_the_steps_of_verification(recorded):
    verify(recorded, 1, "verified", "technical", ONE)
    grant(recorded, 1, "headquarters")
    found = history(recorded, 1)
    assert (found.events[4].state, found.chain(4)) == ("verified", found.chain(3))
    refused(recorded, "has taken an earlier step", verify, 1, "verified", "task_force", ONE)
    refused(recorded, "not above the last", verify, 1, "verified", "technical", OTHER)
    assert verify(recorded, 1, "verified", "task_force", OTHER).event == 5


def test_an_amendment_widens_no_audience_that_is_by_consent(recorded):
    grant(recorded, 1, "headquarters")
    refused(recorded, "tocsin node grant", amend, 1, sharing_scope="public")
    amend(recorded, 1, sharing_scope="hub")
    refused(recorded, "tocsin node grant", amend, 1, sharing_scope="headquarters")
    amend(recorded, 1, [3], women=3)
    assert amend(recorded, 1, sharing_scope="headquarters").resolves == (4, 5)
    refused(recorded, "tocsin node grant", amend, 2, sharing_basis="informed_consent", sharing_scope="public")
    assert amend(recorded, 2, sharing_scope="public").event == 7


def narrow(node, number, scope):
    return run(withdrawing.narrow, node, number, scope)


@pytest.mark.parametrize(("scope", "left"), [("public", "headquarters"), ("headquarters", "hub")])
def test_consent_taken_back_for_an_audience_leaves_the_narrower_ones_and_the_key(recorded, scope, left):
    grant(recorded, 1, "public")
    keys = [key for _, key, value in Reader(recorded.journal).key_records() if value]
    done = narrow(recorded, 1, scope)
    assert (done.change, dict(done.set), done.replaces) == ("amended", {"sharing_scope": left}, (3,))
    assert history(recorded, 1).events[4].body["incident"]["sharing_scope"] == left
    assert [key for _, key, value in Reader(recorded.journal).key_records() if value] == keys
    refused(recorded, f"goes no further than {left}", narrow, 1, scope)
    refused(recorded, "tocsin node grant", amend, 1, sharing_scope="public")


def test_an_audience_that_one_of_two_versions_in_conflict_has_is_taken_back(recorded):
    grant(recorded, 1, "public")
    amend(recorded, 1, [1], women=3)
    assert narrow(recorded, 1, "public").resolves == (3, 4)
    assert history(recorded, 1).events[5].body["incident"]["sharing_scope"] == "headquarters"


def test_a_conflict_over_verification_is_ended_before_consent_is_recorded(recorded):
    verify(recorded, 1, "verified", "technical", ONE)
    amend(recorded, 1, [1], women=3)
    refused(recorded, "tocsin node verify", grant, 1, "public")
    done = grant(recorded, 1, "public", seen=[3])
    assert (done.conflicts, history(recorded, 1).heads) == ((4,), [4, 5])


# Retracting


@pytest.mark.parametrize("reason", lifecycle.reasons())
def test_an_incident_is_retracted_once(recorded, reason):
    heard = []
    done = retract(recorded, 1, reason, agreed=heard.append)
    event = history(recorded, 1).events[3]
    assert (done.event, done.replaces, event.body["reason"], heard) == (3, (1,), reason, [1])
    again = retract(recorded, 3, "error", agreed=heard.append)
    assert (again.event, again.before, last(recorded), heard) == (3, True, 3, [1])
    refused(recorded, "was retracted by event 3", amend, 1, women=2)
    refused(recorded, "was retracted by event 3", verify, 1, "verified", "technical", ONE)
    refused(recorded, "was retracted by event 3", grant, 1, "public")
    assert (history(recorded, 1).heads, history(recorded, 2).heads) == ([], [2])


def test_the_reasons_are_the_contracts_and_a_withdrawn_consent_is_none():
    assert lifecycle.reasons() == ("error", "duplicate", "did_not_occur", "out_of_scope", "security")


@pytest.mark.parametrize(
    ("reason", "said"),
    [("consent_withdrawn", "tocsin node withdraw"), ("unspecified", "error, duplicate"), ("x", "error")],
)
def test_what_is_no_reason_is_said(recorded, reason, said):
    refused(recorded, said, retract, 1, reason)


def test_a_retraction_takes_the_place_of_all_newest_versions(recorded):
    amend(recorded, 1, women=2)
    amend(recorded, 1, [1], women=3)
    refused(recorded, "Someone else has changed the case", retract, 1, "error", [3])
    done = retract(recorded, 1)
    assert (done.replaces, done.resolves, history(recorded, 1).heads) == ((3, 4), (3, 4), [])


def test_who_declines_retracts_nothing(recorded):
    def no(_):
        raise BadInput("no")

    refused(recorded, "no", retract, 1, agreed=no)


# The disk


@pytest.mark.parametrize(
    "revise",
    [
        lambda node: amend(node, 1, women=2),
        lambda node: verify(node, 1, "verified", "technical", ONE),
        lambda node: retract(node, 1),
        lambda node: grant(node, 1, "public"),
    ],
)
def test_a_disk_that_refuses_records_nothing_or_all(recorded, monkeypatch, revise):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.node.journal.marks.write", full)
        with pytest.raises(NotWritten):
            revise(recorded)
    Journal(recorded.journal).close()
    assert last(recorded) in {2, 3}
    found = history(recorded, 1)
    assert len(found.events) == last(recorded) - 1


def test_a_torn_event_is_cut_and_made_again(recorded):
    amend(recorded, 1, women=2)
    segment = recorded.journal / f"{1:020}.log"
    whole = segment.read_bytes()
    mark = (recorded.journal / "mark").read_bytes()
    amend(recorded, 1, women=3)
    segment.write_bytes(segment.read_bytes()[: len(whole) + 20])
    (recorded.journal / "mark").write_bytes(mark)
    done = amend(recorded, 1, women=4)
    assert (done.event, done.replaces, segment.read_bytes()[: len(whole)] == whole) == (4, (3,), True)


def test_a_withdrawn_case_cannot_go_on(recorded):
    run(withdrawing.withdraw, recorded, [1], step=lambda _: None)
    for revise, arguments in ((amend, ()), (verify, ("verified", "technical", ONE)), (grant, ("hub",)), (retract, ())):
        refused(recorded, "was withdrawn by event 3", revise, 1, *arguments)


def test_every_sentence_that_is_said_here_is_in_three_languages():
    said = [f"revision.{reason}" for reason in ("not_newest", "step", "same_verifier", "move_not_allowed")]
    for reason in (*said, "consent.narrower", "consent.not_given", "consent.basis", "consent.day"):
        assert len({codes.sentence(reason, language) for language in codes.LANGUAGES}) == 3
