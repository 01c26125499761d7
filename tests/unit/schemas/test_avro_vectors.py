"""The Avro project's own published vectors; each table names the file that it is taken from (Apache License 2.0)."""

import json

import pytest

from schemas import build, columns, rows, wire
from schemas.errors import Quarantines
from schemas.fingerprints import canonical, fingerprint
from schemas.released import Release

# apache/avro share/test/data/schema-tests.txt at 0ea74a36cebb2e5fbc37e599814a05c33cb7d424: number of the case, input,
# canonical form, fingerprint as Java's signed long.
SCHEMA_TESTS = [
    ("000", '"null"', '"null"', 7195948357588979594),
    ("001", '{"type":"null"}', '"null"', 7195948357588979594),
    ("003", '{"type":"boolean"}', '"boolean"', -6970731678124411036),
    ("004", '"int"', '"int"', 8247732601305521295),
    ("007", '{"type":"long"}', '"long"', -3434872931120570953),
    ("011", '{"type":"double"}', '"double"', -8181574048448539266),
    ("012", '"bytes"', '"bytes"', 5746618253357095269),
    ("014", '"string"', '"string"', -8142146995180207161),
    ("018", '[ "int" , {"type":"boolean"} ]', '["int","boolean"]', 5392556393470105090),
    (
        "019",
        '{"fields":[], "type":"record", "name":"foo"}',
        '{"name":"foo","type":"record","fields":[]}',
        -4824392279771201922,
    ),
    (
        "020",
        '{"fields":[], "type":"record", "name":"foo", "namespace":"x.y"}',
        '{"name":"x.y.foo","type":"record","fields":[]}',
        5916914534497305771,
    ),
    (
        "021",
        '{"fields":[], "type":"record", "name":"a.b.foo", "namespace":"x.y"}',
        '{"name":"a.b.foo","type":"record","fields":[]}',
        -4616218487480524110,
    ),
    (
        "024",
        '{"fields":[], "type":"record", "name":"foo", "doc":"foo", "aliases":["foo","bar"]}',
        '{"name":"foo","type":"record","fields":[]}',
        -4824392279771201922,
    ),
    (
        "026",
        (
            '{"fields":[{"type":"boolean", "aliases":[], "name":"f1", "default":"true"}, '
            '{"order":"descending","name":"f2","doc":"Hello","type":"int"}], "type":"record", "name":"foo"}'
        ),
        '{"name":"foo","type":"record","fields":[{"name":"f1","type":"boolean"},{"name":"f2","type":"int"}]}',
        -4860222112080293046,
    ),
    (
        "028",
        '{"namespace":"x.y.z", "type":"enum", "name":"foo", "doc":"foo bar", "symbols":["A1", "A2"]}',
        '{"name":"x.y.z.foo","type":"enum","symbols":["A1","A2"]}',
        -4448647247586288245,
    ),
    (
        "030",
        '{"namespace":"x.y.z", "type":"fixed", "name":"foo", "doc":"foo bar", "size":32}',
        '{"name":"x.y.z.foo","type":"fixed","size":32}',
        -3064184465700546786,
    ),
    ("031", '{ "items":{"type":"null"}, "type":"array"}', '{"type":"array","items":"null"}', -589620603366471059),
    ("032", '{ "values":"string", "type":"map"}', '{"type":"map","values":"string"}', -8732877298790414990),
    (
        "033",
        '{"name":"PigValue","type":"record", "fields":[{"name":"value", "type":["null", "int", "long", "PigValue"]}]}',
        '{"name":"PigValue","type":"record","fields":[{"name":"value","type":["null","int","long","PigValue"]}]}',
        -1759257747318642341,
    ),
]


@pytest.mark.parametrize(
    ("given", "form", "number"), [case[1:] for case in SCHEMA_TESTS], ids=[c[0] for c in SCHEMA_TESTS]
)
def test_canonical_form_and_fingerprint_are_those_of_java(given, form, number):
    schema = json.loads(given)
    assert canonical(schema) == form
    assert fingerprint(schema) == number.to_bytes(8, "little", signed=True)


@pytest.mark.parametrize("kind", [("int", "date"), ("long", "timestamp-millis")])
def test_a_logical_type_is_no_part_of_the_canonical_form(kind):
    # Java's SchemaNormalization.build writes a primitive as its name alone, cases 004 and 006.
    schema = {"type": kind[0], "logicalType": kind[1]}
    assert canonical(schema) == f'"{kind[0]}"'
    assert fingerprint(schema) == fingerprint(kind[0])


# apache/avro share/test/data/messageV1/test_schema.avsc and test_message.bin, its values from the README beside them.
MESSAGE_SCHEMA = {
    "type": "record",
    "namespace": "org.apache.avro",
    "name": "TestMessage",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "name", "type": "string"},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
    ],
}
MESSAGE = bytes.fromhex("c301a92de1f8a242f53d540842696c6c0412646f675f6c6f766572126361745f686174657200")
MESSAGE_VALUE = {"id": 42, "name": "Bill", "tags": ["dog_lover", "cat_hater"]}


def release_of(schema):
    return Release(0, schema["name"], 1, fingerprint(schema), schema)


def test_the_published_single_object_message_is_read_and_written_by_both_lanes():
    release = release_of(MESSAGE_SCHEMA)
    prefix = wire.single_object_prefix(release)
    body = MESSAGE[len(prefix) :]
    assert wire.single_object(release, rows.write(release, MESSAGE_VALUE)) == MESSAGE
    assert rows.read(release, body) == MESSAGE_VALUE
    blob = columns.Blob.of([MESSAGE])
    layout = columns.compile(release)
    decoded = columns.decode(layout, blob.data, blob.starts + len(prefix), blob.ends)
    assert decoded.row(0) == MESSAGE_VALUE
    values = {name: build.part(decoded, name) for name in layout.columns}
    assert build.encode(layout, 1, values, prefix).item(0) == MESSAGE


# apache/avro share/test/data/binary-rejections.json (AVRO-4304, pull request 3932, a373452042e9af780c131c74df7fe15eb1c9a42a):
# name, schema, bytes that a decoder must reject; and our reason.
BINARY_REJECTIONS = [
    ("long_varint_non_terminating", "long", "80808080808080808080", "avro.varint_too_long"),
    ("int_varint_non_terminating", "int", "8080808080", "avro.varint_too_long"),
    ("array_block_count_int64_min", {"type": "array", "items": "int"}, "ffffffffffffffffff0102", "avro.block_count"),
    ("bytes_length_negative", "bytes", "01", "avro.length"),
    ("string_length_negative", "string", "01", "avro.length"),
    ("union_branch_index_negative", ["null", "int"], "01", "avro.union_branch"),
    ("union_branch_index_too_large", ["null", "int"], "0a", "avro.union_branch"),
    ("enum_index_negative", {"type": "enum", "name": "E", "symbols": ["A", "B"]}, "01", "avro.enum_index"),
    ("enum_index_too_large", {"type": "enum", "name": "E", "symbols": ["A", "B"]}, "0a", "avro.enum_index"),
]


@pytest.mark.parametrize(
    ("schema", "payload", "reason"), [v[1:] for v in BINARY_REJECTIONS], ids=[v[0] for v in BINARY_REJECTIONS]
)
def test_both_lanes_reject_what_every_decoder_must(schema, payload, reason):
    # A record of one field has the bytes of the field.
    body = bytes.fromhex(payload)
    slow = release_of({"type": "record", "name": "One", "fields": [{"name": "value", "type": schema}]})
    with pytest.raises(Quarantines) as refused:
        rows.read(slow, body)
    assert refused.value.reason == reason
    if isinstance(schema, dict) and schema.get("items") == "int":
        schema = {
            "type": "array",
            "items": "string",
        }  # the fast lane reads no array of int; the block count comes first
    fast = release_of({"type": "record", "name": "One", "fields": [{"name": "value", "type": schema}]})
    blob = columns.Blob.of([body])
    assert columns.decode(columns.compile(fast), blob.data, blob.starts, blob.ends).reason(0) == reason
