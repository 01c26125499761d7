"""Pieces of the ledger's log, as the broker sends them, are read batch by batch with their markers."""

import struct

import numpy as np
import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from schemas.columns import Blob
from schemas.errors import Unreachable
from streams.ledgerlog import blocks
from streams.recordbatch import drafts

CONTROL = 0x20


def written(base, keys, values, producer=7):
    (draft,) = drafts(Blob.of(keys), Blob.of(values), np.arange(len(keys), dtype=np.int64), 1 << 20)
    return base.to_bytes(8, "big") + draft.sealed(producer, 0, 0, 1_700_000_000_000)[8:]


def marker(base, producer, commit):
    """Return a control batch as the broker writes it: the key is version and kind, in two 16-bit numbers."""
    builder = DefaultRecordBatchBuilder(2, 0, 1, producer, 0, -1, 1 << 10)
    builder.append(0, 1_700_000_000_000, struct.pack(">hh", 0, int(commit)), b"\x00\x00\x00\x00\x00\x00", [])
    data = bytearray(builder.build())
    data[:8] = base.to_bytes(8, "big")
    data[22] |= CONTROL
    data[17:21] = calc_crc32c(bytes(data[21:])).to_bytes(4, "big")
    return bytes(data)


def test_records_and_markers_come_with_their_producer_and_offsets():
    log = (
        written(10, [b"a", b"b"], [b"1", b"2"])
        + marker(12, 7, True)
        + written(13, [b"c"], [b"3"], 8)
        + marker(14, 8, False)
    )
    first, committed, second, aborted = blocks(log, 10)
    assert (first.producer, first.following, first.marker, first.transactional) == (7, 12, "", True)
    assert first.records == ((10, b"a", b"1"), (11, b"b", b"2"))
    assert (committed.producer, committed.following, committed.marker) == (7, 13, "commit")
    assert (second.records, aborted.marker, aborted.following) == (((13, b"c", b"3"),), "abort", 15)


def test_what_lies_before_the_position_is_left_out():
    log = written(10, [b"a"], [b"1"]) + written(11, [b"b", b"c"], [b"2", b"3"])
    (only,) = blocks(log, 12)
    assert only.records == ((12, b"c", b"3"),)


def test_a_batch_cut_off_by_the_fetch_limit_waits_for_the_next_fetch():
    log = written(10, [b"a"], [b"1"])
    assert len(list(blocks(log + log[:-3], 10))) == 1


def test_a_damaged_batch_is_not_believed():
    log = bytearray(written(10, [b"a"], [b"1"]))
    log[-2] ^= 1
    with pytest.raises(Unreachable, match="damaged"):
        list(blocks(bytes(log), 10))
