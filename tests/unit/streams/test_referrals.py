"""Referrals in refine and merge: what becomes of them, and what they may not say."""

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import rows, seal
from schemas.places import region_codes_of
from schemas.referrals import outcomes, services
from schemas.released import latest
from schemas.wire import confluent
from streams.partition import partition_of
from tests.unit.streams.accepted import SECRETS, records
from tests.unit.streams.raw import (
    NODE,
    RECORDED,
    REFERRAL,
    amendment,
    case,
    follow_up,
    identity,
    incident,
    referral,
    retraction,
    withdrawal,
)
from tests.unit.streams.test_merge import CRASH as CRASH_MERGE
from tests.unit.streams.test_merge import STAGE as MERGE
from tests.unit.streams.test_merge import run as run_merge
from tests.unit.streams.test_refine import CRASH, STAGE, run
from tests.unit.streams.test_revisions import reasons

AREA = "ML01"


def said(batch):
    """Return what a batch tells `accepted`: the referrals by number with their outcome, and the numbers of what ends."""
    came = [row for _, _, _, name, row in batch if name == "ReferralAccepted"]
    ended = [row for _, partition, _, name, row in batch if name == "VersionEnded" and partition == 0]
    return (
        [(row["sequence"], row["referral"]["outcome"]) for row in came],
        [(int.from_bytes(row["event_id"][8:], "big"), row["ending"]) for row in ended],
    )


def of_last(values):
    _, found, counts = run([values[:-1], values[-1:]])
    return (*said(found[-1]), counts[-1])


def test_a_referral_goes_to_its_area_as_it_was_made():
    _, [_, found], [_, counts] = run([[incident(1)], [referral(2, 1)]])
    assert counts == {"accepted": 1}
    [(topic, partition, key, name, row)] = found
    assert (topic, partition, key, name) == ("accepted", partition_of(b"ML01", 4), b"ML01", "ReferralAccepted")
    assert row == {
        "event_id": identity(2),
        "node": NODE,
        "sequence": 2,
        "case_ref": case(1),
        "recorded_at": RECORDED,
        "area": AREA,
        "incident_id": identity(1),
        "referral_id": identity(2),
        "referral": REFERRAL,
    }


def test_a_follow_up_takes_the_place_of_what_was_said_last():
    values = [incident(1), referral(2, 1), follow_up(3, 1, 2, outcome="service_ongoing")]
    assert of_last(values) == ([(3, "service_ongoing")], [(2, "followed_up")], {"accepted": 1})
    values.append(follow_up(4, 1, 2, 3))
    assert of_last(values) == ([(4, "service_received")], [(3, "followed_up")], {"accepted": 1})
    _, found, _ = run([values])
    rows = [row for _, _, _, name, row in found[0] if name == "ReferralAccepted"]
    assert {row["referral_id"] for row in rows} == {identity(2)}


def test_a_referral_that_she_declines_is_recorded_and_goes_no_further():
    declined = referral(2, 1, facts={"consented": False, "outcome": "declined"})
    assert of_last([incident(1), declined]) == ([(2, "declined")], [], {"accepted": 1})
    assert reasons([incident(1), declined, follow_up(3, 1, 2)]) == ["referral.declined"]
    later = [incident(1), referral(2, 1), follow_up(3, 1, 2, outcome="declined")]
    assert reasons([*later, follow_up(4, 1, 2, 3)]) == ["referral.declined"]


def test_an_incident_that_goes_on_leaves_its_referrals_as_they_are():
    values = [incident(1), referral(2, 1), amendment(3, 1, [1]), retraction(4, 1, [3]), follow_up(5, 1, 2)]
    assert of_last(values) == ([(5, "service_received")], [(2, "followed_up")], {"accepted": 1})
    assert of_last([incident(1), referral(2, 1), amendment(3, 1, [1])])[2] == {"revised": 1}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([incident(1), referral(2, 1, of=3)], ["revision.unknown_version"]),
        ([incident(1), incident(2), referral(3, 2, of=1, incident_number=2)], ["revision.unknown_version"]),
        ([incident(1), amendment(2, 1, [1]), referral(3, 4, of=1)], ["revision.other_incident"]),
        ([incident(1), referral(2, 1, incident_number=-5)], ["revision.unknown_version"]),
        ([incident(1), referral(2, 1, incident_number=1 << 62)], ["revision.unknown_version"]),
        ([incident(1), referral(2, 1), follow_up(3, 1, 2, referral_number=-5)], ["revision.unknown_version"]),
        ([incident(1), referral(2, 1), follow_up(3, 1, 2, referral_number=1 << 62)], ["revision.unknown_version"]),
        ([incident(1), referral(2, 1), follow_up(3, 1, 2, referral_id=identity(1))], ["revision.unknown_version"]),
        ([incident(1), referral(2, 1, facts={"service": "unspecified"})], ["referral.service"]),
        ([incident(1), referral(2, 1, facts={"outcome": "service_received"})], ["referral.outcome"]),
        ([incident(1), referral(2, 1, facts={"outcome": "declined"})], ["referral.outcome"]),
        ([incident(1), referral(2, 1, facts={"consented": False})], ["referral.outcome"]),
        ([incident(1), referral(2, 1, facts={"followed_up_on": date(2021, 4, 1)})], ["referral.outcome"]),
        ([incident(1), referral(2, 1, facts={"referred_on": date(2026, 1, 3)})], ["referral.day"]),
        ([incident(1), referral(2, 1, "XX99")], ["referral.area"]),
        ([incident(1), referral(2, 1), follow_up(3, 1, 2, outcome="pending")], ["referral.outcome"]),
        ([incident(1), referral(2, 1), follow_up(3, 1, 2, facts={"consented": False})], ["referral.outcome"]),
        ([incident(1), referral(2, 1), follow_up(3, 1, 2, facts={"followed_up_on": None})], ["referral.outcome"]),
        (
            [incident(1), referral(2, 1), follow_up(3, 1, 2, facts={"followed_up_on": date(2021, 3, 4)})],
            ["referral.day"],
        ),
        ([incident(1), referral(2, 1), follow_up(3, 1, 2), follow_up(4, 1, 2)], ["referral.not_newest"]),
        ([incident(1), follow_up(2, 1, 1)], ["referral.unknown"]),
        ([incident(1), amendment(2, 1, [1]), follow_up(3, 1, 1, 2)], ["referral.unknown"]),
        ([incident(1), referral(2, 1), retraction(3, 1, [2], of=2)], ["revision.other_incident"]),
        ([incident(1), referral(2, 1, "XX99"), follow_up(3, 1, 2)], ["referral.unknown"]),
        ([incident(1), referral(2, 1), follow_up(3, 4, 2, of=1)], ["revision.other_incident"]),
        ([incident(1), referral(2, 1), follow_up(3, 1, 2, replaces=b"")], ["revision.replaces"]),
        ([incident(1), referral(2, 99, of=1)], ["seal.no_key"]),
        ([incident(1), referral(2, 1, body_schema=b"12345678")], ["envelope.body_schema"]),
    ],
)
def test_what_is_not_allowed_goes_to_quarantine_with_its_reason(values, expected):
    assert reasons(values) == expected


@pytest.mark.parametrize("service", services())
@pytest.mark.parametrize("outcome", outcomes())
def test_each_service_and_outcome_of_the_lists_is_taken(service, outcome):
    facts = {"service": service}
    values = [incident(1), referral(2, 1, facts=facts), follow_up(3, 1, 2, outcome=outcome, facts=facts)]
    assert of_last(values)[0] == [(3, outcome)]


def test_what_comes_early_waits_for_its_incident_and_its_referral():
    values = [follow_up(3, 1, 2), referral(2, 1), incident(1)]
    state, found, counts = run([[value] for value in values])
    assert counts == [{"waiting": 1}, {"waiting": 1}, {"accepted": 1}]
    assert [said(batch) for batch in found[:2]] == [([], [])] * 2
    assert said(found[2]) == ([(2, "pending"), (3, "service_received")], [(2, "followed_up")])
    assert state.waiting == {}
    waiting = run([values[:1]])[0].waiting[0]
    assert waiting.needs == ((identity(1), 1), (identity(2), 2), (identity(2), 2))


@pytest.mark.parametrize("cut", range(6))
def test_after_withdrawal_no_referral_is_shared_and_nothing_of_it_is_remembered(cut):
    values = [incident(1), referral(2, 1), follow_up(5, 1, 4), withdrawal(3, 1, [1, 2]), referral(4, 1), referral(2, 1)]
    state, found, counts = run([values[:cut], CRASH, values[cut:]])
    assert {name for count in counts for name in count} == {
        "accepted", "waiting", "consent_withdrawn", "withdrawn", "repeated",
    }  # fmt: skip
    assert [number for batch in found for number, _ in said(batch)[0]] == [2]
    assert (state.lives, state.waiting) == ({}, {})


@st.composite
def histories(draw):
    """Return records of one node: two reports, referrals of both, follow-ups that may be late or of what is not there."""
    values, made, last, of_case = [incident(1), incident(2)], {}, {}, {1: [1], 2: [2]}
    for sequence in range(3, 3 + draw(st.integers(1, 8))):
        number = draw(st.sampled_from([1, 2]))
        kind = draw(st.sampled_from(["refer", "follow", "follow", "amend", "withdraw"]))
        if kind == "refer" or (kind == "follow" and number not in made):
            consented = draw(st.booleans())
            facts = {"consented": consented, "outcome": "pending" if consented else "declined"}
            values.append(referral(sequence, number, facts=facts))
            made[number] = last[number] = sequence
        elif kind == "follow":
            replaced = draw(st.sampled_from([last[number], made[number]]))
            values.append(follow_up(sequence, number, made[number], replaced, draw(st.sampled_from(outcomes()))))
            last[number] = sequence
        elif kind == "amend":
            values.append(amendment(sequence, number, [number]))
        else:
            values.append(withdrawal(sequence, number, of_case[number]))
        of_case[number].append(sequence)
    return values


def open_rows(batches):
    """Return what stands in `accepted` after some batches: the newest of each referral, but of withdrawn cases."""
    rows = {}
    for _, _, _, name, row in (each for batch in batches for each in batch):
        if name == "ReferralAccepted":
            rows[row["event_id"]] = (row["referral_id"], row["incident_id"])
        elif name == "VersionEnded":
            rows.pop(row["event_id"], None)
        elif name == "IncidentWithdrawn":
            rows = {key: one for key, one in rows.items() if row["event_id"] not in (key, one[1])}
    return {key: referral_id for key, (referral_id, _) in rows.items()}


@settings(deadline=None, max_examples=60)
@given(histories(), st.randoms(use_true_random=False), st.integers(1, 4), st.sets(st.integers(0, 8)))
def test_any_batching_and_any_crash_put_out_the_same(values, random, size, crashes):
    if random.random() < 1 / 2:
        random.shuffle(values)
    batches = [values[at : at + size] for at in range(0, len(values), size)]
    state, found, _ = run([values])
    again, parts, _ = run([each for i, batch in enumerate(batches) for each in ([CRASH] * (i in crashes) + [batch])])
    assert sorted(repr(each) for batch in parts for each in batch) == sorted(
        repr(each) for batch in found for each in batch
    )
    assert STAGE.freeze(again) == STAGE.freeze(state) == STAGE.freeze(STAGE.thaw(STAGE.freeze(state)))
    standing = open_rows(parts)
    assert len(set(standing.values())) == len(standing)


# In merge


def merged(batches):
    """Return what the lane of the area receives of what refine puts out, batch by batch."""
    _, found, _ = run(batches)
    home = "accepted", partition_of(AREA.encode(), 4)
    return [[framed(name, row) for *place, _, name, row in batch if tuple(place) == home] for batch in found]


def framed(name, row):
    return confluent(latest(name), rows.write(latest(name), row))


def minted(region, number):
    return seal.mint(SECRETS[region], identity(number))


def test_each_region_of_the_area_has_a_referral_under_ids_of_its_own_by_the_month():
    _, found = run_merge(merged([[incident(1), referral(2, 1), follow_up(3, 1, 2)]]))
    shared = [(topic, row) for topic, *_, name, row in found[0] if name == "ReferralShared"]
    assert {topic for topic, _ in shared} == {f"hub.{region}" for region in region_codes_of(AREA)}
    for topic, row in shared:
        region = topic.removeprefix("hub.")
        assert row["referral_id"] == minted(region, 2)
        assert row["incident_id"] == minted(region, 1)
        assert row["version_id"] in (minted(region, 2), minted(region, 3))
        first = row["version_id"] == minted(region, 2)
        assert (row["node"], row["area"], row["service"], row["consented"]) == (NODE, AREA, "medical", True)
        assert (row["outcome"], row["followed_up_in"]) == (
            ("pending", None) if first else ("service_received", date(2021, 4, 1))
        )
        assert row["referred_in"] == date(2021, 3, 1)
    closed = [(topic, row) for topic, *_, name, row in found[0] if name == "VersionClosed"]
    assert {(topic, row["version_id"], row["incident_id"], row["ending"]) for topic, row in closed} == {
        (f"hub.{region}", minted(region, 2), minted(region, 1), "followed_up") for region in region_codes_of(AREA)
    }


def test_a_referral_meets_no_pattern_and_is_nothings_duplicate():
    values = merged([[incident(1), referral(2, 1), referral(3, 1)]])
    _, found = run_merge(values)
    assert {name for *_, name, _ in found[0]} == {"IncidentShared", "ReferralShared"}


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_withdrawal_that_names_a_referral_alone_takes_the_incident_out_of_its_regions(size):
    [values] = merged([[incident(1), referral(2, 1), follow_up(3, 1, 2), withdrawal(4, 1, [3])]])
    batches = [values[at : at + size] for at in range(0, len(values), size)]
    state, found = run_merge(batches)
    removed = [
        (topic, row["incident_id"]) for batch in found for topic, *_, name, row in batch if name == "IncidentRemoved"
    ]
    assert sorted(removed) == sorted((f"hub.{region}", minted(region, 1)) for region in region_codes_of(AREA))
    assert MERGE.freeze(state) == MERGE.freeze(MERGE.thaw(MERGE.freeze(state)))


def standing(batches):
    """Return what stands of referrals in a region: by the minted id of a referral, that of what was said of it last."""
    rows = {}
    for *_, name, row in (each for batch in batches for each in batch if each[0] == "hub.sahel"):
        if name == "ReferralShared":
            assert row["version_id"] not in rows, "shared twice"
            rows[row["version_id"]] = (row["incident_id"], row["referral_id"])
        elif name == "VersionClosed":
            rows.pop(row["version_id"], None)
        elif name == "IncidentRemoved":
            rows = {key: one for key, one in rows.items() if one[0] != row["incident_id"]}
    found = {referral_id: version_id for version_id, (_, referral_id) in rows.items()}
    assert len(found) == len(rows), "a referral has two rows"
    return found


@settings(deadline=None, max_examples=40)
@given(histories(), st.randoms(use_true_random=False), st.integers(1, 5), st.sets(st.integers(0, 8)))
def test_what_stands_in_a_region_is_what_was_said_last_of_cases_that_are_not_withdrawn(values, random, size, crashes):
    if random.random() < 1 / 2:
        random.shuffle(values)
    _, found, _ = run([[value] for value in values])
    expected = {
        seal.mint(SECRETS["sahel"], referral_id): seal.mint(SECRETS["sahel"], event_id)
        for event_id, referral_id in open_rows(found).items()
    }
    told = [value for batch in merged([[value] for value in values]) for value in batch]
    batches = [told[at : at + size] for at in range(0, len(told), size)]
    state, shared = run_merge(batches)
    crashed, again = run_merge(
        [each for i, batch in enumerate(batches) for each in ([CRASH_MERGE] * (i in crashes) + [batch])]
    )
    assert standing(shared) == standing(again) == expected
    assert MERGE.freeze(crashed) == MERGE.freeze(state)


def test_referrals_are_counted_and_a_repeated_one_is_not_shared_again():
    [values] = merged([[incident(1), referral(2, 1)]])
    state, outcome = MERGE.step(MERGE.empty("accepted-0"), records(values))
    assert outcome.counts == {"incidents": 1, "referrals": 1}
    _, outcome = MERGE.step(state, records(values, 2))
    assert (outcome.counts, outcome.outputs) == ({"repeated": 2}, ())
