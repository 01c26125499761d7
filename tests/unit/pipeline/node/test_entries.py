import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.files import replace
from pipeline.node.entries import HEAD, LONGEST, MAGIC, Cut, Damaged, EntryFile, NotWritten, frame, whole

PAYLOADS = st.lists(st.binary(min_size=1, max_size=200), max_size=8)


@settings(deadline=None)
@given(PAYLOADS)
def test_what_is_framed_is_read(payloads):
    data = MAGIC + b"".join(map(frame, payloads))
    assert [payload for _, payload in whole(data)] == payloads
    assert [end for end, _ in whole(data)][-1:] == ([len(data)] if payloads else [])


@settings(deadline=None)
@given(PAYLOADS.filter(bool), st.data())
def test_a_changed_bit_is_never_read_as_an_entry(payloads, data):
    raw = bytearray(MAGIC + b"".join(map(frame, payloads)))
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    read = [payload for _, payload in whole(bytes(raw))]
    assert read == payloads[: len(read)]
    assert len(read) < len(payloads)


@settings(deadline=None)
@given(PAYLOADS.filter(bool), st.data())
def test_a_shortened_file_gives_its_first_entries(payloads, data):
    raw = MAGIC + b"".join(map(frame, payloads))
    length = data.draw(st.integers(0, len(raw) - 1))
    read = [payload for _, payload in whole(raw[:length])]
    assert read == payloads[: len(read)]
    assert len(read) < len(payloads)


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_any_bytes_are_read_without_an_error(raw):
    list(whole(raw))
    list(whole(MAGIC + raw))


@pytest.mark.parametrize("tail", [bytes(1), bytes(8), bytes(4096), b"\xff" * 64, HEAD.pack(LONGEST + 1, 0)])
def test_zeros_and_rubbish_at_the_end_are_torn(tmp_path, tail):
    file = EntryFile(tmp_path / "x.log")
    end = file.append([b"one", b"two"])
    with file.path.open("ab") as handle:
        handle.write(tail)
    assert file.torn(end) == Cut("x.log", end, len(tail))
    file.cut(end)
    assert file.torn(end) is None
    assert [payload for _, payload in file.read(0, end)] == [b"one", b"two"]


def test_what_was_safe_and_is_not_whole_is_damage_and_stays_as_it_is(tmp_path):
    file = EntryFile(tmp_path / "x.log")
    end = file.append([b"one", b"two"])
    raw = bytearray(file.path.read_bytes())
    raw[-1] ^= 1
    file.path.write_bytes(raw)
    for attempt in (lambda: file.torn(end), lambda: file.torn(None), lambda: list(file.read(0, end))):
        with pytest.raises(Damaged, match="nothing was changed"):
            attempt()
    assert file.path.read_bytes() == raw


def test_a_disk_that_refuses_is_one_sentence(tmp_path):
    with pytest.raises(NotWritten, match="free some space"):
        EntryFile(tmp_path / "no folder" / "x.log").append([b"one"])
    with pytest.raises(NotWritten):
        EntryFile(tmp_path).append([b"one"])


def test_a_replaced_file_is_for_its_owner_only(tmp_path):
    replace(tmp_path / "x", b"1")
    replace(tmp_path / "x", b"2")
    assert (tmp_path / "x").read_bytes() == b"2"
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
