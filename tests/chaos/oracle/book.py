"""What the oracle found, in SQLite: one table for each store that it read. The checks ask nothing else."""

import hashlib
import sqlite3
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE raw(topic TEXT, part INTEGER, offset INTEGER, digest BLOB, node TEXT, event_id BLOB, sequence INTEGER,
  kind TEXT, case_ref BLOB, expected TEXT, first INTEGER, PRIMARY KEY(topic, part, offset)) WITHOUT ROWID;
CREATE TABLE accepted(part INTEGER, offset INTEGER, kind TEXT, event_id BLOB, node TEXT, sequence INTEGER,
  area TEXT, case_ref BLOB, facts BLOB);
CREATE TABLE withdrawals(topic TEXT, offset INTEGER, event_id BLOB);
CREATE TABLE gone(event_id BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE quarantine(offset INTEGER, topic TEXT, part INTEGER, at INTEGER, event_id BLOB, reasons TEXT);
CREATE TABLE hub(region TEXT, offset INTEGER, kind TEXT, a BLOB, b BLOB, facts BLOB);
CREATE TABLE ledger(stage TEXT, part INTEGER, offset INTEGER, lane TEXT, start INTEGER, end INTEGER, counts TEXT,
  time INTEGER);
CREATE TABLE committed(stage TEXT, lane TEXT, offset INTEGER);
CREATE TABLE ends(topic TEXT, part INTEGER, stable INTEGER, high INTEGER);
CREATE TABLE records(topic TEXT, part INTEGER, offset INTEGER, digest BLOB);
CREATE TABLE aborted(topic TEXT, part INTEGER, number INTEGER);
CREATE TABLE commits(path TEXT, version INTEGER, topic TEXT, part INTEGER, start INTEGER, end INTEGER, txn INTEGER,
  time INTEGER);
CREATE TABLE named(path TEXT, version INTEGER, file TEXT, size INTEGER);
CREATE TABLE taken(path TEXT, file TEXT);
CREATE TABLE objects(path TEXT, file TEXT, size INTEGER);
CREATE TABLE rows(path TEXT, a TEXT, b TEXT, digest BLOB, fields TEXT);
CREATE TABLE reported(node TEXT, first INTEGER, last INTEGER);
CREATE TABLE missing(node TEXT, count INTEGER);
CREATE TABLE receipts(node TEXT, upto INTEGER);
CREATE TABLE unreadable(store TEXT, what TEXT);
"""


def digest(value: bytes) -> bytes:
    return hashlib.blake2b(value, digest_size=16).digest()


def versioned(versions: list[Any], none: Any) -> Any:
    """Return the versions that a row or a record names, one after another; nothing where it names the first ones."""
    return none[:0].join(version or none for version in versions) if any(versions) else none[:0]


def mint(secret: bytes, event_id: bytes) -> bytes:
    """Return the id that a region's hub knows an event by: BLAKE2b (RFC 7693) of the event's id under the region's key."""
    return hashlib.blake2b(event_id, digest_size=16, key=secret).digest()


def fresh(path: Path | str, truth: Path | str) -> sqlite3.Connection:
    """Return an empty book with the truth beside it, as the schema `t`."""
    if path != ":memory:":
        Path(path).unlink(missing_ok=True)
    book = sqlite3.connect(path)
    book.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-200000;" + SCHEMA)
    book.create_function("mint", 2, mint, deterministic=True)
    book.execute("ATTACH ? AS t", (str(truth),))
    return book


def index(book: sqlite3.Connection) -> None:
    """Make what the checks join by quick."""
    for name, columns in {
        "raw": "event_id",
        "accepted": "event_id",
        "quarantine": "topic, part, at",
        "hub": "region, kind, a, b",
        "rows": "path, a, b",
        "records": "topic, part, offset",
    }.items():
        book.execute(f"CREATE INDEX by_{name} ON {name}({columns})")
    book.commit()
