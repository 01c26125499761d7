"""What the oracle found, in SQLite: one table for each store that it read. The checks ask nothing else.

An incident and each further version of it go by the id of the event that made them, minted in a hub and in a row: that
is `a` (and `b` of a duplicate); `whose` are the ids of the incidents. `versions`, `referred`, `ended` and `gone` are what must be.
"""

import hashlib
import json
import sqlite3
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE raw(topic TEXT, part INTEGER, offset INTEGER, digest BLOB, node TEXT, event_id BLOB, sequence INTEGER,
  kind TEXT, case_ref BLOB, expected TEXT, first INTEGER, reasons TEXT, taken INTEGER, PRIMARY KEY(topic, part, offset)) WITHOUT ROWID;
CREATE TABLE accepted(part INTEGER, offset INTEGER, kind TEXT, event_id BLOB, node TEXT, sequence INTEGER,
  area TEXT, case_ref BLOB, facts BLOB, more TEXT);
CREATE TABLE versions(event_id BLOB PRIMARY KEY, topic TEXT, offset INTEGER, incident BLOB, accepted INTEGER,
  current INTEGER, more TEXT) WITHOUT ROWID;
CREATE TABLE referred(event_id BLOB PRIMARY KEY, topic TEXT, offset INTEGER, incident BLOB, referral BLOB,
  more TEXT) WITHOUT ROWID;
CREATE TABLE ended(event_id BLOB PRIMARY KEY, ending TEXT, ended_at INTEGER) WITHOUT ROWID;
CREATE TABLE withdrawals(topic TEXT, offset INTEGER, event_id BLOB);
CREATE TABLE gone(event_id BLOB PRIMARY KEY, incident BLOB) WITHOUT ROWID;
CREATE TABLE quarantine(offset INTEGER, topic TEXT, part INTEGER, at INTEGER, event_id BLOB, reasons TEXT);
CREATE TABLE hub(region TEXT, offset INTEGER, kind TEXT, a BLOB, b BLOB, whose BLOB, facts BLOB,
  more TEXT);
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
CREATE TABLE rows(path TEXT, a TEXT, b TEXT, whose TEXT, digest BLOB, fields TEXT, more TEXT);
CREATE TABLE reported(node TEXT, first INTEGER, last INTEGER);
CREATE TABLE missing(node TEXT, count INTEGER);
CREATE TABLE receipts(node TEXT, upto INTEGER);
CREATE TABLE unreadable(store TEXT, what TEXT);
"""


def digest(value: bytes) -> bytes:
    return hashlib.blake2b(value, digest_size=16).digest()


def plain(**values: Any) -> str:
    """Return what goes into a column `more`: equal for equal values."""
    return json.dumps(values, sort_keys=True)


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
    book.execute("ANALYZE main")  # else a join by topic and offset reads all of a topic again and again
    book.commit()
