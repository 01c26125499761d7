"""Avro's binary encoding, read as the specification says (Apache Avro 1.12): strict, and nothing is skipped silently."""

import csv
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

Read = Callable[[bytes, int], tuple[Any, int]]
SCALARS = {"null", "boolean", "int", "long", "float", "double", "bytes", "string"}


class Malformed(Exception):
    """The bytes are no value of the schema."""


def long(data: bytes, at: int, bits: int = 64) -> tuple[int, int]:
    """A zigzag varint: at most ten bytes, shortest form, within `bits`."""
    raw = shift = 0
    begin = at
    while True:
        if at >= len(data) or at - begin == 10:
            raise Malformed("a number has no end")
        byte = data[at]
        at += 1
        raw |= (byte & 0x7F) << shift
        if not byte & 0x80:
            break
        shift += 7
    if (at - begin > 1 and byte == 0) or raw >> bits:
        raise Malformed("a number is longer than it may be")
    return (raw >> 1) ^ -(raw & 1), at


def _taken(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    if size < 0 or at + size > len(data):
        raise Malformed("the value ends too early")
    return data[at : at + size], at + size


def _bytes(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = long(data, at)
    return _taken(data, at, size)


def _string(data: bytes, at: int) -> tuple[str, int]:
    raw, at = _bytes(data, at)
    try:
        return raw.decode("utf-8"), at
    except UnicodeDecodeError as error:
        raise Malformed("a string is no UTF-8") from error


def _boolean(data: bytes, at: int) -> tuple[bool, int]:
    raw, at = _taken(data, at, 1)
    if raw not in (b"\0", b"\1"):
        raise Malformed("a boolean is neither 0 nor 1")
    return raw == b"\1", at


def _floating(form: str) -> Read:
    size = struct.calcsize(form)

    def read(data: bytes, at: int) -> tuple[float, int]:
        raw, at = _taken(data, at, size)
        return struct.unpack(form, raw)[0], at

    return read


def _null(data: bytes, at: int) -> tuple[None, int]:
    return None, at


PRIMITIVES: dict[str, Read] = {
    "null": _null,
    "boolean": _boolean,
    "int": lambda data, at: long(data, at, 32),
    "long": long,
    "float": _floating("<f"),
    "double": _floating("<d"),
    "bytes": _bytes,
    "string": _string,
}


class Schemas:
    """The `.avsc` files of some folders, the first that has a name; a name used in one file may be defined in another."""

    def __init__(self, folders: list[Path]) -> None:
        self.folders = folders

    def load(self, name: str) -> Any:
        found = next(path for path in (folder / f"{name}.avsc" for folder in self.folders) if path.exists())
        return json.loads(found.read_text(encoding="utf-8"))

    def reader(self, name: str) -> Read:
        """Return the reader of a contract; a record is a dictionary, and each nested record's bytes are under `@name`."""
        return self._read(self.load(name), {})

    def _read(self, schema: Any, named: dict[str, Read]) -> Read:
        if isinstance(schema, list):
            return _union([self._read(branch, named) for branch in schema])
        if isinstance(schema, str):
            return self._by_name(schema, named)
        kind = schema["type"]
        if isinstance(kind, dict | list):
            return self._read(kind, named)
        if kind in PRIMITIVES:
            return PRIMITIVES[kind]  # a logical type is written as its base type
        return self._complex(kind, schema, named)

    def _by_name(self, name: str, named: dict[str, Read]) -> Read:
        short = name.rpartition(".")[2]
        if name in PRIMITIVES:
            return PRIMITIVES[name]
        return named[short] if short in named else self._read(self.load(short), named)

    def _complex(self, kind: str, schema: dict[str, Any], named: dict[str, Read]) -> Read:
        if kind == "array":
            return _array(self._read(schema["items"], named))
        if kind == "map":
            return _map(self._read(schema["values"], named))
        if kind == "fixed":
            made: Read = _fixed(schema["size"])
        elif kind == "enum":
            made = _enum(schema["symbols"])
        else:
            fields = [(f["name"], self._read(f["type"], named), _is_record(f["type"])) for f in schema["fields"]]
            made = _record(fields)
        named[schema["name"]] = made
        return made


def _is_record(schema: Any) -> bool:
    if isinstance(schema, dict):
        return schema["type"] == "record"
    return isinstance(schema, str) and schema not in SCALARS and schema[0].isupper()


def _union(branches: list[Read]) -> Read:
    def read(data: bytes, at: int) -> tuple[Any, int]:
        index, at = long(data, at)
        if not 0 <= index < len(branches):
            raise Malformed("a union has no such branch")
        return branches[index](data, at)

    return read


def _enum(symbols: list[str]) -> Read:
    def read(data: bytes, at: int) -> tuple[str, int]:
        index, at = long(data, at, 32)
        if not 0 <= index < len(symbols):
            raise Malformed("an enum has no such symbol")
        return symbols[index], at

    return read


def _fixed(size: int) -> Read:
    return lambda data, at: _taken(data, at, size)


def _blocks(data: bytes, at: int) -> Any:
    """Yield for each item where it begins, and be sent where it ended; the last yield is (None, end)."""
    while True:
        count, at = long(data, at)
        if count == 0:
            yield None, at
            return
        if count < 0:
            count = -count
            _, at = long(data, at)
        if count > len(data):
            raise Malformed("an array has more items than bytes")
        for _ in range(count):
            at = yield at, 0


def _array(item: Read) -> Read:
    def read(data: bytes, at: int) -> tuple[list[Any], int]:
        found: list[Any] = []
        walk = _blocks(data, at)
        begin, end = next(walk)
        while begin is not None:
            value, begin = item(data, begin)
            found.append(value)
            begin, end = walk.send(begin)
        return found, end

    return read


def _map(value: Read) -> Read:
    def item(data: bytes, at: int) -> tuple[tuple[str, Any], int]:
        key, at = _string(data, at)
        found, at = value(data, at)
        return (key, found), at

    pairs = _array(item)

    def read(data: bytes, at: int) -> tuple[dict[str, Any], int]:
        found, at = pairs(data, at)
        return dict(found), at

    return read


def _record(fields: list[tuple[str, Read, bool]]) -> Read:
    def read(data: bytes, at: int) -> tuple[dict[str, Any], int]:
        out: dict[str, Any] = {}
        for name, field, nested in fields:
            begin = at
            out[name], at = field(data, at)
            if nested:
                out[f"@{name}"] = data[begin:at]
        return out, at

    return read


class Frames:
    """Which contract a framed message was written with: the released ids and fingerprints, from `released.csv`."""

    def __init__(self, schemas: Path) -> None:
        with (schemas / "released.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        self._made: dict[str, Read] = {}
        self._folder = schemas / "avro"
        self._by_id = {int(row["id"]): row for row in rows}
        # The file has the CRC-64 as a number in hexadecimal; over the wire it goes little endian.
        self._by_print = {bytes.fromhex(row["fingerprint"])[::-1]: row for row in rows}

    def decode(self, message: bytes) -> tuple[str, dict[str, Any]]:
        """Return the contract's name and the value; Malformed where the message is none of a released contract."""
        if message[:1] == b"\0" and len(message) >= 5:
            row, at = self._by_id.get(int.from_bytes(message[1:5], "big")), 5
        elif message[:2] == b"\xc3\x01" and len(message) >= 10:
            row, at = self._by_print.get(message[2:10]), 10
        else:
            raise Malformed("no frame")
        if row is None:
            raise Malformed("an unknown contract")
        value, end = self._reader(row)(message, at)
        if end != len(message):
            raise Malformed("bytes are left over")
        return row["name"], value

    def _reader(self, row: dict[str, str]) -> Read:
        if row["id"] not in self._made:
            folders = [self._folder / f"v{version}" for version in range(int(row["version"]), 0, -1)]
            self._made[row["id"]] = Schemas(folders).reader(row["name"])
        return self._made[row["id"]]
