"""What of `keys.<node>` has to go: keys of withdrawn cases, and of epochs that their node has ended; no other."""

import asyncio
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.erasure import eraser, looking, stores
from pipeline.erasure.eraser import Eraser
from pipeline.erasure.looking import Hit, keyed
from pipeline.erasure.stores import Left, Stores
from pipeline.erasure.withdrawn import Case
from schemas.columns import Blob
from streams.base import Records

REFS = [bytes([number]) * 16 for number in range(4)]
EPOCHS = [b"epoch:1", b"epoch:2", b"epoch:123456789"]
RECORDS = st.lists(st.tuples(st.sampled_from([*REFS, *EPOCHS, b"close"]), st.sampled_from([b"", b"x", b"yy"])))


def following(log, cut=3):
    """What reads a topic that holds these keys and values, a few of them at a time."""

    async def follow(_broker, place, position):
        for at in range(position, len(log), cut):
            some = log[at : at + cut]
            offsets = np.arange(at, at + len(some), dtype=np.int64)
            keys, values = (Blob.of([record[part] for record in some]) for part in (0, 1))
            yield Records(place[0], 0, at, at + len(some), offsets, offsets, values, keys)

    return follow


@given(RECORDS)
@settings(max_examples=100, deadline=None)
def test_what_is_found_of_cases_and_epochs_is_what_a_list_gives(log):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(looking, "follow", following(log))
        hits, buried = asyncio.run(keyed(None, "keys.SYN-1", set(REFS[:2])))
    wanted = {*REFS[:2], *EPOCHS}
    assert [(hit.key, hit.offset) for hit in hits] == [
        (key, at) for at, (key, value) in enumerate(log) if key in wanted and value
    ]
    ended = {key for key, value in dict(log).items() if key in EPOCHS and not value}
    assert buried == ended | {key for key, value in log if key in REFS[:2] and not value}


class NoLedgers:
    async def look(self, _stage, _events):
        return []


class Broker:
    async def partitions(self, _topic):
        return []


def test_the_key_of_an_ended_epoch_is_left_of_each_case_of_its_node_and_one_that_goes_on_is_not(monkeypatch):
    log = [(EPOCHS[0], b"x"), (REFS[0], b"x"), (EPOCHS[1], b"x"), (REFS[0], b""), (EPOCHS[0], b"")]
    monkeypatch.setattr(looking, "follow", following(log))
    cases = [Case(ref, node, 1, 0, frozenset()) for ref, node in zip(REFS[:3], ["A", "A", "B"], strict=True)]
    looked = asyncio.run(Stores(Broker(), None, {}, NoLedgers()).look(cases[:2]))
    assert [one for one in looked.left if one.store == "keys.A"] == [
        Left("keys.A", REFS[0], 2),
        Left("keys.A", REFS[1], 1),
    ]
    assert [hit.offset for hit in looked.records["keys.A", 0]] == [0, 1]


def test_a_tombstone_is_written_for_a_case_and_for_no_epoch(monkeypatch):
    """The node's own stands already; a second one could end an epoch that a copy of the node has begun meanwhile."""
    said, buried = [], []

    class Hand:
        @contextmanager
        def compacting(self, _topic):
            yield buried.append

    async def stands(*_):
        return False

    monkeypatch.setattr(eraser, "SEGMENT_SECONDS", 0)
    monkeypatch.setattr(eraser, "stands", stands)
    at_work = Eraser(
        "kafka", stores.Stores(None, None, {}, None), Hand(), None, None, {"keys.A": None}, None, said.append
    )
    hits = [Hit(EPOCHS[0], 0, EPOCHS[0]), Hit(REFS[0], 1, REFS[0])]
    asyncio.run(at_work._compact("keys.A", hits))
    assert buried == [[REFS[0]], []]
