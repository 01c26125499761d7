"""Revisions in refine: what becomes of them, what they end, and what they may not do."""

import json
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.released import latest, releases
from streams import lives, refined
from streams.partition import partition_of
from tests.unit.streams import raw
from tests.unit.streams.raw import (
    INCIDENT,
    NODE,
    RECORDED,
    amendment,
    case,
    consent,
    identity,
    incident,
    retraction,
    verification,
    withdrawal,
)
from tests.unit.streams.test_refine import CRASH, STAGE, run, step

SHARED = ("report_pending_verification", "verified")
HEADQUARTERS, VERIFIED = {"sharing_scope": "headquarters"}, {"verification": "verified"}


def said(batch):
    """Return what a batch tells `accepted` of versions: those that come, and those that end, each told to every partition."""
    came = [row for _, _, _, name, row in batch if name == "RevisionAccepted"]
    told = [(partition, row) for _, partition, _, name, row in batch if name == "VersionEnded"]
    first = [row for partition, row in told if partition == 0]
    for partition in range(4):
        assert [row for at, row in told if at == partition] == first
    return (
        sorted((row["sequence"], row["current"]) for row in came),
        [(int.from_bytes(row["event_id"][8:], "big"), row["ending"]) for row in first],
    )


def of_last(values):
    """Return what the last of some records tells, and its counts; the others come before it, in a batch of their own."""
    _, found, counts = run([values[:-1], values[-1:]])
    return (*said(found[-1]), counts[-1])


def reasons(values):
    _, found, counts = run([values[:-1], values[-1:]])
    assert counts[-1] == {"quarantined": 1}
    [(*_, row)] = found[-1]
    return row["reasons"]


def test_an_amendment_goes_to_its_area_whole_and_ends_the_version_before():
    facts = {"admin1": "ML02", "women": 3}
    _, [_, found], [_, counts] = run([[incident(1)], [amendment(2, 1, [1], facts)]])
    assert counts == {"revised": 1}
    assert said(found) == ([(2, True)], [(1, "amended")])
    [(topic, partition, key, _, row)] = [each for each in found if each[3] == "RevisionAccepted"]
    assert (topic, partition, key) == ("accepted", partition_of(b"ML02", 4), b"ML02")
    assert row == {
        "event_id": identity(2),
        "node": NODE,
        "sequence": 2,
        "case_ref": case(1),
        "recorded_at": RECORDED,
        "area": "ML02",
        "incident_id": identity(1),
        "current": True,
        "change": "amended",
        "step": "unspecified",
        "verified_on": None,
        "late_verification": False,
        "incident": {**INCIDENT, **facts},
    }


def test_a_verification_says_its_step_and_day():
    _, [found], _ = run([[incident(1), verification(2, 1, [1], on=date(2021, 3, 31))]])
    [row] = [row for _, _, _, name, row in found if name == "RevisionAccepted"]
    assert (row["change"], row["step"], row["verified_on"]) == ("verified", "focal_point", date(2021, 3, 31))
    assert row["incident"] == {**INCIDENT, "verification": "verified"}
    assert said(found)[1] == [(1, "verified")]


@pytest.mark.parametrize(
    ("happened", "precision", "verified", "late"),
    [
        (date(2021, 3, 1), "day", date(2021, 3, 31), False),
        (date(2021, 3, 1), "day", date(2021, 4, 1), True),
        (date(2021, 12, 31), "day", date(2021, 12, 31), False),
        (date(2021, 12, 31), "day", date(2022, 1, 1), True),
        (date(2021, 3, 29), "week", date(2021, 6, 30), False),
        (date(2021, 2, 1), "month", date(2021, 4, 1), True),
        (date(2021, 1, 1), "year", date(2021, 12, 31), False),
        (date(2021, 1, 1), "year", date(2022, 1, 1), True),
    ],
)
def test_late_is_after_the_quarter_in_which_it_happened(happened, precision, verified, late):
    facts = {"occurred_on": happened, "date_precision": precision}
    _, [found], _ = run([[incident(1, facts=facts), verification(2, 1, [1], facts=facts, on=verified)]])
    [row] = [row for _, _, _, name, row in found if name == "RevisionAccepted"]
    assert row["late_verification"] is late


@pytest.mark.parametrize(
    ("last", "ending"),
    [
        (retraction(2, 1, [1], "duplicate"), "duplicate"),
        (verification(2, 1, [1], "did_not_occur"), "did_not_occur"),
        (verification(2, 1, [1], "not_in_scope"), "out_of_scope"),
    ],
)
def test_what_is_taken_back_ends_and_nothing_comes_instead(last, ending):
    assert of_last([incident(1), last]) == ([], [(1, ending)], {"revised": 1})


def test_two_who_revise_the_same_version_are_in_conflict_until_a_third_has_seen_both():
    values = [incident(1), amendment(2, 1, [1], {"women": 2}), amendment(3, 1, [1], {"women": 3})]
    assert of_last(values) == ([(3, False)], [], {"revised": 1})
    assert of_last([*values, amendment(4, 1, [2, 3])]) == (
        [(4, True)],
        [(2, "amended"), (3, "amended")],
        {"revised": 1},
    )
    assert of_last([*values, amendment(4, 1, [3])]) == ([(4, False)], [(3, "amended")], {"revised": 1})
    assert of_last([*values, amendment(4, 1, [2])]) == ([(4, True)], [(2, "amended")], {"revised": 1})


def test_what_was_taken_back_can_be_taken_up_again_by_who_has_seen_that():
    values = [incident(1), retraction(2, 1, [1])]
    assert of_last([*values, amendment(3, 1, [2])]) == ([(3, True)], [], {"revised": 1})
    assert of_last([*values, amendment(3, 1, [1])]) == ([(3, False)], [], {"revised": 1})
    gone = [incident(1), verification(2, 1, [1], "did_not_occur")]
    again = verification(3, 1, [2], "report_pending_verification")
    assert of_last([*gone, again]) == ([(3, True)], [], {"revised": 1})


def test_a_refused_report_can_be_put_right():
    values = [incident(1, facts={"women": 0}), amendment(2, 1, [1])]
    assert of_last(values) == ([(2, True)], [(1, "amended")], {"revised": 1})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([incident(1), amendment(2, 1, [2])], ["revision.unknown_version"]),
        ([incident(1), amendment(2, 1, [3])], ["revision.unknown_version"]),
        ([incident(1), incident(2), amendment(3, 2, [2], of=1, incident_number=2)], ["revision.unknown_version"]),
        ([incident(1), amendment(3, 1, [1], incident_number=-5)], ["revision.unknown_version"]),
        ([incident(1), amendment(3, 1, [1], incident_number=1 << 62)], ["revision.unknown_version"]),
        ([incident(1), amendment(2, 1, [])], ["revision.replaces"]),
        ([incident(1), amendment(2, 1, [1], replaces=bytes(25))], ["revision.replaces"]),
        ([incident(1), amendment(2, 1, [1], replaces=bytes(16) + b"\xff" * 8)], ["revision.replaces"]),
        ([incident(1), amendment(2, 1, [1] * 65)], ["revision.replaces"]),
        (
            [incident(1), verification(2, 1, [1]), amendment(3, 1, [1]), amendment(4, 1, [2, 3])],
            ["revision.verification_by_amendment"],
        ),
        (
            [incident(1), amendment(2, 1, [1], {"women": 0}), amendment(3, 1, [2], {"verification": "verified"})],
            ["revision.verification_by_amendment"],
        ),
        ([incident(1), amendment(2, 1, [1]), amendment(3, 4, [2], of=1)], ["revision.other_incident"]),
        ([incident(1), amendment(2, 1, [1], {"verification": "verified"})], ["revision.verification_by_amendment"]),
        ([incident(1), amendment(2, 1, [1], {"women": 0})], ["incident.persons_none"]),
        (
            [incident(1, facts={"verification": "verified"}), verification(2, 1, [1], "report_pending_verification")],
            ["revision.move_not_allowed"],
        ),
        (
            [incident(1), verification(2, 1, [1], "not_in_scope"), verification(3, 1, [2], "verified")],
            ["revision.move_not_allowed"],
        ),
        ([incident(1), verification(2, 1, [1], step="unspecified")], ["revision.step"]),
        (
            [incident(1), verification(2, 1, [1], step="technical"), verification(3, 1, [2], verifier=2)],
            ["revision.step"],
        ),
        (
            [incident(1), verification(2, 1, [1]), verification(3, 1, [2], step="technical")],
            ["revision.same_verifier"],
        ),
        (
            [incident(1), verification(2, 1, [1], facts={"primary_sources": 0})],
            ["incident.verified_without_primary_source"],
        ),
        ([incident(1), amendment(2, 1, [1]), retraction(3, 1, [1])], ["revision.not_newest"]),
        ([incident(1), retraction(2, 99, [1], of=1)], ["seal.no_key"]),
        ([incident(1, facts=HEADQUARTERS), consent(2, 1, [1], "hub")], ["consent.narrower"]),
        ([incident(1), consent(2, 1, [1], "public"), consent(3, 1, [2])], ["consent.narrower"]),
        (
            [incident(1), consent(2, 1, [1], "public"), amendment(3, 1, [1]), consent(4, 1, [2, 3])],
            ["consent.narrower"],
        ),
        ([incident(1), consent(2, 1, [1], facts={"sharing_basis": "public_information"})], ["consent.basis"]),
        ([incident(1), consent(2, 1, [1], on=date(2021, 2, 28))], ["consent.day"]),
        ([incident(1), consent(2, 1, [1], on=date(2026, 1, 3))], ["consent.day"]),
        ([incident(1), consent(2, 1, [1], facts={"verification": "verified"})], ["revision.verification_by_amendment"]),
        ([incident(1), consent(2, 1, [1], facts={"women": 0})], ["incident.persons_none"]),
        ([incident(1), consent(2, 1, [2])], ["revision.unknown_version"]),
        ([incident(1), amendment(2, 1, [1]), consent(3, 4, [2], of=1)], ["revision.other_incident"]),
        (
            [incident(1), verification(2, 1, [1]), consent(3, 1, [2], facts=VERIFIED), verification(4, 1, [3])],
            ["revision.step"],
        ),
        ([incident(1), retraction(2, 1, [1], body_schema=b"12345678")], ["envelope.body_schema"]),
    ],
)
def test_what_is_not_allowed_goes_to_quarantine_with_its_reason(values, expected):
    assert reasons(values) == expected


def test_three_steps_by_three_persons():
    values = [incident(1), verification(2, 1, [1])]
    values += [verification(3, 1, [2], step="technical", verifier=2)]
    values += [verification(4, 1, [3], step="task_force", verifier=3)]
    assert of_last(values) == ([(4, True)], [(3, "verified")], {"revised": 1})


def test_a_step_of_the_hub_counts_as_one_of_the_node_and_so_does_one_of_an_older_node(monkeypatch):
    of_the_hub = verification(3, 1, [2], step="technical", verifier=2, decision=b"d" * 16)
    [older] = [one for one in releases() if (one.name, one.version) == ("IncidentVerified", 1)]
    monkeypatch.setattr(raw, "latest", lambda name: older if name == older.name else latest(name))
    values = [incident(1), verification(2, 1, [1]), of_the_hub]
    assert of_last(values) == ([(3, True)], [(2, "verified")], {"revised": 1})
    values += [verification(4, 1, [3], step="task_force", verifier=3)]
    assert of_last(values) == ([(4, True)], [(3, "verified")], {"revised": 1})
    assert reasons([*values[:-1], verification(4, 1, [3], step="task_force", verifier=2)]) == ["revision.same_verifier"]


def test_a_correction_has_to_be_examined_anew():
    values = [
        incident(1),
        verification(2, 1, [1], step="technical"),
        amendment(3, 1, [2], {"verification": "verified"}),
    ]
    assert of_last([*values, verification(4, 1, [3])]) == ([(4, True)], [(3, "verified")], {"revised": 1})


@pytest.mark.parametrize(("before", "after"), [("hub", "headquarters"), ("hub", "public"), ("public", "public")])
def test_a_consent_is_a_version_with_its_audience_and_says_no_day(before, after):
    _, [_, found], [_, counts] = run([[incident(1, facts={"sharing_scope": before})], [consent(2, 1, [1], after)]])
    assert counts == {"revised": 1}
    assert said(found) == ([(2, True)], [(1, "consent_given")])
    [row] = [row for _, _, _, name, row in found if name == "RevisionAccepted"]
    assert (row["change"], row["step"], row["verified_on"]) == ("consent_given", "unspecified", None)
    assert row["incident"] == {**INCIDENT, "sharing_scope": after}
    assert "given_on" not in row


@pytest.mark.parametrize("on", [date(2021, 3, 1), date(2026, 1, 1), date(2026, 1, 2)])
def test_consent_is_given_from_the_day_of_the_incident_to_that_of_its_record(on):
    assert of_last([incident(1), consent(2, 1, [1], on=on)])[2] == {"revised": 1}


def test_an_audience_is_remembered_over_a_crash_and_by_whoever_follows():
    values = [incident(1, facts=HEADQUARTERS), amendment(2, 1, [1], HEADQUARTERS), consent(3, 1, [2], "hub")]
    for batches in ([values], [[values[0]], CRASH, [values[1]], CRASH, [values[2]]]):
        state, found, _ = run(batches)
        assert [row["reasons"] for *_, row in found[-1] if "reasons" in row] == [["consent.narrower"]]
        assert STAGE.thaw(STAGE.freeze(state)).lives[identity(1)].versions[identity(2)].scope == "headquarters"


def test_a_correction_may_name_a_narrower_audience_and_consent_widens_it_again():
    values = [incident(1, facts=HEADQUARTERS), amendment(2, 1, [1])]
    assert of_last(values) == ([(2, True)], [(1, "amended")], {"revised": 1})
    assert of_last([*values, consent(3, 1, [2])]) == ([(3, True)], [(2, "consent_given")], {"revised": 1})


def test_consent_leaves_the_steps_of_verification_as_they_are():
    values = [incident(1), verification(2, 1, [1]), consent(3, 1, [2], facts=VERIFIED)]
    last = verification(4, 1, [3], step="technical", verifier=2, facts=HEADQUARTERS)
    assert of_last([*values, last]) == ([(4, True)], [(3, "verified")], {"revised": 1})


def test_consent_about_what_is_no_longer_shared_brings_no_row():
    gone = {"verification": "did_not_occur"}
    values = [incident(1), verification(2, 1, [1], "did_not_occur"), consent(3, 1, [2], facts=gone)]
    assert of_last(values) == ([], [], {"revised": 1})


def test_consent_that_comes_before_the_report_waits_for_it():
    state, found, counts = run([[consent(2, 1, [1])], [incident(1)]])
    assert counts == [{"waiting": 1}, {"accepted": 1}]
    assert [said(batch) for batch in found] == [([], []), ([(2, True)], [(1, "consent_given")])]
    assert state.waiting == {}


def test_consent_after_a_withdrawal_brings_nothing_back():
    values = [incident(1), withdrawal(2, 1, [1]), consent(3, 1, [1])]
    for size in (1, 3):
        state, found, counts = run([values[at : at + size] for at in range(0, 3, size)])
        assert sum(count.get("withdrawn", 0) for count in counts) == 1
        assert [said(batch) for batch in found] == [([], [])] * len(counts)
        assert state.lives == {}
    assert refined.named(STAGE.freeze(STAGE.shed(state))) == set()


def test_what_names_a_case_is_found_in_lives_and_in_what_waits():
    state, _, _ = run([[incident(1), amendment(2, 1, [1]), amendment(5, 1, [2, 4])]])
    assert refined.named(STAGE.freeze(state)) == {identity(number) for number in (1, 2, 4, 5)}
    assert refined.named(STAGE.freeze(STAGE.empty("raw.A-0"))) == set()


def test_a_life_of_an_earlier_release_has_the_audience_of_its_hub():
    state, _, _ = run([[incident(1)], [amendment(2, 1, [1])]])
    packed = json.loads(lives.pack(state.lives))
    for life in packed.values():
        life["versions"] = {key: version[:3] for key, version in life["versions"].items()}
    assert lives.unpack(json.dumps(packed).encode()) == state.lives


@pytest.mark.parametrize("cut", range(6))
def test_after_withdrawal_no_version_is_shared_and_nothing_of_the_case_is_remembered(cut):
    values = [incident(1), amendment(2, 1, [1]), withdrawal(3, 1, [1, 2]), amendment(4, 1, [2]), amendment(2, 1, [1])]
    state, found, counts = run([values[:cut], CRASH, values[cut:]])
    total = {name: sum(count.get(name, 0) for count in counts) for name in ("revised", "withdrawn", "repeated")}
    assert total == {"revised": 1, "withdrawn": 1, "repeated": 1}
    assert {row["sequence"] for batch in found for _, _, _, name, row in batch if name == "RevisionAccepted"} == {2}
    assert state.lives == {}


def test_what_comes_before_what_it_follows_waits_and_is_released_by_it():
    values = [amendment(3, 1, [2]), amendment(2, 1, [1]), incident(1)]
    state, found, counts = run([[value] for value in values])
    assert counts == [{"waiting": 1}, {"waiting": 1}, {"accepted": 1}]
    assert [said(batch) for batch in found] == [
        ([], []),
        ([], []),
        ([(2, True), (3, True)], [(1, "amended"), (2, "amended")]),
    ]
    assert state.waiting == {}
    assert run([values])[2] == [{"waiting": 2, "accepted": 1}]


def test_what_waits_says_for_what_and_keeps_its_bytes():
    value = amendment(3, 1, [2])
    state, _, _ = run([[value], CRASH])
    [(offset, waits)] = state.waiting.items()
    assert (offset, waits.offset, waits.number, waits.event_id, waits.case) == (0, 0, 3, identity(3), case(1))
    assert waits.needs == ((identity(1), 1), (identity(2), 2))
    assert waits.value == value


def test_what_waits_for_a_number_that_another_event_has_is_refused_when_that_comes():
    values = [amendment(3, 1, [2]), incident(1), incident(2, 7, event_id=identity(2, salt=5))]
    _, found, counts = run([[value] for value in values])
    assert counts == [{"waiting": 1}, {"accepted": 1}, {"accepted": 1}]
    [(key, row)] = [(key, row) for topic, _, key, _, row in found[2] if topic == "quarantine"]
    assert (key, row["offset"], row["sequence"]) == (f"raw.{NODE}-0@0".encode(), 0, 3)
    assert row["reasons"] == ["revision.unknown_version"]


def test_what_waits_is_forgotten_when_its_case_is_withdrawn():
    values = [amendment(3, 1, [1]), withdrawal(4, 1), incident(1), incident(9, 5)]
    state, found, counts = run([[value] for value in values])
    assert counts == [{"waiting": 1}, {"consent_withdrawn": 1}, {"withdrawn": 1}, {"accepted": 1}]
    assert state.waiting == {}
    assert [said(batch) for batch in found] == [([], [])] * 4


def test_a_conflict_over_verification_is_ended_by_a_verification():
    values = [incident(1), verification(2, 1, [1]), amendment(3, 1, [1]), verification(4, 1, [2, 3])]
    assert of_last(values) == ([(4, True)], [(2, "verified"), (3, "verified")], {"revised": 1})


def test_a_chain_that_came_backwards_is_followed_from_its_first():
    last = 200
    chain = [amendment(number, 1, [number - 1 if number > 10 else 1]) for number in range(last, 9, -1)]
    state, found, counts = run([chain, [incident(1)]])
    assert counts == [{"waiting": len(chain)}, {"accepted": 1}]
    assert [number for number, current in said(found[1])[0] if current] == list(range(10, last + 1))
    assert (state.waiting, state.lives[identity(1)].speaks) == ({}, identity(last))


def test_what_waits_for_an_event_that_is_dropped_with_its_case_goes_on_without_it():
    values = [amendment(9, 1, [7]), amendment(10, 2, [2, 9]), incident(2), withdrawal(11, 1)]
    for cut in range(len(values)):
        state, found, _ = run([values[:cut], values[cut:]])
        assert [number for batch in found for number, _ in said(batch)[0]] == [10]
        assert state.waiting == {}


def test_an_incident_has_so_many_versions_and_no_more(monkeypatch):
    monkeypatch.setattr("streams.lives.MOST", 3)
    values = [incident(1), amendment(2, 1, [1]), amendment(3, 1, [2]), amendment(4, 1, [3])]
    assert reasons(values) == ["revision.too_many"]


def test_a_flood_of_what_waits_is_bounded(monkeypatch):
    monkeypatch.setattr("streams.revisions.MOST", 3)
    values = [amendment(number, number, [1], of=1) for number in range(10, 15)]
    _, _, counts = run([values])
    assert counts == [{"waiting": 3, "quarantined": 2}]


def test_what_waits_and_breaks_a_rule_of_lives_is_refused_when_it_is_released():
    values = [verification(3, 1, [1], step="unspecified"), incident(1)]
    _, found, _ = run([[value] for value in values])
    assert [row["reasons"] for topic, *_, row in found[1] if topic == "quarantine"] == [["revision.step"]]


STATES = ["report_pending_verification", "verified", "not_in_scope", "did_not_occur"]
STEPS = ["focal_point", "technical", "task_force"]
SCOPES = ["hub", "headquarters", "public"]


@st.composite
def histories(draw):
    """Return records of one node: reports, and revisions that have seen some of what came before them."""
    values, versions = [], {1: [1], 2: [2]}
    for number in versions:
        facts = {"verification": draw(st.sampled_from(STATES[:2])), "sharing_scope": draw(st.sampled_from(SCOPES))}
        values.append(incident(number, facts=facts))
    for sequence in range(3, 3 + draw(st.integers(1, 8))):
        number = draw(st.sampled_from([1, 2]))
        near = versions[number][-3:] + draw(st.sampled_from([[], [], versions[3 - number][-1:]]))
        seen = draw(st.lists(st.sampled_from(near), min_size=1, max_size=2, unique=True))
        kind = draw(st.sampled_from(["amend", "amend", "verify", "verify", "grant", "grant", "retract", "withdraw"]))
        if kind == "amend":
            values.append(amendment(sequence, number, seen, {"verification": draw(st.sampled_from(STATES[:2]))}))
        elif kind == "verify":
            who = draw(st.integers(1, 3))
            values.append(
                verification(sequence, number, seen, draw(st.sampled_from(STATES)), draw(st.sampled_from(STEPS)), who)
            )
        elif kind == "grant":
            state = {"verification": draw(st.sampled_from(STATES[:2]))}
            values.append(consent(sequence, number, seen, draw(st.sampled_from(SCOPES)), facts=state))
        elif kind == "retract":
            values.append(retraction(sequence, number, seen))
        else:
            values.append(withdrawal(sequence, number, versions[number]))
        versions[number].append(sequence)
    return values


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
    assert again.lives == state.lives


@settings(deadline=None, max_examples=60)
@given(histories())
def test_at_any_moment_an_incident_has_one_current_version_or_none(values):
    _, found, _ = run([[value] for value in values])
    current = {1: {1}, 2: {2}}
    withdrawn = set()
    for batch in found:
        came = [row for _, _, _, name, row in batch if name == "RevisionAccepted"]
        ended = {row["event_id"] for _, _, _, name, row in batch if name == "VersionEnded"}
        withdrawn |= {row["event_id"] for _, _, _, name, row in batch if name == "IncidentWithdrawn"}
        for number in current:
            current[number] -= {int.from_bytes(each[8:], "big") for each in ended}
        for row in came:
            assert row["incident"]["verification"] in SHARED
            assert row["event_id"] not in withdrawn
            if row["current"]:
                current[int.from_bytes(row["incident_id"][8:], "big")].add(row["sequence"])
        assert all(len(each) <= 1 for each in current.values())


def test_a_life_takes_few_bytes_in_the_ledger():
    state, _, _ = run([[incident(1)], [amendment(2, 1, [1])]])
    _, outcome = step(state, [amendment(3, 1, [2])], 2)
    assert len(outcome.delta) < 400
