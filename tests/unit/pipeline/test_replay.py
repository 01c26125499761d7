import asyncio

import numpy as np
import pytest

from pipeline import replay
from pipeline.cli.replay import _place
from pipeline.replay import Replay, _by_partition, stepped
from schemas import seal
from schemas.columns import Blob
from schemas.errors import BadInput
from schemas.keyring import Keyring
from sinks.memory import MemorySink
from sinks.tables import HUB
from streams.base import Output, Records
from streams.refine import Refine
from tests.unit.streams import raw
from tests.unit.streams.accepted import SECRETS


def test_an_output_is_parted_by_partition_and_nothing_is_lost():
    values = [b"one", b"", b"three", b"four"]
    output = Output("accepted", np.array([2, 0, 2, 1], np.int32), Blob.of([b"k"] * 4), Blob.of(values))
    other = Output("quarantine", np.zeros(1, np.int32), Blob.of([b"k"]), Blob.of([b"refused"]))
    found = dict(_by_partition((output, other)))
    assert {at: [one.values.item(n) for n in range(len(one.values))] for at, one in found.items()} == {
        0: [b""],
        1: [b"four"],
        2: [b"one", b"three"],
    }


def test_a_record_that_a_stage_fails_on_is_refused_alone(monkeypatch):
    stage, count = Refine("SYN-1", 4), 8
    step = Refine.step

    def fails(self, state, records, side):
        if 5 in records.offsets:
            raise ValueError("planted")
        return step(self, state, records, side)

    monkeypatch.setattr(Refine, "step", fails)
    offsets = np.arange(count, dtype=np.int64)
    records = Records("raw.SYN-1", 0, 0, count, offsets, offsets, Blob.of([b"junk"] * count), Blob.of([b""] * count))
    _, outputs = stepped(stage, stage.empty("raw.SYN-1-0"), records, Keyring())
    assert sum(len(output.values) for output in outputs if output.topic == "quarantine") == count


@pytest.mark.parametrize("into", ["", "/", "hub", "hub/sahel", "quarantine/x", "a/../hub"])
def test_the_live_tables_are_no_place_for_a_replay(into):
    with pytest.raises(BadInput, match="a path of its own"):
        _place(into)


def test_a_path_is_taken_without_its_slashes():
    assert _place("/replays/one/") == "replays/one"


class Ring(Keyring):
    """The keys of cases, of which none comes or goes."""

    async def refresh(self):
        pass


class Unasked:
    """A broker that only takes part."""

    def __init__(self, _kafka):
        pass

    async def connect(self):
        return self

    async def leader(self, _topic, _partition):
        return 0

    async def close(self):
        pass


@pytest.fixture
def replayed(monkeypatch):
    """Replay a node's log, fetched in pieces of 3; return its region's tables, a list of rows each, and what was heard."""

    def run(log, cases, known):
        keys, heard, sink = Ring(), [], MemorySink("hub.sahel", 0)
        for number in cases:
            keys.put(np.frombuffer(raw.case(number), np.uint8)[None], np.frombuffer(raw.key(number), np.uint8)[None])

        async def follow(_broker, _place, _position):
            for start in range(0, len(log), 3):
                offsets = np.arange(start, min(start + 3, len(log)), dtype=np.int64)
                values = Blob.of([log[offset] for offset in offsets])
                end = int(offsets[-1]) + 1
                yield Records(f"raw.{raw.NODE}", 0, start, end, offsets, offsets, values, Blob.of([b""] * len(offsets)))

        async def bound(_broker, _place):
            return len(log)

        for name, stands_in in {"Broker": Unasked, "bound": bound, "follow": follow}.items():
            monkeypatch.setattr(replay, name, stands_in)
        monkeypatch.setattr(replay, "KeyFeed", lambda *_: keys)
        one = Replay("", {}, SECRETS, "sahel", sink, step=heard.append, known=known)
        assert asyncio.run(one.run([raw.NODE])).records <= len(log)
        return {name: sink.table(name).to_pylist() for name in HUB}, sum(heard)

    return run


LOG = [
    raw.incident(1),
    raw.incident(2),
    raw.amendment(3, 1, [1], {"women": 2}),
    raw.incident(4),
    raw.retraction(5, 2, [2]),
    raw.withdrawal(6, 4, [4]),
    raw.incident(7),
    raw.withdrawal(8, 1, [1, 3]),
]


def shown(tables, name):
    """Return (incident, women) of a table's rows, the incident by the number of its report."""
    number = {seal.mint(SECRETS["sahel"], raw.identity(each)).hex(): each for each in range(1, 9)}
    return sorted((number[row["incident_id"]], row["women"]) for row in tables[name])


@pytest.mark.parametrize(
    ("known", "incidents", "versions"),
    [(0, [], []), (1, [], []), (2, [(2, 1)], []), (4, [(2, 1)], []), (5, [], [(2, 1)]), (8, [(7, 1)], [(2, 1)])],
)
def test_what_came_later_is_unknown_and_what_it_withdraws_is_withdrawn(replayed, known, incidents, versions):
    tables, heard = replayed(LOG, range(1, 8), {raw.NODE: known})
    assert (shown(tables, "incidents"), shown(tables, "versions")) == (incidents, versions)
    assert heard == len(LOG)


def test_without_the_withdrawals_it_is_the_log_as_far_as_it_goes(replayed):
    tables, _ = replayed(LOG[:5], range(1, 8), {})
    assert (shown(tables, "incidents"), shown(tables, "versions")) == ([(1, 2), (4, 1)], [(1, 1), (2, 1)])
    for known in range(6):
        before, _ = replayed(LOG[:known], range(1, 8), {})
        after, _ = replayed(LOG[:5], range(1, 8), {raw.NODE: known})
        assert before == after


def test_a_case_whose_key_is_gone_is_in_no_table_though_no_event_says_so(replayed):
    for known in ({}, {raw.NODE: 4}):
        tables, _ = replayed(LOG[:5], (2, 4), known)
        assert shown(tables, "incidents") == ([(4, 1)] if not known else [(2, 1), (4, 1)])
