"""The scan sees a canary wherever its bytes may lie, also where no server tells of it any more."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kafka.record import MemoryRecordsBuilder

from tests.chaos.scan import Canary, Scan

CASE = Canary(bytes(range(16)), b"the wrapped key of a case", b"Canary " + b"c" * 24, {"sahel": bytes(range(50, 66))})
OTHER = Canary(bytes(16), b"another wrapped key", b"Canary " + b"d" * 24, {"sahel": bytes(range(70, 86))})


def segment(*records, compression=0):
    builder = MemoryRecordsBuilder(2, compression, 1 << 20)
    for key, value in records:
        builder.append(0, key, value, [])
    builder.close()
    return bytes(builder.buffer())


def parquet(**columns):
    content = io.BytesIO()
    pq.write_table(pa.table(columns), content, compression="zstd")
    return content.getvalue()


ROW = parquet(incident_id=[CASE.minted["sahel"].hex(), "00" * 16], party=["x", "y"])
PAIR = parquet(first_id=["00" * 16], second_id=[CASE.minted["sahel"].hex()])
TAGGED = b"before " + CASE.tag + b" after"
PLACES = {
    "kafka/data/accepted-3/0.log": (segment((b"ML", TAGGED)), {"accepted", "bytes of kafka"}),
    "kafka/data/accepted-1/5.log.deleted": (segment((b"ML", TAGGED), compression=1), {"accepted"}),
    "kafka/data/hub.x.1f-delete/0.log": (b"", set()),
    "kafka/data/keys.SYN-1-0/0.log.swap": (segment((CASE.ref, CASE.key)), {"keys.SYN-1"}),
    "s3/data/7.dat": (b"head" + ROW + b"x" * 9 + PAIR + b"end", {"rows of sahel", "rows that name others of sahel"}),
    "s3/data/8.dat": (b"PAR1 torn" + ROW, {"rows of sahel"}),
    "nodes/SYN-1/journal/keys.log": (b"x" * 5 + CASE.key, {"node"}),
    "logs/worker.jsonl": (TAGGED, {"bytes of logs"}),
    "streams/merge/snapshots/a": (b"nothing", set()),
}


@pytest.mark.parametrize("place", PLACES)
def test_it_is_found_where_it_lies_and_nothing_else_is(tmp_path, place):
    content, stores = PLACES[place]
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    scan = Scan(tmp_path, [CASE, OTHER])
    assert scan.of(CASE.ref) == stores
    assert scan.of(OTHER.ref) == set()


def test_a_segment_that_is_being_written_is_read_as_far_as_it_is(tmp_path):
    folder = tmp_path / "kafka" / "accepted-0"
    folder.mkdir(parents=True)
    (folder / "0.log").write_bytes(segment((b"k", TAGGED), compression=1) + segment((b"k", b"more"))[:-3])
    assert Scan(tmp_path, [CASE]).of(CASE.ref) == {"accepted"}
