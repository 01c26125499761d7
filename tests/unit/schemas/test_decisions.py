"""Decisions of a hub: what is sealed and signed is read again, and nothing that somebody changed is taken for the hub's word."""

import random
from datetime import date

import pytest

from schemas import notes, rows, signing
from schemas.decisions import Decided, decided, is_decision, read_decision, verifier
from schemas.errors import BadInput, Quarantines
from schemas.fates import BadFates, Fate, Page
from schemas.released import latest
from schemas.wire import confluent, single_object

SEED, KEY, CASE = bytes(range(32)), bytes(range(1, 33)), bytes(range(16))
HUB = notes.Key("tocsin.hub.1a2b3c4d", notes.ED25519, signing.public_of(SEED))
BODY = {
    "decided_at": 1_767_225_600_000,
    "incident_id": b"i" * 16,
    "incident_number": 12,
    "version_id": b"v" * 16,
    "version_number": 15,
    "step": "technical",
    "verifier": b"12345678",
    "verified_on": date(2026, 1, 1),
    "verification": "verified",
    "primary_sources": 1,
    "secondary_sources": 0,
    "un_eyewitness": False,
}


def made(**more):
    return decided("MONUSCO", HUB, CASE, KEY, BODY | more)


def test_what_is_sealed_and_signed_is_read_again():
    given = made()
    record = given.sign(SEED)
    assert is_decision(record)
    assert read_decision(record) == given
    assert read_decision(record).open(KEY) == BODY
    assert (given.node, given.hub, given.case_ref) == ("MONUSCO", HUB, CASE)


def test_each_decision_has_an_id_of_its_own():
    assert len({made().decision_id for _ in range(50)}) == 50


def test_no_fact_and_no_number_is_in_clear_and_the_size_tells_no_choice():
    record = made().sign(SEED)
    for hidden in (b"technical", b"verified", BODY["incident_id"], BODY["version_id"], BODY["verifier"]):
        assert hidden not in record
    choices = {"step": "task_force", "verification": "did_not_occur", "primary_sources": 0, "un_eyewitness": True}
    assert len(made(**choices).sign(SEED)) == len(record)


def test_it_opens_with_the_key_of_its_case_alone_and_as_what_it_is():
    given = made()
    for other in (
        Decided("UNMISS", HUB, given.decision_id, CASE, given.body_schema, given.body),
        Decided("MONUSCO", HUB, bytes(16), CASE, given.body_schema, given.body),
        Decided("MONUSCO", HUB, given.decision_id, bytes(16), given.body_schema, given.body),
    ):
        with pytest.raises(Quarantines, match="seal"):
            other.open(KEY)
    with pytest.raises(Quarantines, match="seal"):
        given.open(bytes(32))
    other = latest("IncidentVerified").fingerprint
    with pytest.raises(BadFates, match="no decision that can be recorded"):
        Decided("MONUSCO", HUB, given.decision_id, CASE, other, given.body).open(KEY)


def test_a_thousand_decisions_that_somebody_changed_are_refused():
    rng, record = random.Random(3), made().sign(SEED)
    for _ in range(1_000):
        at = rng.randrange(5, len(record))
        changed = record[:at] + bytes([record[at] ^ 1 << rng.randrange(8)]) + record[at + 1 :]
        with pytest.raises(BadFates) as told:
            read_decision(rng.choice((changed, changed, record[:at])))
        assert told.value.reason in ("fates.malformed", "fates.signature")


def test_who_signs_is_who_is_named():
    with pytest.raises(AssertionError):
        made().sign(bytes(32))


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"junk",
        Page("MONUSCO", HUB, 1, 1, 1, (Fate("accepted"),)).sign(SEED),
        single_object(latest("Incident"), b""),
        b"\x00\x00\x00\xff\xff",
    ],
    ids=range(5),
)
def test_what_is_no_decision_is_none(record):
    assert not is_decision(record)
    with pytest.raises(BadFates, match="no decision"):
        read_decision(record)


@pytest.mark.parametrize(("field", "value"), [("node", "no node"), ("hub", "a name"), ("hub", "a+b")])
def test_a_name_that_cannot_be_is_none(field, value):
    row = {"node": "MONUSCO", "hub": HUB.name, "signer": HUB.public, "decision_id": bytes(16), "case_ref": CASE}
    row |= {"body_schema": bytes(8), "body": b"", "signature": bytes(64), field: value}
    with pytest.raises(BadFates, match="no decision of a hub"):
        read_decision(confluent(latest("DecisionGiven"), rows.write(latest("DecisionGiven"), row)))


def test_a_person_is_one_digest_under_one_key():
    assert verifier(KEY, "Zoé Straße") == verifier(KEY, " ZOE\u0301 STRASSE ")
    assert verifier(KEY, "A. Name") != verifier(bytes(32), "A. Name")
    with pytest.raises(BadInput, match="--by"):
        verifier(KEY, "  ")
