"""The corpus, its truth and the checker agree with the stages on a few thousand events, and differ where something is wrong."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from schemas.columns import Blob
from schemas.places import regions
from schemas.released import by_fingerprint, latest
from schemas.rows import check as decoded
from schemas.rows import read
from schemas.seal import open_body, unwrap
from schemas.wire import unframe
from streams.base import Records
from streams.merge import Merge
from streams.refine import Refine
from tests import synthetic
from tests.bench import batches, check, corpus, plan, report, truth
from tests.bench.plain import plain

pytestmark = pytest.mark.timeout(120)  # the first time, kernels are compiled
EVENTS, PATTERNS, SEED = 6_000, 400, 3
SECRETS = {region.code: bytes([k]) * 32 for k, region in enumerate(regions())}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    work = tmp_path_factory.mktemp("corpus")
    made = {form: corpus.make_corpus(work, form, EVENTS, SEED, PATTERNS, say=str) for form in ("plain", "sealed")}
    return made | {"again": corpus.make_corpus(work, "plain", EVENTS, SEED, PATTERNS, say=pytest.fail)}


@pytest.fixture(scope="module")
def known(folders):
    return truth.Truth.load(folders["plain"])


def opened(path):
    data = path.read_bytes()
    return [batches.Opened(data, start, end) for start, end in batches.cut(data)]


def pairs(batch):
    data = batch.data.tobytes()
    return [(data[at:to], data[start:end]) for at, to, start, end in batch.spans.tolist()]


def records(path):
    """All records of a file as one batch of a stage."""
    whole = opened(path)
    keys = [key for batch in whole for key, _ in pairs(batch)]
    values = [value for batch in whole for _, value in pairs(batch)]
    numbers = np.arange(len(values))
    return Records(path.name, 0, 0, len(values), numbers, numbers, Blob.of(values), Blob.of(keys))


def as_batch(output):
    """An output as the checker reads batches: one buffer, spans of keys and values."""
    start = len(output.keys.data)
    spans = np.stack(
        [output.keys.starts, output.keys.ends, output.values.starts + start, output.values.ends + start], 1
    )
    return SimpleNamespace(data=np.concatenate([output.keys.data, output.values.data]), spans=spans)


@pytest.fixture(scope="module")
def refined(folders):
    outcomes = {}
    for node in plan.NODES:
        stage = Refine(node, 4, opened=plain)
        outcomes[node] = stage.step(stage.empty(""), records(folders["plain"] / f"raw.{node}"), None)[1]
    return outcomes


def outputs(outcomes, topic):
    return [output for outcome in outcomes for output in outcome.outputs if output.topic == topic]


def test_the_shares_are_as_stated(known):
    figures = known.figures
    assert figures["events"] == EVENTS
    assert figures["patterns"] == PATTERNS
    assert figures["repeated"] / EVENTS == pytest.approx(0.05, abs=0.01)
    assert figures["quarantined"] / EVENTS == pytest.approx(0.021, abs=0.006)
    assert figures["records"] == EVENTS + PATTERNS + figures["repeated"]
    assert all(figures["reasons"].values())


def test_refine_gives_what_the_plan_says(known, refined):
    counts = [outcome.counts for outcome in refined.values()]
    total = {name: sum(each.get(name, 0) for each in counts) for name in ("accepted", "repeated", "quarantined")}
    figures = known.figures
    assert total == {
        "accepted": figures["incidents"] + PATTERNS,
        "repeated": figures["repeated"],
        "quarantined": figures["quarantined"],
    }
    tally = check.Tally()
    for output in outputs(refined.values(), "accepted"):
        tally.add(as_batch(output), by_value=True)
    patterns = np.repeat(known.pattern_ids, known.pattern_areas.sum(axis=1), axis=0)
    assert tally.found() == {"IncidentAccepted": check.digest(known.ids), "PatternAccepted": check.digest(patterns)}


def test_each_refused_record_is_the_one_that_the_plan_says(known, refined):
    found = [one for output in outputs(refined.values(), "quarantine") for one in check._refused(as_batch(output))]
    wanted = {
        (f"raw.{plan.NODES[node]}", offset): plan.BREAKS[reason] for node, offset, reason in known.refused.tolist()
    }
    assert {(topic, offset) for topic, offset, _ in found} == set(wanted)
    assert all(check._named(reasons, wanted[topic, offset]) for topic, offset, reasons in found)


@pytest.fixture(scope="module")
def hubs(refined):
    stage, tallies = Merge(SECRETS), {}
    for partition in range(4):
        state = stage.empty("")
        for output in outputs(refined.values(), "accepted"):
            rows = np.flatnonzero(output.partitions == partition)
            values, keys = (Blob.of([blob.item(row) for row in rows]) for blob in (output.values, output.keys))
            numbers = np.arange(len(rows))
            state, outcome = stage.step(state, Records("accepted", 0, 0, len(rows), numbers, numbers, values, keys))
            for made in outcome.outputs:
                tallies.setdefault(made.topic, check.Tally()).add(as_batch(made), by_value=False)
    return {topic: tally.found() for topic, tally in tallies.items()}


def test_merge_gives_what_comparing_each_with_each_gives(known, hubs):
    for number, region in enumerate(plan.in_regions()[0]):
        assert hubs[f"hub.{region}"] == check._shared(known, number, SECRETS[region])
    assert sum(known.figures["links"].values()) > 20


def test_a_link_is_what_the_other_generator_calls_one(known):
    """The plan's incidents and patterns, judged one by one by the rule of tests/synthetic.py."""
    share = EVENTS // len(plan.NODES)
    made = plan.make(SEED, 0, share, PATTERNS // len(plan.NODES))
    own = truth.of([made])
    rows = np.flatnonzero(made.good)
    texts = [None, *plan.texts().items]
    total = 0
    for row, links in zip(rows.tolist(), own.links.tolist(), strict=True):
        if made.column("precision")[row] != plan.DAY:
            continue
        forms = [k for k in range(16) if made.column("forms")[row] >> k & 1]
        party = texts[made.column("party")[row] + 1]
        incident = synthetic.Incident(
            *(int(made.column("day")[row]), "", None, forms, [], int(made.column("category")[row])),
            party.decode() if party else None,
        )
        area = made.area[row]
        fitting = [
            pattern
            for k, pattern in enumerate(made.patterns)
            if own.pattern_areas[k, area] and synthetic.fits(incident, pattern)
        ]
        assert len(fitting) == links
        total += links
    assert total


def test_both_forms_say_the_same_and_the_sealed_one_opens(folders):
    node = plan.NODES[1]
    keys = dict(pair for batch in opened(folders["sealed"] / f"keys.{node}") for pair in pairs(batch))
    clear, sealed = (records(folders[form] / f"raw.{node}") for form in ("plain", "sealed"))
    assert len(clear) == len(sealed)
    seen = 0
    for row in range(PATTERNS // 4, PATTERNS // 4 + 200):
        if sealed.values.item(row)[:1] != b"\xc3":
            continue
        release, body = unframe(sealed.values.item(row))
        if decoded(release, body):
            continue  # torn on purpose
        envelope, other = read(release, body), read(*unframe(clear.values.item(row)))
        wrapped = read(*unframe(keys[envelope["case_ref"]]))["wrapped"]
        key = unwrap(corpus.epoch_key(SEED, node), envelope["case_ref"], wrapped)
        bound = {name: envelope[name] for name in ("body_schema", "event_id", "case_ref", "sequence", "node", "body")}
        assert open_body(key, **bound) == other["body"]
        assert by_fingerprint(envelope["body_schema"]) == latest("IncidentReported")
        seen += 1
    assert seen > 20


def test_a_repeat_has_the_bytes_of_the_first(folders):
    sent = records(folders["sealed"] / f"raw.{plan.NODES[0]}").values
    values = [sent.item(k) for k in range(len(sent))]
    assert len(values) - len(set(values)) > 0.03 * len(values)


def test_one_lost_and_one_doubled_is_noticed(known):
    ids = known.ids.copy()
    ids[0] = ids[1]
    assert check.digest(ids)[0] == check.digest(known.ids)[0]
    assert check.digest(ids) != check.digest(known.ids)
    wrong = check.Differences()
    wrong.same("accepted", check.digest(ids), check.digest(known.ids))
    assert len(wrong) == 1


def test_the_page_shows_the_lines_that_are_kept():
    page = report.PAGE.read_text()
    assert report.rendered(page, report.lines(report.RESULTS)) == page


def test_repeats_become_their_median_and_a_wrong_run_is_shown(tmp_path):
    line = {"engine": "tocsin", "level": "refine", "form": "plain", "events": 10, "processes": 1, "ok": True}
    lines = [line | {"rate": rate} for rate in (3, 1, 2)]
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    assert [(one["rate"], one["runs"]) for one in report.grouped(report.lines(path))] == [(2, 3)]
    path.write_text("".join(json.dumps(one) + "\n" for one in [*lines, line | {"rate": 9, "ok": False}]))
    assert [one["ok"] for one in report.grouped(report.lines(path))] == [False]
