import json

import pytest

from pipeline.node import importing, revising, withdrawing
from pipeline.node.entries import EntryFile, NotWritten
from pipeline.node.importers import table as tables
from pipeline.node.journal import Journal, Reader
from pipeline.node.record import Recorder
from pipeline.node.revising import Decision
from schemas.errors import BadInput
from schemas.released import by_fingerprint
from schemas.rows import read
from schemas.wire import unframe
from tests.unit.pipeline.node.test_importing import GOOD
from tests.unit.pipeline.node.test_record import INCIDENT, PATTERN


def envelopes(node):
    return {entry.sequence: read(*unframe(entry.envelope)) for entry in Reader(node.journal).read()}


def keys_of(node):
    return [(key, value) for _, key, value in Reader(node.journal).key_records()]


@pytest.fixture
def recorded(node):
    """A node with three incidents, events 1, 2 and 4, and a pattern, event 3."""
    with Journal(node.journal) as journal, Recorder(node, journal) as recorder:
        for kind, body in [
            *[("IncidentReported", {"incident": INCIDENT})] * 2,
            ("PatternObserved", {"pattern": PATTERN}),
        ]:
            recorder.record(kind, body)
        recorder.record("IncidentReported", {"incident": INCIDENT})
    return node


def withdraw(node, *numbers):
    with Journal(node.journal) as journal:
        return withdrawing.withdraw(node, journal, numbers, lambda _: None)


def test_a_withdrawal_is_an_event_in_clear_that_names_what_was_reported(recorded):
    [done] = withdraw(recorded, 2)
    found = envelopes(recorded)
    event = found[5]
    assert (done.incidents, done.event, done.before, done.case_ref) == (1, 5, False, found[2]["case_ref"].hex())
    assert (event["kind"], event["case_ref"]) == ("ConsentWithdrawn", found[2]["case_ref"])
    body = read(by_fingerprint(event["body_schema"]), event["body"])
    assert (body["scope"], body["incidents"]) == ("all", found[2]["event_id"])


def test_the_key_of_the_case_is_gone_from_the_disk_and_the_others_are_as_they_were(recorded):
    before = dict(keys_of(recorded))
    size = (recorded.journal / "keys.log").stat().st_size
    refs = {number: envelope["case_ref"] for number, envelope in envelopes(recorded).items()}
    withdraw(recorded, 2)
    after = keys_of(recorded)
    data = (recorded.journal / "keys.log").read_bytes()
    assert before[refs[2]][-48:] not in data
    assert all(before[refs[number]] in data for number in (1, 4))
    assert [value for key, value in after if key == refs[2]] == [b""]
    assert {key: value for key, value in after if key != refs[2]} == {k: v for k, v in before.items() if k != refs[2]}
    assert data[:size].count(b"\0" * 48) == 1


def test_a_case_is_withdrawn_once(recorded):
    withdraw(recorded, 2)
    [again] = withdraw(recorded, 2, 2)
    assert (again.event, again.before, Reader(recorded.journal).mark.last) == (5, True, 5)
    assert [(one.event, one.before) for one in withdraw(recorded, 1, 2, 4)].count((5, True)) == 1
    assert Reader(recorded.journal).mark.last == 7


@pytest.mark.parametrize("number", [3, 9])
def test_what_is_about_no_case_is_one_sentence_and_changes_nothing(recorded, number):
    before = keys_of(recorded)
    with pytest.raises(BadInput, match=f"Event {number} of MONUSCO is about no case"):
        withdraw(recorded, 1, number)
    assert (keys_of(recorded), Reader(recorded.journal).mark.last) == (before, 4)


def test_every_version_of_the_case_is_named_and_a_retraction_is_none(recorded):
    with Journal(recorded.journal) as journal:
        revising.amend(recorded, journal, 2, {"women": 2})
        revising.verify(recorded, journal, 2, Decision("verified", "technical", "A. Name", primary=1))
        revising.amend(recorded, journal, 1, {"women": 3})
        revising.grant(recorded, journal, 2, "public")
        revising.retract(recorded, journal, 2, "error")
    [done] = withdraw(recorded, 5)
    found = envelopes(recorded)
    assert (done.incidents, done.event) == (1, 10)
    body = read(by_fingerprint(found[10]["body_schema"]), found[10]["body"])
    assert body["incidents"] == b"".join(found[number]["event_id"] for number in (2, 5, 6, 8))


def test_a_case_of_many_reports_is_named_in_several_events(recorded, monkeypatch):
    monkeypatch.setattr(withdrawing, "NAMED", 2)
    ids = [bytes([k]) * 16 for k in range(5)]
    with Journal(recorded.journal) as journal:
        withdrawing._withdrawn(recorded, journal, b"c" * 16, withdrawing._Case(ids, 1, len(ids)))
    bodies = [read(by_fingerprint(e["body_schema"]), e["body"]) for n, e in envelopes(recorded).items() if n > 4]
    assert b"".join(body["incidents"] for body in bodies) == b"".join(ids)
    assert len(bodies) == 3


def test_whoever_opens_the_journal_after_a_crash_destroys_the_key(recorded, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "forget", lambda self: None)
        withdraw(recorded, 2)
    ref = envelopes(recorded)[2]["case_ref"]
    assert [bool(value) for key, value in keys_of(recorded) if key == ref] == [True, False]
    Journal(recorded.journal).close()
    assert [bool(value) for key, value in keys_of(recorded) if key == ref] == [False]


def test_a_disk_that_refuses_is_told_and_what_was_written_is_whole(recorded, monkeypatch):
    def refused(path, content):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.node.entries.replace", refused)
        with pytest.raises(NotWritten, match="free some space"):
            withdraw(recorded, 2)
    assert EntryFile(recorded.journal / "keys.log").torn(None) is None
    [done] = withdraw(recorded, 2)
    assert (done.before, done.event) == (True, 5)


def test_a_key_that_comes_after_the_tombstone_stays(recorded):
    withdraw(recorded, 2)
    ref = envelopes(recorded)[2]["case_ref"]
    with Journal(recorded.journal) as journal:
        journal.append([], [(ref, b"granted again")])
    Journal(recorded.journal).close()
    assert [value for key, value in keys_of(recorded) if key == ref] == [b"", b"granted again"]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "in.json"
    path.write_text(json.dumps([{**GOOD, "sind event id": str(n)} for n in range(4)]))
    return tables.load(path)


def test_a_row_of_the_file_that_was_imported_names_its_event(node, file):
    importer = importing.detect(file)
    with Journal(node.journal) as journal:
        importing.run(importer, file, Recorder(node, journal), part=(2, 2))
        assert journal.last == 2
        assert withdrawing.numbers_of(node, importer, file, [4, 2], journal) == [1, 2]
        with pytest.raises(BadInput, match=r"Row 3 of in\.json is no event of MONUSCO"):
            withdrawing.numbers_of(node, importer, file, [2, 3], journal)


def test_a_withdrawn_row_is_not_imported_again(node, file):
    with Journal(node.journal) as journal:
        importing.run(importing.detect(file), file, Recorder(node, journal))
    withdraw(node, 1, 2, 3, 4)
    with Journal(node.journal) as journal:
        report = importing.run(importing.detect(file), file, Recorder(node, journal))
    assert (report.accepted, report.already) == (0, 4)
