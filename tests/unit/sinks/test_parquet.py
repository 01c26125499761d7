import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import rows as slow
from schemas import wire
from schemas.columns import Blob
from sinks import parquet
from sinks.decoding import Damaged, decoded, rows_of
from sinks.parquet import Range
from sinks.tables import HUB, table
from streams.base import Records
from tests.conformance.hub_events import KINDS, quarantined

ALL = (*HUB, "quarantine")
MAKERS = KINDS | {"quarantine": quarantined}


def content(name, numbers):
    values = Blob.of([MAKERS[name](number) for number in numbers])
    offsets = np.arange(len(values))
    nothing = Blob.of([b""] * len(values))
    records = Records("hub.x", 0, 0, len(values), offsets, offsets, values, nothing)
    return rows_of(table(name), decoded(records, table(name).contracts))


def file(name, numbers):
    return bytes(parquet.file(table(name), content(name, numbers)))


def flat(row):
    for name, value in row.items():
        if isinstance(value, dict):
            yield from flat(value)
        else:
            yield name, value.hex() if isinstance(value, bytes) else value


def as_row(name, values):
    """A contract's fields as the table has them: null what it lacks, and the code that stands for nothing."""
    row = {one.name: values.get(one.name) for one in table(name).columns}
    row |= {one.name: None for one in table(name).columns if one.blank and row[one.name] == one.blank}
    return row | ({"conflict": True} if name == "versions" else {})


@pytest.mark.parametrize("name", ALL)
def test_the_rows_are_those_of_the_slow_lane(name):
    found = pq.read_table(io.BytesIO(file(name, range(20)))).to_pylist()
    truth = [as_row(name, dict(flat(slow.read(*wire.unframe(MAKERS[name](number)))))) for number in range(20)]
    key = table(name).order

    def order(row):
        return [(row[one] is None, row[one]) if row[one] is not None else (True, "") for one in key]

    assert found == sorted(truth, key=order)


@pytest.mark.parametrize("name", ALL)
@given(numbers=st.permutations(range(12)))
@settings(max_examples=15, deadline=None)
def test_the_same_rows_give_the_same_bytes_in_whatever_order_they_came(name, numbers):
    assert file(name, numbers) == file(name, range(12))


@pytest.mark.parametrize("name", ["incidents", "patterns", "duplicates", "links"])
def test_rows_are_read_in_the_order_of_their_table_so_that_no_column_is_sorted(name):
    numbers = np.random.default_rng(1).permutation(300).tolist()
    found = content(name, numbers)
    assert found == found.sort_by([(one, "ascending") for one in table(name).order])


@pytest.mark.parametrize("short", [wire.CONFLUENT_LENGTH + 3, -1])
def test_of_damaged_records_the_first_is_named(short):
    whole = [MAKERS["links"](9 - number) for number in range(9)]
    values = Blob.of(
        [value[:-1] if k in (4, 6) else value[:short] if k == 7 else value for k, value in enumerate(whole)]
    )
    offsets = np.arange(100, 109)
    records = Records("hub.x", 0, 100, 109, offsets, offsets, values, Blob.of([b""] * 9))
    with pytest.raises(Damaged, match="at offset 104 "):
        decoded(records, table("links").contracts)


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


OLD = {"incidents": 5, "links": 1, "duplicates": 2}


@pytest.mark.parametrize(("name", "more"), OLD.items())
def test_a_file_of_an_older_release_is_read_with_nulls_in_what_it_lacks(name, more):
    whole = content(name, range(9))
    old = io.BytesIO()
    pq.write_table(whole.select(whole.column_names[:-more]), old)
    found = parquet.read(table(name), old.getvalue())
    assert found.equals(whole)
    assert parquet.read(table(name), old.getvalue(), table(name).versions).column_names == list(table(name).versions)
