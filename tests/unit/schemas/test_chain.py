import hashlib

import pytest

from schemas import chain, signing
from schemas.chain import BadHead, Head

PUBLIC, SEED = signing.new_signer()
MARKS = b"".join(chain.leaf(b"%d" % number)[:8] for number in range(4, 7))
HEAD = Head("MONUSCO", PUBLIC, 6, b"l" * 32, b"p" * 32, MARKS)

# RFC 8032, section 7.1, TEST 2.
SECRET = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
KEY = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


def test_signatures_are_those_of_the_rfc():
    assert (signing.public_of(SECRET), signing.sign(SECRET, b"\x72")) == (KEY, SIGNATURE)
    assert signing.signed_by(KEY, b"\x72", SIGNATURE)
    assert not signing.signed_by(KEY, b"\x73", SIGNATURE)
    assert not signing.signed_by(KEY, b"\x72", SIGNATURE[:-1])


def test_the_chain_is_what_its_sentence_says():
    leaf = hashlib.sha256(b"\x00record").digest()
    assert chain.leaf(b"record") == leaf
    once = hashlib.sha256(b"\x02" + bytes(32) + leaf).digest()
    assert chain.extended(chain.START, [leaf]) == once
    assert chain.extended(once, [leaf, once]) == chain.extended(chain.START, [leaf, leaf, once])


def test_a_head_comes_back_as_it_was_signed():
    record = chain.sign_head(SEED, HEAD)
    assert chain.read_head(record) == HEAD
    assert record == chain.sign_head(SEED, HEAD), "the same head gives the same bytes"
    assert (HEAD.first, HEAD.mark(4), HEAD.mark(6)) == (4, MARKS[:8], MARKS[16:])


def test_a_head_with_any_bit_changed_is_refused():
    record = chain.sign_head(SEED, HEAD)
    for at in range(len(record)):
        changed = bytearray(record)
        changed[at] ^= 1 << at % 8
        with pytest.raises(BadHead) as refusal:
            chain.read_head(bytes(changed))
        assert refusal.value.reason in ("head.malformed", "head.signature")


@pytest.mark.parametrize("record", [b"", b"\xc3\x01", b"\x00\x00\x00\x00\x01", chain.sign_head(SEED, HEAD) + b"x"])
def test_what_is_no_head_is_refused(record):
    with pytest.raises(BadHead, match="no head of a chain"):
        chain.read_head(record)


def test_a_head_that_another_signed_names_its_signer_or_is_refused():
    other = signing.new_signer()[1]
    with pytest.raises(BadHead, match="not signed by the key"):
        chain.read_head(chain.sign_head(other, HEAD))


@pytest.mark.parametrize(
    ("sequence", "marks"), [(0, b""), (6, b""), (2, MARKS), (-5, MARKS), (1 << 40, MARKS), (6, MARKS[:-1])]
)
def test_a_head_of_impossible_numbers_is_refused(sequence, marks):
    with pytest.raises(BadHead, match="no head of a chain"):
        chain.read_head(chain.sign_head(SEED, Head("MONUSCO", PUBLIC, sequence, b"l" * 32, b"p" * 32, marks)))
