"""What a region has of an event, read from its topic."""

import pytest

from pipeline import trace
from pipeline.cli import show
from pipeline.log import Entry
from schemas import seal
from schemas.released import by_id
from schemas.rows import read
from schemas.wire import unframe
from streams import ledger
from tests.conformance.hub_events import (
    assessment,
    closure,
    duplicate,
    incident,
    link,
    octets,
    referral,
    removal,
    revision,
)
from tests.unit.streams.raw import case, envelope, pattern, withdrawal
from tests.unit.streams.raw import incident as report

TOPIC, SECRET, EVENT = "hub.sahel", b"s" * 32, bytes(range(16))


def hub(monkeypatch, *events, files=lambda *_: None):
    """Return the story of the incident that number 1 stands for."""
    monkeypatch.setattr(seal, "mint", lambda _secret, _event: octets(1))
    entries = [Entry(TOPIC, 0, offset, 0, b"", value) for offset, value in enumerate(events)]
    monkeypatch.setattr(trace, "read", lambda _kafka, _topic: entries)
    return trace.Tracer("", {"sahel": SECRET}, files)._hub("sahel", EVENT)


def test_a_closed_version_says_so_and_what_named_it_is_not_told(monkeypatch):
    told = [incident(1), link(1, pattern=50, release=1), duplicate(1, 2), duplicate(1, 3, (None, 9))]
    assert hub(monkeypatch, *told)["linked_to"] == [octets(50).hex()]
    found = hub(monkeypatch, *told, revision(1, 101), link(1, 101, 60), duplicate(5, 1, (None, 101)), closure(1))
    assert found["closed"] == {"offset": 7, "on": "2024-03-31", "ending": "amended"}
    assert (found["linked_to"], found["probable_duplicates"]) == ([], [])


def test_a_duplicate_of_another_incidents_closed_version_is_not_told(monkeypatch):
    found = hub(monkeypatch, incident(1), duplicate(1, 2), duplicate(3, 1, (9, None)), closure(2), closure(3))
    assert found["probable_duplicates"] == [octets(3).hex()]
    assert "closed" not in found


def test_what_was_said_of_a_referral_is_told_until_it_is_followed_up(monkeypatch):
    filed = lambda *_: {"file": "f", "version": 1}  # noqa: E731 - the same for all
    told = [incident(7), referral(7, 1), referral(7, 2, 1, "service_received")]
    found = hub(monkeypatch, *told, files=filed)
    assert (found["incident"], found["referral"], found["table"]) == (octets(7).hex(), octets(1).hex(), filed())
    found = hub(monkeypatch, *told, closure(7, 1, ending="followed_up"), files=filed)
    assert (found["closed"]["ending"], "table" in found, "stands in its place" in found["ends"]) == (
        "followed_up",
        False,
        True,
    )
    assert "removed" in hub(monkeypatch, *told, removal(7), files=filed)


def test_an_assessment_is_told_with_its_verdict_until_its_incident_is_removed(monkeypatch):
    told = [incident(7), assessment(7, 1, "disputed"), assessment(7, 2)]
    found = hub(monkeypatch, *told)
    assert (found["incident"], found["verdict"], found["offset"]) == (octets(7).hex(), "disputed", 1)
    assert show._standing(found) == f"disputed: incident {octets(7).hex()}"
    assert "removed" in hub(monkeypatch, *told, removal(7))


def test_an_event_of_another_region_has_no_story_here(monkeypatch):
    assert hub(monkeypatch, incident(2), closure(1)) is None


def test_a_batch_that_was_deleted_is_told_as_the_base_in_which_it_went_up(monkeypatch):
    values = [
        ledger.write("raw.A-0", 5, 9, {"accepted": 4}, "suite", b""),
        *ledger.write_base("raw.A-0", 9, {"accepted": 9}, b""),
        ledger.write("raw.A-0", 9, 12, {"accepted": 3}, "suite", b""),
    ]
    entries = [Entry("ledger.refine", 2, 40 + at, 0, b"raw.A-0", value) for at, value in enumerate(values)]
    entries.insert(1, Entry("ledger.refine", 2, 39, 0, ledger.ASK, None))
    monkeypatch.setattr(trace, "read", lambda _kafka, _topic: entries)
    told = trace.Tracer("", {}, lambda *_: None)

    def batch(offset):
        return told._batch("ledger.refine", Entry("raw.A", 0, offset, 0, b"", b""))

    assert (batch(6)["ledger"], batch(6)["suite"], "base" in batch(6)) == ("ledger.refine[2]@40", "suite", False)
    gone = {"lane": "raw.A-0", "start": 0, "end": 9, "counts": {"accepted": 9}}
    assert batch(2) == {"batch": gone, "ledger": "ledger.refine[2]@41", "suite": "", "base": True}
    assert show._batch(batch(2)) == "ledger.refine[2]@41  offsets 0–8, all before a base  (accepted 9)"
    assert batch(12) == {}


@pytest.mark.parametrize(
    ("withdrawn", "cause", "words"),
    [
        (withdrawal(3, 1, [1], "retention"), "retention", "forget   number 3: kept as long as the rule said"),
        (withdrawal(3, 1, [1], "handed_over"), "handed_over", "forget   number 3: handed over"),
        (withdrawal(3, 1, [1]), "consent", "forget   number 3: consent was withdrawn"),
        (envelope("ConsentWithdrawn", 3, b"sealed", case(1), by_id(4).fingerprint), "consent", "consent was withdrawn"),
        (envelope("ConsentWithdrawn", 3, b"", case(1), b"12345678"), "unspecified", "why, a newer tocsin says"),
    ],
    ids=["by rule", "handed over", "by consent", "first release", "newer release"],
)
def test_an_event_of_a_forgotten_case_says_why_it_was_forgotten(monkeypatch, withdrawn, cause, words):
    log = [report(1, 1), report(2, 2), withdrawn, pattern(4), b"junk", withdrawal(5, 1, [1])]
    entries = [Entry("raw.A", 0, at, 0, b"", value) for at, value in enumerate(log)]
    monkeypatch.setattr(trace, "topics", lambda _kafka, _prefix: ["raw.A"])
    monkeypatch.setattr(trace, "read", lambda _kafka, *names: entries if names == ("raw.A",) else [])
    ids = [read(*unframe(value))["event_id"] for value in (log[0], log[1], log[2], log[3])]
    mine, others, itself, about_none = (trace.Tracer("", {}, lambda *_: None).story(each) for each in ids)
    assert mine["withdrawn"] == itself["withdrawn"] == {"sequence": 3, "cause": cause}
    assert "withdrawn" not in {**others, **about_none}
    assert any(words in line for line in show._lines(mine))
