"""What the files of a data folder still hold of canary cases: read as they lie on the disk, not as a server tells it.

Segments of the broker are unpacked, also those that wait for their deletion and records of aborted transactions. Of the
object store's volumes every Parquet file is read, also of deleted objects. Beside that each byte of each file is looked at.
"""

import io
import re
import struct
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from kafka.errors import CorruptRecordError
from kafka.record import MemoryRecords

from schemas.rows import read as read_row
from schemas.wire import unframe
from sinks.tables import REMOVAL
from tests.lying import contents

TAG = re.compile(rb"Canary [a-z]{24}")
SEGMENT = re.compile(r"(accepted|hub\.[a-z-]+|keys\.[A-Z0-9-]+)-\d+")
NAMING = ("incident_id", "first_id", "second_id")
MAGIC = b"PAR1"
FOOTER = struct.Struct("<I")


@dataclass(frozen=True)
class Canary:
    """A case to look for: its reference, its key as it travels, its tag, and the id of its incident by region."""

    ref: bytes
    key: bytes
    tag: bytes
    minted: dict[str, bytes]


class Scan:
    """One look at a data folder; `found` has by store the references of the cases that it holds."""

    def __init__(self, data: Path, canaries: list[Canary]) -> None:
        self.found: dict[str, set[bytes]] = defaultdict(set)
        self._tags = {one.tag: one.ref for one in canaries}
        self._keys = {one.key: one.ref for one in canaries}
        self._minted = {ident: (one.ref, region) for one in canaries for region, ident in one.minted.items()}
        self._hex = {ident.hex(): both for ident, both in self._minted.items()}
        for path, content in contents(data):
            self._look(data, path, content)

    def of(self, ref: bytes) -> set[str]:
        """The stores that hold a case."""
        return {store for store, refs in self.found.items() if ref in refs}

    def _look(self, data: Path, path: Path, content: bytes) -> None:
        self._tagged(f"bytes of {path.relative_to(data).parts[0]}", content)
        if path.name == "keys.log":
            self.found["node"] |= {ref for key, ref in self._keys.items() if key in content}
        elif path.suffix == ".dat":
            for table in _tables(content):
                self._rows(table)
        elif ".log" in path.name and (place := SEGMENT.fullmatch(path.parent.name.partition("-delete")[0])):
            for key, value in _records(content):
                self._record(place[1], key, value)

    def _tagged(self, store: str, content: bytes) -> None:
        self.found[store] |= {self._tags[tag] for tag in TAG.findall(content) if tag in self._tags}

    def _record(self, topic: str, key: bytes, value: bytes) -> None:
        self._tagged(topic, value)
        if topic.startswith("keys."):
            self.found[topic] |= {self._keys[value]} if value in self._keys else set()
        elif topic.startswith("hub.") and value:
            release, body = unframe(value)
            if release.name != REMOVAL:
                named = (read_row(release, body).get(name) for name in NAMING)
                self.found[topic] |= {self._minted[one][0] for one in named if one in self._minted}

    def _rows(self, table: pa.Table) -> None:
        kind = "rows" if "party" in table.column_names else "rows that name others"
        for name in NAMING:
            for value in table[name].to_pylist() if name in table.column_names else ():
                if value in self._hex:
                    ref, region = self._hex[value]
                    self.found[f"{kind} of {region}"].add(ref)


def _records(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and value of the records of a segment, up to where it is being written."""
    batches = MemoryRecords(content)
    with suppress(CorruptRecordError, struct.error):
        while batches.has_next():
            batch = batches.next_batch()
            for record in () if batch.is_control_batch else batch:
                yield record.key or b"", record.value or b""


def _tables(content: bytes) -> Iterator[pa.Table]:
    """Yield the Parquet files that lie in a volume, one after another."""
    places = [found.start() for found in re.finditer(MAGIC, content)]
    at = 0
    while at + 1 < len(places):
        start, end = places[at], places[at + 1]
        at += 1
        (length,) = FOOTER.unpack_from(content, end - FOOTER.size)
        if length < end - start:
            with suppress(pa.ArrowException, OSError):
                yield pq.read_table(io.BytesIO(content[start : end + len(MAGIC)]))
                at += 1
