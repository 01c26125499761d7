"""A node changes hands: nothing is lost, it has one owner at each moment, and the successor can open what it was entrusted with."""

from datetime import timedelta

import pytest

from pipeline.hub.proof import Evidence, examine
from pipeline.node import envelopes, keys, referring, revising, versions, withdrawing
from pipeline.node import node as nodes
from pipeline.node import sync as syncing
from pipeline.node.entries import MAGIC
from pipeline.node.handover import deeds, entrusting, leaving, owning, rehearsing, succeeding
from pipeline.node.journal import NO_DIGEST, Journal, Reader
from pipeline.node.record import Recorder, today
from pipeline.node.revising import Decision
from pipeline.node.status import status
from pipeline.node.transfer import boxes
from schemas import chain, handover, signing
from schemas.errors import BadInput
from schemas.rows import read
from schemas.wire import unframe
from tests.unit.pipeline.node.crashing import killed_at
from tests.unit.pipeline.node.handover.papers import CONSENT, INCIDENT, PUBLIC, TO, Log, amend, events, records, send
from tests.unit.pipeline.node.handover.papers import handing as made
from tests.unit.pipeline.node.revised import report

DAY = today()
STEPS = ("offer", "accept", "close", "open", "retire")


@pytest.fixture
def handing(tmp_path):
    return made(tmp_path)


def verdict(node, log):
    raw, heads = (
        [value for topic, _, value in log.records if topic == f"{name}.{node.code}"] for name in ("raw", "heads")
    )
    pin = chain.read_head(heads[0]).signer
    return examine(Evidence(node.code, raw, heads, pin))


# The whole way


def test_the_node_goes_on_with_the_next_number_in_a_chain_that_cites_the_old_one(handing):
    log = send(handing.old, Log())
    new = handing.through()
    before = events(handing.old)
    report(new, 1, **CONSENT)
    assert events(new)[:-1] == before
    assert [read(*unframe(each))["sequence"] for each in events(new)] == list(range(1, 9))
    found = verdict(new, send(new, log))
    assert found.complete
    assert (found.through, [(one.sequence, one.successor) for one in found.handovers]) == (8, [(7, TO)])
    heads = [chain.read_head(value) for topic, _, value in log.records if topic == "heads.MONUSCO"]
    assert [(head.signer == new.public, head.continues is not None) for head in heads] == [
        (False, False),
        (False, False),
        (True, True),
    ]


def test_what_was_not_sent_is_sent_by_the_successor(handing):
    new = handing.through()
    found = verdict(new, send(new, Log()))
    assert (found.complete, found.through) == (True, 7)


def test_both_syncs_in_any_order_give_a_whole_log(handing):
    new = handing.through()
    report(new, 1, **CONSENT)
    log = send(new, Log())
    send(handing.old, log)
    found = verdict(new, log)
    assert (found.complete, found.repeated) == (True, list(range(1, 8)))


def test_a_node_can_be_handed_on(handing, tmp_path):
    log = send(handing.old, Log())
    new = handing.through()
    report(new, 1, **CONSENT)
    handing.old, handing.new, handing.stick = new, tmp_path / "third", tmp_path / "stick2"
    handing.stick.mkdir()
    third = handing.through()
    report(third, 1, **PUBLIC)
    found = verdict(third, send(third, log))
    assert found.complete
    assert [one.sequence for one in found.handovers] == [7, 9]
    assert (records(new), records(third)) == (False, True)


def test_the_leaving_team_records_nothing_more(handing):
    handing.through("close")
    assert not records(handing.old)
    for change in (lambda: report(handing.old), lambda: amend(handing.old, 2, women=3)):
        with pytest.raises(BadInput, match=f"handed over to {TO} by event 7"):
            change()
    with Journal(handing.old.journal) as journal, pytest.raises(BadInput, match="handed over"):
        withdrawing.withdraw(handing.old, journal, [1], lambda _: None)


def test_status_says_whose_it_is(handing):
    assert status(handing.old).handover is None
    new = handing.through()
    assert status(handing.old).handover == owning.Standing("left", 7, TO)
    assert status(new).handover == owning.Standing("taken_over", 7, TO)
    handing.retire()
    assert (status(handing.old).public, status(handing.old).damage) == ("", None)


# Exactly one owner, whenever the machine stops


@pytest.mark.parametrize("step", STEPS)
def test_stopped_at_any_moment_of_a_step_the_node_has_one_owner_and_the_step_can_be_done_again(tmp_path, step):
    count = 0
    while True:
        count += 1
        handing = made((folder := tmp_path / str(count)).mkdir() or folder)
        at = STEPS.index(step)
        for each in STEPS[:at]:
            getattr(handing, each)()
        with killed_at(count) as times:
            getattr(handing, step)()
        owners = [node for node in (handing.old, *new_node(handing)) if records(node)]
        named = owning.last_word(Reader(handing.old.journal))
        if named is None:
            assert owners == [handing.old]
        else:  # its successor's, who has it already or can open it now
            assert handing.old not in owners
            assert len(owners) == len(new_node(handing))
        for each in STEPS[at:]:
            if each != "retire" or deeds.signs_with(handing.old.folder):
                getattr(handing, each)()
        (new,) = new_node(handing)
        assert (records(handing.old), records(new)) == (False, True)
        assert events(new) == events(handing.old)
        assert verdict(new, send(new, Log())).complete
        if len(times) < count:
            break
    assert count > 1 or step == "offer"


def new_node(handing):
    return [nodes.load(handing.new)] if (handing.new / "node.json").exists() else []


# Counts, not cases


def test_the_deed_counts_and_names_nothing(handing):
    handing.offer()
    deed = handover.deed((handing.stick / "offer").read_text())
    assert dict(deed.counts) == {
        "events": 6,
        "cases": 4,
        "consents_to_grant": 3,
        "public_cases": 1,
        "withdrawn_cases": 0,
        "incidents": 4,
        "verified": 0,
        "in_conflict": 0,
        "open_referrals": 0,
        "patterns": 1,
    }
    assert INCIDENT["party"] not in deed.text


def test_the_successor_opens_what_is_public_and_counts_the_rest(handing):
    new = handing.through()
    assert versions.history(new, Reader(new.journal), 4).reported.body["incident"]["party"] == INCIDENT["party"]
    for number in (1, 2, 3, 6):
        with pytest.raises(BadInput, match="its survivor has not consented anew"):
            versions.history(new, Reader(new.journal), number)
        with pytest.raises(BadInput, match="tocsin node handover ask"):
            amend(new, number, women=3)
    how = entrusting.custody(new, Reader(new.journal))
    assert (how.cases, how.opened, how.withdrawn, how.waiting) == (4, 1, 0, (1, 2, 3))


def test_nothing_that_travels_holds_a_secret_or_a_fact(handing):
    with Journal(handing.old.journal) as journal:
        secrets = [handing.old.secret(name) for name in ("sign", "digest", "epoch-1")]
        keys = [versions.history(handing.old, journal, number).case.key for number in (1, 2, 3, 4)]
    new = handing.through()
    carried = b"".join(path.read_bytes() for path in handing.stick.iterdir())
    parts = b"".join(succeeding._parts(handing.package).values())
    kept = b"".join(path.read_bytes() for path in new.folder.rglob("*") if path.is_file())
    for where in (carried, parts, kept):
        for secret in (*secrets, *keys, INCIDENT["party"].encode()):
            assert secret not in where
            assert secret.hex().encode() not in where


def test_the_digests_of_rows_stay_behind(tmp_path):
    handing = made(tmp_path)
    with Journal(handing.old.journal) as journal, Recorder(handing.old, journal) as recorder:
        recorder.record("IncidentReported", {"incident": {**INCIDENT, **CONSENT}}, b"d" * 16)
    new = handing.through()
    assert {entry.digest for entry in Reader(new.journal).read()} == {NO_DIGEST}


# A survivor consents anew, or does not


def test_a_case_that_is_entrusted_opens_goes_on_and_keeps_its_consent(handing):
    log = send(handing.old, Log())
    new = handing.through()
    send(new, log)
    answer = handing.entrusted(handing.ask(1, 3, on=DAY), log)
    assert (answer.given, answer.gone) == (2, 0)
    done = handing.take(answer.text)
    assert (done.cases, done.before, done.gone, done.refused) == ([1, 3], [], [], {})
    found = versions.history(new, Reader(new.journal), 1)
    newest = found.versions[found.heads[0]]
    assert (newest.kind, newest.follows, newest.body["given_on"], newest.body["incident"]["women"]) == (
        "ConsentGiven",
        (6,),
        DAY,
        2,
    )
    assert amend(new, 1, women=5).replaces == (newest.number,)
    with pytest.raises(BadInput, match="consented anew"):
        versions.history(new, Reader(new.journal), 2)
    assert entrusting.custody(new, Reader(new.journal)).waiting == (2,)
    assert verdict(new, send(new, log)).complete


def test_a_key_that_was_taken_is_sent_wrapped_for_the_new_team(handing):
    log = send(handing.old, Log())
    new = handing.through()
    send(new, log)
    handing.take(handing.entrusted(handing.ask(1), log).text)
    again = handing.entrusted(handing.ask(2), send(new, log))
    assert again.given == 1
    values = Reader(new.journal).keys()
    ref = envelopes.of_event(new, Reader(new.journal), 1)[0]["case_ref"]
    assert read(*unframe(values[ref]))["epoch"] == new.epoch == handing.old.epoch + 1


def test_taking_the_same_answer_again_adds_nothing(handing):
    log = send(handing.old, Log())
    send(handing.through(), log)
    answer = handing.entrusted(handing.ask(1, 2), log).text
    handing.take(answer)
    before = events(nodes.load(handing.new))
    done = handing.take(answer)
    assert (done.cases, done.before) == ([], [1, 2])
    assert events(nodes.load(handing.new)) == before


def test_stopped_at_any_moment_of_taking_it_is_taken_by_the_next_run(tmp_path):
    count = 0
    while True:
        count += 1
        handing = made((folder := tmp_path / str(count)).mkdir() or folder)
        log = send(handing.old, Log())
        send(handing.through(), log)
        answer = handing.entrusted(handing.ask(1, 2), log).text
        with killed_at(count) as times:
            handing.take(answer)
        handing.take(answer)
        new = nodes.load(handing.new)
        kinds = [read(*unframe(each))["kind"] for each in events(new)]
        assert kinds.count("ConsentGiven") == 2
        assert entrusting.custody(new, Reader(new.journal)).waiting == (3,)
        if len(times) < count:
            break
    assert count > 4


def test_who_does_not_consent_is_withdrawn_without_her_case_being_opened(handing):
    log = send(handing.old, Log())
    new = handing.through()
    with Journal(new.journal) as journal:
        (done,) = withdrawing.withdraw(new, journal, [6], lambda _: None)
    assert (done.incidents, done.before) == (1, False)
    send(new, log)
    with pytest.raises(BadInput, match="was withdrawn by event 8"):
        handing.ask(1)
    how = entrusting.custody(new, Reader(new.journal))
    assert (how.withdrawn, how.waiting) == (1, (2, 3))


def test_a_case_withdrawn_after_it_was_asked_for_brings_no_key(handing):
    log = send(handing.old, Log())
    new = handing.through()
    request = handing.ask(1, 2)
    with Journal(new.journal) as journal:
        withdrawing.withdraw(new, journal, [1], lambda _: None)
    answer = handing.entrusted(request, send(new, log))
    assert (answer.given, answer.gone) == (1, 1)
    assert (handing.take(answer.text).cases, handing.take(answer.text).gone) == ([2], [1])


def test_a_consent_is_no_older_than_the_handover_and_not_of_days_to_come(handing):
    log = send(handing.old, Log())
    send(handing.through(), log)
    for days in (-3, 3):
        with pytest.raises(BadInput, match="between that of the handover"):
            handing.ask(1, on=today() + timedelta(days=days))
    assert handing.take(handing.entrusted(handing.ask(1), log).text).cases == [1]


def test_only_what_was_handed_over_is_asked_for(handing):
    log = send(handing.old, Log())
    new = handing.through()
    report(new, 1, **CONSENT)
    send(new, log)
    for number, said in ((4, "yours already"), (8, "yours already"), (5, "about no case"), (99, "about no case")):
        with pytest.raises(BadInput, match=said):
            handing.ask(number)
    with pytest.raises(BadInput, match="was not taken over"):
        entrusting.ask(handing.old, Reader(handing.old.journal), [1], None)


def test_an_answer_to_no_request_of_this_folder_is_refused(handing):
    log = send(handing.old, Log())
    send(handing.through(), log)
    request = handing.ask(1)
    answer = handing.entrusted(request, log).text
    (handing.new / "requests" / entrusting.entrusting.digest(request)).unlink()
    for text in (answer, answer.replace("request ", "request /"), answer.replace("request ", "request x")):
        with pytest.raises(BadInput, match="answers no request"):
            handing.take(text)
    handing.ask(2)
    other = answer.replace(entrusting.entrusting.digest(request), entrusting.entrusting.digest(handing.ask(2)))
    with pytest.raises(BadInput, match="was not asked for"):
        handing.take(other)


def test_a_key_that_was_destroyed_in_a_withdrawal_that_was_cut_off_does_not_come_back(handing):
    log = send(handing.old, Log())
    new = handing.through()
    send(new, log)
    answer = handing.entrusted(handing.ask(1), log).text
    ref = envelopes.of_event(new, Reader(new.journal), 1)[0]["case_ref"]
    with Journal(new.journal) as journal:
        journal.append((), [keys.tombstone(ref)])
    done = handing.take(answer)
    assert (done.cases, done.gone) == ([], [1])
    with pytest.raises(BadInput, match="tocsin node withdraw --event 1"):
        handing.ask(1)
    assert entrusting.custody(new, Reader(new.journal)).withdrawn == 1


def test_a_retracted_case_waits_for_nobody(tmp_path):
    handing = made(tmp_path)
    with Journal(handing.old.journal) as journal:
        revising.retract(handing.old, journal, 2, "error")
    new = handing.through()
    how = entrusting.custody(new, Reader(new.journal))
    assert (how.retracted, how.waiting) == (1, (1, 3))


def test_who_was_referred_is_asked_although_her_incident_is_public(tmp_path):
    handing = made(tmp_path)
    with Journal(handing.old.journal) as journal:
        referring.refer(handing.old, journal, 4, "medical")
    new = handing.through()
    with pytest.raises(BadInput, match="consented anew"):
        versions.history(new, Reader(new.journal), 4)
    assert 4 in entrusting.custody(new, Reader(new.journal)).waiting


# The hub gives keys to nobody else


def test_the_hub_gives_keys_to_the_successor_only(handing, tmp_path):
    log = send(handing.old, Log())
    thief = made((tmp_path / "thief").mkdir() or tmp_path / "thief")
    new = handing.through()
    request = handing.ask(1)
    with pytest.raises(BadInput, match="was not handed over"):
        handing.entrusted(request, log)
    send(new, log)
    thief.through()
    altered = request.replace(DAY.isoformat(), "2020-01-01"), request.replace("case ", "case f")
    for other in (thief.ask(1), *altered):
        with pytest.raises(BadInput, match="not signed by"):
            handing.entrusted(other, log)
    answer = handing.entrusted(request, log).text
    with pytest.raises(BadInput, match="sealed for somebody else"):
        thief.take(answer)


@pytest.mark.parametrize("sort", ["altered", "other_successor"])
def test_no_key_is_given_where_the_log_is_not_as_it_was_signed(handing, sort):
    log = send(handing.old, Log())
    new = handing.through()
    send(new, log)
    if sort == "altered":
        at = next(i for i, (topic, _, _) in enumerate(log.records) if topic == "raw.MONUSCO")
        topic, key, value = log.records[at]
        log.records[at] = (topic, key, value[:-1] + bytes([value[-1] ^ 1]))
        with pytest.raises(BadInput, match="is not as it was signed"):
            handing.entrusted(handing.ask(2), log)
    else:
        log.records = [row for row in log.records if row[0] != "heads.MONUSCO"]
        with pytest.raises(BadInput, match="was not handed over"):
            handing.entrusted(handing.ask(2), log)


def test_a_log_that_another_has_written_into_before_the_handover_gives_no_key(handing):
    log = send(handing.old, Log())
    new = handing.through()
    send(new, log)
    request = handing.ask(2)
    log.records.append(("raw.MONUSCO", b"", b"no event"))
    assert handing.entrusted(request, log).given == 1
    seed = signing.new_signer()[1]
    head = chain.Head("MONUSCO", signing.public_of(seed), 1, bytes(32), bytes(32), bytes(8))
    log.records.append(("heads.MONUSCO", b"", chain.sign_head(seed, head)))
    with pytest.raises(BadInput, match="is not as it was signed"):
        handing.entrusted(request, log)


# Papers


def test_an_offer_is_void_when_anything_was_recorded_since(handing):
    handing.through("accept")
    report(handing.old)
    with pytest.raises(BadInput, match="Offer it anew"):
        handing.close()
    assert records(handing.old)
    handing.through("close")
    assert not records(handing.old)


def test_a_node_goes_to_one_of_those_who_accepted(tmp_path):
    handing = made(tmp_path)
    handing.through("accept")
    first = (handing.stick / "accepted").read_text()
    other, _ = succeeding.accept(tmp_path / "other", (handing.stick / "offer").read_text(), TO)
    handing.close()
    (handing.stick / "accepted").write_text(other)
    with pytest.raises(BadInput, match="handed over to"):
        handing.close()
    handing.open()
    with pytest.raises(BadInput, match="has not accepted this handover"):
        succeeding.open_package(tmp_path / "other", handing.package, handing.pair[0], "en")
    assert first != other


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("offer", lambda text: text.replace("count cases 4", "count cases 3")),
        ("offer", lambda text: text.replace("through 6", "through 5")),
        ("offer", lambda text: text.replace(f"successor {TO}", "successor UNMISS")),
        ("offer", lambda text: text.replace("count patterns 1\n", "count patterns 1\ncount patterns 1\n")),
        ("offer", lambda text: text[: text.index("—")]),
        ("offer", lambda _: "x"),
        ("accepted", lambda text: text.replace("count cases 4", "count cases 3")),
        ("accepted", lambda text: text[: text.index("—")]),
    ],
)
def test_a_paper_that_was_altered_is_refused(handing, name, change):
    handing.through("accept")
    path = handing.stick / name
    path.write_text(change(path.read_text()))
    with pytest.raises(BadInput):
        handing.accept() if name == "offer" else handing.close()
    assert records(handing.old)


def test_a_paper_that_lost_its_last_line_end_closes_all_the_same(handing):
    handing.through("accept")
    path = handing.stick / "accepted"
    path.write_text(path.read_text().rstrip())
    handing.close()
    assert records(handing.open())


def test_a_successor_signs_for_itself_only(handing):
    handing.through("accept")
    text = (handing.stick / "accepted").read_text()
    deed = handover.deed(text)
    seed = signing.new_signer()[1]
    (handing.stick / "accepted").write_text(f"{deed.text}\n{deed.by_successor(seed)}")
    with pytest.raises(BadInput, match="not signed by"):
        handing.close()


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("events", lambda data: data[:-1]),
        ("events", lambda data: data[:-1] + bytes([data[-1] ^ 1])),
        ("events", lambda data: data[: len(data) // 2]),
        ("events", lambda _: b""),
        ("keys.log", lambda data: data + data[-40:]),
        ("public.keys", lambda data: b"\0" * len(data)),
        ("receipts.json", lambda _: b"{}"),
        ("hub.pin", lambda _: b"evil"),
        ("manifest", lambda data: data.replace(b"part events", b"part Events")),
        ("manifest", lambda _: b""),
        ("heads.log", lambda data: data[:-9]),
        ("heads.log", lambda _: MAGIC),
        ("public.keys", lambda data: data[:-1] + bytes([data[-1] ^ 1])),
        ("public.keys", lambda data: data[:-7]),
        ("deed", lambda data: data.replace(b"count cases 4", b"count cases 9")),
        ("deed", lambda data: b"\n".join(data.splitlines()[:-1]) + b"\n"),
    ],
)
def test_a_package_that_was_altered_is_refused_and_the_right_one_is_opened_then(handing, part, change):
    handing.through("close")
    handing.repacked(**{part: change})
    with pytest.raises(BadInput):
        handing.open()
    assert not (handing.new / "node.json").exists()
    handing.close()
    assert records(handing.open())


@pytest.mark.parametrize("content", [b"", b"PK", b"\x00" * 100])
def test_what_is_no_package_is_told(handing, content):
    handing.through("accept")
    handing.package.write_bytes(content)
    with pytest.raises(BadInput, match="holds no node"):
        handing.open()


# Retiring


def test_keys_are_destroyed_after_the_successors_word_and_not_before(handing):
    handing.through()
    word = (handing.stick / "received").read_text()
    with pytest.raises(BadInput, match="not what"):
        leaving.retire(handing.old, word.replace("deed ", "deed 0"))
    with pytest.raises(BadInput, match="not signed by"):
        leaving.retire(handing.old, word[:-8] + "AAAAAA==\n"[-8:])
    with pytest.raises(BadInput, match="not handed over from here"):
        leaving.retire(nodes.load(handing.new), word)
    boxes.write(handing.old, handing.old.folder / boxes.FOLDER / "00.key", b"00")
    handing.retire()
    assert not list(handing.old.folder.rglob("*.key"))
    for again in (handing.retire, handing.close):
        with pytest.raises(BadInput, match="destroyed"):
            again()
    with pytest.raises(BadInput, match=f"handed over to {TO}, and your keys are destroyed"):
        versions.history(handing.old, Reader(handing.old.journal), 1)


def test_a_successor_whose_signing_key_is_lost_loses_no_other(handing):
    new = handing.through()
    (new.folder / "sign.key").unlink()
    with pytest.raises(BadInput, match="not handed over from here"):
        leaving.retire(new, (handing.stick / "received").read_text())
    assert (new.folder / "digest.key").exists()


def test_what_is_not_handed_over_is_not_retired(handing):
    handing.offer()
    with pytest.raises(BadInput, match="not handed over"):
        leaving.retire(handing.old, "x")


# Rehearsal


def test_a_rehearsal_names_what_would_break_and_changes_nothing(handing):
    old = handing.old
    before = {path: path.read_bytes() for path in old.folder.rglob("*") if path.is_file()}
    found = rehearsing.rehearse(old, Reader(old.journal))
    assert found.ready
    assert {one.kind: one.numbers for one in found.findings} == {
        "not_sent": (1, 2, 3, 4, 5, 6),
        "consent_to_grant": (1, 2, 3),
    }
    assert {path: path.read_bytes() for path in old.folder.rglob("*") if path.is_file()} == before


def test_a_rehearsal_names_conflicts_referrals_steps_and_what_was_withdrawn(handing):
    old = handing.old
    with Journal(old.journal) as journal:
        revising.amend(old, journal, 1, {"women": 4}, [1])
        referring.refer(old, journal, 2, "medical")
        referring.refer(old, journal, 2, "legal", consented=False)
        referring.follow_up(old, journal, referring.refer(old, journal, 2, "shelter").event, "service_received")
        revising.verify(old, journal, 3, Decision("report_pending_verification", "focal_point", "A", primary=1))
        withdrawing.withdraw(old, journal, [4], lambda _: None)
    send(old, Log())
    found = rehearsing.rehearse(old, Reader(old.journal))
    kinds = {one.kind: one.numbers for one in found.findings}
    assert (kinds["in_conflict"], kinds["step_begun"], kinds["open_referral"]) == ((1,), (3,), (8,))
    assert (found.counts["withdrawn_cases"], found.counts["public_cases"], found.counts["in_conflict"]) == (1, 0, 1)


def test_a_node_whose_cases_do_not_open_is_not_offered(handing):
    (handing.old.folder / "epoch-1.key").write_text("00" * 32)
    found = rehearsing.rehearse(handing.old, Reader(handing.old.journal))
    assert not found.ready
    assert found.findings[0] == rehearsing.Finding("must", "does_not_open", (1, 2, 3, 4))
    with pytest.raises(BadInput, match="tocsin node handover rehearse"):
        handing.offer()


def test_a_sync_at_the_same_time_waits(handing):
    handing.through("accept")
    lock = syncing.Lock(handing.old.folder / "sync.lock", "x")
    try:
        with pytest.raises(Exception, match="is running; wait for it"):
            handing.close()
    finally:
        lock.close()
    assert records(handing.old)
