"""What became of each number, against a model that goes through the log event by event and compares each with each."""

import random
from collections import Counter, defaultdict
from datetime import date

import numpy as np
import pytest

from pipeline.hub.fates import EMPTY, WORDS, Events, Refusals, events, fates, pages
from pipeline.hub.shared import FIRST, Shared, Unreadable
from schemas import rows, seal
from schemas.columns import Blob
from schemas.fates import FATES, KINDS, MISSING, PAGE, Fate, Region
from schemas.released import latest
from schemas.wire import confluent, unframe
from streams.merge import Merge
from tests.unit.pipeline.hub.fated import YEAR, Event, Maker, Model
from tests.unit.streams.accepted import SECRETS, records
from tests.unit.streams.raw import INCIDENT, NODE, corroboration, dispute, identity, incident, pattern, taking_back
from tests.unit.streams.test_refine import STAGE, step


class Refined:
    """A log taken through refine in random batches: its state, what it refused, and what it put out."""

    def __init__(self, log, seed):
        rng, at = random.Random(seed), 0
        values = [each.record() if isinstance(each, Event) else each for each in log]
        self.state, self.refused, self.accepted = STAGE.empty(""), Refusals(), []
        while at < len(values):
            size = rng.randrange(1, 40)
            self.state, outcome = step(self.state, values[at : at + size], at)
            at += size
            for output in outcome.outputs:
                self.put_out(output)
        self.events = Events.joined(parts(values, rng))

    def put_out(self, output):
        for partition, value in zip(
            output.partitions.tolist(), map(output.values.item, range(len(output.values))), strict=True
        ):
            if output.topic == "accepted":
                self.accepted.append((partition, value))
            else:
                self.refused.add(rows.read(*unframe(value)))

    def hubs(self, rng):
        """Return the records of each region's stream, as merge makes them in random batches."""
        found = {code: [] for code in SECRETS}
        for partition in range(4):
            stage, at = Merge(SECRETS), 0
            state, values = stage.empty(""), [value for each, value in self.accepted if each == partition]
            while at < len(values):
                some = values[at : at + rng.randrange(1, 9)]
                state, outcome = stage.step(state, records(some, at, partition=partition))
                at += len(some)
                for output in outcome.outputs:
                    found[output.topic.removeprefix("hub.")] += map(output.values.item, range(len(output.values)))
        return found


def parts(values, rng):
    """Yield the events of a log, read in parts of any size."""
    at = 0
    while at < len(values):
        some = values[at : at + rng.randrange(1, 90)]
        yield events(NODE, np.arange(at, at + len(some)), Blob.of(some))
        at += len(some)


def shared(values, rng):
    found, at = Shared(), 0
    while at < len(values):
        size = rng.randrange(1, 50)
        found.take(values[at : at + size])
        at += size
    return found


@pytest.mark.parametrize("seed", range(60))
def test_each_number_has_the_fate_that_the_model_gives_it(seed):
    log, model = Maker(seed).make(220), Model()
    for event in log:
        model.take(event)
    refined = Refined(log, seed)
    found = fates(refined.events, refined.state, refined.refused, {})
    told = [fate for _, page in pages(found) for fate in page]
    assert [(each.fate, each.kind, each.details, each.forked) for each in told] == [
        model.fate(number) for number in range(1, max(model.events) + 1)
    ]


def test_an_assessment_has_its_fate_and_the_region_that_has_it():
    log = [corroboration(1), dispute(2, {"number": 0}), taking_back(3), corroboration(3)]
    refined, rng = Refined(log, 1), random.Random(1)
    hubs = {code: (SECRETS[code], shared(values, rng)) for code, values in refined.hubs(rng).items()}
    assert fates(refined.events, refined.state, refined.refused, hubs) == {
        1: Fate("accepted", "corroboration", regions=(Region("sahel"),)),
        2: Fate("refused", "dispute", ("assessment.number",)),
        3: Fate("accepted", "taking_back", regions=(Region("sahel"),), forked=True),
    }


def test_a_page_can_tell_of_every_kind_of_event():
    assert set(WORDS.values()) < set(KINDS)


def test_the_logs_hold_every_fate():
    found = Counter()
    for seed in range(60):
        model = Model()
        for event in Maker(seed).make(220):
            model.take(event)
        found.update((model.fate(number)[0], model.fate(number)[3]) for number in range(1, max(model.events) + 1))
    assert {fate for fate, _ in found} == set(FATES)
    assert min(sum(found[fate, forked] for forked in (False, True)) for fate in FATES) > 100
    assert all(found[fate, True] > 10 for fate in ("accepted", "refused", "withdrawn"))


class Stream:
    """A region's stream as plain rows, asked by comparing an event with each of them."""

    def __init__(self, code, values):
        self.code, self.of = code, defaultdict(list)
        for release, body in map(unframe, values):
            self.of[release.name].append(rows.read(release, body))

    def stands(self, version):
        removed = [row["incident_id"] for row in self.of["IncidentRemoved"]]
        closed = [(row["incident_id"], row["version_id"]) for row in self.of["VersionClosed"]]
        return version[0] not in removed and version not in closed

    def has(self, event):
        """Return what it has of an event: a Region, None where nothing."""
        minted = seal.mint(SECRETS[self.code], event.id)
        if event.kind == "pattern":
            return Region(self.code) if minted in [row["pattern_id"] for row in self.of["PatternShared"]] else None
        mine = (seal.mint(SECRETS[self.code], identity(event.of)), minted if event.replaced else None)
        came = [(row["incident_id"], None) for row in self.of["IncidentShared"]]
        came += [(row["incident_id"], row["version_id"]) for row in self.of["RevisionShared"]]
        if mine not in came or not self.stands(mine):
            return None
        links = [(row["incident_id"], row["version_id"]) for row in self.of["PatternLinked"]]
        duplicates = [
            pair
            for row in self.of["ProbableDuplicate"]
            if mine in (pair := ((row["first_id"], row["first_version"]), (row["second_id"], row["second_version"])))
        ]
        return Region(self.code, links.count(mine), any(self.stands(a) and self.stands(b) for a, b in duplicates))


@pytest.mark.parametrize("seed", range(6))
def test_regions_links_and_probable_duplicates_are_those_that_comparing_each_with_each_gives(seed):
    log, model = Maker(seed).make(160), Model()
    for event in log:
        model.take(event)
    refined = Refined(log, seed)
    values = refined.hubs(random.Random(seed))
    hubs = {code: (SECRETS[code], shared(some, random.Random(seed))) for code, some in values.items()}
    streams = [Stream(code, some) for code, some in sorted(values.items())]
    found = fates(refined.events, refined.state, refined.refused, hubs)
    for number, event in model.events.items():
        accepted = model.fate(number)[0] in ("accepted", "replaced", "in_conflict")
        assert found[number].regions == tuple(filter(None, (one.has(event) for one in streams if accepted)))
    told = [region for fate in found.values() for region in fate.regions]
    assert any(region.patterns for region in told)
    assert any(region.duplicate for region in told)


def told(name, **values):
    return confluent(latest(name), rows.write(latest(name), values))


@pytest.mark.parametrize("gone", ["IncidentRemoved", "VersionClosed"])
def test_what_a_region_no_longer_has_is_nobodys_duplicate(gone):
    ids, found = [bytes([number]) * 16 for number in range(3)], Shared()
    facts = {**INCIDENT, "occurred_on": date(2021, 3, 1)}
    common = {"node": NODE, "recorded_on": date(2026, 1, 1), "area": "ML01", "incident": facts}
    found.take([told("IncidentShared", incident_id=one, **common) for one in ids])
    pair = {"area": "ML01", "score": 90, "reasons": ["same_day"], "first_version": None, "second_version": None}
    found.take([told("ProbableDuplicate", first_id=ids[0], second_id=other, **pair) for other in ids[1:]])
    first, *others = (one + FIRST for one in ids)
    assert found.duplicates() == {first, *others}
    over = {"version_id": None, "ended_on": date(2026, 1, 2), "ending": "amended"} if gone == "VersionClosed" else {}
    found.take([told(gone, incident_id=ids[1], **over)])
    assert found.duplicates() == {first, others[1]}
    assert [found.has(one) for one in (first, *others)] == [True, False, True]
    found.take([told(gone, incident_id=ids[0], **over)])
    assert found.duplicates() == set()


def quarantined(**changes):
    row = {"topic": f"raw.{NODE}", "partition": 0, "event_id": None, "sequence": None, "kind": None}
    return row | {"node": NODE, "suite": ""} | changes


def test_a_record_that_refine_failed_on_is_refused_until_it_comes_again():
    values = [incident(1), incident(2), incident(2)]
    refused = Refusals()
    for offset in (0, 1):
        refused.add(quarantined(offset=offset, reasons=["stage.failed"]))
    state, _ = step(STAGE.empty(""), values[2:], 2)
    sent = events(NODE, np.arange(3), Blob.of(values))
    assert fates(sent, state, refused, {}) == {
        1: Fate("refused", "report", ("stage.failed",)),
        2: Fate("accepted", "report"),
    }


def test_a_number_out_of_reach_is_refused_until_it_comes_again_within_reach():
    far = [incident(900_000), incident(1)]
    refused = Refusals()
    for number in (900_000, 1):
        refused.add(quarantined(offset=0, sequence=number, event_id=identity(number), reasons=["envelope.sequence"]))
    state, _ = step(STAGE.empty(""), far[1:], 1)
    found = fates(events(NODE, np.arange(2), Blob.of(far)), state, refused, {})
    assert found == {900_000: Fate("refused", "report", ("envelope.sequence",)), 1: Fate("accepted", "report")}


def test_what_merge_refused_is_refused_by_its_number():
    state, _ = step(STAGE.empty(""), [incident(1), incident(2)])
    refused = Refusals()
    receipt = {
        "refused_offsets": [-1, 7],
        "refused_numbers": [2, 1],
        "refused_reasons": ["stage.failed", "seal.broken"],
    }
    refused.add_receipt(receipt)
    found = fates(events(NODE, np.arange(2), Blob.of([incident(1), incident(2)])), state, refused, {})
    assert [found[number].fate for number in (1, 2)] == ["accepted", "refused"]
    assert found[2].details == ("stage.failed",)


def test_a_log_that_lost_its_end_and_was_filled_again_tells_the_same():
    log = Maker(3).make(200)
    refined = Refined(log, 3)
    before = fates(refined.events, refined.state, refined.refused, {})
    again = [each.record() for each in log[60:] if isinstance(each, Event)] + [
        each.record() for each in log[:60] if isinstance(each, Event)
    ]
    sent = events(NODE, np.arange(len(again)), Blob.of(again))
    after = fates(sent, refined.state, refined.refused, {})
    assert {number: fate.details for number, fate in after.items()} == {n: fate.details for n, fate in before.items()}
    assert {number: fate.fate for number, fate in after.items()} == {n: fate.fate for n, fate in before.items()}
    lost = events(NODE, np.arange(20), Blob.of([each.record() for each in log if isinstance(each, Event)][:20]))
    assert fates(lost, refined.state, refined.refused, {}).keys() < before.keys()


def test_a_hostile_number_costs_a_bounded_number_of_pages():
    found = dict(pages({1: Fate("accepted", "report"), 1 << 39: Fate("accepted", "report")}))
    assert len(found) == EMPTY + 2
    assert [len(page) for page in list(found.values())[:3]] == [PAGE] * 3
    first, last = list(found.items())[-1]
    assert (first + len(last) - 1, last[-1]) == (1 << 39, Fate("accepted", "report"))
    assert set(list(found.values())[5]) == {MISSING}


@pytest.mark.parametrize("highest", [0, 1, 999, 1_000, 1_001, 2_500])
def test_pages_tell_of_each_number_up_to_the_highest(highest):
    found = list(pages({number: Fate("accepted", "pattern") for number in range(1, highest + 1)}))
    assert [first for first, _ in found] == list(range(1, highest + 1, PAGE))
    assert sum(len(page) for _, page in found) == highest


def test_a_node_that_sent_nothing_has_no_fates():
    assert fates(Events.joined([]), STAGE.empty(""), Refusals(), {}) == {}
    assert list(pages({})) == []


@pytest.mark.parametrize(
    "value", [b"x", confluent(latest("IncidentRemoved"), b"x"), confluent(latest("HeadSigned"), b"")]
)
def test_a_stream_that_cannot_be_read_is_told(value):
    with pytest.raises(Unreadable, match="update tocsin"):
        Shared().take([value])


def test_what_was_erased_from_a_stream_is_passed_over():
    shared = Shared()
    shared.take([b"", b""])
    assert shared == Shared()


def test_a_pattern_is_not_told_how_many_incidents_of_others_it_is_linked_to():
    values = [incident(1), pattern(2, YEAR)]
    log = [Event(1, "report", 1, 1), Event(2, "pattern")]
    refined = Refined(log, 0)
    hubs = {
        code: (SECRETS[code], shared(some, random.Random(0))) for code, some in refined.hubs(random.Random(0)).items()
    }
    found = fates(events(NODE, np.arange(2), Blob.of(values)), refined.state, refined.refused, hubs)
    assert found[1].regions == (Region("sahel", 1),)
    assert {region.patterns for region in found[2].regions} == {0}
