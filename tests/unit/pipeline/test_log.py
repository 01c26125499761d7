"""Reading the log through kafka-python, where compaction has been at work."""

import struct

import pytest
from kafka import TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.memory_records import MemoryRecords
from kafka.record.util import calc_crc32c

from pipeline import log

TRANSACTIONAL, CONTROL, PRODUCER = 0x10, 0x20, 7
ABORT, COMMIT = struct.pack(">hh", 0, 0), struct.pack(">hh", 0, 1)


def record(key, value):
    body = b"\x00\x00\x00" + bytes([2 * len(key)]) + key + bytes([2 * len(value)]) + value + b"\x00"
    return bytes([2 * len(body)]) + body


def batch(offset, *records, control=False):
    """A batch of records of a transaction, uncompressed, as Kafka's protocol has it (version 2)."""
    attributes = TRANSACTIONAL | (CONTROL if control else 0)
    counted = struct.pack(">hiqqqhii", attributes, 0, 0, 0, PRODUCER, 0, -1, len(records)) + b"".join(records)
    rest = struct.pack(">ibI", 0, 2, calc_crc32c(counted)) + counted
    return struct.pack(">qi", offset, len(rest)) + rest


def values(*batches, aborted=()):
    read = Fetcher.PartitionRecords(
        0,
        TopicPartition("hub.sahel", 0),
        MemoryRecords(b"".join(batches)),
        isolation_level=1,
        aborted_transactions=aborted,
    )
    return [each.value for each in read.take()]


@pytest.mark.parametrize("emptied", [0, 1, 2])
def test_a_marker_that_compaction_has_emptied_stops_no_reader(emptied):
    markers = [batch(1 + 2 * n, *([] if n == emptied else [record(COMMIT, bytes(6))]), control=True) for n in range(3)]
    data = [batch(2 * n, record(b"k", b"%d" % n)) for n in range(3)]
    assert values(*(each for pair in zip(data, markers, strict=True) for each in pair)) == [b"0", b"1", b"2"]


def test_what_was_aborted_stays_hidden_up_to_its_marker_and_no_further():
    aborted = type("Aborted", (), {"producer_id": PRODUCER, "first_offset": 0})()
    log_of = batch(0, record(b"k", b"0")), batch(1, record(ABORT, bytes(6)), control=True), batch(2, record(b"k", b"1"))
    assert values(*log_of, aborted=[aborted]) == [b"1"]
    assert [one.abort for one in DefaultRecordBatch(log_of[1])] == [True]


def test_reading_is_mended_where_topics_are_read():
    assert Fetcher.PartitionRecords._contains_abort_marker is log._aborts
