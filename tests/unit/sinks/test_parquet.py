import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import rows as slow
from schemas import wire
from schemas.columns import Blob, compile, decode  # noqa: A004
from sinks import parquet
from sinks.parquet import Range
from sinks.tables import HUB, table
from tests.conformance.hub_events import KINDS, quarantined

ALL = (*HUB, "quarantine")
MAKERS = KINDS | {"quarantine": quarantined}


def content(name, numbers):
    events = [wire.unframe(MAKERS[name](number)) for number in numbers]
    blob = Blob.of([body for _, body in events])
    columns = decode(compile(events[0][0]), blob.data, blob.starts, blob.ends)
    return parquet.rows(table(name), {one.field: columns.arrow(one.field) for one in table(name).columns})


def file(name, numbers):
    return bytes(parquet.file(table(name), content(name, numbers)))


def flat(row):
    for name, value in row.items():
        if isinstance(value, dict):
            yield from flat(value)
        else:
            yield name, value.hex() if isinstance(value, bytes) else value


@pytest.mark.parametrize("name", ALL)
def test_the_rows_are_those_of_the_slow_lane(name):
    found = pq.read_table(io.BytesIO(file(name, range(20)))).to_pylist()
    truth = [dict(flat(slow.read(*wire.unframe(MAKERS[name](number))))) for number in range(20)]
    key = table(name).order

    def order(row):
        return [(row[one] is None, row[one]) if row[one] is not None else (True, "") for one in key]

    assert found == sorted(truth, key=order)


@pytest.mark.parametrize("name", ALL)
@given(numbers=st.permutations(range(12)))
@settings(max_examples=15, deadline=None)
def test_the_same_rows_give_the_same_bytes_in_whatever_order_they_came(name, numbers):
    assert file(name, numbers) == file(name, range(12))


@pytest.mark.parametrize("name", ALL)
def test_only_harmless_columns_have_statistics(name):
    group = pq.ParquetFile(io.BytesIO(file(name, range(20)))).metadata.row_group(0)
    chunks = [group.column(number) for number in range(group.num_columns)]
    assert {one.path_in_schema for one in chunks if one.statistics is not None} == table(name).statistics
    assert not any(one.has_column_index or one.has_offset_index for one in chunks)
    assert all(one.compression == "ZSTD" for one in chunks)
    assert all(one.is_stats_set == (one.path_in_schema in table(name).statistics) for one in chunks)


@pytest.mark.parametrize("name", ALL)
def test_a_column_carries_its_sentence_and_its_type(name):
    schema = pq.read_schema(io.BytesIO(file(name, range(3))))
    for column in table(name).columns:
        field = schema.field(column.name)
        assert field.metadata[b"comment"].decode() == column.doc
        assert field.nullable == column.nullable
        assert not pa.types.is_dictionary(field.type)


def test_types_are_plain():
    types = {field.name: str(field.type) for field in parquet.schema_of(table("incidents"))}
    assert types["incident_id"] == types["verification"] == "string"
    assert types["occurred_on"] == "date32[day]"
    assert types["forms"] == "list<element: string not null>"
    assert types["women"] == "int32"
    assert types["un_eyewitness"] == "bool"


OFFSETS = st.integers(0, 2**63 - 1)


@given(st.integers(0, 99_999), OFFSETS, OFFSETS)
def test_a_name_carries_its_range(partition, start, end):
    one = Range(partition, start, end)
    assert Range.of(one.name) == one
    assert Range.of(f"s3://tocsin/hub/sahel/incidents/{one.name}") == one


def test_names_sort_as_their_ranges_do():
    offsets = [0, 9, 10, 99, 100, 10**12, 2**63 - 1]
    names = [Range(0, start, start + 1).name for start in offsets]
    assert names == sorted(names)


@pytest.mark.parametrize(
    "name",
    ["", "_keep", "part-00000-1-2.parquet", f"{Range(0, 1, 2).name}.tmp", "part-00001-b6c0-c000.snappy.parquet"],
)
def test_a_file_that_the_sink_did_not_name_has_no_range(name):
    assert Range.of(name) is None


def test_no_rows_make_a_file_that_can_be_read():
    empty = content("incidents", range(1)).filter(pa.array(np.zeros(1, bool)))
    assert pq.read_table(io.BytesIO(bytes(parquet.file(table("incidents"), empty)))).num_rows == 0
