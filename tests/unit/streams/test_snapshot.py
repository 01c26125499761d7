"""A snapshot is whole, its own lane's and its own ledger's, or it is not used."""

import errno
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams import snapshot
from streams.ledger import Entry
from streams.locked import Locked
from streams.merge import Merge
from streams.snapshot import Snapshot
from streams.state import StateUnreadable, pack
from tests.unit.streams.accepted import SECRETS

LANE = "raw.MONUSCO-0"
SAVED = Snapshot(LANE, 41, 1_000, b"state" * 50)


def test_what_was_saved_is_loaded(tmp_path):
    snapshot.save(tmp_path / "new" / "folder", SAVED)
    assert snapshot.load(tmp_path / "new" / "folder", LANE) == (SAVED, "")


def test_without_a_file_there_is_nothing_to_say(tmp_path):
    assert snapshot.load(tmp_path, LANE) == (None, "")


def test_the_newer_one_replaces_the_older_and_leaves_no_draft(tmp_path):
    snapshot.save(tmp_path, SAVED)
    snapshot.save(tmp_path, Snapshot(LANE, 42, 1_010, b""))
    assert snapshot.load(tmp_path, LANE)[0] == Snapshot(LANE, 42, 1_010, b"")
    assert [path.name for path in tmp_path.iterdir()] == [f"{LANE}.snapshot"]


def test_only_its_owner_reads_it(tmp_path):
    snapshot.save(tmp_path, SAVED)
    assert snapshot.path_of(tmp_path, LANE).stat().st_mode & 0o077 == 0


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_any_changed_byte_is_noticed(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("one")
    snapshot.save(folder, SAVED)
    path = snapshot.path_of(folder, LANE)
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    path.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
    found, why = snapshot.load(folder, LANE)
    assert found is None
    assert why


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 300))
def test_a_torn_file_is_noticed(tmp_path_factory, length):
    folder = tmp_path_factory.mktemp("one")
    snapshot.save(folder, SAVED)
    path = snapshot.path_of(folder, LANE)
    whole = path.read_bytes()
    path.write_bytes(whole[: min(length, len(whole) - 1)])
    assert snapshot.load(folder, LANE)[0] is None


def test_a_full_disk_is_one_sentence_and_the_old_one_stays(tmp_path, monkeypatch):
    snapshot.save(tmp_path, SAVED)

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(snapshot.NotSaved, match=r"No space left on device\); free some space"):
        snapshot.save(tmp_path, Snapshot(LANE, 42, 1_010, b""))
    assert snapshot.load(tmp_path, LANE) == (SAVED, "")
    assert [path.name for path in tmp_path.iterdir()] == [f"{LANE}.snapshot"]


def test_another_lanes_file_is_not_taken(tmp_path):
    snapshot.save(tmp_path, SAVED)
    snapshot.path_of(tmp_path, LANE).rename(snapshot.path_of(tmp_path, "raw.UNMISS-0"))
    assert snapshot.load(tmp_path, "raw.UNMISS-0") == (None, "of another lane")


def test_discarding_twice_is_harmless(tmp_path):
    snapshot.save(tmp_path, SAVED)
    snapshot.discard(tmp_path, LANE)
    snapshot.discard(tmp_path, LANE)
    assert snapshot.load(tmp_path, LANE) == (None, "")


def test_the_ledger_record_that_it_names_must_be_there():
    snapshot.fits(SAVED, Entry("lane", 41, 990, 1_000, {}, b""))
    for other in (Entry("lane", 42, 990, 1_000, {}, b""), Entry("lane", 41, 990, 1_001, {}, b"")):
        with pytest.raises(snapshot.Unfit):
            snapshot.fits(SAVED, other)


def test_a_state_of_another_version_is_unfit():
    class Newer:
        def thaw(self, frozen):
            raise ValueError(frozen)

    with pytest.raises(snapshot.Unfit, match="version"):
        snapshot.thawed(Newer(), SAVED)


def test_a_snapshot_locked_under_another_key_is_unfit_and_says_so():
    stage = Locked(Merge(SECRETS), bytes(32))
    frozen = Locked(Merge(SECRETS), b"k" * 32).freeze(stage.empty(LANE))
    with pytest.raises(snapshot.Unfit, match=r"another ledger\.key"):
        snapshot.thawed(stage, Snapshot(LANE, 41, 1_000, frozen))


def test_a_snapshot_with_columns_of_another_version_is_unfit():
    with pytest.raises(snapshot.Unfit, match=r"not readable by this version"):
        snapshot.thawed(Merge(SECRETS), Snapshot(LANE, 41, 1_000, pack([np.zeros(3, "<i8")])))


def test_a_ledger_of_another_version_says_what_to_do():
    stage = Merge(SECRETS)
    with pytest.raises(StateUnreadable, match=r"start that version"):
        stage.restore(stage.empty(LANE), pack([np.zeros(3, "<i8")]))


def test_what_is_set_aside_is_told_in_one_sentence(tmp_path):
    path = snapshot.path_of(tmp_path, LANE)
    for damage, why in {
        b"": "torn",
        b"X" * 60: "of another version",
        snapshot.MAGIC + bytes(60): "damaged",
    }.items():
        path.write_bytes(damage)
        assert snapshot.load(tmp_path, LANE) == (None, why)
        told = snapshot.SET_ASIDE.format(lane=LANE, why=why)
        assert told.startswith(f"The snapshot of {LANE} is {why}; it is thrown away")
        assert told.count(". ") == 0
