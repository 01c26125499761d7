import gc
import random
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl._sodium import ffi, lib
from numba import njit

from schemas import columns, rows, seal, unseal
from schemas.keyring import Keyring
from schemas.released import latest
from tests.unit.schemas.test_seal import DRAFT_BOUND, DRAFT_KEY, DRAFT_NONCE, DRAFT_SEALED, DRAFT_TEXT

ENVELOPE = latest("Envelope")
SCHEMA = latest("IncidentReported").fingerprint


def matrix(items, width):
    return np.frombuffer(b"".join(items), np.uint8).reshape(-1, width)


def envelope(rng, sequence=1, body=b"a body", key=bytes(32), **changed):
    """A sealed envelope as a dict; what is changed is changed after sealing."""
    bound = {
        "event_id": rng.randbytes(16),
        "node": "MONUSCO",
        "sequence": sequence,
        "case_ref": rng.randbytes(16),
        "body_schema": SCHEMA,
    }
    sealed = seal.seal_body(key, **bound, body=body)
    return {**bound, "kind": "IncidentReported", "body": sealed} | changed


def decoded(envelopes):
    blob = columns.Blob.of([rows.write(ENVELOPE, each) for each in envelopes])
    found = columns.decode(columns.compile(ENVELOPE), blob.data, blob.starts, blob.ends)
    assert not found.status.any()
    return found


def ring(envelopes, keys):
    keyring = Keyring()
    pairs = [(each["case_ref"], key) for each, key in zip(envelopes, keys, strict=True) if each["case_ref"]]
    keyring.put(matrix([ref for ref, _ in pairs], 16), matrix([key for _, key in pairs], 32))
    return keyring


def opened(envelopes, keyring, chosen=None):
    found = decoded(envelopes)
    chosen = np.arange(len(envelopes)) if chosen is None else np.array(chosen, np.int64)
    key_rows = keyring.find_in(found.data, found.spans("case_ref")[chosen])
    bodies, good = unseal.open_batch(found, chosen, keyring, key_rows)
    assert len(bodies) == len(good) == len(chosen)
    return [bodies.item(i) if ok else None for i, ok in enumerate(good.tolist())]


def twin(envelopes, keys_by_case):
    """The same, one by one, by schemas.seal."""
    found = []
    for each in envelopes:
        key = keys_by_case.get(each["case_ref"])
        arguments = {name: each[name] for name in ("body_schema", "event_id", "case_ref", "sequence", "node", "body")}
        try:
            found.append(None if key is None or each["case_ref"] is None else seal.open_body(key, **arguments))
        except seal.SealBroken:
            found.append(None)
    return found


def batch(count, seed=1):
    rng = random.Random(seed)
    keys = [rng.randbytes(32) for _ in range(count)]
    bodies = [rng.randbytes(rng.randrange(200)) for _ in range(count)]
    pairs = zip(bodies, keys, strict=True)
    envelopes = [envelope(rng, sequence=i + 1, body=body, key=key) for i, (body, key) in enumerate(pairs)]
    return envelopes, keys, bodies


@njit
def aead(address, out, sealed, bound, nonce, key):
    return unseal._aead(
        np.uint64(address),
        np.uint64(out.ctypes.data),
        np.uint64(0),
        np.uint64(0),
        np.uint64(sealed.ctypes.data),
        np.uint64(len(sealed)),
        np.uint64(bound.ctypes.data),
        np.uint64(len(bound)),
        np.uint64(nonce.ctypes.data),
        np.uint64(key.ctypes.data),
    )


@pytest.mark.timeout(60)  # the first call ever compiles
def test_the_kernels_cipher_is_that_of_the_draft():
    address = int(ffi.cast("uintptr_t", ffi.addressof(lib, "crypto_aead_xchacha20poly1305_ietf_decrypt")))
    parts = [np.frombuffer(part, np.uint8) for part in (DRAFT_SEALED, DRAFT_BOUND, DRAFT_NONCE, DRAFT_KEY)]
    out = np.zeros(len(DRAFT_TEXT), np.uint8)
    assert aead(address, out, *parts) == 0
    assert out.tobytes() == DRAFT_TEXT
    assert aead(address, out, parts[0][:-1].copy(), *parts[1:]) != 0


@pytest.mark.timeout(60)
def test_a_batch_opens_to_what_was_sealed():
    envelopes, keys, bodies = batch(300)
    assert opened(envelopes, ring(envelopes, keys)) == bodies


def test_rows_may_be_chosen_in_any_order_and_twice():
    envelopes, keys, bodies = batch(20)
    chosen = [7, 3, 3, 19, 0]
    assert opened(envelopes, ring(envelopes, keys), chosen) == [bodies[i] for i in chosen]
    assert opened(envelopes, ring(envelopes, keys), []) == []


def test_a_missing_key_refuses_one_row_only():
    envelopes, keys, bodies = batch(5)
    keyring = ring(envelopes, keys)
    keyring.drop(envelopes[2]["case_ref"])
    assert opened(envelopes, keyring) == [*bodies[:2], None, *bodies[3:]]


def test_a_key_that_was_dropped_after_it_was_found_does_not_open():
    envelopes, keys, bodies = batch(3)
    keyring, found = ring(envelopes, keys), decoded(envelopes)
    key_rows = keyring.find_in(found.data, found.spans("case_ref"))
    keyring.drop(envelopes[1]["case_ref"])
    opened_bodies, good = unseal.open_batch(found, np.arange(3), keyring, key_rows)
    assert good.tolist() == [True, False, True]
    assert [opened_bodies.item(i) for i in range(3)] == [bodies[0], b"", bodies[2]]


def test_an_envelope_without_a_case_does_not_open():
    envelopes, keys, bodies = batch(3)
    keyring = ring(envelopes, keys)
    envelopes[1]["case_ref"] = None
    found = decoded(envelopes)
    _, good = unseal.open_batch(found, np.arange(3), keyring, np.array([0, 1, 2]))
    assert good.tolist() == [True, False, True]
    assert opened(envelopes, keyring) == [bodies[0], None, bodies[2]]


FIELDS = ["body_schema", "event_id", "body", "sequence", "node", "case_ref"]


@pytest.mark.parametrize("name", FIELDS)
def test_any_bit_that_is_changed_refuses_its_row_and_no_neighbour(name):
    """Every bit of what nonce, associated data and ciphertext are made of, each in a row between two good ones."""
    rng = random.Random(3)
    key = rng.randbytes(32)
    good = envelope(rng, sequence=9, key=key)
    tampered = list(changes(good, name))
    assert len(tampered) >= 56
    keyring = Keyring()
    refs = sorted({each["case_ref"] for each in [good, *tampered]})
    keyring.put(matrix(refs, 16), matrix([key] * len(refs), 32))
    mixed = [each for bad in tampered for each in (good, bad)] + [good]
    results = opened(mixed, keyring)
    assert results[0::2] == [b"a body"] * (len(tampered) + 1)
    assert results[1::2] == [None] * len(tampered)
    assert results == twin(mixed, dict.fromkeys(refs, key))


def changes(good, name):
    value = good[name]
    if name == "sequence":
        yield from (good | {name: value ^ 1 << bit} for bit in range(63))
        return
    octets = value.encode() if name == "node" else value
    for bit in range(8 * len(octets)):
        changed = bytearray(octets)
        changed[bit // 8] ^= 1 << bit % 8
        if name != "node":
            yield good | {name: bytes(changed)}
        elif changed[bit // 8] < 0x80:
            yield good | {name: changed.decode()}
    if name == "node":
        yield from (
            good | {name: other} for other in ("", "MONUSC", "MONUSCO0", "M" * 1000, "مونوسكو", "UNMISS", "monusco")
        )


@pytest.mark.parametrize("length", range(17))
def test_a_body_shorter_than_its_tag_is_refused(length):
    envelopes, keys, bodies = batch(3)
    envelopes[1]["body"] = envelopes[1]["body"][:length]
    assert opened(envelopes, ring(envelopes, keys)) == [bodies[0], None, bodies[2]]


@given(
    st.lists(st.sampled_from(["good", "no key", "cut", "other key", "no case", "sequence", "below"]), max_size=12),
    st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_a_batch_gives_what_one_by_one_gives(sorts, seed):
    rng = random.Random(seed)
    envelopes, keys, _ = batch(len(sorts), seed)
    known = {each["case_ref"]: key for each, key in zip(envelopes, keys, strict=True)}
    for each, sort in zip(envelopes, sorts, strict=True):
        if sort == "no key":
            known.pop(each["case_ref"])
        elif sort == "cut":
            each["body"] = each["body"][: rng.randrange(len(each["body"]))]
        elif sort == "other key":
            known[each["case_ref"]] = rng.randbytes(32)
        elif sort == "no case":
            each["case_ref"] = None
        elif sort == "sequence":
            each["sequence"] = rng.randrange(-(2**63), 2**63)
        elif sort == "below":
            bound = {name: each[name] for name in ("body_schema", "event_id", "case_ref", "node")}
            each["sequence"] = -1
            each["body"] = seal.seal_body(known[each["case_ref"]], **bound, sequence=-1, body=b"below")
    keyring = Keyring()
    keyring.put(matrix(known, 16), matrix(known.values(), 32))
    assert opened(envelopes, keyring) == twin(envelopes, known)


@pytest.mark.parametrize(
    ("chosen", "key_rows"), [([0], [64]), ([0], [-2]), ([3], [0]), ([-1], [0]), ([0, 1], [0]), ([0], [10**12])]
)
def test_rows_that_are_not_there_are_refused_before_the_kernel_runs(chosen, key_rows):
    envelopes, keys, _ = batch(3)
    with pytest.raises(IndexError):
        unseal.open_batch(decoded(envelopes), np.array(chosen), ring(envelopes, keys), np.array(key_rows))


def test_two_threads_open_at_once():
    envelopes, keys, bodies = batch(2_000)
    keyring, found = ring(envelopes, keys), decoded(envelopes)
    key_rows = keyring.find_in(found.data, found.spans("case_ref"))
    results = {}

    def run(number):
        results[number] = unseal.open_batch(found, np.arange(2_000), keyring, key_rows)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    for opened_bodies, good in results.values():
        assert good.all()
        assert opened_bodies.data.tobytes() == b"".join(bodies)


# Wrapped keys and minted ids


@given(
    st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.binary(min_size=32, max_size=32), st.integers(-1, 383)))
)
@settings(max_examples=60, deadline=None)
def test_keys_are_unwrapped_as_one_by_one(cases):
    epoch = bytes(range(32))
    wrapped = []
    for ref, key, bit in cases:
        one = bytearray(seal.wrap(epoch, ref, key))
        if bit >= 0:
            one[bit // 8] ^= 1 << bit % 8
        wrapped.append(bytes(one))
    keys, good = unseal.unwrap_batch(epoch, matrix([ref for ref, _, _ in cases], 16), matrix(wrapped, 48))
    assert good.tolist() == [bit < 0 for _, _, bit in cases]
    assert [row.tobytes() for row in keys] == [key if bit < 0 else bytes(32) for _, key, bit in cases]


def test_keys_are_wrapped_as_one_by_one():
    epoch, refs, keys = bytes(range(32)), [bytes([n]) * 16 for n in range(9)], [bytes([n]) * 32 for n in range(9)]
    wrapped = unseal.wrap_batch(epoch, matrix(refs, 16), matrix(keys, 32))
    assert [row.tobytes() for row in wrapped] == list(map(seal.wrap, [epoch] * 9, refs, keys))
    with pytest.raises(ValueError, match="uint8"):
        unseal.wrap_batch(epoch, matrix(refs, 16), matrix(keys[:8], 32))


def test_wrapped_keys_of_another_shape_are_refused():
    for refs, wrapped, epoch in [
        ((1, 16), (2, 48), 32),
        ((1, 16), (1, 47), 32),
        ((1, 15), (1, 48), 32),
        ((1, 16), (1, 48), 31),
    ]:
        with pytest.raises(ValueError, match="uint8"):
            unseal.unwrap_batch(bytes(epoch), np.zeros(refs, np.uint8), np.zeros(wrapped, np.uint8))
