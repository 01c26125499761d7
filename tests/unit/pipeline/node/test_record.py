from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.node.journal import Journal, Reader
from pipeline.node.record import GROUP, Ids, Recorder
from schemas import seal
from schemas.errors import Quarantines
from schemas.released import by_fingerprint
from schemas.rows import read
from schemas.wire import unframe

MOMENT = 1_700_000_000_123
PARTY = "Planted Front of the Test"
INCIDENT = {
    "occurred_on": date(2021, 5, 3),
    "date_precision": "day",
    "country": "COD",
    "admin1": "CD54",
    "forms": ["rape"],
    "women": 1,
    "girls": 0,
    "men": 0,
    "boys": 0,
    "unknown": 0,
    "deaths": 0,
    "party_category": "armed_group",
    "party": PARTY,
    "setting": "home",
    "tactic": "not_assessed",
    "nexus": [],
    "verification": "report_pending_verification",
    "primary_sources": 0,
    "secondary_sources": 1,
    "un_eyewitness": False,
    "source_kind": "public_report",
    "source_reliability": "F",
    "information_credibility": 6,
    "sharing_basis": "public_information",
    "sharing_scope": "hub",
}
PATTERN = {
    "period_start": date(2021, 1, 1),
    "period_end": date(2021, 12, 31),
    "areas": ["COD"],
    "forms": ["rape"],
    "party_category": "armed_group",
    "party": "Open Front of the Test",
    "scale": "not_assessed",
    "prevalence": 1,
    "reporting_sources": 1,
    "silent_sources": 0,
    "tactic": "not_assessed",
    "nexus": [],
    "verification": "report_pending_verification",
    "source_kind": "academic_dataset",
}


def envelopes(node):
    return [read(*unframe(entry.envelope)) for entry in Reader(node.journal).read()]


@settings(deadline=None)
@given(st.lists(st.integers(0, (1 << 48) - 2), min_size=1, max_size=50))
def test_ids_are_uuids_of_version_7_and_grow_whatever_the_clock_does(moments):
    ids = Ids()
    made = [ids.new(moment) for moment in moments]
    assert sorted(set(made)) == made
    for one in made:
        assert len(one) == 16
        assert one[6] >> 4 == 7
        assert one[8] >> 6 == 0b10


def test_an_id_holds_its_moment():
    # RFC 9562, appendix A.6: 0x017F22E279B0 is Tuesday, February 22, 2022 2:22:22.00 PM GMT-05:00.
    assert Ids().new(1_645_557_742_000)[:6] == bytes.fromhex("017F22E279B0")


def test_a_case_is_sealed_for_its_region_and_a_pattern_is_not(node, pair):
    with Journal(node.journal) as journal, Recorder(node, journal, lambda: MOMENT) as recorder:
        first = recorder.record("IncidentReported", {"incident": INCIDENT})
        second = recorder.record("PatternObserved", {"pattern": PATTERN})
    incident, pattern = envelopes(node)
    assert [incident["event_id"], pattern["event_id"]] == [first, second]
    assert [incident["sequence"], pattern["sequence"]] == [1, 2]
    assert [incident["kind"], pattern["kind"]] == ["IncidentReported", "PatternObserved"]
    assert pattern["case_ref"] is None
    assert read(by_fingerprint(pattern["body_schema"]), pattern["body"])["pattern"] == PATTERN
    assert opened(node, pair[1], incident) == {"recorded_at": MOMENT, "incident": INCIDENT}


def opened(node, private, envelope):
    """Open a body as a hub does, from the node's key records and the region's private key alone."""
    records = {key: read(*unframe(value)) for _, key, value in Reader(node.journal).key_records()}
    epoch = seal.open_epoch(private, records[b"epoch:1"]["sealed"])
    case_key = seal.unwrap(epoch, envelope["case_ref"], records[envelope["case_ref"]]["wrapped"])
    bound = {name: envelope[name] for name in ("body_schema", "event_id", "case_ref", "sequence", "node", "body")}
    return read(by_fingerprint(envelope["body_schema"]), seal.open_body(case_key, **bound))


def test_no_file_of_the_node_holds_a_sealed_field_in_clear(node):
    with Journal(node.journal) as journal, Recorder(node, journal) as recorder:
        recorder.record("IncidentReported", {"incident": INCIDENT})
        recorder.record("PatternObserved", {"pattern": PATTERN})
    raw = b"".join(path.read_bytes() for path in node.folder.rglob("*") if path.is_file())
    assert PARTY.encode() not in raw
    assert PATTERN["party"].encode() in raw  # the search finds what is not sealed
    secrets = list(node.folder.rglob("*.key"))
    assert len(secrets) == 3
    assert all(path.stat().st_mode & 0o077 == 0 for path in secrets)


def test_each_case_has_a_key_and_a_reference_of_its_own(node):
    with Journal(node.journal) as journal, Recorder(node, journal) as recorder:
        for _ in range(3):
            recorder.record("IncidentReported", {"incident": INCIDENT})
    made = envelopes(node)
    assert len({envelope["case_ref"] for envelope in made}) == 3
    assert len({value for _, _, value in Reader(node.journal).key_records()}) == 4


@pytest.mark.parametrize("change", [{"women": 1 << 31}, {"party": "x" * 2_000}, {"country": None}, {"forms": ["no"]}])
def test_what_the_contract_forbids_takes_no_number(node, change):
    with Journal(node.journal) as journal, Recorder(node, journal) as recorder:
        with pytest.raises(Quarantines) as error:
            recorder.record("IncidentReported", {"incident": INCIDENT | change})
        assert error.value.reason.startswith("avro.")
        recorder.record("IncidentReported", {"incident": INCIDENT})
    assert [envelope["sequence"] for envelope in envelopes(node)] == [1]


def stopped_after(count, node, journal):
    with Recorder(node, journal) as recorder:
        for _ in range(count):
            recorder.record("PatternObserved", {"pattern": PATTERN})
        raise KeyboardInterrupt


def test_groups_are_written_as_they_fill_and_the_rest_when_it_ends_well(node):
    with Journal(node.journal) as journal:
        with pytest.raises(KeyboardInterrupt):
            stopped_after(GROUP + 3, node, journal)
        assert journal.last == GROUP
        with Recorder(node, journal) as recorder:
            recorder.record("PatternObserved", {"pattern": PATTERN})
    assert [envelope["sequence"] for envelope in envelopes(node)] == list(range(1, GROUP + 2))
