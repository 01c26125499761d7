"""Assessments of another node's incident in refine and merge: what becomes of them, and when they go."""

from datetime import date
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import rows, seal
from schemas.assessments import grounds, reliabilities, sources
from schemas.places import region_codes_of
from schemas.released import by_id, latest
from schemas.wire import confluent, single_object
from streams import held_bytes
from streams.assessed import about
from tests.unit.streams import raw
from tests.unit.streams.accepted import SECRETS, identity, read, records, value, withdrawn
from tests.unit.streams.plain import Incident
from tests.unit.streams.raw import ASSESSMENT, NODE, RECORDED, case, corroboration, dispute, incident, taking_back
from tests.unit.streams.test_merge import BASE
from tests.unit.streams.test_merge import CRASH as CRASH_MERGE
from tests.unit.streams.test_merge import STAGE as MERGE
from tests.unit.streams.test_merge import run as run_merge
from tests.unit.streams.test_refine import CRASH, STAGE, reasons, run

AREA = "ML01"


@pytest.mark.parametrize(
    ("made", "verdict", "more"),
    [
        (corroboration, "corroborated", {}),
        (dispute, "disputed", {"grounds": "place"}),
        (taking_back, "taken_back", {"source": "unspecified", "reliability": "F", "credibility": 6}),
    ],
)
def test_an_assessment_goes_to_the_first_partition_as_it_was_recorded(made, verdict, more):
    _, [[found]], [counts] = run([[made(1)]])
    assert counts == {"accepted": 1}
    assert found == (
        "accepted",
        0,
        ASSESSMENT["incident_id"],
        "AssessmentAccepted",
        {
            "event_id": raw.identity(1),
            "node": NODE,
            "sequence": 1,
            "recorded_at": RECORDED,
            "verdict": verdict,
            "assessment": {**ASSESSMENT, **more},
        },
    )


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (corroboration(1, {"region": "atlantis"}), "assessment.region"),
        (corroboration(1, {"region": ""}), "assessment.region"),
        (corroboration(1, {"number": 0}), "assessment.number"),
        (corroboration(1, {"source": "unspecified"}), "assessment.source"),
        (taking_back(1, {"source": "primary"}), "assessment.source"),
        (corroboration(1, {"grounds": "place"}), "assessment.grounds"),
        (taking_back(1, {"grounds": "place"}), "assessment.grounds"),
        (dispute(1, {"grounds": "unspecified"}), "assessment.grounds"),
        (corroboration(1, {"credibility": 0}), "assessment.credibility"),
        (corroboration(1, {"credibility": 7}), "assessment.credibility"),
        (corroboration(1, {"assessed_on": date(2026, 1, 3)}), "assessment.day"),
        (corroboration(1, case_ref=case(1)), "envelope.case_ref"),
        (corroboration(1, body_schema=latest("IncidentDisputed").fingerprint), "envelope.body_schema"),
        (corroboration(1)[:-1], "avro.truncated"),
        (raw.envelope("IncidentDisputed", 1, b"\x01"), "avro.truncated"),
        (corroboration(1, node="MONUSCO"), "envelope.other_node"),
    ],
    ids=range(16),
)
def test_what_cannot_be_goes_to_quarantine_with_its_reason(value, reason):
    assert reasons(value) == [reason]


@pytest.mark.parametrize("source", sources())
@pytest.mark.parametrize("why", grounds())
def test_each_source_and_each_ground_of_the_lists_is_taken(source, why):
    _, [[found]], _ = run([[dispute(1, {"source": source, "grounds": why})]])
    assert (found[4]["assessment"]["source"], found[4]["assessment"]["grounds"]) == (source, why)


def test_each_reliability_and_credibility_of_the_scale_is_taken_and_a_day_of_slack():
    facts = [{"reliability": one, "credibility": k} for k, one in enumerate(reliabilities(), 1)]
    facts.append({"assessed_on": date(2026, 1, 2)})
    assert run([[corroboration(at, each) for at, each in enumerate(facts, 1)]])[2] == [{"accepted": 7}]


def test_events_in_envelopes_of_either_release_are_taken_together():
    first, second = by_id(1), latest("Envelope")
    old = incident(1)
    assert old.startswith(single_object(second, b"")), "tests write the newest"
    old = single_object(first, old[10:])
    assert run([[old, corroboration(2), incident(3)]])[2] == [{"accepted": 3}]
    assert run([[old, old]])[2] == [{"accepted": 1, "repeated": 1}]


@pytest.mark.parametrize("cut", range(5))
def test_repeated_and_refused_ones_count_once_whatever_the_batches(cut):
    values = [corroboration(1), corroboration(1), dispute(2, {"number": 0}), dispute(2, {"number": 0}), taking_back(3)]
    state, found, counts = run([values[:cut], CRASH, values[cut:]])
    total = {name: sum(count.get(name, 0) for count in counts) for name in ("accepted", "repeated", "quarantined")}
    assert total == {"accepted": 2, "repeated": 2, "quarantined": 1}
    assert [row["sequence"] for batch in found for *_, name, row in batch if name == "AssessmentAccepted"] == [1, 3]
    assert STAGE.freeze(state) == STAGE.freeze(run([values])[0])


# In merge


def minted(number, region="sahel"):
    return seal.mint(SECRETS[region], identity(number))


def said(event, of, region="sahel", verdict="corroborated", number=1, node="N2", minted_for=None):
    """The accepted assessment of event `event`, about the incident with the number `of` as a region has it, or another one."""
    row = {"event_id": identity(event), "node": node, "sequence": event, "recorded_at": RECORDED, "verdict": verdict}
    facts = {**ASSESSMENT, "region": region, "incident_id": minted(of, minted_for or region), "number": number}
    return confluent(
        latest("AssessmentAccepted"), rows.write(latest("AssessmentAccepted"), {**row, "assessment": facts})
    )


def reported(number):
    return value(Incident(number, AREA, 18_000))


def of(found, name):
    return [(topic, key, row) for batch in found for topic, _, key, each, row in batch if each == name]


def test_an_assessment_is_told_to_the_region_that_it_names_and_to_no_other():
    _, found = run_merge([[said(50, 1, "horn-of-africa", "disputed", 3)]])
    [(topic, _, key, name, row)] = found[0]
    assert (topic, name) == ("hub.horn-of-africa", "AssessmentShared")
    assert key == minted(50, "horn-of-africa") + b"\x02"
    assert row == {
        "incident_id": minted(1, "horn-of-africa"),
        "assessment_id": minted(50, "horn-of-africa"),
        "node": "N2",
        "number": 3,
        "verdict": "disputed",
        "source": "primary",
        "reliability": "B",
        "credibility": 2,
        "grounds": "unspecified",
        "assessed_in": date(2021, 4, 1),
    }


def test_what_is_told_in_a_batch_goes_by_minted_id_and_is_counted():
    values = [said(event, event % 3) for event in range(50, 60)]
    state, outcome = MERGE.step(MERGE.empty("accepted-0"), records(values))
    assert outcome.counts == {"assessments": 10}
    keys = [key for _, _, key, _, _ in read(outcome.outputs)]
    assert keys == sorted(keys)
    _, outcome = MERGE.step(state, records(values, 10))
    assert (outcome.counts, outcome.outputs) == ({"repeated": 10}, ())


def standing(found):
    """What stands in the region after what was put out, in its order: incidents and the assessments of them, by minted id."""
    incidents, assessments = set(), {}
    for topic, _, _, name, row in (each for batch in found for each in batch):
        if topic != "hub.sahel":
            continue
        if name == "IncidentShared":
            incidents.add(row["incident_id"])
        elif name == "AssessmentShared":
            assert row["assessment_id"] not in assessments, "shared twice"
            assessments[row["assessment_id"]] = row["incident_id"]
        elif name == "IncidentRemoved":
            incidents.discard(row["incident_id"])
            assessments = {key: one for key, one in assessments.items() if one != row["incident_id"]}
    return incidents, assessments


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_an_assessment_may_come_before_its_incident_and_nothing_waits(order):
    arrived = [[said(50, 1), said(51, 1, verdict="disputed"), reported(1)][at] for at in order]
    incidents, assessments = standing(run_merge([[each] for each in arrived])[1])
    assert incidents == {minted(1)}
    assert assessments == {minted(50): minted(1), minted(51): minted(1)}


@pytest.mark.parametrize("lane", [0, 3])
def test_assessments_go_with_an_incident_of_whatever_lane_before_and_after_its_withdrawal(lane):
    """The incident is in this lane, or in another one that this lane knows nothing of."""
    report = [] if lane else [reported(1)]
    for arrived in permutations([said(50, 1), said(51, 1), said(52, 2), withdrawn(1)]):
        _, found = run_merge([report, *([each] for each in arrived)])
        assert standing(found) == (set(), {minted(52): minted(2)})
        named = {row["incident_id"] for topic, _, row in of(found, "IncidentRemoved") if topic == "hub.sahel"}
        assert named <= {minted(1)}


def test_a_withdrawal_says_nothing_to_a_region_that_has_neither_the_incident_nor_an_assessment():
    _, found = run_merge([[said(50, 1, "sahel")], [withdrawn(1), withdrawn(2)], [withdrawn(1)]])
    assert [(topic, key) for topic, key, _ in of(found, "IncidentRemoved")] == [("hub.sahel", minted(1) + b"\x01")]


@pytest.mark.parametrize("base", [(), (BASE,)])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_was_said_of_a_region_by_the_id_of_another_one_goes_there_too(order, base):
    slip = said(50, 1, "horn-of-africa", minted_for="sahel")
    _, found = run_merge([[[slip], [withdrawn(1)]][at] for at in order] + [*base, [said(51, 2)]])
    assert [topic for topic, *_ in of(found, "AssessmentShared")] == ["hub.horn-of-africa"] * (order == (0, 1)) + [
        "hub.sahel"
    ]
    wanted = [("hub.horn-of-africa", minted(1, "sahel") + b"\x01")] if order == (0, 1) else []
    assert [(topic, key) for topic, key, _ in of(found, "IncidentRemoved")] == wanted


def test_what_was_said_of_a_region_that_there_is_no_more_is_told_to_nobody_and_counted():
    values = [said(50, 1), said(51, 1, "atlantis", minted_for="sahel")]
    state, outcome = MERGE.step(MERGE.empty("accepted-0"), records(values))
    assert {topic for topic, *_ in read(outcome.outputs)} == {"hub.sahel"}
    assert outcome.counts == {"assessments": 1, "outside": 1}
    _, outcome = MERGE.step(state, records([withdrawn(1)], 2))
    assert {topic for topic, *_ in read(outcome.outputs)} == {"hub.sahel"}


def test_an_assessment_and_an_incident_whose_events_bear_one_id_share_no_key():
    _, found = run_merge([[reported(1), said(1, 2)]])
    keys = [key for topic, _, key, _, _ in found[0] if topic == "hub.sahel"]
    assert len(keys) == len(set(keys)) == 2


def test_another_lane_keeps_nothing_of_withdrawals():
    state = MERGE.empty("accepted-1")
    state, outcome = MERGE.step(state, records([withdrawn(1)], partition=1))
    assert (outcome.counts, outcome.outputs, state.assessed.gone) == ({"elsewhere": 1}, (), {})


def test_what_comes_late_is_counted_and_told_to_nobody():
    state, _ = MERGE.step(MERGE.empty("accepted-0"), records([withdrawn(1)]))
    _, outcome = MERGE.step(state, records([said(50, 1), said(51, 2)], 1))
    assert outcome.counts == {"assessments": 1, "late": 1}


def test_a_batch_that_fails_leaves_what_was_said_as_it_was(monkeypatch):
    state, _ = run_merge([[said(50, 1), withdrawn(2)]])
    before = MERGE.freeze(state)
    monkeypatch.setattr("streams.merge._counts", lambda *_: 1 / 0)
    monkeypatch.setattr("streams.merge.quarantined", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        MERGE.step(state, records([said(51, 1), withdrawn(1)], 2))
    assert MERGE.freeze(state) == before


def test_a_base_has_nothing_said_of_what_was_withdrawn_and_what_comes_later_goes_all_the_same():
    state, found = run_merge(
        [[reported(1), said(50, 1), said(51, 2)], [withdrawn(1)], BASE, [said(52, 1)], [said(51, 2)]]
    )
    assert state.assessed.of == {identity(51): about(minted(2), "sahel"), identity(52): about(minted(1), "sahel")}
    assert standing(found) == (set(), {minted(51): minted(2)})
    assert identity(1) not in {each.astype(">u8").tobytes() for each in held_bytes.named(MERGE.freeze(state))}


STEPS = st.lists(
    st.tuples(st.sampled_from(["report", "say", "say", "withdraw"]), st.integers(1, 3)), min_size=1, max_size=12
)


@settings(deadline=None, max_examples=60)
@given(
    STEPS,
    st.randoms(use_true_random=False),
    st.integers(1, 4),
    st.sets(st.integers(0, 12)),
    st.sets(st.integers(0, 12)),
)
def test_any_order_batching_and_crash_leave_the_same_assessments(steps, random, size, crashes, bases):
    """But for an incident: it comes before its own withdrawal, as its node's lane brings them."""
    withdrawn_ones = {number for kind, number in steps if kind == "withdraw"}
    values, told = [], {}
    for at, (kind, number) in enumerate(steps):
        if kind == "say":
            values.append(said(100 + at, number))
            told[minted(100 + at)] = minted(number)
        elif kind == "withdraw":
            values.append(withdrawn(number))
    random.shuffle(values)
    reports = [reported(number) for number in {number for kind, number in steps if kind == "report"}]
    values = reports + values
    batches = [values[at : at + size] for at in range(0, len(values), size)]
    cut = [
        each
        for at, batch in enumerate(batches)
        for each in ([CRASH_MERGE] * (at in crashes) + [BASE] * (at in bases) + [batch])
    ]
    state, found = run_merge(cut)
    gone = {minted(number) for number in withdrawn_ones}
    assert standing(found)[1] == {key: one for key, one in told.items() if one not in gone}
    assert MERGE.freeze(state) == MERGE.freeze(MERGE.thaw(MERGE.freeze(state)))


def test_the_id_of_an_incident_in_a_region_is_the_same_in_all_its_versions():
    """So that an assessment of one version is one of the incident: what a region joins them by."""
    values = [incident(1), raw.amendment(2, 1, [1], facts={"women": 3}), raw.verification(3, 1, [2])]
    _, found, _ = run([values])
    taken = [
        confluent(latest(name), rows.write(latest(name), row)) for *_, name, row in found[0] if name != "Quarantined"
    ]
    _, shared = run_merge([taken])
    for region in region_codes_of(AREA):
        own = [
            row
            for topic, _, row in of(shared, "IncidentShared") + of(shared, "RevisionShared")
            if topic == f"hub.{region}"
        ]
        assert len(own) == 3
        assert {row["incident_id"] for row in own} == {seal.mint(SECRETS[region], raw.identity(1))}


@pytest.mark.parametrize("cut", [1, 2, 9])
def test_of_what_a_withdrawal_names_lanes_are_told_what_the_node_has_sent_before_and_nothing_else(cut):
    """Not an incident of another node, nor one that comes later and is stopped then."""
    values = [incident(1, 1), incident(2, 1), raw.withdrawal(3, 1, [1, 2, 4, 90]), incident(4, 1), incident(5, 2)]
    _, found, _ = run([values[at : at + cut] for at in range(0, len(values), cut)])
    told = {row["event_id"] for batch in found for *_, name, row in batch if name == "IncidentWithdrawn"}
    assert told == {raw.identity(1), raw.identity(2)}
