import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quality.rules import SUITE
from schemas import rows as codec
from schemas.places import region_codes_of
from schemas.released import by_id, latest
from schemas.wire import confluent, single_object, unframe
from streams.completeness import highest, missing
from streams.partition import partition_of
from streams.refine import Refine
from streams.withdrawals import told
from tests.unit.streams import raw
from tests.unit.streams.accepted import read, records
from tests.unit.streams.raw import INCIDENT, NODE, PATTERN, RECORDED, case, identity, incident, pattern, withdrawal

STAGE = Refine(NODE, 4)
KEYS = raw.keyring(range(1, 40))
CRASH = object()
LANE = f"raw.{NODE}-0"


def step(state, values, start=0):
    return STAGE.step(state, records(values, start, f"raw.{NODE}"), KEYS)


def run(batches):
    """Return the state, all that a lane puts out, and its counts; CRASH throws the state away, deltas bring it back."""
    state, deltas, found, counts, start = STAGE.empty(LANE), [], [], [], 0
    for batch in batches:
        if batch is CRASH:
            state = STAGE.empty(LANE)
            for delta in deltas:
                state = STAGE.restore(state, delta)
            continue
        state, outcome = step(state, batch, start)
        start += len(batch)
        assert sum(outcome.counts.values()) == len(batch)
        assert outcome.suite == SUITE
        deltas.append(outcome.delta)
        counts.append(outcome.counts)
        found.append(read(outcome.outputs))
    return state, found, counts


def outcome_of(value):
    """Return what becomes of one record: its counts and the reasons of quarantine."""
    _, [found], [counts] = run([[value]])
    return counts, [row["reasons"] for topic, *_, row in found if topic == "quarantine"]


def reasons(value):
    counts, [found] = outcome_of(value)
    assert counts == {"quarantined": 1}
    return found


def test_an_incident_is_opened_and_accepted_by_its_area():
    _, [[found]], [counts] = run([[incident(1)]])
    assert counts == {"accepted": 1}
    assert found == (
        "accepted",
        partition_of(b"ML01", 4),
        b"ML01",
        "IncidentAccepted",
        {
            "event_id": identity(1),
            "node": NODE,
            "sequence": 1,
            "case_ref": case(1),
            "recorded_at": RECORDED,
            "area": "ML01",
            "incident": INCIDENT,
        },
    )


def test_an_incident_known_to_the_country_has_the_country_as_its_area():
    _, [[found]], _ = run([[incident(1, facts={"admin1": None})]])
    assert (found[2], found[4]["area"]) == (b"MLI", "MLI")


def test_a_pattern_goes_to_every_area_and_leads_once_in_each_region():
    _, [found], [counts] = run([[pattern(1, {"areas": ["TD02", "MLI"]})]])
    areas = [row["area"] for *_, row in found]
    assert counts == {"accepted": 1}
    assert areas == sorted(areas)
    assert len(areas) > 5
    assert all(row["pattern"] == {**PATTERN, "areas": ["TD02", "MLI"]} for *_, row in found)
    leads = [(region, row["area"]) for *_, row in found for region in row["leads"]]
    assert dict(leads) == {region: min(a for a in areas if region in region_codes_of(a)) for region, _ in leads}
    assert {region for region, _ in leads} == {region for area in areas for region in region_codes_of(area)}
    assert len(leads) == len(dict(leads))


def test_facts_are_copied_byte_for_byte():
    _, outcome = step(STAGE.empty(LANE), [incident(1)])
    before = codec.write(by_id(4), {"recorded_at": RECORDED, "scope": "all"})
    body = raw.incident_body()[len(before) - 1 :]
    assert outcome.outputs[0].values.item(0).endswith(body)


def damaged(value, at=-1):
    return value[:at] + bytes([value[at] ^ 1]) + (value[at + 1 :] if at != -1 else b"")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", ["frame.too_short"]),
        (b"\xc3\x01abc", ["frame.too_short"]),
        (b"what is this?", ["frame.magic"]),
        (b"\xc3\x01whoknows+body", ["frame.unknown_fingerprint"]),
        (confluent(latest("ConsentWithdrawn"), b""), ["frame.other_contract"]),
        (single_object(latest("Incident"), b""), ["frame.other_contract"]),
        (incident(1)[:-3], ["avro.truncated"]),
        (incident(1) + b"\x00", ["avro.trailing_bytes"]),
        (incident(1, node="MONUSCO"), ["envelope.other_node"]),
        (incident(0, 1), ["envelope.sequence"]),
        (incident(1 << 40, 1), ["envelope.sequence"]),
        (incident(0, 1, node="M"), ["envelope.other_node", "envelope.sequence"]),
        (pattern(1, case_ref=case(1)), ["envelope.case_ref"]),
        (raw.envelope("IncidentReported", 1, b""), ["envelope.case_ref"]),
        (raw.envelope("Unknown", 1, b"", schema=b"12345678"), ["envelope.kind_not_supported"]),
        (raw.envelope("IndicatorObserved", 1, b"", schema=b"12345678"), ["envelope.kind_not_supported"]),
        (
            raw.envelope("IndicatorObserved", 1, b"", case(1), schema=b"12345678"),
            ["envelope.kind_not_supported", "envelope.case_ref"],
        ),
        (raw.envelope("ReferralMade", 1, b"", schema=b"12345678"), ["envelope.case_ref", "envelope.body_schema"]),
        (pattern(1, body_schema=latest("IncidentReported").fingerprint), ["envelope.body_schema"]),
        (pattern(1, body_schema=b"12345678"), ["envelope.body_schema"]),
        (incident(99), ["seal.no_key"]),
        (damaged(incident(1)), ["seal.broken"]),
        (raw.envelope("IncidentReported", 1, b"short", case(1)), ["seal.broken"]),
        (raw.sealed("IncidentReported", 1, 1, b"\x02"), ["avro.truncated"]),
        (raw.envelope("PatternObserved", 1, b""), ["avro.truncated"]),
        (incident(1, facts={"women": 0}), ["incident.persons_none"]),
        (
            incident(1, facts={"women": 6_000, "country": "MMR", "information_credibility": 9}),
            ["incident.admin1_of_other_country", "incident.persons_out_of_range", "incident.credibility_out_of_range"],
        ),
        (pattern(1, {"areas": ["ZZ99"]}), ["pattern.areas_unknown"]),
    ],
)
def test_what_is_wrong_goes_to_quarantine_with_every_reason(value, expected):
    assert reasons(value) == expected


def test_quarantine_says_where_the_record_lies_and_nothing_of_its_body():
    _, [found], [counts] = run([[incident(1), incident(7, facts={"women": 0}), b"junk"]])
    assert counts == {"accepted": 1, "quarantined": 2}
    common = {"node": NODE, "topic": f"raw.{NODE}", "partition": 0, "suite": SUITE}
    refused = [(key, row) for topic, _, key, _, row in found if topic == "quarantine"]
    assert refused == [
        (
            f"{LANE}@1".encode(),
            {
                **common,
                "offset": 1,
                "event_id": identity(7),
                "sequence": 7,
                "kind": "IncidentReported",
                "reasons": ["incident.persons_none"],
            },
        ),
        (
            f"{LANE}@2".encode(),
            {**common, "offset": 2, "event_id": None, "sequence": None, "kind": None, "reasons": ["frame.magic"]},
        ),
    ]


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_a_repeat_is_dropped_and_a_fork_is_refused_within_and_between_batches(cut):
    values = [incident(1), incident(1), incident(1, event_id=identity(9)), incident(2, facts={"women": 0}), pattern(3)]
    values += [values[3], values[4]]
    _, found, counts = run([values[:cut], values[cut:]])
    total = {name: sum(count.get(name, 0) for count in counts) for name in ("accepted", "repeated", "quarantined")}
    assert total == {"accepted": 2, "repeated": 3, "quarantined": 2}
    refused = [row["reasons"] for batch in found for topic, *_, row in batch if topic == "quarantine"]
    assert refused == [["envelope.sequence_forked"], ["incident.persons_none"]]


def test_what_another_node_or_an_impossible_number_claims_takes_no_place():
    _, _, counts = run([[incident(1, node="MONUSCO"), incident(0, 1), incident(1)]])
    assert counts == [{"quarantined": 2, "accepted": 1}]


@pytest.mark.parametrize("cut", range(6))
def test_after_withdrawal_a_case_is_not_shared_again(cut):
    values = [incident(1, 5), withdrawal(2, 5), incident(3, 5), incident(4, 6), withdrawal(2, 5)]
    state, found, counts = run([values[:cut], CRASH, values[cut:]])
    total = {name: sum(count.get(name, 0) for count in counts) for name in ("accepted", "withdrawn", "repeated")}
    assert total == {"accepted": 2, "withdrawn": 1, "repeated": 1}
    assert sum(count.get("consent_withdrawn", 0) for count in counts) == 1
    assert [row["sequence"] for batch in found for *_, row in batch] == [1, 4]
    assert state.withdrawn == {case(5)}


def test_a_withdrawal_takes_what_it_names_out_of_every_partition():
    _, [first, second], [_, counts] = run([[incident(1, 5), incident(2, 5)], [withdrawal(3, 5, [1, 2])]])
    assert counts == {"consent_withdrawn": 1}
    assert {row["event_id"] for *_, row in first} == {identity(1), identity(2)}
    heard = [(topic, partition, key, name, row["event_id"], row["node"]) for topic, partition, key, name, row in second]
    assert sorted(heard) == sorted(
        ("accepted", partition, identity(k), "IncidentWithdrawn", identity(k), NODE)
        for k in (1, 2)
        for partition in range(4)
    )


def test_what_is_told_again_is_what_the_withdrawal_had_said():
    _, [_, second], _ = run([[incident(1, 5), incident(2, 5)], [withdrawal(3, 5, [1, 2])]])
    again = told([identity(1), identity(2)], NODE)
    assert [key for key, _ in again] == [identity(1), identity(2)]
    rows = [codec.read(*unframe(value)) for _, value in again]
    assert {tuple(row.items()) for row in rows} == {tuple(row.items()) for *_, row in second}


def test_a_withdrawal_that_names_half_an_id_is_refused_and_counts_all_the_same():
    said = {"recorded_at": RECORDED, "scope": "all", "incidents": bytes(24), "cause": "consent"}
    body = codec.write(latest("ConsentWithdrawn"), said)
    state, [[found]], counts = run([[raw.envelope("ConsentWithdrawn", 1, body, case(5)), incident(2, 5)]])
    assert counts == [{"quarantined": 1, "withdrawn": 1}]
    assert (found[0], found[4]["reasons"]) == ("quarantine", ["consent.incidents"])
    assert state.withdrawn == {case(5)}


def test_a_withdrawal_of_the_first_version_stops_the_case_and_names_nothing():
    release = by_id(4)
    body = codec.write(release, {"recorded_at": RECORDED, "scope": "all"})
    value = raw.sealed("ConsentWithdrawn", 1, 5, body, schema=release.fingerprint)
    state, found, counts = run([[value, incident(2, 5)]])
    assert (counts, found) == ([{"consent_withdrawn": 1, "withdrawn": 1}], [[]])
    assert state.withdrawn == {case(5)}


@pytest.mark.parametrize("cause", ["consent", "retention", "handed_over"])
def test_what_a_withdrawal_does_is_the_same_whatever_its_cause_and_release(cause):
    """Release 19 states no cause, which means consent."""
    named = {"recorded_at": RECORDED, "scope": "all", "incidents": identity(1)}
    release = by_id(19)
    older = raw.envelope("ConsentWithdrawn", 2, codec.write(release, named), case(5), schema=release.fingerprint)
    newer = withdrawal(2, 5, [1], cause)
    (state, found, counts), (again, same, also) = (
        run([[incident(1, 5), one], [incident(3, 5)]]) for one in (older, newer)
    )
    assert counts == also == [{"accepted": 1, "consent_withdrawn": 1}, {"withdrawn": 1}]
    assert [sorted(map(repr, batch)) for batch in found] == [sorted(map(repr, batch)) for batch in same]
    assert "IncidentWithdrawn" in repr(same)
    assert state.withdrawn == again.withdrawn == {case(5)}


def test_a_withdrawal_counts_although_its_body_is_of_an_unknown_contract():
    state, _, counts = run([[withdrawal(1, 5, body_schema=b"12345678"), incident(2, 5)]])
    assert counts == [{"quarantined": 1, "withdrawn": 1}]
    assert state.withdrawn == {case(5)}


MADE = [
    incident(1), incident(2), incident(2, event_id=identity(8)), pattern(3), pattern(3), incident(4, facts={"women": 0}),
    incident(9, 5), withdrawal(6, 5, [9, 7]), incident(7, 5), b"junk", incident(8, node="X"), incident(20_000, 99), pattern(5_000),
]  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from(MADE), max_size=25), st.integers(1, 6), st.sets(st.integers(0, 8)))
def test_any_batching_and_any_crash_put_out_the_same(values, size, crashes):
    batches = [values[at : at + size] for at in range(0, len(values), size)]
    state, found, _ = run([values])
    again, parts, _ = run([each for i, batch in enumerate(batches) for each in ([CRASH] * (i in crashes) + [batch])])
    by_place = {repr(each) for batch in found for each in batch}
    assert {repr(each) for batch in parts for each in batch} == by_place
    assert STAGE.freeze(again) == STAGE.freeze(state) == STAGE.freeze(STAGE.thaw(STAGE.freeze(state)))
    assert again.withdrawn == state.withdrawn


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from(MADE), max_size=25))
def test_replay_twice_is_once(values):
    state, _, _ = run([values])
    before = STAGE.freeze(state)
    state, outcome = step(state, values)
    assert not {"accepted", "withdrawn", "consent_withdrawn"} & set(outcome.counts)
    assert {output.topic for output in outcome.outputs} <= {"quarantine"}
    assert STAGE.freeze(state) == before


def test_completeness_is_in_the_state():
    state, _, _ = run([[incident(1), incident(2), pattern(7)]])
    assert (highest(state.seen), missing(state.seen, 9)) == (7, [range(3, 7)])


def test_a_failing_step_leaves_the_state_as_it_was(monkeypatch):
    state, _, _ = run([[incident(1)]])
    before = STAGE.freeze(state)
    values = [incident(2), withdrawal(3, 5), pattern(90_000_000)]
    with monkeypatch.context() as patch:
        patch.setattr("streams.refine.patterns", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            step(state, values, 1)
    assert STAGE.freeze(state) == before
    _, outcome = step(state, values, 1)
    assert outcome.counts == {"accepted": 2, "consent_withdrawn": 1}


def test_records_on_which_the_stage_fails_are_refused():
    state, outcome = STAGE.refuse(STAGE.empty(LANE), records([b"x"], 7, f"raw.{NODE}"), ValueError("a fault"))
    [(_, _, _, _, row)] = read(outcome.outputs)
    assert (row["node"], row["offset"], row["reasons"], outcome.counts) == (
        NODE,
        7,
        ["stage.failed"],
        {"quarantined": 1},
    )
    assert STAGE.freeze(STAGE.restore(STAGE.empty(LANE), outcome.delta)) == STAGE.freeze(state)


def test_an_empty_batch_is_an_empty_outcome():
    _, outcome = step(STAGE.empty(LANE), [])
    assert (outcome.counts, outcome.outputs) == ({}, ())


def test_hostile_numbers_do_not_take_memory():
    state, _, counts = run([[pattern(1 + i * 50_000_000) for i in range(1_500)]])
    assert counts == [{"accepted": 1_000, "quarantined": 500}]
    assert state.seen.pages.nbytes + state.seen.mids.nbytes <= 32 << 20
    assert np.array_equal(state.seen.marks, STAGE.thaw(STAGE.freeze(state)).seen.marks)


def handover(sequence, **more):
    keys = {"signer": bytes(32), "receives": bytes(32), "deed": bytes(32)}
    values = {"recorded_at": RECORDED, "successor": "UNCT-COD", **keys}
    return raw.envelope("NodeHandedOver", sequence, codec.write(latest("NodeHandedOver"), values), **more)


def test_a_handover_is_counted_and_sends_nothing_on():
    _, [found], [counts] = run([[incident(1), handover(2), incident(3)]])
    assert counts == {"accepted": 2, "handed_over": 1}
    assert [row["sequence"] for *_, row in found] == [1, 3]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (raw.envelope("NodeHandedOver", 1, b"x"), "avro"),
        (handover(1, case_ref=case(1)), "envelope.case_ref"),
        (handover(1, schema=latest("PatternObserved").fingerprint), "envelope.body_schema"),
    ],
    ids=["body", "case", "schema"],
)
def test_a_handover_that_cannot_be_read_is_refused(value, reason):
    [found] = reasons(value)
    assert found.startswith(reason)
