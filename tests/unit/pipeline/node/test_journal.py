import itertools
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.node import mark as marks
from pipeline.node.entries import Damaged
from pipeline.node.journal import NO_DIGEST, Busy, Entry, Journal, Reader
from pipeline.node.mark import Mark

ROOT = Path(__file__).parents[4]


def entry(sequence, size=20):
    return Entry(sequence, sequence.to_bytes(16, "big"), bytes([sequence % 256]) * size)


def fill(folder, *groups, segment_bytes=1 << 20):
    """Append groups of so many events, with a key for each."""
    folder.mkdir(exist_ok=True)
    with Journal(folder, segment_bytes) as journal:
        for count in groups:
            first = journal.last + 1
            entries = [entry(first + n) for n in range(count)]
            journal.append(entries, [(e.digest, b"value") for e in entries])
    return folder


def numbers(folder):
    return [found.sequence for found in Reader(folder).read()]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_events_come_back_in_order_with_their_keys(tmp_path):
    folder = fill(tmp_path / "j", 3, 1, 2)
    assert list(Reader(folder).read()) == [entry(n) for n in range(1, 7)]
    assert [(key, value) for _, key, value in Reader(folder).key_records()] == [
        (entry(n).digest, b"value") for n in range(1, 7)
    ]
    with Journal(folder) as journal:
        assert (journal.last, journal.digests) == (6, {entry(n).digest for n in range(1, 7)})


def test_an_event_of_no_row_has_no_digest(tmp_path):
    with Journal(tmp_path) as journal:
        journal.append([Entry(1, NO_DIGEST, b"x")])
        assert journal.digests == set()


@given(st.lists(st.integers(1, 5), max_size=8), st.integers(1, 400), st.integers(1, 20))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_segments_change_nothing(tmp_path, groups, segment_bytes, start):
    folder = tmp_path / "j"
    shutil.rmtree(folder, ignore_errors=True)
    fill(folder, *groups, segment_bytes=segment_bytes)
    assert numbers(folder) == list(range(1, sum(groups) + 1))
    assert [e.sequence for e in Reader(folder).read(start)] == list(range(start, sum(groups) + 1))
    assert Reader(folder).segments()[:1] == ([1] if groups else [])
    ends = [end for end, _, _ in Reader(folder).key_records()]
    assert [key for end in ends[:1] for _, key, _ in Reader(folder).key_records(end)] == [
        entry(n).digest for n in range(2, sum(groups) + 1)
    ]


@pytest.mark.parametrize("torn", ["00000000000000000001.log", "keys.log"])
def test_a_tail_torn_at_any_byte_is_cut_and_told(tmp_path, torn):
    folder = fill(tmp_path / "j", 3)
    before = contents(folder)
    fill(folder, 2)
    after = contents(folder)
    for length in range(len(before[torn]), len(after[torn])):
        # Crash while a group is written: its mark is the old one; where keys are torn no event of the group is there.
        state = {**after, "mark": before["mark"], torn: after[torn][:length]}
        if torn == "keys.log":
            state["00000000000000000001.log"] = before["00000000000000000001.log"]
        for name, raw in state.items():
            (folder / name).write_bytes(raw)
        (folder / "cuts.jsonl").unlink(missing_ok=True)
        assert numbers(folder) == [1, 2, 3]
        with Journal(folder) as journal:
            last = journal.last
            assert 3 <= last <= 5
            assert last < 5
            journal.append([entry(last + 1)])
        whole = length in {len(before[torn]), *_ends(after[torn])}
        assert len(Reader(folder).cuts()) == (0 if whole else 1)
        assert numbers(folder) == list(range(1, last + 2))


def _ends(raw):
    from pipeline.node.entries import whole

    return [end for end, _ in whole(raw)]


def test_whole_events_behind_the_mark_are_kept(tmp_path):
    folder = fill(tmp_path / "j", 2)
    mark = (folder / "mark").read_bytes()
    fill(folder, 3)
    (folder / "mark").write_bytes(mark)
    assert numbers(folder) == [1, 2]
    with Journal(folder) as journal:
        assert journal.last == 5
        assert len(journal.digests) == 5
    assert numbers(folder) == [1, 2, 3, 4, 5]
    assert Reader(folder).cuts() == []


@given(st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_bit_of_what_was_safe_stops_and_changes_nothing(tmp_path, data):
    folder = tmp_path / "j"
    shutil.rmtree(folder, ignore_errors=True)
    fill(folder, 3, 3, 3, segment_bytes=150)
    name = data.draw(st.sampled_from([*(f"{n:020}.log" for n in Reader(folder).segments()), "keys.log"]))
    raw = bytearray((folder / name).read_bytes())
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    (folder / name).write_bytes(raw)
    before = contents(folder)
    with pytest.raises(Damaged, match=r"nothing was changed.*tocsin node status"):
        Journal(folder)
    with pytest.raises(Damaged):
        list(Reader(folder).key_records() if name == "keys.log" else Reader(folder).read())
    assert contents(folder) == before


@pytest.mark.parametrize("which", [0, 1, -1])
def test_a_lost_segment_is_told_by_the_number_of_its_first_event(tmp_path, which):
    folder = fill(tmp_path / "j", 3, 3, 3, segment_bytes=100)
    first = Reader(folder).segments()[which]
    (folder / f"{first:020}.log").unlink()
    for attempt in (lambda: Journal(folder), lambda: numbers(folder)):
        with pytest.raises(Damaged):
            attempt()


def test_a_lost_mark_is_made_again_but_nothing_is_cut_without_one(tmp_path):
    folder = fill(tmp_path / "j", 3)
    (folder / "mark").unlink()
    fill(folder, 1)
    assert numbers(folder) == [1, 2, 3, 4]
    (folder / "mark").unlink()
    with (folder / "00000000000000000001.log").open("ab") as file:
        file.write(b"\x05")
    with pytest.raises(Damaged):
        Journal(folder)


def test_one_torn_slot_leaves_the_mark_before(tmp_path):
    path = tmp_path / "mark"
    for turn in (1, 2, 3):
        marks.write(path, Mark(turn, last=turn * 10))
    assert marks.read(path).last == 30
    raw = bytearray(path.read_bytes())
    raw[marks.SLOT + 9] ^= 1
    path.write_bytes(raw)
    assert marks.read(path).last == 20
    path.write_bytes(bytes(raw[:20]))
    assert marks.read(path) is None


def test_two_processes_never_append(tmp_path):
    with Journal(tmp_path):
        code = f"from pathlib import Path; from pipeline.node.journal import Journal; Journal(Path({str(tmp_path)!r}))"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
        assert "Busy" in done.stderr
        with pytest.raises(Busy, match="wait"):
            Journal(tmp_path)
    Journal(tmp_path).close()


def test_a_lock_is_let_go_when_opening_fails(tmp_path):
    folder = fill(tmp_path / "j", 2)
    path = folder / "00000000000000000001.log"
    raw = path.read_bytes()
    path.write_bytes(raw[:-1])
    with pytest.raises(Damaged):
        Journal(folder)
    path.write_bytes(raw)
    Journal(folder).close()


def test_a_number_out_of_turn_is_refused(tmp_path):
    with Journal(tmp_path) as journal:
        for sequence in (0, 2):
            with pytest.raises(AssertionError):
                journal.append([entry(sequence)])


FULL = """
import resource, signal, sys
from pathlib import Path
from pipeline.node.entries import NotWritten
from pipeline.node.journal import Entry, Journal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with Journal(Path(sys.argv[1])) as journal:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    try:
        while True:
            journal.append([Entry(journal.last + 1 + n, bytes(16), b"x" * 999) for n in range(7)])
            print(journal.last, flush=True)
    except NotWritten as error:
        sys.exit(f"{error}")
"""


@pytest.mark.parametrize("limit", [20_000, 20_480, 33_333])
def test_a_full_disk_loses_nothing_that_was_acknowledged(tmp_path, limit):
    assert signal.SIGXFSZ
    assert resource.RLIMIT_FSIZE
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), str(limit)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "free some space" in done.stderr
    acknowledged = int(done.stdout.split()[-1])
    assert numbers(tmp_path) == list(range(1, acknowledged + 1))
    with Journal(tmp_path) as journal:
        assert journal.last >= acknowledged
        journal.append([entry(journal.last + 1)])
    assert numbers(tmp_path) == list(range(1, len(numbers(tmp_path)) + 1))


def test_two_whole_events_in_the_wrong_order_are_damage(tmp_path):
    folder = fill(tmp_path / "j", 3)
    path = folder / "00000000000000000001.log"
    raw, ends = path.read_bytes(), [8, *_ends(path.read_bytes())]
    first, second, third = (raw[start:end] for start, end in itertools.pairwise(ends))
    for swapped in (second + first + third, first + third + second, first + first + third):
        path.write_bytes(raw[:8] + swapped)
        for attempt in (lambda: Journal(folder), lambda: numbers(folder)):
            with pytest.raises(Damaged, match="nothing was changed"):
                attempt()
