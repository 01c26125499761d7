from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import seal
from schemas.errors import NotSetUp
from schemas.places import region_codes_of
from streams import held_bytes, names
from streams.frames import versions
from streams.merge import Merge
from tests.unit.streams import plain
from tests.unit.streams.accepted import (
    SECRETS,
    ended,
    facts,
    hashable,
    identity,
    read,
    records,
    revised,
    value,
    withdrawn,
)
from tests.unit.streams.lanes import incidents, numbered, patterns

STAGE = Merge(SECRETS)
AREA, OTHER, COUNTRY = "ML01", "TD02", "MLI"
PLACES = {"A": AREA, "B": OTHER}
CRASH, BASE = object(), object()


def placed(rows):
    return [replace(row, area=PLACES[row.area]) for row in rows]


def run(batches):
    """Return all that a lane puts out; CRASH throws the state away, and the deltas bring it back, or a BASE and those after it."""
    state, deltas, found, start, base = STAGE.empty("accepted-0"), [], [], 0, STAGE.freeze(STAGE.empty("accepted-0"))
    for batch in batches:
        if batch is BASE:
            base, deltas = STAGE.freeze(STAGE.shed(state)), []
        if batch in (BASE, CRASH):
            state = STAGE.thaw(base)
            for delta in deltas:
                state = STAGE.restore(state, delta)
            continue
        given = records([each if isinstance(each, bytes) else value(each) for each in batch], start)
        start += len(batch)
        state, outcome = STAGE.step(state, given)
        assert sum(outcome.counts.values()) == len(batch)
        deltas.append(outcome.delta)
        found.append(read(outcome.outputs))
    return state, found


def as_set(found):
    """Return what was put out as a set, that nothing is twice in."""
    flat = [hashable(list(each)) for batch in found for each in batch]
    assert len(flat) == len(set(flat))
    return set(flat)


def expected_links(rows):
    """Return the links of all regions, by comparing each with each."""
    some, others = ([r for r in rows if isinstance(r, kind)] for kind in (plain.Incident, plain.Pattern))
    areas = {row.id: row.area for row in some}
    return {
        (region, seal.mint(SECRETS[region], identity(i)), seal.mint(SECRETS[region], identity(p)), match, days)
        for i, p, match, days in plain.links(some, others)
        for region in region_codes_of(areas[i])
    }


def links(found):
    matches = ("same_category", "same_party")
    return {
        (
            topic.removeprefix("hub."),
            row["incident_id"],
            row["pattern_id"],
            matches.index(row["party_match"]),
            row["days_outside"],
        )
        for batch in found
        for topic, _, _, name, row in batch
        if name == "PatternLinked"
    }


MIX = st.tuples(
    st.lists(incidents(st.integers(17_900, 18_100), st.integers(0, 4)), max_size=8),
    st.lists(patterns(), max_size=5),
    st.randoms(use_true_random=False),
    st.integers(1, 5),
)


@settings(deadline=None, max_examples=40)
@given(MIX)
def test_any_order_and_any_batching_put_out_equal_sets(mix):
    some, others, random, size = mix
    arrivals = placed([*numbered(some), *numbered(others, 1_000)])
    expected = as_set(run([arrivals])[1])
    random.shuffle(arrivals)
    _, found = run([arrivals[at : at + size] for at in range(0, len(arrivals), size)])
    assert as_set(found) == expected
    assert links(found) == expected_links(arrivals)


@settings(deadline=None, max_examples=30)
@given(MIX, st.sets(st.integers(0, 5)))
def test_a_crash_between_batches_changes_nothing(mix, crashes):
    some, others, random, size = mix
    arrivals = placed([*numbered(some), *numbered(others, 1_000)])
    random.shuffle(arrivals)
    batches = [arrivals[at : at + size] for at in range(0, len(arrivals), size)]
    state, found = run(batches)
    crashed, found_again = run(
        [each for i, batch in enumerate(batches) for each in ([CRASH] * (i in crashes) + [batch])]
    )
    assert found_again == found
    assert STAGE.freeze(crashed) == STAGE.freeze(state) == STAGE.freeze(STAGE.thaw(STAGE.freeze(state)))


def test_a_replayed_batch_is_repeated_and_puts_out_nothing():
    rows = [plain.Incident(1, AREA, 18_000), plain.Pattern(100, AREA, 17_990, 18_010)]
    state, _ = run([rows])
    before = STAGE.freeze(state)
    state, outcome = STAGE.step(state, records([value(row) for row in rows]))
    assert outcome.counts == {"repeated": 2}
    assert outcome.outputs == ()
    assert STAGE.freeze(state) == before


def test_a_pattern_is_one_for_each_area_and_the_leading_one_brings_it():
    pattern = plain.Pattern(100, AREA, 18_000, 18_010)
    _, [found] = run(
        [[value(pattern), value(replace(pattern, area=OTHER), leads=()), plain.Incident(1, OTHER, 18_000)]]
    )
    assert [each[0] for each in found if each[3] == "PatternShared"] == ["hub.sahel"]
    assert {each[0].removeprefix("hub.") for each in found if each[3] == "PatternLinked"} == set(region_codes_of(OTHER))


def test_an_incident_reaches_each_region_of_its_area_once_under_an_id_of_that_region():
    incident = plain.Incident(1, OTHER, 18_000, party="A party")
    _, [found] = run([[incident]])
    assert sorted(each[0] for each in found) == sorted(f"hub.{region}" for region in region_codes_of(OTHER))
    assert len(found) > 1
    for topic, partition, key, name, row in found:
        minted = seal.mint(SECRETS[topic.removeprefix("hub.")], identity(1))
        assert (partition, key, name) == (0, minted, "IncidentShared")
        assert row == {
            "incident_id": minted,
            "node": "N1",
            "recorded_on": plain.date(2026, 1, 1),
            "area": OTHER,
            "incident": facts(incident),
        }


def test_rows_of_a_batch_are_in_the_order_of_their_minted_ids():
    crowd = [plain.Incident(i, AREA, 18_000, node=f"N{i % 3}") for i in range(1, 40)]
    _, [found] = run([[*crowd, plain.Pattern(100, AREA, 18_000, 18_000)]])
    for kind, ids in {
        "IncidentShared": ["incident_id"],
        "PatternLinked": ["incident_id", "pattern_id"],
        "ProbableDuplicate": ["first_id", "second_id"],
    }.items():
        rows = [row for topic, *_, name, row in found if name == kind and topic == "hub.sahel"]
        order = [[row[name] for name in ids] for row in rows]
        assert len(order) > 30
        assert order == sorted(order)


def test_probable_duplicates_say_what_two_incidents_share():
    pair = [plain.Incident(2, COUNTRY, 18_000), plain.Incident(1, COUNTRY, 18_001, node="N2", source=2)]
    _, [found] = run([pair])
    [row] = [row for topic, _, _, name, row in found if name == "ProbableDuplicate" and topic == "hub.sahel"]
    assert [row["first_id"], row["second_id"]] == [seal.mint(SECRETS["sahel"], identity(i)) for i in (1, 2)]
    assert (row["area"], row["score"]) == (COUNTRY, 70)
    assert row["reasons"] == ["near_date", "same_forms", "same_counts", "other_node", "other_source"]


NAMING = (("incident_id", "version_id"), ("first_id", "first_version"), ("second_id", "second_version"))


def standing(found):
    """Return what a reader in order keeps as current: what was put out and not voided by a removal or the end of a version."""
    flat = [each for batch in found for each in batch]
    removed = {(topic, row["incident_id"]) for topic, *_, name, row in flat if name == "IncidentRemoved"}
    closed = {
        (topic, row["incident_id"], row["version_id"]) for topic, *_, name, row in flat if name == "VersionClosed"
    }
    return {
        hashable([topic, name, row])
        for topic, *_, name, row in flat
        if name not in ("IncidentRemoved", "VersionClosed")
        and row.get("current", True)
        and not removed & {(topic, row.get(field)) for field, _ in NAMING}
        and not closed & {(topic, row.get(field), row.get(version)) for field, version in NAMING}
    }


@settings(deadline=None, max_examples=40)
@given(MIX, st.data())
def test_what_stands_after_withdrawals_is_what_stands_without_the_withdrawn(mix, data):
    some, others, random, size = mix
    arrivals = placed([*numbered(some), *numbered(others, 1_000)])
    chosen = data.draw(st.sets(st.sampled_from(arrivals[: len(some)]))) if some else set()
    expected = standing(run([[row for row in arrivals if row not in chosen]])[1])
    random.shuffle(arrivals)
    for row in chosen:
        at = random.randint(arrivals.index(row) + 1, len(arrivals))
        arrivals.insert(at, withdrawn(row.id, row.node))
    batches = [arrivals[at : at + size] for at in range(0, len(arrivals), size)]
    state, found = run(batches)
    assert standing(found) == expected
    crashed, again = run([each for batch in batches for each in (CRASH, batch)])
    assert again == found
    assert STAGE.freeze(crashed) == STAGE.freeze(state) == STAGE.freeze(STAGE.thaw(STAGE.freeze(state)))


@settings(deadline=None, max_examples=25)
@given(MIX, st.data())
def test_bases_change_nothing_that_is_put_out_and_hold_nothing_of_what_was_withdrawn(mix, data):
    some, others, random, size = mix
    reports = placed(numbered(some))
    arrivals = [*reports, *placed(numbered(others, 1_000))]
    random.shuffle(arrivals)
    gone = [replace(row, party="Only theirs", node="N7") if random.random() < 1 / 2 else row for row in reports[::2]]
    arrivals = [next((one for one in gone if one.id == row.id), row) for row in arrivals]
    for row in gone:
        at = random.randint(arrivals.index(row) + 1, len(arrivals))
        version = replace(row, id=row.id + 500, day=row.day + 1)
        late = [revised(version, row.id), ended(row.id, row.node)] if random.random() < 1 / 2 else []
        arrivals[at:at] = [*late, withdrawn(row.id, row.node), withdrawn(version.id, row.node)]
    batches = [arrivals[at : at + size] for at in range(0, len(arrivals), size)]
    breaks = data.draw(st.lists(st.sampled_from([(), (BASE,), (BASE, CRASH)]), min_size=len(batches) + 1))
    state, found = run([each for batch, some in zip(batches, breaks, strict=False) for each in (*some, batch)])
    assert flat(found) == flat(run(batches)[1])
    ids = {ident for row in gone for ident in (identity(row.id), identity(row.id + 500))}
    before, after = STAGE.freeze(state), STAGE.freeze(STAGE.shed(state))
    assert not names_of(after) & ids
    assert not gone or BASE in [each for some in breaks for each in some] or names_of(before) & ids
    left = STAGE.thaw(after)
    assert {b"Only theirs", b"N7"}.isdisjoint([*names.listed(left.parties), *names.listed(left.nodes)])
    assert left.incident_count == len(reports) - len(gone)
    assert STAGE.freeze(STAGE.shed(left)) == after


def flat(found):
    return {hashable(list(each)) for batch in found for each in batch}


def names_of(delta):
    return {b"".join(int(half).to_bytes(8, "big") for half in ident) for ident in held_bytes.named(delta)}


def test_a_lane_that_holds_nothing_has_a_base():
    assert STAGE.thaw(STAGE.freeze(STAGE.shed(STAGE.empty("accepted-0")))).incident_count == 0


def test_a_withdrawn_incident_leaves_every_region_of_its_area_once_and_meets_nothing_any_more():
    rows = [plain.Incident(1, OTHER, 18_000), plain.Pattern(100, OTHER, 18_000, 18_010)]
    twin, late = plain.Incident(2, OTHER, 18_000, node="N2"), plain.Pattern(101, OTHER, 17_990, 18_010)
    state, [first, second, third] = run([rows, [withdrawn(1)], [twin, late, withdrawn(1), rows[0]]])
    left = sorted((topic, key[:16], row["incident_id"]) for topic, _, key, name, row in second)
    assert {name for *_, name, _ in second} == {"IncidentRemoved"}
    assert left == sorted(
        (f"hub.{region}", *[seal.mint(SECRETS[region], identity(1))] * 2) for region in region_codes_of(OTHER)
    )
    assert {name for *_, name, _ in first} == {"IncidentShared", "PatternShared", "PatternLinked"}
    assert {name for *_, name, _ in third} == {"IncidentShared", "PatternShared", "PatternLinked"}
    gone = {seal.mint(SECRETS[region], identity(1)) for region in SECRETS}
    assert not gone & {row.get("incident_id") for *_, row in third}
    assert state.incident_count == 2


def test_a_tombstone_is_passed_over_and_counted():
    state, [first] = run([[plain.Incident(1, AREA, 18_000), b"", plain.Incident(2, AREA, 18_000)]])
    assert [name for *_, name, _ in first].count("IncidentShared") == 2 * len(region_codes_of(AREA))
    _, outcome = STAGE.step(state, records([b"", b""], 3))
    assert (outcome.counts, outcome.outputs) == ({"tombstones": 2}, ())


@settings(deadline=None, max_examples=30)
@given(MIX, st.data())
def test_what_stands_after_revisions_is_what_stands_of_the_last_versions_alone(mix, data):
    some, others, random, size = mix
    reports, late = placed(numbered(some)), placed(numbered(others, 1_000))
    expected, arrivals, at = [*late], [*late], 100
    random.shuffle(arrivals)
    for row in reports:
        told, ids = [row], [row.id]
        for version in placed(
            data.draw(st.lists(incidents(st.integers(17_900, 18_100), st.integers(0, 4)), max_size=3))
        ):
            at += 1
            told.append((revised(replace(version, id=at, node=row.node), row.id), ended(ids[-1], row.node)))
            ids.append(at)
        fate = data.draw(st.sampled_from(["stands", "stands", "retracted", "withdrawn"]))
        if fate == "stands":
            expected.append(told[-1][0] if len(told) > 1 else row)
        told += [(ended(ids[-1], row.node, "error"),)] if fate == "retracted" else []
        told += [tuple(withdrawn(each, row.node) for each in ids)] if fate == "withdrawn" else []
        places = sorted(random.randint(0, len(arrivals)) for _ in told)
        for shift, (place, each) in enumerate(zip(places, told, strict=True)):
            arrivals.insert(place + shift, each)
    flat = [one for each in arrivals for one in (each if isinstance(each, tuple) else (each,))]
    batches = [flat[k : k + size] for k in range(0, len(flat), size)]
    state, found = run(batches)
    assert standing(found) == standing(run([[each] for each in expected])[1])
    keyed = {}
    for topic, _, key, *event in (each for batch in found for each in batch):
        assert keyed.setdefault((topic, key), event) == event, "compaction would take one for the other"
    crashed, again = run([each for batch in batches for each in (CRASH, batch)])
    assert again == found
    assert STAGE.freeze(crashed) == STAGE.freeze(state) == STAGE.freeze(STAGE.thaw(STAGE.freeze(state)))


def test_a_version_is_an_incident_of_its_own_area_and_the_one_before_is_closed_where_it_was():
    first, second = plain.Incident(1, AREA, 18_000), plain.Incident(2, OTHER, 18_000)
    fitting = plain.Pattern(100, OTHER, 18_000, 18_010)
    _, [_, found] = run([[first, fitting], [revised(second, 1), ended(1, ending="verified")]])
    closed = [(topic, row) for topic, *_, name, row in found if name == "VersionClosed"]
    came = [(topic, row) for topic, *_, name, row in found if name == "RevisionShared"]
    linked = [(topic, row) for topic, *_, name, row in found if name == "PatternLinked"]
    of = {f"hub.{region}": seal.mint(secret, identity(1)) for region, secret in SECRETS.items()}
    version = {f"hub.{region}": seal.mint(secret, identity(2)) for region, secret in SECRETS.items()}
    assert {topic for topic, _ in closed} == {f"hub.{region}" for region in region_codes_of(AREA)}
    assert {topic for topic, _ in came} == {f"hub.{region}" for region in region_codes_of(OTHER)}
    for topic, row in closed:
        day = plain.date(2026, 1, 1)
        assert row == {"incident_id": of[topic], "version_id": None, "ended_on": day, "ending": "verified"}
    for topic, row in came:
        assert (row["incident_id"], row["version_id"], row["incident"]) == (of[topic], version[topic], facts(second))
        assert (row["current"], row["change"], row["step"], row["node"]) == (True, "verified", "technical", "N1")
    assert {topic for topic, _ in linked} == {topic for topic, _ in came}
    assert all((row["incident_id"], row["version_id"]) == (of[topic], version[topic]) for topic, row in linked)


def test_a_consent_is_a_version_and_an_end_as_any_other_also_beside_those_of_an_earlier_release():
    first, second, third = (plain.Incident(number, AREA, 18_000) for number in (1, 2, 3))
    given = {"change": "consent_given", "step": "unspecified", "verified_on": None}
    came, gone = (versions(name)[0] for name in ("RevisionAccepted", "VersionEnded"))
    late = [revised(second, 1, release=came), ended(1, ending="verified", release=gone)]
    late += [revised(third, 1, **given), ended(2, ending="consent_given")]
    _, [_, found] = run([[first], late])
    told = [(name, row) for topic, *_, name, row in found if topic == "hub.sahel"]
    versions_of = {row["version_id"]: row["change"] for name, row in told if name == "RevisionShared"}
    endings = {row["version_id"]: row["ending"] for name, row in told if name == "VersionClosed"}
    second, third = (seal.mint(SECRETS["sahel"], identity(number)) for number in (2, 3))
    assert versions_of == {second: "verified", third: "consent_given"}
    assert endings == {None: "verified", second: "consent_given"}


def test_probable_duplicates_name_versions():
    rows = [plain.Incident(1, COUNTRY, 18_000), plain.Incident(2, COUNTRY, 18_000, node="N2")]
    later = plain.Incident(3, COUNTRY, 18_000)
    _, [_, found] = run([rows, [ended(1), revised(later, 1)]])
    [row] = [row for topic, *_, name, row in found if name == "ProbableDuplicate" and topic == "hub.sahel"]
    of, other, version = (seal.mint(SECRETS["sahel"], identity(number)) for number in (1, 2, 3))
    assert (row["first_id"], row["first_version"]) == (other, None)
    assert (row["second_id"], row["second_version"]) == (of, version)


def test_a_version_in_conflict_is_told_and_meets_nothing():
    rows = [plain.Incident(1, AREA, 18_000), plain.Pattern(100, AREA, 18_000, 18_010)]
    aside = plain.Incident(3, AREA, 18_000, node="N1")
    twin = plain.Incident(4, AREA, 18_000, node="N2")
    _, [_, told, after] = run([rows, [revised(aside, 1, current=False)], [twin, ended(3)]])
    assert {name for *_, name, _ in told} == {"RevisionShared"}
    assert not any(row["current"] for *_, row in told)
    version = seal.mint(SECRETS["sahel"], identity(3))
    assert version not in {row.get(name) for *_, row in after for name in ("first_version", "second_version")}
    closed = [row["version_id"] for topic, *_, name, row in after if name == "VersionClosed" and topic == "hub.sahel"]
    assert closed == [version]


def test_a_withdrawal_removes_an_incident_once_whatever_its_versions():
    rows = [plain.Incident(1, AREA, 18_000), revised(plain.Incident(2, AREA, 18_001), 1), ended(1)]
    _, [_, found] = run([rows, [withdrawn(1), withdrawn(2)]])
    removed = [(topic, row["incident_id"]) for topic, *_, name, row in found if name == "IncidentRemoved"]
    assert sorted(removed) == sorted(
        (f"hub.{region}", seal.mint(SECRETS[region], identity(1))) for region in region_codes_of(AREA)
    )
    assert len(removed) == len(found)


def test_what_became_of_versions_is_counted():
    state = STAGE.empty("accepted-0")
    state, _ = STAGE.step(state, records([value(plain.Incident(1, AREA, 18_000))]))
    version = revised(plain.Incident(2, AREA, 18_000), 1)
    _, outcome = STAGE.step(state, records([version, ended(1), ended(1, "N2"), ended(9), version], 1))
    assert outcome.counts == {"revisions": 1, "ended": 1, "elsewhere": 2, "repeated": 1}


def test_what_became_of_withdrawals_is_counted():
    state = STAGE.empty("accepted-0")
    state, _ = STAGE.step(state, records([value(plain.Incident(1, AREA, 18_000))]))
    _, outcome = STAGE.step(state, records([withdrawn(1), withdrawn(1), withdrawn(7)], 1))
    assert outcome.counts == {"withdrawn": 1, "elsewhere": 2}


@pytest.mark.parametrize("node", ["N2", "N9"])
def test_a_node_takes_nothing_of_another_out(node):
    rows = [plain.Incident(1, AREA, 18_000), plain.Incident(2, AREA, 18_000, node="N2")]
    state, _ = run([rows])
    state, outcome = STAGE.step(state, records([withdrawn(1, node)], 2))
    assert (outcome.counts, outcome.outputs) == ({"elsewhere": 1}, ())
    _, outcome = STAGE.step(state, records([value(plain.Pattern(100, AREA, 18_000, 18_001))], 3))
    linked = {row["incident_id"] for *_, name, row in read(outcome.outputs) if name == "PatternLinked"}
    assert seal.mint(SECRETS["sahel"], identity(1)) in linked


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (b"\x00", "frame.too_short"),
        (b"\x00\x00\x00\x00\x63junk", "frame.unknown_id"),
        (b"\xff\xff", "frame.magic"),
        (value(plain.Incident(5, AREA, 1))[:-2], "avro.truncated"),
    ],
)
def test_what_cannot_be_read_goes_to_quarantine_and_hurts_no_neighbour(damaged, reason):
    state, [found] = run([[plain.Incident(1, AREA, 18_000), damaged, plain.Incident(2, AREA, 19_000)]])
    assert state.incident_count == 2
    [refused] = [each for each in found if each[0] == "quarantine"]
    assert refused[2] == b"accepted-0@1"
    assert (refused[4]["topic"], refused[4]["offset"], refused[4]["reasons"]) == ("accepted", 1, [reason])


def test_a_failing_step_leaves_the_state_as_it_was(monkeypatch):
    state, _ = run([[plain.Incident(1, AREA, 18_000), plain.Pattern(100, AREA, 17_990, 18_010, party="P")]])
    before, later = STAGE.freeze(state), records([value(plain.Incident(2, OTHER, 18_000, party="Q", node="N7"))], 2)
    with monkeypatch.context() as patch:
        patch.setattr("streams.merge.share", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            STAGE.step(state, later)
    assert STAGE.freeze(state) == before
    state, outcome = STAGE.step(state, later)
    assert outcome.counts == {"incidents": 1}


def test_an_area_of_a_step_that_failed_leaves_its_number_to_another(monkeypatch):
    state, failing = STAGE.empty("accepted-0"), records([value(plain.Incident(1, OTHER, 18_000))])
    with monkeypatch.context() as patch:
        patch.setattr("streams.merge.quarantined", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            STAGE.step(state, failing)
    _, outcome = STAGE.step(state, records([value(plain.Incident(2, "SS01", 18_000))]))
    assert {topic for topic, *_ in read(outcome.outputs)} == {f"hub.{code}" for code in region_codes_of("SS01")}


def test_records_on_which_the_stage_fails_are_refused_one_by_one():
    state = STAGE.empty("accepted-0")
    state, outcome = STAGE.refuse(state, records([b"x"], 7), ValueError("a fault"))
    assert outcome.counts == {"quarantined": 1}
    assert [(row["offset"], row["reasons"]) for *_, row in read(outcome.outputs)] == [(7, ["stage.failed"])]
    assert STAGE.freeze(STAGE.restore(STAGE.empty("accepted-0"), outcome.delta)) == STAGE.freeze(state)


def test_a_region_without_a_secret_stops_at_once():
    with pytest.raises(NotSetUp, match="sahel"):
        Merge({name: secret for name, secret in SECRETS.items() if name != "sahel"})


def test_an_empty_batch_is_an_empty_outcome():
    state, outcome = STAGE.step(STAGE.empty("accepted-0"), records([]))
    assert (outcome.counts, outcome.outputs) == ({}, ())
    assert STAGE.freeze(STAGE.restore(STAGE.empty("accepted-0"), outcome.delta)) == STAGE.freeze(state)
