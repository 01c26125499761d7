"""Record batches written by the kernel are read by aiokafka's own reader, and built as its own builder builds them."""

import numpy as np
import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.columns import Blob
from streams.recordbatch import HEADER_BYTES, drafts, warm


@pytest.fixture(scope="module", autouse=True)
def compiled():
    warm()


def read(data):
    memory, found = MemoryRecords(data), []
    while memory.has_next():
        batch = memory.next_batch()
        assert batch.validate_crc()
        assert batch.is_transactional
        found.append((batch, [(record.offset, record.timestamp, record.key, record.value) for record in batch]))
    return found


def sealed(keys, values, rows, limit):
    made = list(drafts(Blob.of(keys), Blob.of(values), np.array(rows, np.int64), limit))
    return made, [draft.sealed(77, 3, 5, 1_700_000_000_000) for draft in made]


octets = st.binary(max_size=300)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(octets, octets), min_size=1, max_size=60), st.integers(100, 4_000))
def test_each_record_comes_back_in_order(items, limit):
    keys, values = zip(*items, strict=True)
    rows = list(range(len(items)))
    made, batches = sealed(keys, values, rows, limit)
    found = [record for data in batches for _, records in read(data) for record in records]
    assert [(key or b"", value) for _, _, key, value in found] == list(items)
    assert all(time == 1_700_000_000_000 for _, time, _, _ in found)
    assert sum(draft.count for draft in made) == len(items)


def test_the_header_names_producer_epoch_and_sequence():
    _, (data,) = sealed([b"k"], [b"v"], [0], 1_000)
    ((batch, _),) = read(data)
    assert (batch.producer_id, data[51:53], data[53:57]) == (77, b"\x00\x03", b"\x00\x00\x00\x05")


def test_bytes_equal_those_of_aiokafka():
    keys, values = [b"a", b"bb" * 40, b""], [b"1" * 70, b"", b"3"]
    builder = DefaultRecordBatchBuilder(2, 0, 1, 77, 3, 5, 1 << 20)
    for i in range(3):
        builder.append(i, 1_700_000_000_000, keys[i] or None, values[i], [])
    _, (data,) = sealed(keys, values, [0, 1, 2], 1 << 20)
    theirs = bytes(builder.build())
    # They write 0 where the broker puts its own number, the leader's epoch.
    assert data[:12] + data[16:] == theirs[:12] + theirs[16:]


def test_only_the_rows_asked_for_in_the_order_asked_for():
    _, (data,) = sealed([b"0", b"1", b"2"], [b"a", b"b", b"c"], [2, 0], 1_000)
    assert [(key, value) for _, _, key, value in read(data)[0][1]] == [(b"2", b"c"), (b"0", b"a")]


def test_batches_stay_below_the_limit_unless_one_record_is_longer():
    values = [b"x" * 100] * 50 + [b"y" * 5_000]
    made, _ = sealed([b""] * 51, values, range(51), 1_000)
    assert len(made) > 5
    assert all(draft.size <= 1_000 for draft in made[:-1])
    assert made[-1].count == 1


def test_long_batches_are_compressed():
    (draft,), (data,) = sealed([b"k"] * 100, [b"same" * 25] * 100, range(100), 1 << 20)
    assert draft.size < 100 * 100 // 4
    assert len(read(data)[0][1]) == 100


def test_no_rows_make_no_batch():
    assert list(drafts(Blob.of([b"k"]), Blob.of([b"v"]), np.zeros(0, np.int64), 1_000)) == []


def test_the_header_is_as_long_as_kafka_says():
    assert HEADER_BYTES == 61
