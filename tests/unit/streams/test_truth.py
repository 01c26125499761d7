"""Both stages on the generator's events: what comes out is what the generator knows to be true."""

import numpy as np
import pytest

from schemas import rows, seal
from schemas.keyring import Keyring
from schemas.wire import unframe
from streams.merge import Merge
from streams.refine import Refine
from tests.synthetic import Generator
from tests.unit.streams.accepted import SECRETS, read, records

NODES = ["MINUSMA", "MONUSCO"]
SIZE = 700


@pytest.fixture(scope="module")
def generated():
    epochs = {node: seal.new_case_key() for node in NODES}
    generator = Generator(11, NODES, epochs)
    generator.areas, generator.parties = generator.areas[::15], [None, "Synthetic Front 1"]
    made = list(generator.records(2_500, 400))
    rings = {node: Keyring() for node in NODES}
    for topic, ref, framed in generator.keys:
        node = topic.removeprefix("keys.")
        key = seal.unwrap(epochs[node], ref, rows.read(*unframe(framed))["wrapped"])
        rings[node].put(np.frombuffer(ref, np.uint8)[None], np.frombuffer(key, np.uint8)[None])
    return generator.truth, {n: [v for t, _, v in made if t == f"raw.{n}"] for n in NODES}, rings


@pytest.fixture(scope="module")
def refined(generated):
    _, values, rings = generated
    found, counts = [], []
    for node in NODES:
        stage = Refine(node, 4)
        state = stage.empty("")
        for at in range(0, len(values[node]), SIZE):
            batch = records(values[node][at : at + SIZE], at, f"raw.{node}")
            state, outcome = stage.step(state, batch, rings[node])
            counts.append(outcome.counts)
            found += [
                (output.topic, int(output.partitions[i]), output.values.item(i))
                for output in outcome.outputs
                for i in range(len(output.values))
            ]
    return found, {name: sum(count.get(name, 0) for count in counts) for name in set().union(*counts)}


def test_every_record_has_the_outcome_that_it_must_have(generated, refined):
    truth, (found, counts) = generated[0], refined
    assert counts == dict(truth.counts)
    refused = {(r["topic"], r["offset"]): r["reasons"] for r in decoded(found, "quarantine")}
    assert set(refused) == set(truth.quarantined)
    assert all(refused.values())
    accepted = decoded(found, "accepted")
    assert {r["event_id"] for r in accepted if "incident" in r} == set(truth.incidents)
    assert {r["event_id"] for r in accepted if "pattern" in r} == set(truth.patterns)


def decoded(found, topic):
    return [rows.read(*unframe(value)) for name, _, value in found if name == topic]


def test_the_hubs_receive_what_they_must(generated, refined):
    truth, (found, _) = generated[0], refined
    stage, put_out = Merge(SECRETS), []
    for partition in range(4):
        values = [value for topic, at, value in found if topic == "accepted" and at == partition]
        state = stage.empty("")
        for at in range(0, len(values), SIZE):
            state, outcome = stage.step(state, records(values[at : at + SIZE], at, partition=partition))
            put_out += read(outcome.outputs)
    shared = [(topic[4:], row["incident_id"]) for topic, *_, name, row in put_out if name == "IncidentShared"]
    links = [(t[4:], r["incident_id"], r["pattern_id"]) for t, *_, name, r in put_out if name == "PatternLinked"]
    patterns = [(topic[4:], row["pattern_id"]) for topic, *_, name, row in put_out if name == "PatternShared"]
    assert sorted(shared) == sorted((region, minted(region, event)) for region, event in truth.shared)
    assert sorted(links) == sorted((r, minted(r, i), minted(r, p)) for r, i, p in truth.links)
    assert len(patterns) == len(set(patterns)) >= len(truth.patterns)
    assert len(links) > 100


def minted(region, event_id):
    return seal.mint(SECRETS[region], event_id)
