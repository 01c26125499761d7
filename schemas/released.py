"""What was ever released: the append-only `released.csv`, whose position is the schema's id for good.

A released schema is superseded, never edited: `schemas.evolution.check` compares each file with its line here.
"""

import csv
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from schemas.errors import Quarantines
from schemas.events import ROOT, load
from schemas.fingerprints import fingerprint

__all__ = ["Release", "UnknownSchema", "by_fingerprint", "by_id", "fingerprint", "latest", "read", "releases"]


class UnknownSchema(Quarantines):
    """No such release: a newer tocsin wrote it, or the bytes are damaged."""


@dataclass(frozen=True, eq=False)
class Release:
    """One released schema: `id` (1, 2, 3 …) and `fingerprint` (CRC-64-AVRO, 8 bytes, little endian) are for good.

    `schema` is self-contained and must not be changed; `sha256` is that of the contract's file. Two are equal only
    when they are the same object: a fingerprint knows no logical types, so it can't stand for the schema.
    """

    id: int
    name: str
    version: int
    fingerprint: bytes
    schema: dict[str, Any] = field(repr=False)
    sha256: str = field(default="", repr=False)


def read(root: Path = ROOT) -> tuple[Release, ...]:
    """Return all releases in the order of their ids, from `released.csv` under `root`."""
    with (root / "released.csv").open(encoding="utf-8", newline="") as file:
        return tuple(_release(row, root) for row in csv.DictReader(file))


def _release(row: dict[str, str], root: Path) -> Release:
    name, version = row["name"], int(row["version"])
    # The csv has the number as it is usually printed, big endian; the wire has it little endian.
    number = bytes.fromhex(row["fingerprint"])[::-1]
    return Release(int(row["id"]), name, version, number, load(name, version, root), row["sha256"])


@cache
def releases() -> tuple[Release, ...]:
    """Return all releases, first released first."""
    return read()


@cache
def _indexes() -> tuple[dict[int, Release], dict[bytes, Release], dict[str, Release]]:
    known = sorted(releases(), key=lambda release: release.version)
    by_print = {release.fingerprint: release for release in reversed(known)}
    return {release.id: release for release in known}, by_print, {release.name: release for release in known}


def by_id(number: int) -> Release:
    """Return the release with this id; UnknownSchema with reason `frame.unknown_id`."""
    found = _indexes()[0].get(number)
    if found is None:
        raise UnknownSchema("frame.unknown_id", f"no schema has the id {number}; update tocsin to read this record")
    return found


def by_fingerprint(number: bytes) -> Release:
    """Return the release with this fingerprint (8 bytes, little endian); reason `frame.unknown_fingerprint`."""
    found = _indexes()[1].get(bytes(number))
    if found is None:
        printed = bytes(number)[::-1].hex()
        raise UnknownSchema(
            "frame.unknown_fingerprint", f"no schema has the fingerprint {printed}; update tocsin to read this record"
        )
    return found


def latest(name: str) -> Release:
    """Return the newest release of `name`; reason `frame.unknown_name`."""
    found = _indexes()[2].get(name)
    if found is None:
        raise UnknownSchema("frame.unknown_name", f"no contract is named {name!r}; see schemas/released.csv")
    return found
