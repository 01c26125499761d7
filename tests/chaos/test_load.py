"""The load through refine and merge in memory, as the oracle sees it: what it makes is tried, and what it says is true."""

import json
from dataclasses import replace
from functools import reduce
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest

from schemas import rows, seal
from schemas.columns import Blob
from schemas.keyring import Keyring
from schemas.wire import unframe
from streams import assessing, dedupe, merge, refine, refined, revised, revisions, sharing
from streams.assessed import Assessed
from streams.base import Output
from streams.merge import Merge
from streams.refine import Refine
from tests.chaos import bugs, load
from tests.chaos.oracle import assessments, avro, book, checks, expect, topics
from tests.chaos.oracle.expect import (
    DECLINED,
    FOLLOWED_UP,
    LATER,
    NOT_NEWEST,
    REFERRALS,
    RETRACTION,
    REVISIONS,
    UNKNOWN,
)
from tests.chaos.oracle.finding import rows_of
from tests.unit.streams.accepted import SECRETS, records

NODES, PARTITIONS, RECORDS = ["SYN-1", "SYN-2"], 4, 4_000
NAMES = {"I1", "I1 hub", "I2", "I3", "I4"}


class Run:
    """What the stages put out for a load, by topic and partition, and their ledgers; in batches of `size`, 0 for none."""

    def __init__(self, seed, size, events=RECORDS):
        self.size, self.ledger, self.log = size, [], {}
        self.epochs = {node: seal.new_case_key() for node in NODES}
        self.load = load.Load(seed, NODES, self.epochs, places=6, recent=200, secrets=SECRETS)
        for topic, _, value in islice(self.load.records(), events):
            self.log.setdefault((topic, 0), []).append(value)
        if not size:
            return
        for node in NODES:
            self.follow("refine", Refine(node, PARTITIONS), f"raw.{node}", 0, self.keyring(node))
        for partition in range(PARTITIONS):
            self.follow("merge", Merge(SECRETS), "accepted", partition)

    def keyring(self, node):
        ring = Keyring()
        for topic, ref, framed in self.load.keys:
            if topic == f"keys.{node}":
                key = seal.unwrap(self.epochs[node], ref, rows.read(*unframe(framed))["wrapped"])
                ring.put(np.frombuffer(ref, np.uint8)[None], np.frombuffer(key, np.uint8)[None])
        return ring

    def follow(self, name, stage, topic, partition, side=None):
        values, lane = self.log[topic, partition], f"{topic}-{partition}"
        state, deltas = stage.empty(lane), []
        for at in range(0, len(values), self.size):
            batch = records(values[at : at + self.size], at, topic, partition)
            state, outcome = stage.step(state, batch, side)
            self.ledger.append((name, partition, at, lane, at, at + len(batch), outcome.counts, 0))
            deltas.append(outcome.delta)
            state = self.again(stage, state, deltas)
            for output in outcome.outputs:
                for i in range(len(output.values)):
                    place = (output.topic, int(output.partitions[i]))
                    self.log.setdefault(place, []).append(output.values.item(i))

    def again(self, stage, state, deltas):
        """Now and then begin anew, from a snapshot or from all that the batches added."""
        if len(deltas) % 10 == 9:
            return reduce(stage.restore, deltas, stage.empty(""))
        return stage.thaw(stage.freeze(state)) if len(deltas) % 2 else state

    def written(self, tmp_path):
        truth = tmp_path / "truth.sqlite"
        load.write_truth(truth, self.load, [], [], {})
        found = book.fresh(":memory:", truth)
        frames = avro.Frames(load.ROOT / "schemas")
        for (topic, partition), values in self.log.items():
            take = topics.TAKE[topic.partition(".")[0]]
            for offset, value in enumerate(values):
                take(found, frames, SimpleNamespace(topic=topic, partition=partition, offset=offset, value=value))
        for *row, counts, time in self.ledger:
            found.execute("INSERT INTO ledger VALUES(?,?,?,?,?,?,?,?)", (*row, json.dumps(counts), time))
        for partition in range(PARTITIONS):
            found.execute("INSERT INTO ends VALUES('accepted',?,0,0)", (partition,))
        book.index(found)
        expect.fold(found)
        return found

    def judged(self, tmp_path):
        found = self.written(tmp_path)
        return found, checks.run(found, SECRETS, NAMES)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("seed", "size"), [(2, 700), (4, 50)])
def test_the_oracle_is_green_for_the_stages_in_memory(tmp_path, seed, size):
    found, answer = Run(seed, size).judged(tmp_path)
    assert {name: one.wrong for name, one in answer.items() if one.wrong} == {}
    assert of(found, "SELECT count(*) FROM hub WHERE kind='duplicate' AND substr(whose, 17)<>b") > 0


def test_the_load_tries_what_may_become_of_a_version(tmp_path):
    found = Run(13, 0, 12_000).written(tmp_path)
    wanted = [(kind, reason) for kind in REVISIONS for reason in ("revised", "withdrawn", "repeated", UNKNOWN)]
    assert tried(found) >= {*wanted, (RETRACTION, NOT_NEWEST)}
    assert of(found, "SELECT count(*) FROM raw JOIN t.revisions USING(topic, digest) WHERE expected='forked'") > 0
    assert of(found, "SELECT count(*) FROM raw WHERE expected='waiting' AND taken IS NOT NULL") > 10
    assert of(found, "SELECT count(*) FROM versions WHERE accepted AND NOT current") > 30
    assert of(found, "SELECT count(*) FROM versions v JOIN ended e USING(event_id) WHERE NOT v.current") > 20
    assert of(found, MOVED) > 30
    assert of(found, "SELECT count(*) FROM gone WHERE event_id<>incident") > 20
    known = "SELECT event_id FROM versions UNION SELECT event_id FROM referred"
    assert of(found, f"SELECT count(*) FROM ended WHERE event_id NOT IN ({known})") > 0


@pytest.mark.timeout(120)
def test_the_load_tries_what_may_become_of_a_referral(tmp_path):
    found = Run(6, 0, 16_000).written(tmp_path)
    wanted = {(kind, outcome) for kind in REFERRALS for outcome in ("accepted", "withdrawn", "repeated", UNKNOWN)}
    wanted |= {(FOLLOWED_UP, outcome) for outcome in ("waiting", DECLINED, LATER)}
    assert tried(found) >= wanted
    assert of(found, "SELECT count(*) FROM ended e JOIN referred USING(event_id)") > 30
    assert of(found, "SELECT count(*) FROM gone JOIN referred USING(event_id)") > 5
    assert of(found, "SELECT count(*) FROM raw WHERE taken IS NOT NULL AND kind=?", FOLLOWED_UP) > 0


@pytest.mark.timeout(120)
def test_the_load_tries_what_may_become_of_an_assessment(tmp_path):
    found = Run(6, 0, 12_000).written(tmp_path)
    kinds = ("IncidentCorroborated", "IncidentDisputed", "AssessmentTakenBack")
    assert tried(found) >= {(kind, outcome) for kind in kinds for outcome in ("accepted", "quarantined", "repeated")}
    of_withdrawn = [
        name for secret in SECRETS.values() for name in assessments.withdrawn(found, secret) if told_of(found, name)
    ]
    assert len(of_withdrawn) > 5


def told_of(found, name):
    return of(found, "SELECT count(*) FROM t.assessments WHERE name=?", name) > 0


MOVED = """
SELECT count(*) FROM versions v JOIN t.areas a USING(event_id) JOIN t.areas b ON b.event_id=v.incident
WHERE v.accepted AND a.area<>b.area"""


def of(found, query, *values):
    return rows_of(found, query, *values)[0][0]


def tried(found):
    """Return which outcomes and reasons each kind of event had."""
    listed = rows_of(found, "SELECT DISTINCT kind, expected, reasons FROM raw")
    return {(kind, reason) for kind, expected, reasons in listed for reason in (expected, *json.loads(reasons))}


def follow_up_ends_nothing():
    follow = revisions.follow

    def ends_nothing(life, one):
        turn = follow(life, one)
        return replace(turn, ended=()) if one.kind == FOLLOWED_UP else turn

    revisions.follow = ends_nothing


def days_of_referrals_shared():
    sharing._months = lambda columns, name, rows: columns.ints(f"referral.{name}")[rows]


def what_was_withdrawn_is_told_on():
    assessing._removals = lambda *_: ()


def an_assessment_is_told_to_nobody():
    assessing._shared = lambda columns, region, secret, chosen: Output(
        "hub.sahel", np.zeros(0, np.int32), Blob.of([]), Blob.of([])
    )


def assessments_are_forgotten_on_restart():
    Assessed.add = lambda *_: None


@pytest.fixture
def unharmed():
    """Take a planted bug out again."""
    modules = (assessing, dedupe, merge, refine, refined, revised, revisions, sharing)
    kept, add = [(module, dict(vars(module))) for module in modules], Assessed.add
    yield
    Assessed.add = add
    for module, values in kept:
        vars(module).update(values)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("bug", "name"),
    [
        (bugs.version_not_ended, "I1"),
        (bugs.version_ended_at_home_only, "I1"),
        (bugs.conflict_is_current, "I1"),
        (bugs.unknown_version_taken, "I1"),
        (bugs.lives_forgotten_on_restart, "I1"),
        (bugs.waiting_forgotten_on_restart, "I1"),
        (bugs.states_forgotten_on_restart, "I1"),
        (bugs.withdrawal_forgotten_on_restart, "I1"),
        (bugs.version_not_closed, "I1 hub"),
        (follow_up_ends_nothing, "I1"),
        (days_of_referrals_shared, "I1 hub"),
        (what_was_withdrawn_is_told_on, "I1 hub"),
        (an_assessment_is_told_to_nobody, "I1 hub"),
        (assessments_are_forgotten_on_restart, "I1 hub"),
    ],
)
def test_a_bug_in_the_stages_makes_the_oracle_red(tmp_path, unharmed, bug, name):
    bug()
    _, answer = Run(5, 50, events=3_000).judged(tmp_path)
    assert answer[name].wrong
