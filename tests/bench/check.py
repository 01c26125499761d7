"""Whether what came out of a run is the truth: counts and ids of every topic, each refused record, rows of the tables.

Ids are compared by digest: the sum of their first sixty bits, so that one lost and one doubled do not cancel out.
"""

from collections.abc import Iterator
from pathlib import Path

import numba
import numpy as np

from pipeline.keyrings import region_keys
from pipeline.stores import open_store
from schemas.minting import mint_batch
from schemas.released import releases
from tests.bench.broker import REGIONS, Wire
from tests.bench.plan import BREAKS, NODES, in_regions
from tests.bench.truth import Truth

ACCEPTED_PARTITIONS = 4
CONTRACTS = {
    release.id: release.name
    for release in releases()
    if release.name
    in {
        "IncidentAccepted",
        "PatternAccepted",
        "IncidentShared",
        "PatternShared",
        "PatternLinked",
        "ProbableDuplicate",
    }
}
KINDS = 64
ROWS = {
    "incidents": "IncidentShared",
    "patterns": "PatternShared",
    "links": "PatternLinked",
    "duplicates": "ProbableDuplicate",
}
FIRST_ID = {"incidents": "incident_id", "patterns": "pattern_id", "links": "incident_id", "duplicates": "first_id"}
MASK = (1 << 64) - 1


class Differences(list):
    """Sentences on what is not the truth; empty where all is."""

    def same(self, what: str, found: object, wanted: object) -> None:
        if found != wanted:
            self.append(f"{what}: {found}, and {wanted} is the truth")


async def refined(kafka: str, truth: Truth, wrong: Differences) -> None:
    """Compare `accepted` and `quarantine`."""
    async with Wire(kafka) as wire:
        tally = Tally()
        for partition in range(ACCEPTED_PARTITIONS):
            async for batch in wire.read("accepted", partition):
                tally.add(batch, by_value=True)
        patterns = np.repeat(truth.pattern_ids, truth.pattern_areas.sum(axis=1), axis=0)
        wrong.same("accepted", tally.found(), _wanted({"IncidentAccepted": truth.ids, "PatternAccepted": patterns}))
        refused = [one async for batch in wire.read("quarantine") for one in _refused(batch)]
    names = {f"raw.{node}": k for k, node in enumerate(NODES)}
    found = sorted((names[topic], offset, reasons) for topic, offset, reasons in refused)
    wanted = sorted((node, offset, BREAKS[reason]) for node, offset, reason in truth.refused.tolist())
    if len(found) != len(wanted):
        wrong.same("quarantined", len(found), len(wanted))
        return
    different = [(f, w) for f, w in zip(found, wanted, strict=True) if f[:2] != w[:2] or not _named(f[2], w[2])]
    wrong.same("records with other reasons", different[:3], [])


async def merged(kafka: str, data: Path, truth: Truth, wrong: Differences) -> dict:
    """Compare `hub.<region>`; return what was found there by region, for the tables."""
    secrets, codes = region_keys(data, "mint"), in_regions()[0]
    found = {}
    async with Wire(kafka) as wire:
        for number, region in enumerate(codes):
            tally = Tally()
            async for batch in wire.read(f"hub.{region}"):
                tally.add(batch, by_value=False)
            found[region] = tally.found()
            wrong.same(f"hub.{region}", found[region], _shared(truth, number, secrets[region]))
    return found


def tabled(data: Path, truth: Truth, hubs: dict, wrong: Differences) -> int:
    """Compare the Delta tables with the truth and with the topics; return their rows."""
    import polars as pl

    store, rows = open_store(data), 0
    for region in REGIONS:
        for name, contract in ROWS.items():
            ids = pl.scan_delta(store.uri(f"hub/{region}/{name}"), storage_options=store.delta_options())
            column = ids.select(pl.col(FIRST_ID[name]).str.head(15).str.to_integer(base=16)).collect().to_series()
            rows += len(column)
            digest = int(column.to_numpy().astype(np.uint64).sum(dtype=np.uint64))
            wrong.same(f"table {region}/{name}", (len(column), digest), hubs[region].get(contract, (0, 0)))
    refused = pl.scan_delta(store.uri("quarantine"), storage_options=store.delta_options())
    count = refused.select(pl.len()).collect().item()
    wrong.same("table quarantine", count, len(truth.refused))
    return rows + count


class Tally:
    """Counts and digests by contract."""

    def __init__(self) -> None:
        self._counts, self._sums = np.zeros(KINDS, np.int64), np.zeros(KINDS, np.uint64)

    def add(self, batch, by_value: bool) -> None:
        _tally(batch.data, batch.spans, by_value, self._counts, self._sums)

    def found(self) -> dict:
        return {
            CONTRACTS.get(k, k): (int(self._counts[k]), int(self._sums[k]))
            for k in np.flatnonzero(self._counts).tolist()
        }


def digest(ids: np.ndarray) -> tuple[int, int]:
    """Return count and digest of ids uint8[n, 16]."""
    words = np.ascontiguousarray(ids[:, :8]).view(">u8").astype(np.uint64) >> np.uint64(4)
    return len(ids), int(words.sum(dtype=np.uint64))


def _wanted(ids: dict) -> dict:
    return {name: digest(each) for name, each in ids.items() if len(each)}


def _shared(truth: Truth, number: int, secret: bytes) -> dict:
    within = in_regions()[1][number]
    rows = within[truth.areas]
    incidents = _minted(secret, truth.ids[rows])
    patterns = _minted(secret, truth.pattern_ids[(truth.pattern_areas & within).any(axis=1)])
    return _wanted({
        "IncidentShared": incidents,
        "PatternShared": patterns,
        "PatternLinked": np.repeat(incidents, truth.links[rows], axis=0),
        "ProbableDuplicate": np.repeat(incidents, truth.pairs[rows], axis=0),
    })  # fmt: skip


def _minted(secret: bytes, ids: np.ndarray) -> np.ndarray:
    return mint_batch(secret, np.ascontiguousarray(ids).view(">u8").astype(np.uint64))


def _named(found: list[str], wanted: str) -> bool:
    """Return whether the reasons are the one that is wanted; an undecodable record may have any of the decoder's."""
    return found == [wanted] if wanted else bool(found) and not any(reason in BREAKS for reason in found)


def _refused(batch) -> Iterator[tuple[str, int, list[str]]]:
    """Yield topic, offset and reasons; a reader of its own for this one contract."""
    data = batch.data.tobytes()
    for _, _, start, end in batch.spans.tolist():
        at = _Cursor(data[start + 5 : end])
        at.text()
        topic, _, offset = at.text(), at.long(), at.long()
        if at.long():
            at.skip(16)
        if at.long():
            at.long()
        if at.long():
            at.text()
        reasons = []
        while size := at.long():
            reasons += [at.text() for _ in range(size)]
        yield topic, offset, reasons


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def long(self) -> int:
        value = shift = 0
        while True:
            octet = self._data[self._at]
            self._at += 1
            value |= (octet & 0x7F) << shift
            if octet < 0x80:
                return (value >> 1) ^ -(value & 1)
            shift += 7

    def skip(self, size: int) -> bytes:
        self._at += size
        return self._data[self._at - size : self._at]

    def text(self) -> str:
        return self.skip(self.long()).decode()


@numba.njit(nogil=True, cache=True)
def _tally(data, spans, by_value, counts, sums):
    for i in range(len(spans)):
        value = spans[i, 2]
        kind = np.int64(data[value + 3]) << 8 | np.int64(data[value + 4])
        at = value + 5 if by_value else spans[i, 0]
        word = np.uint64(0)
        for k in range(8):
            word = word << np.uint64(8) | np.uint64(data[at + k])
        counts[kind % KINDS] += 1
        sums[kind % KINDS] += word >> np.uint64(4)
