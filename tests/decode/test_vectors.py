"""What must be taken and what refused, as data: our own vectors, and all of the Avro project's."""

import json
from datetime import date
from pathlib import Path

import pytest

from schemas import columns, rows
from schemas.errors import Quarantines
from schemas.fingerprints import canonical, fingerprint
from schemas.released import Release
from schemas.walk import Unsupported
from tests.decode import plain

HERE = Path(__file__).parent
OWN = json.loads((HERE / "vectors.json").read_text("utf-8"))
OFFICIAL = json.loads((HERE / "official.json").read_text("utf-8"))
REFUSED = "refused"


def record_of(schema):
    """A record of one field has the bytes of the field."""
    return {"type": "record", "name": "One", "fields": [{"name": "value", "type": schema}]}


def release_of(schema):
    record = record_of(schema)
    return Release(0, "One", 1, fingerprint(record), record)


def by_plain(schema, body, strict=True):
    try:
        return shown(plain.read(record_of(schema), body, strict)["value"])
    except plain.Refused:
        return REFUSED


def by_rows(schema, body):
    try:
        return shown(rows.read(release_of(schema), body)["value"])
    except Quarantines:
        return REFUSED


def by_columns(schema, body):
    blob = columns.Blob.of([body, body])
    decoded = columns.decode(columns.compile(release_of(schema)), blob.data, blob.starts, blob.ends)
    both = [REFUSED if decoded.status[i] else shown(decoded.row(i)["value"]) for i in (0, 1)]
    assert both[0] == both[1]
    return both[0]


def shown(value):
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, date) else value


def in_order(value, schema):
    """A set of symbols in the order of its schema."""
    if isinstance(value, list) and isinstance(schema, dict) and isinstance(schema["items"], dict):
        return sorted(value, key=schema["items"]["symbols"].index)
    return value


def test_there_are_more_than_a_hundred_and_each_says_why():
    vectors = OWN["vectors"]
    assert len(vectors) > 130
    assert len({vector["name"] for vector in vectors}) == len(vectors)
    assert all(vector["why"] for vector in vectors)


@pytest.mark.parametrize("vector", OWN["vectors"], ids=lambda vector: vector["name"])
def test_every_reader_takes_or_refuses_our_own_vectors(vector):
    schema, body = OWN["schemas"][vector["schema"]], bytes.fromhex(vector["bytes"])
    wanted = vector["value"] if vector["accept"] else REFUSED
    assert in_order(by_plain(schema, body), schema) == wanted
    assert by_rows(schema, body) == wanted
    if vector["schema"] == "map":
        with pytest.raises(Unsupported):
            columns.compile(release_of(schema))
    else:
        assert by_columns(schema, body) == wanted
    specified = vector["value"] if vector["by_specification"] else REFUSED
    assert in_order(by_plain(schema, body, strict=False), schema) == in_order(specified, schema)


@pytest.mark.parametrize("vector", OFFICIAL["rejections"], ids=lambda vector: vector["name"])
def test_every_reader_refuses_what_the_avro_project_says_must_be_refused(vector):
    schema, body = vector["schema"], bytes.fromhex(vector["bytes"])
    assert by_plain(schema, body, strict=False) == by_plain(schema, body) == by_rows(schema, body) == REFUSED
    if vector["name"] != "array_block_count_int64_min":  # the fast lane reads no array of int
        assert by_columns(schema, body) == REFUSED


@pytest.mark.parametrize("case", OFFICIAL["schemas"], ids=lambda case: case["number"])
def test_every_published_schema_has_its_canonical_form_and_fingerprint(case):
    assert canonical(case["input"]) == case["canonical"]
    if "fingerprint" in case:
        assert int.from_bytes(fingerprint(case["input"]), "little", signed=True) == case["fingerprint"]
