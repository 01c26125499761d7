import io
import json
from datetime import UTC, datetime

import avro.io
import avro.schema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import rows
from schemas.errors import Quarantines
from schemas.fingerprints import fingerprint
from schemas.limits import BYTES_BYTES, DATE, ITEMS, STRING_BYTES, TIMESTAMP
from schemas.released import Release, latest, releases
from schemas.walk import Malformed, Unsupported, step, varint
from tests.unit.schemas import values
from tests.unit.schemas.values import INCIDENT


def one(kind):
    schema = {"type": "record", "name": "One", "fields": [{"name": "value", "type": kind}]}
    return Release(0, "One", 1, fingerprint(schema), schema)


def reason(kind, payload):
    with pytest.raises(Malformed) as refused:
        rows.check(one(kind), bytes.fromhex(payload))
    return refused.value.reason


@pytest.mark.parametrize("release", releases(), ids=lambda release: release.name)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_what_is_written_is_read(release, data):
    value = data.draw(values.of(release.schema))
    body = rows.write(release, value)
    assert rows.read(release, body) == value
    assert rows.write(release, rows.read(release, body)) == body


@pytest.mark.parametrize("release", releases(), ids=lambda release: release.name)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_the_avro_package_ends_where_the_strict_walk_ends(release, data):
    body = rows.write(release, data.draw(values.of(release.schema)))
    stream = io.BytesIO(body)
    schema = json.dumps(rows._timestamps_as_long(release.schema))
    avro.io.DatumReader(avro.schema.parse(schema)).read(avro.io.BinaryDecoder(stream))
    assert stream.tell() == len(body)


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_a_varint_is_read_as_the_avro_package_writes_it(number):
    stream = io.BytesIO()
    avro.io.BinaryEncoder(stream).write_long(number)
    assert varint(stream.getvalue(), 0) == (number, len(stream.getvalue()))


@pytest.mark.parametrize(
    ("kind", "payload", "expected"),
    [
        ("long", "", "avro.truncated"),
        ("long", "80", "avro.truncated"),
        ("long", "8000", "avro.varint_not_canonical"),
        ("long", "ffffffffffffffffff02", "avro.varint_too_long"),
        ("long", "ffffffffffffffffff8001", "avro.varint_too_long"),
        ("long", "0000", "avro.trailing_bytes"),
        ("int", "8080808010", "avro.int_range"),
        ("int", "ffffffff1f", "avro.int_range"),
        ("int", "808080808001", "avro.varint_too_long"),
        ("int", "818000", "avro.varint_not_canonical"),
        ("boolean", "", "avro.truncated"),
        ("boolean", "02", "avro.boolean"),
        ("string", "0461", "avro.truncated"),
        ("string", "02ff", "avro.utf8"),
        ("string", "06eda080", "avro.utf8"),  # a surrogate
        ("string", "04c080", "avro.utf8"),  # overlong
        ("string", "08f4908080", "avro.utf8"),  # above U+10FFFF
        ("string", "021380", "avro.trailing_bytes"),
        ("bytes", "01", "avro.length"),
        ("double", "00", "avro.truncated"),
        ({"type": "fixed", "name": "F", "size": 4}, "000000", "avro.truncated"),
        ({"type": "array", "items": "string"}, "0102", "avro.block_count"),
        ({"type": "array", "items": "string"}, "0200", "avro.truncated"),
        ({"type": "map", "values": "long"}, "0402610202610200", "avro.duplicate_item"),
        (
            {"type": "array", "items": {"type": "enum", "name": "E", "symbols": ["A", "B"]}},
            "04000000",
            "avro.duplicate_item",
        ),
        (
            {"type": "array", "items": {"type": "enum", "name": "E", "symbols": ["A", "B"]}},
            "0200020000",
            "avro.duplicate_item",
        ),
        ({"type": "array", "items": {"type": "enum", "name": "E", "symbols": ["A", "B"]}}, "0204", "avro.enum_index"),
    ],
)
def test_what_is_not_exactly_one_value_is_refused_with_its_reason(kind, payload, expected):
    assert reason(kind, payload) == expected


def zigzag(number):
    stream = io.BytesIO()
    avro.io.BinaryEncoder(stream).write_long(number)
    return stream.getvalue().hex()


@pytest.mark.parametrize(
    ("kind", "limit"), [("string", STRING_BYTES), ("bytes", BYTES_BYTES), ({"type": "array", "items": "string"}, ITEMS)]
)
def test_limits_hold_before_anything_is_allocated(kind, limit):
    expected = "avro.too_many_items" if isinstance(kind, dict) else "avro.too_long"
    assert reason(kind, zigzag(limit + 1)) == expected
    assert reason(kind, zigzag((1 << 63) - 1)) == expected
    assert reason(kind, zigzag(limit)) == "avro.truncated"


def test_the_limit_on_items_counts_all_blocks():
    block = zigzag(600) + "00" * 600
    assert reason({"type": "array", "items": "string"}, block + block) == "avro.too_many_items"


@pytest.mark.parametrize(
    ("kind", "bounds"),
    [({"type": "int", "logicalType": "date"}, DATE), ({"type": "long", "logicalType": "timestamp-millis"}, TIMESTAMP)],
)
def test_a_date_that_no_calendar_has_is_refused(kind, bounds):
    for inside in bounds:
        rows.read(one(kind), bytes.fromhex(zigzag(inside)))
    assert reason(kind, zigzag(bounds[0] - 1)) == "avro.date_range"
    assert reason(kind, zigzag(bounds[1] + 1)) == "avro.date_range"


def test_only_the_delta_of_a_batch_may_be_long():
    value = {
        "lane": "a-0",
        "start": 0,
        "end": 1,
        "counts": {"accepted": 1},
        "suite": "s",
        "delta": bytes(BYTES_BYTES * 2),
    }
    body = rows.write(latest("BatchCommitted"), value)
    assert rows.read(latest("BatchCommitted"), body) == value
    envelope = {
        "event_id": bytes(16),
        "node": "N",
        "sequence": 1,
        "kind": "IncidentReported",
        "case_ref": None,
        "body_schema": bytes(8),
        "body": bytes(BYTES_BYTES + 1),
    }
    with pytest.raises(Quarantines) as refused:
        rows.write(latest("Envelope"), envelope)
    assert refused.value.reason == "avro.too_long"


def test_symbols_are_a_set_in_the_order_of_the_contract():
    value = {"recorded_at": 7, "incident": INCIDENT | {"forms": ["sexual_slavery", "rape"]}}
    body = rows.write(latest("IncidentReported"), value)
    assert rows.read(latest("IncidentReported"), body)["incident"]["forms"] == ["rape", "sexual_slavery"]
    with pytest.raises(Malformed) as refused:
        rows.write(latest("IncidentReported"), {"recorded_at": 7, "incident": INCIDENT | {"forms": ["rape", "rape"]}})
    assert refused.value.reason == "avro.duplicate_item"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"women": "secret"}, "incident.women"),
        ({"women": 1 << 31}, "incident.women"),
        ({"occurred_on": datetime(2021, 1, 1, 5, tzinfo=UTC)}, "IncidentReported"),
        ({"tactic": "secret"}, "incident.tactic"),
        ({"forms": ["secret"]}, "incident.forms"),
        ({"forms": None}, "incident.forms"),
        ({"secret": 1}, "incident.secret"),
        ({"party": "\ud800"}, "IncidentReported"),
        ({"country": None}, "incident.country"),
    ],
)
def test_a_wrong_value_is_named_by_its_field_and_never_shown(change, field):
    with pytest.raises(rows.NotWritable) as refused:
        rows.write(latest("IncidentReported"), {"recorded_at": 7, "incident": INCIDENT | change})
    assert refused.value.reason == "avro.value"
    assert f": {field} has" in str(refused.value)
    assert "secret" not in str(refused.value).replace("incident.secret", "")


@pytest.mark.parametrize("value", [None, [], {"recorded_at": 7}, {"recorded_at": 7, "incident": []}])
def test_what_is_no_record_at_all_is_refused(value):
    with pytest.raises(rows.NotWritable):
        rows.write(latest("IncidentReported"), value)


@pytest.mark.parametrize(
    "kind",
    [
        "float",
        {"type": "array", "items": "null"},  # a billion items in six bytes
        {"type": "array", "items": {"type": "record", "name": "R", "fields": []}},
        {"type": "map", "values": "null"},
        ["null", "One"],
    ],
)
def test_kinds_that_no_contract_may_use_are_not_read(kind):
    with pytest.raises(Unsupported):
        step({"type": "record", "name": "One", "fields": [{"name": "value", "type": kind}]})


def test_a_refusal_says_where_and_what_to_do_and_no_value():
    with pytest.raises(Malformed, match=r"avro.boolean at byte 0; the producer must write Avro as its schema says"):
        rows.check(one("boolean"), b"\x07")
