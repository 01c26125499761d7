import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl import bindings

from schemas import seal

KEY = bytes(range(32))
BOUND = {
    "body_schema": b"\x01" * 8,
    "event_id": b"\x02" * 16,
    "case_ref": b"\x03" * 16,
    "sequence": 7,
    "node": "MONUSCO",
}
BODY = b"an incident in Avro binary"

# draft-irtf-cfrg-xchacha-03, appendix A.3.1: https://datatracker.ietf.org/doc/html/draft-irtf-cfrg-xchacha#appendix-A.3.1
DRAFT_TEXT = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it."
DRAFT_BOUND = bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
DRAFT_KEY = bytes(range(0x80, 0xA0))
DRAFT_NONCE = bytes(range(0x40, 0x58))
DRAFT_SEALED = bytes.fromhex(
    "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb"
    "731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452"
    "2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9"
    "21f9664c97637da9768812f615c68b13b52e"
    "c0875924c1c7987947deafd8780acf49"
)


def sealed(**changed):
    return seal.seal_body(KEY, **(BOUND | changed), body=BODY)


def opens(body, key=KEY, **changed):
    try:
        return seal.open_body(key, **(BOUND | changed), body=body) == BODY
    except seal.SealBroken:
        return False


def flipped(octets):
    for bit in range(8 * len(octets)):
        changed = bytearray(octets)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)


def test_the_cipher_is_that_of_the_draft():
    found = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(DRAFT_TEXT, DRAFT_BOUND, DRAFT_NONCE, DRAFT_KEY)
    assert found == DRAFT_SEALED


def test_the_bytes_are_those_of_the_design():
    """The nonce and the associated data, built here by hand."""
    nonce = b"\x02" * 16 + b"\x07" + bytes(7)
    bound = b"\x01" * 8 + b"\x02" * 16 + b"\x03" * 16 + b"\x07" + bytes(7) + b"MONUSCO"
    assert sealed() == bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(BODY, bound, nonce, KEY)
    assert len(sealed()) == len(BODY) + 16
    assert BODY not in sealed()


def test_a_body_opens_again():
    assert opens(sealed())


def test_a_broken_seal_has_a_reason_and_says_what_to_do():
    with pytest.raises(seal.SealBroken, match="ask the node") as caught:
        seal.open_body(KEY, **BOUND, body=b"")
    assert caught.value.reason == "seal.broken"


def test_any_bit_of_the_body_decides():
    for body in flipped(sealed()):
        assert not opens(body)


@pytest.mark.parametrize("name", ["body_schema", "event_id", "case_ref"])
def test_any_bit_of_what_is_bound_decides(name):
    for value in flipped(BOUND[name]):
        assert not opens(sealed(), **{name: value})


def test_any_bit_of_the_sequence_decides():
    for bit in range(63):
        assert not opens(sealed(), sequence=BOUND["sequence"] ^ 1 << bit)


@pytest.mark.parametrize("node", ["", "MONUSCo", "MONUSCO ", "MONUSC", "UNMISS"])
def test_another_node_does_not_open(node):
    assert not opens(sealed(), node=node)


def test_any_bit_of_the_key_decides():
    for key in flipped(KEY):
        assert not opens(sealed(), key=key)


@pytest.mark.parametrize("length", range(17))
def test_what_is_cut_or_longer_does_not_open(length):
    assert not opens(sealed()[:length])
    assert not opens(sealed() + bytes(length + 1))


@given(st.binary(max_size=300), st.integers(0, 2**63 - 1), st.text(max_size=20), st.binary(min_size=16, max_size=16))
def test_every_body_comes_back(body, sequence, node, event_id):
    bound = BOUND | {"sequence": sequence, "node": node, "event_id": event_id}
    assert seal.open_body(KEY, **bound, body=seal.seal_body(KEY, **bound, body=body)) == body


def test_two_keys_are_never_alike():
    assert len({seal.new_case_key() for _ in range(100)}) == 100
    assert len(seal.new_case_key()) == 32


def test_a_case_key_is_wrapped_for_its_case_and_epoch():
    epoch, case, other = seal.new_case_key(), b"\x05" * 16, b"\x06" * 16
    wrapped = seal.wrap(epoch, case, KEY)
    assert len(wrapped) == 48
    assert KEY not in wrapped
    assert seal.unwrap(epoch, case, wrapped) == KEY
    for arguments in [(epoch, other, wrapped), (KEY, case, wrapped), (epoch, case, wrapped[:-1])]:
        with pytest.raises(seal.SealBroken):
            seal.unwrap(*arguments)


def test_any_bit_of_a_wrapped_key_decides():
    epoch, case = seal.new_case_key(), b"\x05" * 16
    for wrapped in flipped(seal.wrap(epoch, case, KEY)):
        with pytest.raises(seal.SealBroken):
            seal.unwrap(epoch, case, wrapped)


def test_a_body_can_not_pass_for_a_wrapped_key():
    """The associated data tells them apart, even under one key."""
    body = seal.seal_body(KEY, **(BOUND | {"sequence": 0}), body=bytes(32))
    with pytest.raises(seal.SealBroken):
        seal.unwrap(KEY, BOUND["event_id"], body)


def test_an_epoch_key_is_readable_by_its_region_alone():
    public, private = seal.region_pair()
    box = seal.seal_epoch(public, KEY)
    assert KEY not in box
    assert seal.open_epoch(private, box) == KEY
    assert seal.seal_epoch(public, KEY) != box
    with pytest.raises(seal.SealBroken):
        seal.open_epoch(seal.region_pair()[1], box)


def test_an_epoch_key_that_was_changed_or_has_another_length_is_refused():
    public, private = seal.region_pair()
    box = seal.seal_epoch(public, KEY)
    for changed in (
        b"",
        box[:-1],
        box + b"x",
        box[:50] + bytes([box[50] ^ 1]) + box[51:],
        seal.seal_epoch(public, b"short"),
    ):
        with pytest.raises(seal.SealBroken):
            seal.open_epoch(private, changed)


def test_a_minted_id_is_keyed_blake2b():
    """A stated vector: hashlib is an implementation of RFC 7693 apart from libsodium's, which mints in batches."""
    assert seal.mint(KEY, bytes(16)) == hashlib.blake2b(bytes(16), digest_size=16, key=KEY).digest()
    assert seal.mint(KEY, bytes(16)).hex() == "3d04786048df20c198458d48afb27847"


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
@settings(max_examples=50)
def test_minted_ids_are_steady_and_differ_by_event_and_region(one, other):
    assert seal.mint(KEY, one) == seal.mint(KEY, one)
    assert (seal.mint(KEY, one) == seal.mint(KEY, other)) == (one == other)
    assert seal.mint(KEY, one) != seal.mint(bytes(32), one)
