import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas import minting, seal


def words(ids):
    return np.frombuffer(b"".join(ids), ">u8").astype(np.uint64).reshape(-1, 2)


@given(st.lists(st.binary(min_size=16, max_size=16)), st.binary(min_size=32, max_size=32))
@example([], bytes(32))
@example([bytes(16), b"\xff" * 16] * 40, b"\xff" * 32)
@settings(max_examples=60, deadline=None)
def test_ids_are_minted_as_one_by_one(ids, secret):
    assert [row.tobytes() for row in minting.mint_batch(secret, words(ids))] == [seal.mint(secret, one) for one in ids]


def test_a_whole_batch_is_minted_as_one_by_one():
    ids = [bytes(row) for row in np.random.default_rng(1).integers(0, 256, (20_011, 16), np.uint8)]
    minted, secret = minting.mint_batch(bytes(range(32)), words(ids)), bytes(range(32))
    assert [row.tobytes() for row in minted] == [seal.mint(secret, one) for one in ids]


def test_another_secret_mints_other_ids():
    ids = words([bytes(16)])
    assert minting.mint_batch(bytes(32), ids).tobytes() != minting.mint_batch(b"1" * 32, ids).tobytes()


@pytest.mark.parametrize("length", [0, 31, 33])
def test_minting_refuses_a_secret_of_another_length(length):
    with pytest.raises(ValueError, match="32 bytes"):
        minting.mint_batch(bytes(length), words([bytes(16)]))
