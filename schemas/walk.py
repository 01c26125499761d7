"""The strict rules as plain Python: one step a type, each takes (data, position) and returns the position after.

The fast lane's kernel walks the same rules over the same bytes and gives the same code: see `schemas.kernels`.
Beside the specification: varints are canonical (no byte that adds nothing), a block count is positive, items take
at least a byte each, an array of enum symbols is a set, dates lie in the years 1 to 9999.
"""

from collections.abc import Callable
from typing import Any

from schemas.errors import Quarantines, Stops
from schemas.limits import DATE, ITEMS, STRING_BYTES, TIMESTAMP, bytes_limit, logical

Step = Callable[[bytes, int], int]
WIDTHS = {"int": (5, 0x0F, "avro.int_range"), "long": (10, 0x01, "avro.varint_too_long")}


class Malformed(Quarantines):
    """The bytes are no value of the schema; `reason` is one of `schemas.limits.REASONS`."""


class Unsupported(Stops):
    """A schema of a kind that no contract of ours may use."""


def refuse(reason: str, position: int) -> Malformed:
    """Return the error for a byte at `position`; it names no value."""
    return Malformed(reason, f"{reason} at byte {position}; the producer must write Avro as its schema says")


def varint(data: bytes, position: int, width: str = "long") -> tuple[int, int]:
    """Return a zigzag varint and the position after it; `width` is `int` (32 bits) or `long` (64)."""
    longest, last, too_wide = WIDTHS[width]
    bits = 0
    for index in range(longest):
        if position + index >= len(data):
            raise refuse("avro.truncated", position)
        byte = data[position + index]
        if index == longest - 1 and byte > last:
            raise refuse("avro.varint_too_long" if byte & 0x80 else too_wide, position)
        bits |= (byte & 0x7F) << (7 * index)
        if not byte & 0x80:
            break
    if byte == 0 and index:
        raise refuse("avro.varint_not_canonical", position)
    return (bits >> 1) ^ -(bits & 1), position + index + 1


def step(schema: Any, field: str = "", known: dict[str, Step] | None = None) -> Step:
    """Return the step for a schema; `field` is the field's name (for limits), `known` the named types so far.

    A reference is by unqualified name, as in all our contracts; a type within itself is Unsupported.
    """
    known = {} if known is None else known
    if isinstance(schema, list):
        return _union([step(branch, field, known) for branch in schema])
    kind = schema if isinstance(schema, str) else schema["type"]
    if kind in known:
        return known[kind]
    if kind in _COMPOSITE:
        made = _COMPOSITE[kind](schema, field, known)
        known[schema.get("name", "")] = made
        return made
    return _primitive(kind, schema, field)


def _primitive(kind: str, schema: Any, field: str) -> Step:
    if kind in WIDTHS:
        bounds = {"date": DATE, "timestamp-millis": TIMESTAMP}.get(logical(schema))
        return _bounded(kind, *bounds) if bounds else _number(kind)
    if kind == "string":
        return _string
    if kind == "bytes":
        return _octets(bytes_limit(field))
    simple = {"null": _null, "boolean": _boolean, "double": _fixed({"size": 8}, "", {})}
    if kind not in simple:
        raise Unsupported(f"{kind} is no type that a contract of ours may use: choose one that schemas/walk.py reads")
    return simple[kind]


def _null(data: bytes, position: int) -> int:  # noqa: ARG001
    return position


def _boolean(data: bytes, position: int) -> int:
    if position >= len(data):
        raise refuse("avro.truncated", position)
    if data[position] > 1:
        raise refuse("avro.boolean", position)
    return position + 1


def _number(kind: str) -> Step:
    return lambda data, position: varint(data, position, kind)[1]


def _bounded(kind: str, low: int, high: int) -> Step:
    def walk(data: bytes, position: int) -> int:
        value, after = varint(data, position, kind)
        if not low <= value <= high:
            raise refuse("avro.date_range", position)
        return after

    return walk


def span(data: bytes, position: int, limit: int) -> tuple[int, int]:
    """Return start and end of a length-prefixed run of at most `limit` bytes."""
    length, start = varint(data, position)
    if length < 0:
        raise refuse("avro.length", position)
    if length > limit:
        raise refuse("avro.too_long", position)
    if length > len(data) - start:
        raise refuse("avro.truncated", position)
    return start, start + length


def _octets(limit: int) -> Step:
    return lambda data, position: span(data, position, limit)[1]


def _string(data: bytes, position: int) -> int:
    start, end = span(data, position, STRING_BYTES)
    try:
        data[start:end].decode()
    except UnicodeDecodeError:
        raise refuse("avro.utf8", position) from None
    return end


def _fixed(schema: Any, field: str, known: dict[str, Step]) -> Step:  # noqa: ARG001
    size = schema["size"]

    def walk(data: bytes, position: int) -> int:
        if size > len(data) - position:
            raise refuse("avro.truncated", position)
        return position + int(size)

    return walk


def _enum(schema: Any, field: str, known: dict[str, Step]) -> Step:  # noqa: ARG001
    symbols = len(schema["symbols"])

    def walk(data: bytes, position: int) -> int:
        index, after = varint(data, position, "int")
        if not 0 <= index < symbols:
            raise refuse("avro.enum_index", position)
        return after

    return walk


def _union(branches: list[Step]) -> Step:
    def walk(data: bytes, position: int) -> int:
        index, after = varint(data, position, "int")
        if not 0 <= index < len(branches):
            raise refuse("avro.union_branch", position)
        return branches[index](data, after)

    return walk


def _record(schema: Any, field: str, known: dict[str, Step]) -> Step:  # noqa: ARG001
    steps = [step(one["type"], one["name"], known) for one in schema["fields"]]

    def walk(data: bytes, position: int) -> int:
        for one in steps:
            position = one(data, position)
        return position

    return walk


def _array(schema: Any, field: str, known: dict[str, Step]) -> Step:
    item = step(schema["items"], field, known)
    if item is _null or (isinstance(schema["items"], dict) and schema["items"]["type"] not in ("enum", "fixed")):
        raise Unsupported(f"{field}: an array holds symbols, fixed or primitive values; give a list its own event")
    distinct = isinstance(schema["items"], dict) and schema["items"]["type"] == "enum"
    return lambda data, position: _blocks(data, position, item, distinct=distinct)


def _map(schema: Any, field: str, known: dict[str, Step]) -> Step:
    value = step(schema["values"], field, known)
    if value is _null:
        raise Unsupported(f"{field}: a map holds values that take at least a byte")

    def blocks(data: bytes, position: int) -> int:
        return _blocks(data, position, _string, value, distinct=True)

    return blocks


def _blocks(data: bytes, position: int, item: Step, value: Step = _null, *, distinct: bool) -> int:
    seen: set[bytes] = set()
    total = 0
    while True:
        count, after = varint(data, position)
        if count < 0:
            raise refuse("avro.block_count", position)
        if count == 0:
            return after
        total += count
        if total > ITEMS:
            raise refuse("avro.too_many_items", position)
        position = after
        for _ in range(count):
            after = item(data, position)
            _add(seen, data[position:after], position, distinct=distinct)
            position = value(data, after)


def _add(seen: set[bytes], item: bytes, position: int, *, distinct: bool) -> None:
    if distinct and item in seen:
        raise refuse("avro.duplicate_item", position)
    seen.add(item)


_COMPOSITE: dict[str, Callable[[Any, str, dict[str, Step]], Step]] = {
    "record": _record,
    "enum": _enum,
    "fixed": _fixed,
    "array": _array,
    "map": _map,
}
