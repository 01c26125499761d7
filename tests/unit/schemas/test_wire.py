import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import wire
from schemas.errors import Quarantines
from schemas.released import by_id, releases

RELEASE = by_id(1)


@given(st.sampled_from(releases()), st.binary(max_size=50))
def test_what_is_framed_is_unframed(release, body):
    assert wire.unframe(wire.single_object(release, body)) == (release, body)
    assert wire.unframe(wire.confluent(release, body)) == (release, body)


def test_the_frames_are_those_of_the_specifications():
    assert wire.single_object(RELEASE, b"x") == b"\xc3\x01" + bytes.fromhex("242e5caef8206ea4")[::-1] + b"x"
    assert wire.confluent(RELEASE, b"x") == b"\x00\x00\x00\x00\x01x"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "frame.too_short"),
        (b"\xc3", "frame.too_short"),
        (wire.single_object(RELEASE, b"")[:-1], "frame.too_short"),
        (b"\x00\x00\x00\x00", "frame.too_short"),
        (b"\x00\x00\x00\xff\xff", "frame.unknown_id"),
        (b"\x00\x00\x00\x00\x00", "frame.unknown_id"),
        (b"\xc3\x01" + bytes(8), "frame.unknown_fingerprint"),
        (b"\xc3\x02" + bytes(8), "frame.magic"),
        (b"Obj\x01", "frame.magic"),
        (b'{"json": true}', "frame.magic"),
    ],
)
def test_a_frame_of_nobody_is_refused_with_its_reason(data, reason):
    with pytest.raises(Quarantines) as refused:
        wire.unframe(data)
    assert refused.value.reason == reason


@given(st.binary(max_size=30))
def test_no_bytes_do_anything_but_unframe_or_quarantine(data):
    with contextlib.suppress(Quarantines):
        release, body = wire.unframe(data)
        assert data in (wire.single_object(release, body), wire.confluent(release, body))
