"""A case goes to another node: what is refused and why, what travels, and what each side says of it."""

from contextlib import suppress
from datetime import timedelta

import pytest

from pipeline.node import casefiles, forgetting, referring, retention, revising, story, withdrawing
from pipeline.node.handover import leaving, rehearsing
from pipeline.node.journal import Journal, Reader
from pipeline.node.record import NotRecorded
from pipeline.node.revising import Decision
from pipeline.node.transfer import boxes, contents, giving, records, standing, taking
from schemas import transfers
from schemas.errors import BadInput, NotSetUp
from schemas.transfers import Given
from tests.unit.pipeline.node.revised import last, report
from tests.unit.pipeline.node.test_record import INCIDENT
from tests.unit.pipeline.node.transfer.moves import (
    CONSENT,
    PUBLIC,
    YESTERDAY,
    A,
    B,
    C,
    Moving,
    amended,
    arrived,
    history,
    kinds,
    left,
    made,
    moving,
    newest,
    receipted,
    records_on,
)


@pytest.fixture
def case(tmp_path):
    return moving(tmp_path)


def public(tmp_path):
    """Return two nodes of which the first has a case that is public information."""
    return Moving(report(made(tmp_path, A), 1, **PUBLIC), made(tmp_path, B), on=None)


# The whole way


def test_the_case_is_the_other_nodes_as_it_was_and_its_first_owner_can_not_open_it(case):
    before = newest(case.a, 1)
    done = case.through()
    assert (done.sender, done.incidents, done.recorded) == (A, (1,), (1, 2, 3))
    assert newest(case.b, 1) == before
    assert kinds(case.b) == ["IncidentReported", "ConsentGiven", "ReferralMade"]
    assert history(case.b, 1).events[2].body["given_on"] == YESTERDAY
    [referral] = history(case.b, 1).referrals.values()
    assert (referral.body["referral"]["service"], referral.body["referral"]["outcome"]) == ("medical", "pending")
    with pytest.raises(BadInput, match="was handed over by event 6"):
        history(case.a, 1)
    assert amended(case.b, 1, women=4).incident == 1
    assert case.states() == [["handed_over"], ["taken"]]


def test_the_log_of_the_first_owner_forgets_it_by_one_event_that_says_why(case):
    case.through("complete")
    assert kinds(case.a)[5:] == ["ConsentWithdrawn"]
    assert left(case.a, 1) == "handed_over"
    told = story.story(case.a, Reader(case.a.journal), 1)
    assert (told.state, told.lines[-1].change) == ("handed over", "handed over")
    [file] = casefiles.every(case.a, Reader(case.a.journal))
    assert (file.withdrawn, file.key) == (6, None)


def test_a_public_case_needs_no_consent_and_gets_none(tmp_path):
    found = public(tmp_path)
    found.through()
    assert kinds(found.b) == ["IncidentReported"]
    assert newest(found.b, 1) == newest_of(INCIDENT | PUBLIC)


def newest_of(facts):
    return {name: facts[name] for name in INCIDENT}


def test_what_travels_holds_no_fact_and_no_secret(case):
    facts = newest(case.a, 1)
    key, seeds = history(case.a, 1).case.key, [node.secret("sign") for node in (case.a, case.b)]
    case.through("release")
    private = boxes.pair(case.b, transfers.offered(case.offered))[32:]
    for paper in (case.offered, case.answered, case.given):
        for secret in (key, *seeds, private):
            assert secret not in paper.encode()
            assert secret.hex() not in paper
        assert facts["party"] not in paper
        assert str(YESTERDAY) not in paper
    kept = [path.read_bytes() for path in case.a.folder.rglob("*") if path.is_file()]
    assert not any(facts["party"].encode() in data or str(YESTERDAY).encode() in data for data in kept)


def test_what_lies_at_the_first_owner_opens_with_nothing_that_it_has(case):
    case.through("complete")
    [box] = (case.a.folder / boxes.FOLDER).glob("*.box")
    for name in ("sign", "digest", "epoch-1"):
        with pytest.raises(Exception, match="seal"):
            contents.unsealed(case.a.secret(name), box.read_bytes())


def test_when_it_is_taken_its_key_is_destroyed_so_that_a_withdrawal_is_final(case):
    case.through("release")
    private = boxes.pair(case.b, transfers.offered(case.offered))[32:].hex().encode()
    assert any(private in path.read_bytes() for path in case.b.folder.rglob("*.key"))
    case.take()
    assert not any(private in path.read_bytes() for path in case.b.folder.rglob("*") if path.is_file())
    with Journal(case.b.journal) as journal:
        withdrawing.withdraw(case.b, journal, [1], lambda _: None)
    assert case.take().withdrawn == 4
    assert kinds(case.b).count("IncidentReported") == 1
    assert not records_on(case.b, 1)


def test_a_withdrawal_before_a_take_that_was_cut_off_has_ended_destroys_its_key(case, monkeypatch):
    case.through("release")
    with monkeypatch.context() as patch:
        patch.setattr(taking, "destroy", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            case.take()
    assert list((case.b.folder / boxes.FOLDER).glob("*.key"))
    with Journal(case.b.journal) as journal:
        withdrawing.withdraw(case.b, journal, [1], lambda _: None)
    assert not list((case.b.folder / boxes.FOLDER).glob("*.key"))
    assert case.take().withdrawn == 4


def test_a_case_goes_on_and_on_and_back(case, tmp_path):
    case.through()
    further = Moving(case.b, case.a)
    facts = newest(case.b, 1)
    done = further.through()
    assert newest(case.a, done.incidents[0]) == facts
    assert [left(case.a, 1), left(case.b, 1), left(case.a, done.incidents[0])] == ["handed_over", "handed_over", ""]
    assert further.states() == [["taken", "handed_over"], ["handed_over", "taken"]]


def test_a_case_that_was_verified_stays_verified_and_its_steps_begin_anew(case):
    with Journal(case.a.journal) as journal:
        revising.verify(case.a, journal, 1, Decision("verified", "task_force", "A. Name", primary=2))
    case.through()
    assert (newest(case.b, 1)["verification"], newest(case.b, 1)["primary_sources"]) == ("verified", 2)
    with Journal(case.b.journal) as journal:
        revising.verify(case.b, journal, 1, Decision("verified", "focal_point", "A. Name"))


def test_a_service_that_goes_on_is_asked_again_by_the_new_owner(case):
    with Journal(case.a.journal) as journal:
        referring.follow_up(case.a, journal, 3, "service_ongoing")
    case.through()
    with Journal(case.b.journal) as journal:
        done = referring.follow_up(case.b, journal, 3, "service_received")
    assert (done.known.service, done.known.referred_on) == ("medical", YESTERDAY)


# What can't go, and what is to be done


def test_a_case_by_consent_needs_the_day_on_which_she_agreed_to_the_other_node(case):
    case.on = None
    with pytest.raises(BadInput, match="--consented-on"):
        case.offer()
    for day in (INCIDENT["occurred_on"] - timedelta(days=1), YESTERDAY + timedelta(days=9)):
        case.on = day
        with pytest.raises(NotRecorded):
            case.offer()
    assert case.states() == [[], []]


def test_a_case_that_came_to_need_a_consent_does_not_go_without(tmp_path):
    found = public(tmp_path)
    found.through("answer")
    with Journal(found.a.journal) as journal:
        referring.refer(found.a, journal, 1, "medical")
    with pytest.raises(BadInput, match="--consented-on"):
        found.complete()
    assert records_on(found.a, 1)
    found.cancel()
    found.on = YESTERDAY
    found.through()
    assert kinds(found.b) == ["IncidentReported", "ReferralMade"]  # what was public is not made a consent


def conflict(case):
    for women in (3, 4):
        with Journal(case.a.journal) as journal:
            revising.amend(case.a, journal, 1, {"women": women}, [2])


def retract(case):
    with Journal(case.a.journal) as journal:
        revising.retract(case.a, journal, 1, "error")


def close(case):
    with Journal(case.a.journal) as journal:
        revising.verify(case.a, journal, 1, Decision("not_in_scope", "technical", "A. Name"))


def withdraw(case):
    with Journal(case.a.journal) as journal:
        withdrawing.withdraw(case.a, journal, [1], lambda _: None)


def refuse(case):
    receipted(case.a, 0, refused={(1, 0): "incident.persons_none", (2, 0): "revision.unknown"})


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (conflict, "in conflict: end it first"),
        (retract, "was retracted by event 6"),
        (close, "no longer shared, as event 6 says"),
        (withdraw, "was withdrawn by event 6"),
        (refuse, "The hub refused event 1"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
@pytest.mark.parametrize("at", ["offer", "complete"])
def test_what_can_not_go_is_refused_with_what_to_do(case, spoil, said, at):
    if at == "complete":
        case.through("answer")
    spoil(case)
    with pytest.raises(BadInput, match=said):
        getattr(case, at)()
    assert left(case.a, 1) in ("", "consent")
    assert not list((case.a.folder / boxes.FOLDER).glob("*.box"))


def test_a_conflict_that_was_ended_lets_it_go(case):
    case.through("answer")
    conflict(case)
    with pytest.raises(BadInput, match="in conflict"):
        case.complete()
    amended(case.a, 1, women=9)
    for step in ("complete", "sync", "release", "take"):
        getattr(case, step)()
    assert newest(case.b, 1)["women"] == 9


def test_only_a_case_goes_and_only_to_another_node(case):
    for number in (7, 99):
        case.number = number
        with pytest.raises(BadInput, match="about no case"):
            case.offer()
    with Journal(case.a.journal) as journal:
        for code, said in ((A, "has the case already"), ("no code", "capital letters")):
            with pytest.raises(BadInput, match=said):
                giving.offer(case.a, journal, 1, code, YESTERDAY)


def test_a_case_of_the_team_before_that_was_not_entrusted_does_not_go(tmp_path):
    from tests.unit.pipeline.node.handover.papers import handing

    handed = handing(tmp_path / "handed" if (tmp_path / "handed").mkdir() is None else tmp_path)
    found = Moving(handed.through(), made(tmp_path, B))
    with pytest.raises(BadInput, match="tocsin node handover ask"):
        found.offer()
    found.number, found.on = 4, None
    found.through()
    assert kinds(found.b) == ["IncidentReported"]


def test_a_node_that_was_handed_over_offers_and_accepts_nothing(tmp_path):
    from tests.unit.pipeline.node.handover.papers import handing

    (tmp_path / "handed").mkdir()
    handed = handing(tmp_path / "handed")
    handed.through("close")
    with pytest.raises(BadInput, match="handed over to"):
        Moving(handed.old, made(tmp_path, B), 4, None).offer()
    other = Moving(report(made(tmp_path, C), 1, **PUBLIC), handed.old, on=None)
    other.offer()
    with pytest.raises(BadInput, match="handed over to"):
        other.accept()


def test_a_node_is_not_handed_over_while_a_case_is_on_its_way(case):
    def ready(node):
        with suppress(BadInput):
            rehearsing.rehearse(node, Reader(node.journal))
            return True
        return False

    found = []
    for step in ("offer", "accept", "answer", "complete", "sync", "release", "take"):
        getattr(case, step)()
        found.append((ready(case.a), ready(case.b)))
    assert found == [(False, True), *[(False, False)] * 4, (True, False), (True, True)]
    with Journal(case.b.journal) as journal:
        leaving.offer(case.b, journal, "UNCT-COD")
    Moving(case.b, case.a).offer()
    with Journal(case.b.journal) as journal, pytest.raises(BadInput, match="tocsin node transfer status"):
        leaving.offer(case.b, journal, "UNCT-COD")


# Offers and answers


def test_one_case_is_offered_to_one_node_at_a_time(case, tmp_path):
    first = case.offer()
    assert case.offer() == first
    other = Moving(case.a, made(tmp_path, C))
    with pytest.raises(BadInput, match=f"offered to {B} already"):
        other.offer()
    case.on = YESTERDAY - timedelta(days=1)
    with pytest.raises(BadInput, match="already"):
        case.offer()
    case.cancel()
    other.through()
    assert case.states()[0] == ["cancelled", "handed_over"]


@pytest.mark.parametrize("reason", transfers.reasons())
def test_a_refused_case_stays_and_can_be_offered_again(case, reason):
    case.offer()
    case.refuse(reason)
    case.answer()
    [found] = standing.every(case.a, Reader(case.a.journal))
    assert (found.state, found.reason, found.case) == ("refused", reason, 1)
    with pytest.raises(BadInput, match="offered to nobody"):
        case.complete()
    assert records_on(case.a, 1)
    case.through()
    assert left(case.a, 1) == "handed_over"


def test_an_answer_stands(case):
    case.offer()
    refused = case.refuse("security")
    assert case.refuse("other") == refused
    with pytest.raises(BadInput, match="has refused this offer"):
        case.accept()
    case.answer()
    case.offer()
    accepted = case.accept()
    assert case.accept() == accepted
    with pytest.raises(BadInput, match="has accepted this offer"):
        case.refuse()


def test_of_two_who_accept_the_first_whose_answer_came_gets_the_case(case, tmp_path):
    twin = Moving(case.a, made(tmp_path / "copy", B))
    twin.offered = case.offer()
    case.accept()
    twin.accept()
    case.answer()
    with pytest.raises(BadInput, match="answered otherwise before"):
        twin.answer()
    for step in ("complete", "sync", "release"):
        getattr(case, step)()
    twin.given = case.given
    with pytest.raises(BadInput, match="answers no acceptance"):
        twin.take()
    case.take()
    assert (arrived(case.b), arrived(twin.b)) == ([1], [])


def test_a_cancelled_offer_brings_nothing_and_who_accepted_can_drop_its_key(case):
    case.offer()
    case.accept()
    note = case.cancel()
    assert case.cancel() == note
    with pytest.raises(BadInput, match="was cancelled"):
        case.answer()
    with pytest.raises(BadInput, match="offered to nobody"):
        case.complete()
    assert list((case.b.folder / boxes.FOLDER).glob("*.key"))
    for _ in range(2):
        taking.cancelled(case.b, note)
    assert not list((case.b.folder / boxes.FOLDER).glob("*.key"))
    assert case.states() == [["cancelled"], ["cancelled"]]
    with pytest.raises(BadInput, match="has cancelled this offer"):
        case.accept()


def test_an_accepted_offer_can_be_cancelled_until_the_case_leaves(case):
    case.through("answer")
    case.cancel()
    with pytest.raises(BadInput, match="offered to nobody"):
        case.complete()
    case.through("complete")
    with pytest.raises(BadInput, match="has left by event 6"):
        case.cancel()


def test_an_offer_of_a_case_that_was_withdrawn_is_cancelled_so_that_who_accepted_can_drop_its_key(case):
    case.through("answer")
    withdraw(case)
    taking.cancelled(case.b, case.cancel())
    assert case.states() == [["cancelled"], ["cancelled"]]
    assert not list((case.b.folder / boxes.FOLDER).glob("*.key"))


def test_two_offers_of_a_case_wrap_the_same_day_otherwise(case):
    case.offer()
    case.cancel()
    case.offer()
    first, second = (record.consented for record in records.every(case.a))
    assert first[:96] != second[:96]
    assert len(first) == len(second) == 96


def test_nobody_else_cancels_an_offer(case, tmp_path):
    case.offer()
    case.accept()
    thief = made(tmp_path / "thief", A)
    forged = giving.cancellation(thief, records.every(case.a)[0])
    with pytest.raises(BadInput, match="cancels no offer"):
        taking.cancelled(case.b, forged)
    assert case.states()[1] == ["accepted"]
    with pytest.raises(BadInput, match="answers no offer"):
        giving.answer(case.a, giving.cancellation(case.b, records.every(case.b)[0]))


def test_an_offer_is_for_the_node_that_it_names(case, tmp_path):
    case.offer()
    other = Moving(case.a, made(tmp_path, C), offered=case.offered)
    for step in (other.accept, other.refuse):
        with pytest.raises(BadInput, match=f"offered to {B}, not to {C}"):
            step()
    case.accept()
    with pytest.raises(BadInput, match="answers no offer"):
        giving.answer(case.b, case.answered)


@pytest.mark.parametrize("paper", ["offered", "answered", "given"])
def test_a_paper_in_which_anything_is_changed_is_refused(case, paper):
    steps = {"offered": ("offer", case.accept), "answered": ("accept", case.answer), "given": ("release", case.take)}
    through, use = steps[paper]
    case.through(through)
    whole = getattr(case, paper)
    for at in range(0, len(whole), 7):
        setattr(case, paper, whole[:at] + chr(ord(whole[at]) ^ 1) + whole[at + 1 :])
        with pytest.raises(BadInput):
            use()
    setattr(case, paper, whole)
    use()


def test_a_case_without_the_event_by_which_it_left_is_not_taken(case, tmp_path):
    case.through("release")
    given = transfers.given(case.given)
    [other] = [entry.envelope for entry in Reader(case.a.journal).read(5)][:1]
    withdrawn = Moving(report(made(tmp_path / "other", A), 1, **CONSENT), case.b)
    withdraw(withdrawn)
    for event in (other, b"junk", *(entry.envelope for entry in Reader(withdrawn.a.journal).read(2))):
        case.given = Given(given.offer, given.answer, event, given.box).signed(A, case.a.secret("sign"))
        with pytest.raises(BadInput, match="does not show"):
            case.take()
    assert arrived(case.b) == []


def test_a_box_that_was_sealed_for_another_offer_is_not_taken(case, tmp_path):
    case.through("release")
    given, answer = transfers.given(case.given), transfers.answered(case.answered)
    other = contents.Contents(bytes(32), YESTERDAY, (contents.Incident(INCIDENT),)).seal(answer.receives)
    for box, said in ((other, "another case"), (given.box[:-1], "does not open"), (b"", "does not open")):
        case.given = Given(given.offer, given.answer, given.event, box).signed(A, case.a.secret("sign"))
        with pytest.raises(BadInput, match=said):
            case.take()
    assert (arrived(case.b), case.states()[1]) == ([], ["accepted"])


def test_what_breaks_a_rule_here_is_not_taken_and_can_be_taken_later(case, monkeypatch):
    case.through("release")
    with monkeypatch.context() as patch:
        patch.setattr(taking, "broken", lambda *_: ["incident.persons_none"])
        with pytest.raises(BadInput, match="update tocsin"):
            case.take()
    assert kinds(case.b) == []
    assert case.take().recorded == (1, 2, 3)


# It leaves once, and is given out when no table shows it


def test_it_is_given_out_only_when_the_hub_has_taken_it_out(case):
    case.through("complete")
    for through, missing in ((0, ()), (5, ()), (6, ((6, 6),)), (9, ((4, 7),))):
        receipted(case.a, through, missing)
        with pytest.raises(NotSetUp, match="tocsin node sync"):
            case.release()
    receipted(case.a, 6, refused={(6, 40): "envelope.signature"})
    with pytest.raises(BadInput, match="The hub refused event 6"):
        case.release()
    receipted(case.a, 6, ((2, 3),))
    first = case.release()
    assert case.release() == first


def test_it_is_not_given_out_before_it_has_left(case):
    case.through("answer")
    receipted(case.a)
    with pytest.raises(BadInput, match="is not handed over"):
        case.release()


def test_completing_again_changes_nothing(case):
    done = case.through("complete")
    again = case.complete()
    assert (done.before, again.before, again.event) == (False, True, done.event)
    assert last(case.a) == 6


def test_a_case_that_was_withdrawn_on_its_way_leaves_nothing_that_opens_it(case, monkeypatch):
    case.through("answer")
    with monkeypatch.context() as patch:
        patch.setattr(withdrawing, "withdraw", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            case.complete()
    assert list((case.a.folder / boxes.FOLDER).glob("*.box"))
    withdraw(case)
    assert not list((case.a.folder / boxes.FOLDER).glob("*.box"))
    receipted(case.a)
    for step in (case.complete, case.release):
        with pytest.raises(BadInput):
            step()
    assert case.states()[0] == ["withdrawn"]


def cut_off(case, monkeypatch):
    """Stop completing between the key and the event."""
    case.through("answer")
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", keys_only(Journal.append))
        with pytest.raises(KeyboardInterrupt):
            case.complete()
    assert (left(case.a, 1), forgetting.read(case.a) != {}) == ("", True)


def keys_only(append):
    def stopped(journal, entries, keys=()):
        append(journal, (), keys)
        raise KeyboardInterrupt

    return stopped


@pytest.mark.parametrize("how", ["complete", "withdraw", "retention"])
def test_stopped_between_key_and_event_whatever_ends_it_the_case_is_handed_over(case, monkeypatch, how):
    cut_off(case, monkeypatch)
    with pytest.raises(BadInput, match="transfer complete"):
        case.cancel()
    if how == "retention":
        with Journal(case.a.journal) as journal:
            plan = retention.plan(case.a, journal, retention.rules(case.a), YESTERDAY)
        assert (plan.unfinished, plan.withdraw_again) == ((), (1,))
    if how == "withdraw":
        withdraw(case)
    case.complete()
    assert left(case.a, 1) == "handed_over"
    for step in ("sync", "release", "take"):
        getattr(case, step)()
    assert arrived(case.b) == [1]


def test_a_withdrawal_that_was_cut_off_is_not_made_a_handover(case, monkeypatch):
    case.through("answer")
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", keys_only(Journal.append))
        with pytest.raises(KeyboardInterrupt):
            withdraw(case)
    with pytest.raises(BadInput, match="tocsin node withdraw --event 1"):
        case.complete()
    withdraw(case)
    assert left(case.a, 1) == "consent"


def test_withdrawing_what_was_handed_over_says_so_and_keeps_it_for_who_has_accepted(case):
    case.through("complete")
    with Journal(case.a.journal) as journal:
        [done] = withdrawing.withdraw(case.a, journal, [1], lambda _: None)
    assert (done.before, done.cause, done.event) == (True, "handed_over", 6)
    for step in ("sync", "release", "take"):
        getattr(case, step)()
    assert arrived(case.b) == [1]


def test_a_file_of_the_folder_that_is_damaged_is_named(case):
    case.offer()
    [path] = (case.a.folder / boxes.FOLDER).glob("*.json")
    path.write_text(path.read_text().replace(B, C))
    with pytest.raises(Exception, match="is damaged; restore this file"):
        case.states()


def test_what_the_folders_keep_is_readable_by_their_owner_only(case):
    case.through("release")
    for node in (case.a, case.b):
        assert (node.folder / boxes.FOLDER).stat().st_mode & 0o077 == 0
        assert all(path.stat().st_mode & 0o077 == 0 for path in (node.folder / boxes.FOLDER).iterdir())
