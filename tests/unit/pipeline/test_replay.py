import numpy as np
import pytest

from pipeline.cli.replay import _place
from pipeline.replay import _by_partition, stepped
from schemas.columns import Blob
from schemas.errors import BadInput
from schemas.keyring import Keyring
from streams.base import Output, Records
from streams.refine import Refine


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
