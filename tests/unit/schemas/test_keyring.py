import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import rows, seal
from schemas.columns import Blob
from schemas.keyring import Keyring
from schemas.nodekeys import NodeKeys
from schemas.released import latest
from schemas.wire import confluent, single_object

PUBLIC, PRIVATE = seal.region_pair()
OTHER_PUBLIC, _ = seal.region_pair()
EPOCHS = {number: seal.new_case_key() for number in (1, 2, 3)}


def matrix(items, width):
    return np.frombuffer(b"".join(items), np.uint8).reshape(-1, width)


def put(keyring, pairs, epoch=0):
    keyring.put(matrix([ref for ref, _ in pairs], 16), matrix([key for _, key in pairs], 32), epoch)


def held(keyring, refs):
    """What the keyring has, as a dict: the twin's form."""
    found = keyring.find(matrix(refs, 16))
    return {ref: keyring.keys[row].tobytes() for ref, row in zip(refs, found, strict=True) if row >= 0}


# The keyring against a dict


REFS = [bytes([i]) * 16 for i in range(20)]
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("put"),
            st.lists(st.tuples(st.sampled_from(REFS), st.binary(min_size=32, max_size=32))),
            st.integers(0, 2),
        ),
        st.tuples(st.just("drop"), st.sampled_from(REFS), st.none()),
        st.tuples(st.just("drop_epoch"), st.integers(0, 2), st.none()),
    )
)


@given(STEPS)
@settings(max_examples=150, deadline=None)
def test_it_is_a_dict(steps):
    keyring, twin = Keyring(), {}
    for what, value, epoch in steps:
        if what == "put":
            put(keyring, value, epoch)
            twin |= {ref: (key, epoch) for ref, key in value}
        elif what == "drop":
            assert keyring.drop(value) == (value in twin)
            twin.pop(value, None)
        else:
            gone = [ref for ref, (_, under) in twin.items() if under == value]
            assert keyring.drop_epoch(value) == len(gone)
            twin = {ref: kept for ref, kept in twin.items() if ref not in gone}
        assert held(keyring, REFS) == {ref: key for ref, (key, _) in twin.items()}
        assert len(keyring) == len(twin)


def test_many_keys_with_growth_and_dropping_in_between():
    rng = random.Random(5)
    keyring, twin = Keyring(), {}
    for size in (1, 50, 3_000, 20_000, 7):
        pairs = [(rng.randbytes(16), rng.randbytes(32)) for _ in range(size)]
        put(keyring, pairs)
        twin |= dict(pairs)
        for ref in rng.sample(sorted(twin), len(twin) // 3):
            assert keyring.drop(ref)
            del twin[ref]
    assert held(keyring, [*twin, *(rng.randbytes(16) for _ in range(100))]) == twin
    assert len(keyring) == len(twin)


def test_references_that_share_a_half_are_told_apart():
    pairs = [
        (a + b, a * 2 + b * 2)
        for a in (b"\0" * 8, b"\xff" * 8, b"abcdefgh")
        for b in (b"\0" * 8, b"\xff" * 8, b"abcdefgh")
    ]
    keyring = Keyring()
    put(keyring, pairs)
    assert held(keyring, [ref for ref, _ in pairs]) == dict(pairs)


def test_putting_and_dropping_for_ever_does_not_fill_it():
    rng = random.Random(6)
    keyring = Keyring()
    for _ in range(2_000):
        ref = rng.randbytes(16)
        put(keyring, [(ref, bytes(32))])
        assert keyring.drop(ref)
    assert len(keyring) == 0
    assert len(keyring.keys) <= 256


def test_a_dropped_key_is_overwritten():
    keyring = Keyring()
    put(keyring, [(REFS[1], b"\xaa" * 32), (REFS[2], b"\xbb" * 32)])
    keyring.drop(REFS[1])
    assert b"\xaa" not in keyring.keys.tobytes()
    assert b"\xbb" * 32 in keyring.keys.tobytes()


def test_what_growth_leaves_behind_is_overwritten():
    keyring = Keyring()
    put(keyring, [(REFS[1], b"\xaa" * 32)])
    old = keyring.keys
    put(keyring, [(random.Random(1).randbytes(16), bytes(32)) for _ in range(500)])
    assert keyring.keys is not old
    assert not old.any()


def test_a_span_that_is_no_reference_is_not_found():
    keyring = Keyring()
    put(keyring, [(REFS[0], bytes(32))])
    data = np.zeros(40, np.uint8)
    spans = np.array([[0, 16], [0, 0], [0, 15], [20, 36], [40, 40]])
    assert (keyring.find_in(data, spans) >= 0).tolist() == [True, False, False, True, False]


@pytest.mark.parametrize(("refs", "keys"), [((2, 16), (1, 32)), ((1, 15), (1, 32)), ((1, 16), (1, 31))])
def test_other_shapes_are_refused(refs, keys):
    with pytest.raises(ValueError, match="16"):
        Keyring().put(np.zeros(refs, np.uint8), np.zeros(keys, np.uint8))


# The records of keys.<node>


def epoch_record(number, region="sahel", public=PUBLIC, key=None, inside=None):
    value = {"epoch": inside or number, "region": region, "sealed": seal.seal_epoch(public, key or EPOCHS[number])}
    return f"epoch:{number}".encode(), single_object(latest("EpochKey"), rows.write(latest("EpochKey"), value))


def case_record(ref, key, epoch=1, under=None):
    value = {"epoch": epoch, "wrapped": seal.wrap(under or EPOCHS[epoch], ref, key)}
    return ref, single_object(latest("CaseKey"), rows.write(latest("CaseKey"), value))


def read(keys, records):
    return keys.read(Blob.of([key for key, _ in records]), Blob.of([value or b"" for _, value in records]))


def node_keys(*records):
    keys = NodeKeys({"sahel": [PRIVATE]})
    return keys, read(keys, records)


def key_of(number):
    return bytes([100 + number]) * 32


def test_a_cases_key_is_read():
    keys, refused = node_keys(epoch_record(1), case_record(REFS[1], key_of(1)), case_record(REFS[2], key_of(2)))
    assert refused == []
    assert held(keys.keyring, REFS) == {REFS[1]: key_of(1), REFS[2]: key_of(2)}
    assert len(keys) == 2


def test_a_tombstone_forgets_the_case_and_nothing_else():
    keys, _ = node_keys(epoch_record(1), case_record(REFS[1], key_of(1)), case_record(REFS[2], key_of(2)))
    assert read(keys, [(REFS[1], None)]) == []
    assert held(keys.keyring, REFS) == {REFS[2]: key_of(2)}
    assert key_of(1) not in keys.keyring.keys.tobytes()
    read(keys, [epoch_record(1)])
    assert held(keys.keyring, REFS) == {REFS[2]: key_of(2)}


def test_a_key_that_comes_before_its_epoch_waits():
    keys, refused = node_keys(case_record(REFS[1], key_of(1)))
    assert (refused, len(keys)) == ([], 0)
    read(keys, [epoch_record(1)])
    assert held(keys.keyring, REFS) == {REFS[1]: key_of(1)}


def test_a_tombstone_on_an_epoch_forgets_what_was_not_wrapped_anew():
    keys, _ = node_keys(epoch_record(1), case_record(REFS[1], key_of(1)), case_record(REFS[2], key_of(2)))
    read(keys, [epoch_record(2), case_record(REFS[2], key_of(2), epoch=2), (b"epoch:1", None)])
    assert held(keys.keyring, REFS) == {REFS[2]: key_of(2)}


def test_a_new_key_for_an_epoch_opens_what_was_wrapped_under_it():
    keys, refused = node_keys(epoch_record(1), case_record(REFS[1], key_of(1), under=EPOCHS[2]))
    assert refused == [(REFS[1], "seal.broken")]
    assert read(keys, [epoch_record(1, key=EPOCHS[2])]) == []
    assert held(keys.keyring, REFS) == {REFS[1]: key_of(1)}


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ((REFS[3], b"\xc3"), "frame.too_short"),
        ((REFS[3], b"nonsense"), "frame.magic"),
        ((REFS[3], b"\xc3\x01" + bytes(8)), "frame.unknown_fingerprint"),
        ((REFS[3], case_record(REFS[3], key_of(3))[1][:-1]), "avro.truncated"),
        ((REFS[3], case_record(REFS[3], key_of(3))[1] + b"x"), "avro.trailing_bytes"),
        ((REFS[3], epoch_record(1)[1]), "keys.malformed"),
        ((REFS[3], confluent(latest("CaseKey"), case_record(REFS[3], key_of(3))[1][10:])), "keys.malformed"),
        ((b"short", case_record(REFS[3], key_of(3))[1]), "keys.malformed"),
        (case_record(REFS[3], key_of(3), under=EPOCHS[2]), "seal.broken"),
        ((REFS[3], case_record(REFS[4], key_of(3))[1]), "seal.broken"),
        ((b"epoch:", epoch_record(1)[1]), "keys.malformed"),
        ((b"epoch:-1", epoch_record(1)[1]), "keys.malformed"),
        ((b"epoch:2", epoch_record(1)[1]), "keys.malformed"),
        ((b"epoch:2", case_record(REFS[3], key_of(3))[1]), "keys.malformed"),
        (epoch_record(2, region="great-lakes"), "keys.other_region"),
        (epoch_record(2, public=OTHER_PUBLIC), "seal.broken"),
        ((b"epoch:2", b"\xc3\x01"), "frame.too_short"),
    ],
)
def test_a_record_that_is_wrong_is_refused_and_hurts_no_other(record, reason):
    keys, refused = node_keys(epoch_record(1), case_record(REFS[1], key_of(1)), record, case_record(REFS[2], key_of(2)))
    assert refused == [(record[0], reason)]
    assert held(keys.keyring, REFS) == {REFS[1]: key_of(1), REFS[2]: key_of(2)}


def some_records():
    tombstones = st.sampled_from([*REFS[:3], b"epoch:1", b"epoch:2"]).map(lambda key: (key, None))
    cases = st.builds(
        lambda ref, epoch, under: case_record(REFS[ref], key_of(ref), epoch, EPOCHS[under]),
        *(st.integers(0, 2), st.sampled_from([1, 2]), st.sampled_from([1, 2])),
    )
    epochs = st.builds(lambda number, key: epoch_record(number, key=EPOCHS[key]), *[st.sampled_from([1, 2])] * 2)
    junk = st.builds(lambda ref, value: (REFS[ref], value), st.integers(0, 2), st.binary(max_size=30))
    return st.lists(st.one_of(cases, cases, epochs, tombstones, junk), max_size=12)


@given(some_records(), st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_following_live_equals_reading_the_compacted_topic(records, batch):
    live, again = NodeKeys({"sahel": [PRIVATE]}), NodeKeys({"sahel": [PRIVATE]})
    for start in range(0, len(records), batch):
        read(live, records[start : start + batch])
    read(again, list(dict(records).items()))
    assert held(live.keyring, REFS) == held(again.keyring, REFS)
    assert len(live) == len(again)
