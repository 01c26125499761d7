"""The slow lane: one record at a time, strict before it is read, in plain Python (a node needs no more).

`schemas.walk` gives the verdict, the `avro` package the values. Values are Python's own, with three decisions:
a timestamp-millis is an int (milliseconds UTC), a date a `datetime.date`, an array of enum symbols is a set and comes
in the order of its schema. Fixed and bytes are bytes, symbols are str, null is None.
"""

import io
import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import avro.errors
import avro.io
import avro.schema

from schemas.errors import Quarantines
from schemas.limits import logical
from schemas.released import Release
from schemas.walk import Step, refuse, step


class NotWritable(Quarantines):
    """A value that its contract does not allow, reason `avro.value`; the message names the field, never the value."""


@lru_cache(maxsize=64)
def _walker(release: Release) -> Step:
    return step(release.schema)


@lru_cache(maxsize=64)
def _parsed(release: Release) -> avro.schema.Schema:
    return avro.schema.parse(json.dumps(_timestamps_as_long(release.schema)))


@lru_cache(maxsize=64)
def _order(release: Release) -> Callable[[Any], Any]:
    return _in_order(release.schema)


def check(release: Release, body: bytes) -> None:
    """Refuse `body` unless it is exactly one value of the schema: Malformed, with a reason of `schemas.limits`."""
    end = _walker(release)(body, 0)
    if end != len(body):
        raise refuse("avro.trailing_bytes", end)


def read(release: Release, body: bytes) -> Any:
    """Return the value in `body`, a dict for a record; Malformed where `check` refuses."""
    body = bytes(body)
    check(release, body)
    decoder = avro.io.BinaryDecoder(io.BytesIO(body))
    return _order(release)(avro.io.DatumReader(_parsed(release)).read(decoder))


def write(release: Release, value: Any) -> bytes:
    """Return `value` in Avro binary, in the one form that `check` allows and the fast lane writes too.

    NotWritable where a field is missing, unknown or of the wrong type; Malformed where it breaks a limit.
    """
    buffer = io.BytesIO()
    try:
        avro.io.DatumWriter(_parsed(release)).write(_order(release)(value), avro.io.BinaryEncoder(buffer))
    except (avro.errors.AvroException, TypeError, ValueError, OverflowError, AttributeError, KeyError):
        field = _wrong(_parsed(release), value) or release.name
        message = f"{release.name}: {field} has a value that the contract does not allow; see schemas/avro"
        raise NotWritable("avro.value", message) from None
    body = buffer.getvalue()
    check(release, body)
    return body


def _wrong(schema: Any, value: Any, path: str = "") -> str:
    """Return the path of the first field that the contract does not allow, "" where none stands out."""
    if schema.type != "record" or not isinstance(value, dict):
        return path
    names = {field.name for field in schema.fields}
    unknown = sorted(str(name) for name in value if name not in names)
    if unknown:
        return ".".join(filter(None, (path, unknown[0])))
    for field in schema.fields:
        if not avro.io.validate(field.type, value.get(field.name)):
            return _wrong(field.type, value.get(field.name), ".".join(filter(None, (path, field.name))))
    return path


def _timestamps_as_long(node: Any) -> Any:
    """Return the schema with timestamps as plain longs: the package's datetimes end at the year 9999."""
    if isinstance(node, list):
        return [_timestamps_as_long(branch) for branch in node]
    if not isinstance(node, dict):
        return node
    if logical(node) == "timestamp-millis":
        return "long"
    return {key: _timestamps_as_long(value) if key in _NESTED else value for key, value in node.items()}


_NESTED = ("type", "items", "values", "fields")


def _in_order(schema: Any) -> Callable[[Any], Any]:
    """Return a function that puts arrays of symbols into the schema's order, in a record and in those within it."""
    if not isinstance(schema, dict):
        return _same
    if schema["type"] == "array" and isinstance(schema["items"], dict) and schema["items"]["type"] == "enum":
        rank = {symbol: index for index, symbol in enumerate(schema["items"]["symbols"])}
        return lambda items: sorted(items, key=rank.__getitem__)
    if schema["type"] != "record":
        return _same
    inner = {field["name"]: _in_order(field["type"]) for field in schema["fields"]}
    ordered = {name: order for name, order in inner.items() if order is not _same}
    return lambda value: value | {name: order(value[name]) for name, order in ordered.items()} if ordered else value


def _same(value: Any) -> Any:
    return value
