"""An Avro reader written from the specification alone: standard library only, one file, nothing of tocsin.

https://avro.apache.org/docs/1.12.0/specification/#binary-encoding. `strict` adds what tocsin's contracts add: varints are
canonical, block counts positive, symbols in an array and keys of a map distinct, lengths and dates bounded.
Values: dict, list, str, bytes, int, float, bool, None, `datetime.date`; an enum is its symbol, a timestamp a number.
"""

import csv
import json
import struct
from datetime import date, timedelta
from pathlib import Path

STRING_BYTES, BYTES_BYTES, ITEMS = 1_024, 65_536, 1_000
NO_LIMIT = 1 << 62
UNBOUNDED_FIELDS = ("delta", "state")
DATES = ((date(1, 1, 1) - date(1970, 1, 1)).days, (date(9999, 12, 31) - date(1970, 1, 1)).days)
TIMESTAMPS = (DATES[0] * 86_400_000, DATES[1] * 86_400_000 + 86_399_999)
EPOCH = date(1970, 1, 1)
PRIMITIVE = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")


class Refused(ValueError):
    """The bytes are no value of the schema: `reason` says why, `position` where."""

    def __init__(self, reason, position):
        super().__init__(f"{reason} at byte {position}")
        self.reason, self.position = reason, position


def reader(schema, strict=True):
    """Return a function from bytes to the one value that they hold; it raises Refused."""
    step = _Compiler(strict).step(schema, "")

    def read(data):
        value, position = step(data, 0)
        if position != len(data):
            raise Refused("trailing bytes", position)
        return value

    return read


def read(schema, data, strict=True):
    """Return the value in `data`."""
    return reader(schema, strict)(data)


class _Compiler:
    """Schemas to functions (data, position) -> (value, position after)."""

    def __init__(self, strict):
        self.strict, self.named = strict, {}
        self.number = {"int": _int(strict), "long": _long(strict)}

    def step(self, schema, field, namespace=""):
        if isinstance(schema, list):
            return _union([self.step(branch, field, namespace) for branch in schema], self.number["int"])
        if isinstance(schema, str):
            return self._primitive({"type": schema}, field) if schema in PRIMITIVE else self._known(schema, namespace)
        kind = schema["type"]
        if isinstance(kind, (dict, list)):
            return self.step(kind, field, namespace)
        if kind in PRIMITIVE:
            return self._primitive(schema, field)
        if kind in ("array", "map"):
            return self._blocks(schema, field, namespace)
        if kind not in ("record", "error", "enum", "fixed"):
            return self._known(kind, namespace)
        return self._define(schema, namespace)

    def _known(self, name, namespace):
        full = name if "." in name or not namespace else f"{namespace}.{name}"
        holder = self.named.get(full) or self.named[name]
        if holder[0]:
            return holder[0]
        return lambda data, position: holder[0](data, position)  # noqa: PLW0108 -- known only later

    def _define(self, schema, namespace):
        name = schema["name"]
        if "." in name:
            namespace = name.rpartition(".")[0]
        else:
            namespace = schema.get("namespace", namespace)
            name = f"{namespace}.{name}" if namespace else name
        holder = self.named[name] = self.named[schema["name"]] = [None]  # a record may name itself
        kind = schema["type"]
        if kind == "enum":
            holder[0] = _enum(schema["symbols"], self.number["int"])
        elif kind == "fixed":
            holder[0] = _fixed(schema["size"])
        else:
            fields = [(one["name"], self.step(one["type"], one["name"], namespace)) for one in schema["fields"]]
            holder[0] = _record(fields)
        return holder[0]

    def _primitive(self, schema, field):
        kind, logical = schema["type"], schema.get("logicalType")
        if kind == "int" and logical == "date":
            return _date(self.number["int"])
        if kind == "long" and logical == "timestamp-millis" and self.strict:
            return _timestamp(self.number["long"])
        if kind in self.number:
            return self.number[kind]
        if kind == "string":
            return _string(self.number["long"], STRING_BYTES if self.strict else NO_LIMIT)
        if kind == "bytes":
            bounded = self.strict and field not in UNBOUNDED_FIELDS
            return _bytes(self.number["long"], BYTES_BYTES if bounded else NO_LIMIT)
        return {"null": _null, "boolean": _boolean, "float": _float("<f"), "double": _float("<d")}[kind]

    def _blocks(self, schema, field, namespace):
        if schema["type"] == "map":
            key = _string(self.number["long"], STRING_BYTES if self.strict else NO_LIMIT)
            pair = _pair(key, self.step(schema["values"], field, namespace))
            items = _items(pair, self.number["long"], self.strict)
            return _distinct(items, lambda found: [key for key, _ in found], dict) if self.strict else _as(items, dict)
        items = _items(self.step(schema["items"], field, namespace), self.number["long"], self.strict)
        symbols = isinstance(schema["items"], dict) and schema["items"]["type"] == "enum"
        return _distinct(items, lambda found: found, list) if symbols and self.strict else items


def _varint(data, position, bits, strict):
    """Return the zigzag number in base 128, least significant group first, and the position after it."""
    number, shift, at = 0, 0, position
    while True:
        if at >= len(data):
            raise Refused("truncated", position)
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            break
        shift += 7
        if shift >= (35 if bits == 32 else 70):
            raise Refused("varint too long", position)
    if number >> bits:
        raise Refused(f"outside {bits} bits", position)
    if strict and byte == 0 and at > position + 1:
        raise Refused("varint not canonical", position)
    return (number >> 1) ^ -(number & 1), at


def _long(strict):
    def step(data, position):
        if position < len(data) and (byte := data[position]) < 0x80:
            return (byte >> 1) ^ -(byte & 1), position + 1
        return _varint(data, position, 64, strict)

    return step


def _int(strict):
    def step(data, position):
        if position < len(data) and (byte := data[position]) < 0x80:
            return (byte >> 1) ^ -(byte & 1), position + 1
        return _varint(data, position, 32, strict)

    return step


def _null(data, position):
    return None, position


def _boolean(data, position):
    if position >= len(data):
        raise Refused("truncated", position)
    if data[position] > 1:
        raise Refused("boolean", position)
    return data[position] == 1, position + 1


def _float(form):
    size = struct.calcsize(form)

    def step(data, position):
        if position + size > len(data):
            raise Refused("truncated", position)
        return struct.unpack_from(form, data, position)[0], position + size

    return step


def _date(number):
    def step(data, position):
        days, after = number(data, position)
        if not DATES[0] <= days <= DATES[1]:
            raise Refused("date", position)
        return EPOCH + timedelta(days), after

    return step


def _timestamp(number):
    def step(data, position):
        value, after = number(data, position)
        if not TIMESTAMPS[0] <= value <= TIMESTAMPS[1]:
            raise Refused("date", position)
        return value, after

    return step


def _bytes(number, limit):
    def step(data, position):
        length, start = number(data, position)
        if length < 0:
            raise Refused("length", position)
        if length > limit:
            raise Refused("too long", position)
        if length > len(data) - start:
            raise Refused("truncated", position)
        return data[start : start + length], start + length

    return step


def _string(number, limit):
    octets = _bytes(number, limit)

    def step(data, position):
        text, after = octets(data, position)
        try:
            return text.decode(), after
        except UnicodeDecodeError:
            raise Refused("utf-8", position) from None

    return step


def _fixed(size):
    def step(data, position):
        if size > len(data) - position:
            raise Refused("truncated", position)
        return data[position : position + size], position + size

    return step


def _enum(symbols, number):
    def step(data, position):
        index, after = number(data, position)
        if not 0 <= index < len(symbols):
            raise Refused("enum index", position)
        return symbols[index], after

    return step


def _union(branches, number):
    def step(data, position):
        index, after = number(data, position)
        if not 0 <= index < len(branches):
            raise Refused("union branch", position)
        return branches[index](data, after)

    return step


def _record(fields):
    def step(data, position):
        value = {}
        for name, field in fields:
            value[name], position = field(data, position)
        return value, position

    return step


def _pair(key, value):
    def step(data, position):
        name, position = key(data, position)
        found, position = value(data, position)
        return (name, found), position

    return step


def _items(item, number, strict):
    def step(data, position):
        found = []
        while True:
            count, after = number(data, position)
            if count < 0:
                if strict:
                    raise Refused("block count", position)
                size, after = number(data, after)
                if size < 0:
                    raise Refused("block size", position)
                count = -count
            if count == 0:
                return found, after
            if strict and len(found) + count > ITEMS:
                raise Refused("too many items", position)
            if count > (1 << 63) - 1:
                raise Refused("block count", position)
            position = after
            for _ in range(count):
                value, after = item(data, position)
                if after == position and count > ITEMS:
                    raise Refused("items without bytes", position)
                found.append(value)
                position = after

    return step


def _distinct(items, keys, form):
    def step(data, position):
        found, after = items(data, position)
        if len(set(keys(found))) < len(found):
            raise Refused("duplicate item", position)
        return form(found), after

    return step


def _as(items, form):
    def step(data, position):
        found, after = items(data, position)
        return form(found), after

    return step


def contracts(folder):
    """Return {id: (name, fingerprint in 8 bytes, schema)} of `released.csv` and the files beside it in `folder`."""
    folder, found = Path(folder), {}
    with (folder / "released.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            schema = _inlined(folder, row["name"], int(row["version"]), set())
            found[int(row["id"])] = row["name"], bytes.fromhex(row["fingerprint"])[::-1], schema
    return found


def _inlined(folder, name, version, seen):
    """Return the file of a contract with what it names of other files put in at its first use."""
    paths = (folder / "avro" / f"v{number}" / f"{name}.avsc" for number in range(version, 0, -1))
    return _put_in(json.loads(next(path for path in paths if path.is_file()).read_text("utf-8")), folder, version, seen)


def _put_in(node, folder, version, seen):
    if isinstance(node, list):
        return [_put_in(branch, folder, version, seen) for branch in node]
    if isinstance(node, str):
        return node if node in PRIMITIVE or node in seen else _inlined(folder, node, version, seen)
    if "name" in node and node["type"] in ("record", "enum", "fixed"):
        if node["name"] in seen:
            return node["name"]
        seen.add(node["name"])
    whole = dict(node)
    for key in ("items", "values"):
        if key in node:
            whole[key] = _put_in(node[key], folder, version, seen)
    if node["type"] == "record":
        whole["fields"] = [{**one, "type": _put_in(one["type"], folder, version, seen)} for one in node["fields"]]
    return whole


def body_of(message):
    """Return (key of the schema, body): an id after a 00, or a fingerprint in 8 bytes after C3 01."""
    if message[:1] == b"\x00" and len(message) >= 5:
        return int.from_bytes(message[1:5], "big"), message[5:]
    if message[:2] == b"\xc3\x01" and len(message) >= 10:
        return message[2:10], message[10:]
    raise Refused("frame", 0)
