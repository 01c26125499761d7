"""100,000 events of a seeded generator, 20 kill -9 on the way: the outcome is the generator's own truth."""

from collections import Counter

import pytest

from schemas import seal
from schemas.released import latest
from schemas.rows import read as read_row
from schemas.wire import unframe
from tests.integration.whole.rig import REGIONS, Feed, Reader, Whole, kill_at_random

EVENTS, PATTERNS, KILLS, SEED = 100_000, 1_000, 20, 20261124
STAGES = ("refine", "merge", "sink")

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The run itself: what is asked of it is asked by the tests."""
    whole = Whole(tmp_path_factory.mktemp("whole"), ["SYN-1", "SYN-2", "SYN-3", "SYN-4"])
    try:
        generator = whole.generator(SEED)
        reader = Reader(whole.kafka, ["accepted", *(f"hub.{region}" for region in REGIONS)])
        workers = [whole.worker(stage, str(n), "--batch-records", "2000") for stage in STAGES for n in (1, 2)]
        feed = Feed(whole.kafka, generator, EVENTS, PATTERNS, rate=2_000)
        whole.threads += [reader, feed]
        kill_at_random(workers, KILLS, SEED, feed)
        feed.join()
        assert feed.error is None
        drain(whole, workers)
        whole.truth, whole.seen = generator.truth, reader.finish()
        whole.accepted = whole.values("accepted")
        yield whole
    finally:
        whole.down()


def drain(whole, workers):
    """Stop the workers, then let one of each kind in turn read to the end."""
    for worker in workers:
        worker.process.terminate()
    for worker in workers:
        worker.process.wait(timeout=60)
    for stage in STAGES:
        whole.worker(stage, "last", "--until-idle", "3").wait(300)


def decoded(value):
    release, body = unframe(value)
    return {"event": release.name, **read_row(release, body)}


def test_the_run_was_worth_it(ran):
    assert ran.truth.records > EVENTS
    assert ran.truth.counts["repeated"] > 0.04 * EVENTS
    assert len(ran.truth.links) > 100
    restarts = sum(len(worker.events("ready")) for worker in ran.workers)
    assert restarts >= KILLS


def test_each_event_was_accepted_once(ran):
    kinds = {latest("IncidentAccepted").id: [], latest("PatternAccepted").id: []}
    for value in ran.accepted:
        kinds[int.from_bytes(value[1:5], "big")].append(value)
    incident_values, pattern_values = kinds.values()
    # The id is the first field: 16 bytes after the frame's five. Decoding all of it would take minutes.
    incidents = Counter(value[5:21] for value in incident_values)
    assert set(incidents) == set(ran.truth.incidents)
    assert set(incidents.values()) == {1}
    rows = [decoded(value) for value in pattern_values]
    patterns = Counter((row["event_id"], row["area"]) for row in rows)
    assert {event_id for event_id, _ in patterns} == set(ran.truth.patterns)
    assert set(patterns.values()) == {1}


def test_each_refused_record_is_in_quarantine_once_with_its_reasons(ran):
    rows = [decoded(value) for value in ran.values("quarantine")]
    found = {(row["topic"], row["offset"]): set(row["reasons"]) for row in rows}
    assert len(found) == len(rows)
    assert set(found) == set(ran.truth.quarantined)
    for place, reasons in ran.truth.quarantined.items():
        assert found[place] == reasons or (reasons == {"*"} and found[place])
    assert len(ran.table("quarantine")) == len(rows)


def test_each_hub_holds_each_incident_once(ran):
    for region in REGIONS:
        ids = ran.table(f"hub/{region}/incidents")["incident_id"].to_list()
        wanted = [seal.mint(ran.secrets[region], i).hex() for r, i in ran.truth.shared if r == region]
        assert sorted(ids) == sorted(wanted), region


def test_each_hub_holds_each_pattern_once(ran):
    for region in REGIONS:
        ids = ran.table(f"hub/{region}/patterns")["pattern_id"]
        assert ids.n_unique() == len(ids) > 0, region


def test_the_joined_set_is_the_truth(ran):
    for region in REGIONS:
        links = ran.table(f"hub/{region}/links").select("incident_id", "pattern_id").rows()
        mint = ran.secrets[region]
        wanted = [(seal.mint(mint, i).hex(), seal.mint(mint, p).hex()) for r, i, p in ran.truth.links if r == region]
        assert sorted(links) == sorted(wanted), region


def test_a_reader_during_the_kills_saw_the_same(ran):
    places = Counter(place[:3] for place in ran.seen)
    assert set(places.values()) == {1}
    names = ["accepted", *(f"hub.{region}" for region in REGIONS)]
    assert Counter(place[3] for place in ran.seen) == Counter(hash(value) for value in ran.values(*names))


def test_what_became_of_the_records_adds_up(ran):
    counts: Counter[str] = Counter()
    for value in ran.values("ledger.refine"):
        counts.update(decoded(value)["counts"])
    assert sum(counts.values()) == ran.truth.records
    assert counts["accepted"] == len(ran.truth.incidents) + len(ran.truth.patterns)
    assert counts["repeated"] == ran.truth.counts["repeated"]
    assert counts["quarantined"] == len(ran.truth.quarantined)
