"""What could identify somebody has no minima and maxima, neither in a file nor in the log of the table."""

import io
import json
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from sinks.delta import dataset
from sinks.tables import of_topic
from sinks.writer import DeltaSink
from tests.conformance.hub_events import assessment, batch, closure, referral, revision
from tests.conformance.sink import log_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
TAG = "tag-9d1f"


@pytest.fixture(scope="module")
def topic(store):
    return new_topic(store)


def new_topic(store):
    name = f"hub.s{uuid4().hex[:8]}"
    sink = DeltaSink(store, name, 0)
    log = log_of(40) | {
        38: assessment(2, 302),
        39: referral(2, 202),
        40: closure(0),
        41: revision(1, 101, current=False, change="verified"),
    }
    for end in (15, 40, 42):
        sink.write(batch(name, log, sink.position(), end))
    for path in of_topic(name):
        DeltaTable(store.uri(path), storage_options=store.delta_options()).create_checkpoint()
    return name


def said_in_the_log(store, path):
    """Everything that the log and its checkpoints say, as one text."""
    parts = []
    for name in store.list(f"{path}/_delta_log/"):
        data = store.get(name)
        if name.endswith(".parquet"):
            parts.append(json.dumps(pq.read_table(io.BytesIO(data)).to_pylist(), default=str))
        else:
            parts.append(data.decode())
    return "\n".join(parts)


def test_a_file_has_statistics_of_harmless_columns_only(store, topic):
    for path, shape in of_topic(topic).items():
        seen = set()
        for name in store.list(path):
            if not name.endswith(".parquet") or "_delta_log" in name:
                continue
            group = pq.ParquetFile(io.BytesIO(store.get(name))).metadata.row_group(0)
            chunks = [group.column(i) for i in range(group.num_columns)]
            seen |= {chunk.path_in_schema.split(".")[0] for chunk in chunks if chunk.statistics is not None}
            assert not any(chunk.has_column_index or chunk.has_offset_index for chunk in chunks)
        assert seen == shape.statistics


def test_the_log_says_no_value_of_a_row(store, topic):
    for path in of_topic(topic):
        said = said_in_the_log(store, path)
        assert "part-" in said
        assert "minValues" not in said
        assert "numRecords" not in said
        rows = dataset(store, path).to_table().to_pylist()
        for column in (
            "incident_id",
            "pattern_id",
            "first_id",
            "referral_id",
            "assessment_id",
            "version_id",
            "area",
            "admin1",
            "party",
            "node",
        ):
            for row in rows:
                assert str(row.get(column) or TAG) not in said


def test_the_scan_of_a_log_finds_what_another_writer_leaves_there(store):
    path = f"other/{uuid4().hex[:8]}"
    write_deltalake(store.uri(path), pa.table({"party": [TAG]}), storage_options=store.delta_options())
    assert TAG in said_in_the_log(store, path)


def test_who_rewrites_a_table_later_leaves_no_value_in_the_log_and_the_sink_goes_on(store):
    topic = new_topic(store)
    path = next(path for path, shape in of_topic(topic).items() if shape.name == "incidents")
    handle = DeltaTable(store.uri(path), storage_options=store.delta_options())
    assert handle.optimize.compact()["numFilesAdded"] == 1
    handle.create_checkpoint()
    said = said_in_the_log(store, path)
    ids = dataset(store, path).to_table(["incident_id"])["incident_id"].to_pylist()
    assert ids
    assert not any(one in said for one in ids)
    sink = DeltaSink(store, topic, 0)
    assert sink.position() == 42
    sink.write(batch(topic, log_of(60), 42, 60))
    assert dataset(store, path).count_rows() == len(ids) + 8
