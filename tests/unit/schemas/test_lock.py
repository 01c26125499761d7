import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.lock import NONCE_BYTES, WrongKey, lock, unlock

KEY = bytes(range(32))


@given(st.binary(max_size=500))
def test_what_is_locked_is_unlocked(data):
    assert unlock(KEY, lock(KEY, data)) == data


def test_equal_contents_give_equal_bytes_and_others_another_nonce():
    assert lock(KEY, b"one") == lock(KEY, b"one")
    assert lock(KEY, b"one")[:NONCE_BYTES] != lock(KEY, b"two")[:NONCE_BYTES]


def test_the_contents_are_not_to_be_seen():
    assert b"planted" not in lock(KEY, b"planted" * 10)


def test_another_key_opens_nothing():
    with pytest.raises(WrongKey, match=r"ledger\.key"):
        unlock(os.urandom(32), lock(KEY, b"one"))


@pytest.mark.parametrize("place", [0, NONCE_BYTES - 1, NONCE_BYTES, -1])
def test_a_changed_bit_is_refused(place):
    changed = bytearray(lock(KEY, b"some contents"))
    changed[place] ^= 1
    with pytest.raises(WrongKey):
        unlock(KEY, bytes(changed))


@pytest.mark.parametrize("cut", [0, 1, NONCE_BYTES, NONCE_BYTES + 15])
def test_what_is_cut_is_refused(cut):
    with pytest.raises(WrongKey):
        unlock(KEY, lock(KEY, b"some contents")[:cut])
