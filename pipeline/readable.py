"""Any record of any topic as plain values a person or `jq` can read; sealed bodies stay sealed, keys stay keys."""

from datetime import date
from typing import Any

from pipeline.log import Entry
from schemas.errors import Quarantines
from schemas.released import by_fingerprint
from schemas.rows import read
from schemas.wire import unframe

HIDDEN = {"sealed", "wrapped", "delta", "state"}


def entry(record: Entry) -> dict[str, Any]:
    """Return where the record stands, the name of its contract and its fields; an unreadable one says why."""
    place = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": key(record.key),
    }
    if record.value is None:
        return {**place, "event": None, "meaning": "tombstone: what this key held is forgotten"}
    try:
        release, body = unframe(record.value)
        row = read(release, body)
    except Quarantines as error:
        return {**place, "event": None, "unreadable": error.reason, "bytes": len(record.value)}
    return {**place, "event": release.name, "version": release.version, **fields(release.name, row)}


def key(raw: bytes) -> str:
    """Return the key as text where it is text, else as hexadecimal."""
    text = raw.decode("ascii", errors="replace")
    return text if text.isprintable() and "\ufffd" not in text else raw.hex()


def fields(name: str, row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with plain values; an envelope's body is opened only where it is not sealed."""
    shown = {field: _shown(field, value) for field, value in row.items()}
    if name == "Envelope":
        shown["body"] = _body(row)
    return shown


def _body(envelope: dict[str, Any]) -> Any:
    if envelope["case_ref"] is not None:
        return f"sealed, {len(envelope['body'])} bytes"
    try:
        release = by_fingerprint(envelope["body_schema"])
        return plain(read(release, envelope["body"]))
    except Quarantines as error:
        return f"unreadable: {error.reason}"


def _shown(field: str, value: Any) -> Any:
    if field in HIDDEN and isinstance(value, bytes):
        return f"{len(value)} bytes"
    return plain(value)


def plain(value: Any) -> Any:
    """Return bytes as hexadecimal and dates in ISO 8601, in lists and records too."""
    match value:
        case bytes():
            return value.hex()
        case date():
            return value.isoformat()
        case dict():
            return {name: plain(item) for name, item in value.items()}
        case list():
            return [plain(item) for item in value]
        case _:
            return value
