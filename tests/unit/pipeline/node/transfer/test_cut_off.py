"""A case on its way, where a step was cut off, a copy put back or a paper made up: it has one owner and is not lost."""

from datetime import timedelta

import pytest

from pipeline.node import forgetting, retention, withdrawing
from pipeline.node.handover import leaving, rehearsing
from pipeline.node.journal import Journal, Reader
from pipeline.node.record import today
from pipeline.node.transfer import boxes, contents, giving, records, taking
from schemas import transfers
from schemas.errors import BadInput, NotSetUp
from schemas.released import UnknownSchema
from schemas.transfers import ACCEPTED, Answer, Given, Offer
from tests.unit.pipeline.node.transfer.moves import A, B, C, Moving, arrived, kinds, left, made, moving, receipted


@pytest.fixture
def case(tmp_path):
    return moving(tmp_path)


def stop(*_):
    raise KeyboardInterrupt


def drafts(node):
    return [path.name for path in (node.folder / boxes.FOLDER).iterdir() if path.suffix != ".json"]


@pytest.mark.parametrize("does", ["accept", "refuse"])
def test_an_offer_that_bears_the_id_of_another_one_takes_nothing_of_its_place(case, tmp_path, does):
    case.through("complete")
    first = transfers.offered(case.offered)
    stranger = made(tmp_path / "stranger", B)
    other = Offer(first.offer_id, B, A, first.day, 1, 0, stranger.public).signed(B, stranger.secret("sign"))
    back = Moving(stranger, case.a, offered=other)
    getattr(back, does)()
    assert sorted(case.states()[0]) == sorted(["handed_over", {"accept": "accepted", "refuse": "refused"}[does]])
    for step in ("sync", "release", "take"):
        getattr(case, step)()
    assert arrived(case.b) == [1]


def test_an_old_copy_that_sent_nothing_of_its_own_gives_no_case_out_by_receipts_for_what_another_sent(case):
    case.through("answer")
    case.complete()
    receipted(case.a, 9)
    for events, end in ((5, 9), (6, 10)):
        giving.sent.write(case.a, giving.sent.Sent(events=events, end=end))
        with pytest.raises(NotSetUp, match="tocsin node sync"):
            case.release()
    giving.sent.write(case.a, giving.sent.Sent(events=6, end=9))
    assert case.release()


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_case_that_was_not_taken_to_its_end_is_not_taken_and_goes_no_further(case, tmp_path, monkeypatch, after):
    case.through("release")
    with monkeypatch.context() as patch:
        record, count = Journal.append, iter(range(1, 4))
        patch.setattr(Journal, "append", lambda *given: (record(*given), next(count) == after and stop()))
        patch.setattr(taking, "destroy", stop)
        with pytest.raises(KeyboardInterrupt):
            case.take()
    assert (case.states()[1], arrived(case.b)) == (["accepted"], [1])
    with Journal(case.b.journal) as journal, pytest.raises(BadInput, match="tocsin node transfer status"):
        leaving.offer(case.b, journal, "UNCT-COD")
    with pytest.raises(BadInput, match="tocsin node transfer take"):
        Moving(case.b, made(tmp_path, C)).offer()
    case.take()
    assert (case.states()[1], kinds(case.b)) == (["taken"], ["IncidentReported", "ConsentGiven", "ReferralMade"])
    assert Moving(case.b, case.a).offer()


def test_what_was_not_written_is_not_given_out(case):
    case.through("sync")

    def full(_):
        raise BadInput("disk full")

    with pytest.raises(BadInput, match="disk full"):
        giving.release(case.a, Reader(case.a.journal), 1, full)
    with pytest.raises(BadInput, match="tocsin node transfer status"):
        rehearsing.rehearse(case.a, Reader(case.a.journal))
    put = []
    assert giving.release(case.a, Reader(case.a.journal), 1, put.append) == put[0]
    assert rehearsing.rehearse(case.a, Reader(case.a.journal))


def test_a_case_of_a_newer_tocsin_is_taken_after_an_update(case, monkeypatch):
    case.through("release")
    with monkeypatch.context() as patch:

        def newer(*_):
            raise UnknownSchema(b"12345678")

        patch.setattr(contents, "unsealed", newer)
        with pytest.raises(BadInput, match="update tocsin here"):
            case.take()
    assert case.take().recorded == (1, 2, 3)


def test_a_case_by_consent_without_the_day_of_one_is_not_taken(case):
    case.through("release")
    given, answer = transfers.given(case.given), transfers.answered(case.answered)
    found = contents.unsealed(boxes.pair(case.b, transfers.offered(case.offered))[32:], given.box)
    box = contents.Contents(found.offer, None, found.incidents).seal(answer.receives)
    case.given = Given(given.offer, given.answer, given.event, box).signed(A, case.a.secret("sign"))
    with pytest.raises(BadInput, match="names no day"):
        case.take()
    assert kinds(case.b) == []


@pytest.mark.parametrize("key", [bytes(32), b"\x01" + bytes(31)])
def test_an_answer_with_a_key_for_which_nothing_can_be_sealed_is_refused(case, key):
    offer = transfers.offered(case.offer())
    answer = Answer(offer.digest, B, ACCEPTED, case.b.public, key)
    with pytest.raises(BadInput, match="no answer of a transfer"):
        giving.answer(case.a, answer.signed(B, case.b.secret("sign")))
    assert case.states()[0] == ["offered"]


def test_a_case_that_is_offered_is_held_by_the_rules_until_it_has_gone_or_not(tmp_path):
    case = moving(tmp_path)
    by = retention.rules(case.a)
    far = today() + timedelta(days=365 * 20)

    def plan():
        return retention.plan(case.a, Reader(case.a.journal), by, far)

    def held():
        return [(each.event, each.offered) for part in plan().parts for each in part.held]

    assert held() == [(1, "")]
    case.offer()
    assert (held(), plan().goes) == ([(1, B)], ())
    case.cancel()
    assert held() == [(1, "")]


@pytest.mark.parametrize("lost", [True, False])
def test_cut_off_between_key_and_event_the_case_is_handed_over_also_where_the_note_of_it_is_lost(
    case, monkeypatch, lost
):
    case.through("answer")
    with monkeypatch.context() as patch:
        append = Journal.append
        patch.setattr(Journal, "append", lambda journal, _, keys=(): (append(journal, (), keys), stop()))
        with pytest.raises(KeyboardInterrupt):
            case.complete()
    if lost:
        (case.a.folder / forgetting.FILE).unlink()
    with pytest.raises(BadInput, match="transfer complete"):
        case.cancel()
    with Journal(case.a.journal) as journal:
        withdrawing.withdraw(case.a, journal, [1], lambda _: None)
    assert left(case.a, 1) == "handed_over"
    for step in ("sync", "release", "take"):
        getattr(case, step)()
    assert arrived(case.b) == [1]


def test_a_draft_of_what_may_open_it_goes_too(case):
    case.through("answer")
    [ref] = [record.case_ref for record in records.every(case.a)]
    for name in (f"{ref}.box", f"{ref}.box.new"):
        (case.a.folder / boxes.FOLDER / name).write_bytes(b"sealed")
    with Journal(case.a.journal) as journal:
        withdrawing.withdraw(case.a, journal, [1], lambda _: None)
    assert drafts(case.a) == []
