"""What the kernel reads of record batches is what aiokafka reads of them, and a plain twin where they are hostile."""

import contextlib
import random
import struct

import numpy as np
import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder as Builder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.record.default_records import DefaultRecordBatchBuilder as OtherBuilder

from streams import fetched, recordbatch
from streams.fetched import Damaged, Unreadable, unpack
from tests.unit.streams.segment import APPEND_TIME, TRANSACTIONAL, Bad, Batch, marker, record, rows_of, varint

CODECS = [0, 1, 2, 3, 4]


@pytest.fixture(scope="module", autouse=True)
def compiled():
    recordbatch.warm()


def read(data, aborted=(), position=0):
    records = unpack("t", 3, data, aborted, position)
    columns = zip(records.offsets.tolist(), records.timestamps.tolist(), strict=True)
    rows = [(*pair, records.keys.item(i), records.values.item(i)) for i, pair in enumerate(columns)]
    assert (records.topic, records.partition, records.start) == ("t", 3, position)
    assert len(records.keys) == len(records.values) == len(records)
    return records.end, rows


def theirs(data, aborted=(), position=0):
    reader = PartitionRecords(
        TopicPartition("t", 3), MemoryRecords(data), list(aborted), position, None, None, True, READ_COMMITTED
    )
    rows = [(one.offset, one.timestamp, one.key or b"", one.value or b"") for one in reader]
    return reader.next_fetch_offset, rows


octets = st.none() | st.binary(max_size=200)
headers = st.lists(st.tuples(st.text(max_size=5).map(str.encode), octets), max_size=3)
stamps = st.integers(-(10**9), 10**12)


@st.composite
def batches(draw, base, producer=-1, attributes=0):
    """A batch as it is written, or as compaction leaves it."""
    rows = draw(st.lists(st.tuples(stamps, octets, octets, headers), max_size=8))
    gaps = draw(st.lists(st.integers(1, 300), min_size=len(rows) + 1, max_size=len(rows) + 1))
    compacted = draw(st.booleans())
    deltas = (np.cumsum(gaps) - 1 if compacted else np.arange(len(gaps))).tolist()
    last = max(0, deltas[-1] if compacted else len(rows) - 1)
    rows = [(delta, *row) for delta, row in zip(deltas[:-1], rows, strict=True)]
    codec = draw(st.sampled_from(CODECS)) if rows else 0  # aiokafka cannot read what it writes for none in snappy
    flags = attributes | codec | draw(st.sampled_from([0, 0, APPEND_TIME]))
    return Batch(base, rows, last, flags, producer)


@st.composite
def logs(draw):
    """Batches of three producers in transactions and of one without; the aborted ones as a broker names them."""
    log, open_, aborted, base = [], {}, [], draw(st.integers(0, 1 << 40))
    for _ in range(draw(st.integers(1, 9))):
        producer = draw(st.sampled_from([-1, 1, 2, 3]))
        ends = producer in open_ and draw(st.booleans())
        if ends:
            aborts = draw(st.booleans())
            batch, first = marker(base, producer, aborts), open_.pop(producer)
            if aborts:
                aborted.append((producer, first))
        else:
            batch = draw(batches(base, producer, 0 if producer < 0 else TRANSACTIONAL))
            if producer > 0:
                open_.setdefault(producer, base)
        log.append(batch)
        base = batch.following
    return log, aborted


@pytest.mark.timeout(90)
@settings(max_examples=100, deadline=None)
@given(logs(), st.data())
def test_a_log_is_read_as_aiokafka_reads_it_from_any_position(log, data):
    log, aborted = log
    at = data.draw(st.integers(0, len(log) - 1))
    position = data.draw(st.integers(log[at].base, log[at].following - 1))
    named = [one for one in aborted if one[1] <= log[-1].following]
    octets = b"".join(batch.octets() for batch in log[at:])
    assert read(octets, named, position) == theirs(octets, named, position)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(stamps, octets, octets), min_size=1, max_size=30),
    st.sampled_from(CODECS),
    st.sampled_from([Builder, OtherBuilder]),
)
def test_what_other_clients_build_comes_back(rows, codec, made_by):
    codec = codec if made_by is Builder or codec < 2 else 0  # kafka-python needs more packages for the others
    builder = made_by(2, codec, 0, -1, -1, -1, 1 << 20)
    for i, (stamp, key, value) in enumerate(rows):
        builder.append(i, abs(stamp), key, value, [("name", b"1"), ("other", None)])
    expected = [(i, abs(stamp), key or b"", value or b"") for i, (stamp, key, value) in enumerate(rows)]
    assert read(bytes(builder.build())) == (len(rows), expected)


def rows(count, size=20):
    dice = random.Random(count)
    return [(i, i, b"k%d" % i, dice.randbytes(size // 2) + b"." * (size // 2), ()) for i in range(count)]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("size", [20, 3_000], ids=["short", "long"])
def test_a_long_batch_comes_back_in_every_codec(codec, size):
    batch = Batch(7, rows(400, size), 399, codec)
    assert read(batch.octets()) == theirs(batch.octets())


@pytest.mark.parametrize("codec", CODECS[1:])
def test_a_batch_that_was_compressed_a_hundredfold_comes_back(codec):
    batch = Batch(0, [(0, 0, b"", bytes(5 << 20), ())], 0, codec)
    ((_, _, _, value),) = read(batch.octets())[1]
    assert value == bytes(5 << 20)


@pytest.mark.parametrize("codec", CODECS[1:])
def test_a_fetch_that_is_too_long_decompressed_is_refused(codec, monkeypatch):
    monkeypatch.setattr(fetched, "LIMIT", 1 << 20)
    batch = Batch(0, [(0, 0, b"", bytes(600_000), ())], 0, codec)
    assert len(read(batch.octets())[1]) == 1
    with pytest.raises(Unreadable, match="cannot be decompressed to at most"):
        read(batch.octets() + Batch(1, batch.rows, 0, codec).octets())


def test_snappy_without_frames_is_read():
    import cramjam

    section = b"".join(record(*row) for row in rows(40))
    batch = Batch(0, rows(40), 39, 2, payload=bytes(cramjam.snappy.compress_raw(section)))
    assert read(batch.octets()) == theirs(batch.octets())


def test_records_before_the_position_and_after_a_gap():
    batch = Batch(100, [(delta, 0, b"", b"%d" % delta, ()) for delta in (0, 3, 4, 8)], 10)
    end, found = read(batch.octets(), position=104)
    assert [offset for offset, *_ in found] == [104, 108]
    assert end == 111


def test_an_empty_batch_and_markers_only_move_the_end():
    data = Batch(10, [], 4).octets() + marker(15, 1, aborts=True).octets() + marker(16, 2, aborts=False).octets()
    assert read(data, [(1, 3)], 10) == (17, [])


def test_what_was_aborted_is_left_out_until_its_marker():
    data = [
        Batch(0, rows(2), 1, TRANSACTIONAL, 1),
        Batch(2, rows(2), 1, TRANSACTIONAL, 2),
        marker(4, 1, aborts=True),
        Batch(5, rows(2), 1, TRANSACTIONAL, 1),
        Batch(7, rows(1), 0),
        marker(8, 2, aborts=False),
    ]
    end, found = read(b"".join(batch.octets() for batch in data), [(1, 0), (1, 99)])
    assert [offset for offset, *_ in found] == [2, 3, 5, 6, 7]
    assert end == 9


@given(st.integers(0, 400))
def test_a_batch_that_the_fetch_cuts_off_is_left_for_the_next(cut):
    first, second = Batch(0, rows(3), 2).octets(), Batch(3, rows(9), 8).octets()
    end, found = read(first + second[: min(cut, len(second) - 1)])
    assert (end, len(found)) == (3, 3)


@settings(deadline=None)
@given(st.data())
def test_a_changed_bit_is_seen(data):
    octets = bytearray(Batch(0, rows(5), 4).octets())
    octets[data.draw(st.integers(21, len(octets) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(Damaged, match="offset 0 of t-3 arrived damaged; the worker begins anew"):
        read(bytes(octets))


@pytest.mark.parametrize("codec", CODECS[1:])
def test_a_payload_that_is_not_compressed_so_is_refused(codec):
    for payload in (
        b"",
        b"nonsense",
        bytes(300),
        b"\x82SNAPPY\x00" + bytes(9) + b"\x7f\xff\xff\xff",
        bytes([255]) * 90,
    ):
        with pytest.raises(Unreadable):
            read(Batch(0, count=1, attributes=codec, payload=payload).octets())


@pytest.mark.parametrize("codec", CODECS[1:])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_payload_that_is_changed_is_refused_or_is_another(codec, data):
    octets = Batch(0, rows(30), 29, codec).octets()[61:]
    payload = bytearray(octets[: data.draw(st.integers(1, len(octets)))])
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(Unreadable):
        assert len(read(Batch(0, count=30, last=29, attributes=codec, payload=bytes(payload)).octets())[1]) == 30


BROKEN = {
    "no bytes": (b"", 1, "fewer bytes"),
    "a count of two": (record(0, 0, b"k", b"v" * 9), 2, "ends within"),
    "a count of none": (record(0, 0, b"k", b"v"), 0, "bytes after its last record"),
    "a huge count": (record(0, 0, b"k", b"v"), 2**31 - 1, "fewer bytes"),
    "a length beyond the end": (varint(1_000) + bytes(20), 1, "ends within"),
    "a length of nothing": (varint(0) + bytes(20), 1, "ends within"),
    "a negative length": (varint(-5) + bytes(20), 1, "ends within"),
    "the longest length": (varint(2**63 - 1) + bytes(20), 1, "ends within"),
    "a number of eleven bytes": (b"\x80" * 10 + b"\x01" + bytes(9), 1, "more than 64 bits"),
    "a number of 65 bits": (b"\xff" * 9 + b"\x02" + bytes(9), 1, "more than 64 bits"),
    "a number without its end": (b"\x80" * 9, 1, "ends within"),
    "a record that is too long": (varint(9) + bytes(9), 1, "not as long as it says"),
    "a record that is too short": (varint(6) + bytes(3) + varint(3) + bytes(8), 1, "ends within"),
    "a key beyond the record": (varint(6) + bytes(3) + varint(40) + bytes(60), 1, "ends within"),
    "a value beyond the record": (varint(6) + bytes(4) + varint(2) + bytes(60), 1, "ends within"),
    "a negative count of headers": (varint(6) + bytes(5) + varint(-1), 1, "negative count"),
    "many headers": (varint(9) + bytes(5) + varint(2**31), 1, "ends within"),
    "a header without a name": (varint(8) + bytes(5) + varint(1) + varint(-1) + bytes(1), 1, "negative count"),
    "a header beyond the record": (varint(8) + bytes(5) + varint(1) + varint(9) + bytes(60), 1, "ends within"),
    "equal offsets": (record(0, 0, b"", b"") * 2, 2, "do not rise"),
    "falling offsets": (record(1, 0, b"", b"") + record(0, 0, b"", b""), 2, "do not rise"),
    "a negative offset": (record(-1, 0, b"", b""), 1, "do not rise"),
    "an offset beyond the last": (record(3, 0, b"", b""), 1, "beyond its last"),
    "a timestamp beyond all bounds": (record(0, 2**63 - 1, b"", b""), 1, "impossible timestamp"),
    "the smallest timestamp": (record(0, -(2**63), b"", b""), 1, "impossible timestamp"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_section_that_is_not_well_formed_is_refused_with_its_reason(name):
    section, count, reason = BROKEN[name]
    with pytest.raises(Unreadable, match=f"offset 5 of t-3 .*{reason}.*kafka-dump-log"):
        read(Batch(5, section=section, count=count, last=2).octets())


@pytest.mark.parametrize("deltas", [(0, 0), (1, 0), (0, 9), (-4, 1)])
def test_a_record_of_a_whole_batch_has_the_offset_of_its_place_whatever_its_producer_wrote(deltas):
    batch = Batch(5, [(delta, 0, b"", b"v", ()) for delta in deltas], 1)
    end, found = read(batch.octets())
    assert (end, [offset for offset, *_ in found]) == (7, [5, 6])


def verdict(batch):
    moving = not batch.attributes & APPEND_TIME
    stamp = batch.first if moving else batch.newest
    if batch.count * 7 > len(batch.section):
        raise Bad
    return list(rows_of(batch.section, batch.base, batch.last, batch.count, stamp, moving))


@pytest.mark.timeout(90)
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_hostile_sections_are_refused_exactly_where_the_plain_twin_refuses_them(data):
    first = data.draw(batches(5))
    section = bytearray(b"".join(record(*row) for row in first.rows))
    for _ in range(data.draw(st.integers(0, 3))):
        if section:
            at, kind = data.draw(st.integers(0, len(section) - 1)), data.draw(st.integers(0, 3))
            new = data.draw(st.binary(min_size=1, max_size=11) | st.sampled_from([b"\x01", b"\xff" * 9, b"\x80" * 5]))
            section = [section[:at], section[:at] + new + section[at + 1 :], section[:at] + new + section[at:],
                       section[:at] + section[at + 1 :]][kind]  # fmt: skip
    count = max(0, len(first.rows) + data.draw(st.sampled_from([0, 0, 0, 0, -1, 1])))
    batch = Batch(5, last=first.last, attributes=first.attributes & APPEND_TIME, count=count, section=bytes(section))
    try:
        expected = verdict(batch)
    except Bad:
        with pytest.raises(Unreadable):
            read(batch.octets())
    else:
        assert read(batch.octets())[1] == expected


@pytest.mark.parametrize(
    "change", [(16, b"\x01"), (16, b"\x00"), (8, struct.pack(">i", 40)), (8, struct.pack(">i", -9))]
)
def test_another_format_is_refused_and_not_asked_for_again_and_again(change):
    at, new = change
    octets = bytearray(Batch(5, rows(3), 2).octets())
    octets[at : at + len(new)] = new
    with pytest.raises(Unreadable, match="not of format v2"):
        read(bytes(octets))


@pytest.mark.parametrize(
    "batch",
    [
        Batch(-1, rows(1)),
        Batch(1 << 62, rows(1)),
        Batch(0, rows(1), last=-1),
        Batch(0, rows(1), count=-1),
        Batch(0, rows(1), first=1 << 62),
        Batch(0, rows(1), attributes=5, payload=bytes(20)),
    ],
)
def test_an_impossible_header_is_refused(batch):
    with pytest.raises(Unreadable, match=r"impossible header|is compressed in a way, 5"):
        read(batch.octets())


def test_a_marker_without_its_kind_is_refused_and_an_empty_one_says_nothing():
    broken = marker(3, 1, aborts=True)
    broken.rows = [(0, 0, b"\x00", b"", ())]
    with pytest.raises(Unreadable, match="marker without its kind"):
        read(broken.octets(), [(1, 0)])
    broken.rows = []
    assert read(broken.octets(), [(1, 0)]) == (4, [])
