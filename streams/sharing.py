"""What each regional hub receives of a batch: under ids of its own, coarsened, in an order that says nothing.

Ids are minted with the region's secret, so that no two regions, and no hub and node, can be joined on them. Times are
days. Rows go by minted id, event by event, so that neither arrival nor sequence shows. No two records that say different
things share a key, so that what names an incident can be taken out of the log by compaction, record by record.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from schemas.build import Ints as Numbers
from schemas.build import Part, Spans, encode, part
from schemas.columns import Blob, Columns, compile, offsets_of  # noqa: A004
from schemas.jit import kernel
from schemas.memory import copy
from schemas.places import region_codes_of, regions
from schemas.released import latest
from schemas.unseal import mint_batch
from schemas.wire import confluent_prefix
from streams import names
from streams.arrivals import REFERRALS, REVISIONS, Arrived
from streams.base import Output
from streams.frames import carrier, read_only
from streams.held import Held
from streams.names import Ints, Longs, Octets
from streams.runs import Words
from streams.state import Column

DAY = 86_400_000
Minted = NDArray[np.uint8]
REVISION = ("node", "area", "current", "change", "step", "verified_on", "late_verification", "incident")
"""What a region is told of a further version as refine wrote it."""


@dataclass(frozen=True, eq=False)
class Ended:
    """Versions that come to their end: `numbers` int64[k], `days` (since 1970) and `endings` (indexes in Ending) int64[k]."""

    numbers: Longs
    days: Longs
    endings: Longs


CLOSED, REMOVED = np.array([[0]], np.uint8), np.array([[1]], np.uint8)
"""What stands behind the id in the key of the end of a version, and of a removal."""
NOTHING_ENDED = Ended(*(np.zeros(0, np.int64) for _ in range(3)))


@dataclass(frozen=True, eq=False)
class News:
    """What a batch brings to the hubs: new incidents and patterns, links and probable duplicates int32[k, 4].

    Incidents from number `first` on are new; those with a number in `gone` int64[k] leave, versions in `ended` too.
    """

    held: Held
    first: int
    incidents: list[Arrived]
    patterns: list[Arrived]
    links: Ints
    duplicates: Ints
    gone: Longs
    ended: Ended

    @cached_property
    def homes(self) -> NDArray[np.bool_]:
        """Return for each area of the batch, by number, to which regions it belongs: bool[areas, regions].

        The lane's other areas have none here: to look them all up would cost a small batch more than the rest of it.
        """
        met = np.zeros(self.held.areas.count, np.bool_)
        for each in (*self.incidents, *self.patterns):
            met[each.areas[each.rows]] = True
        met[self.held.areas_of(np.concatenate([self.gone, self.ended.numbers]))] = True
        homes = np.zeros((len(met), len(regions())), np.bool_)
        for number in np.flatnonzero(met).tolist():
            (area,) = names.listed(self.held.areas, number, number + 1)
            homes[number] = _homes(area)
        return homes


@dataclass(eq=False)
class _Parcel:
    """What one region receives: framed records and their keys, uint8[n, bytes of a key].

    `minted` uint8[n, 16] are the ids of the incidents from number `first` on, where the region receives them.
    """

    region: str
    secret: bytes
    first: int
    minted: Minted
    keys: list[Minted] = field(default_factory=list)
    values: list[Blob] = field(default_factory=list)

    def add(self, name: str, keys: Minted, values: Mapping[str, Part], order: Longs) -> None:
        release = latest(name)
        self.put(keys[order], encode(compile(release), len(keys), values, confluent_prefix(release), order))

    def put(self, keys: Minted, values: Blob) -> None:
        self.keys.append(keys)
        self.values.append(values)

    def mint(self, ids: Minted) -> Minted:
        spans = _fixed(ids).spans
        return mint_batch(self.secret, ids.reshape(-1), spans)

    def output(self) -> Output:
        sizes = np.concatenate([np.full(len(keys), keys.shape[1], np.int64) for keys in self.keys])
        keys = Blob(np.concatenate([keys.reshape(-1) for keys in self.keys]), offsets_of(sizes))
        return Output(topic_of(self.region), np.zeros(len(sizes), np.int32), keys, joined(self.values))


def topic_of(region: str) -> str:
    """Return the topic of a region's hub."""
    return f"hub.{region}"


@lru_cache(maxsize=65_536)
def _homes(area: bytes) -> tuple[bool, ...]:
    codes = region_codes_of(area.decode())
    return tuple(region.code in codes for region in regions())


def share(news: News, secrets: Mapping[str, bytes]) -> tuple[Output, ...]:
    """Return one output for each region to which the batch brings something; `secrets` by region in their order."""
    first, count = news.first, news.held.incident_count
    parcels = [_Parcel(r, secret, first, np.zeros((count - first, 16), np.uint8)) for r, secret in secrets.items()]
    for arrived in news.incidents:
        _BRING.get(arrived.release.name, _incidents)(parcels, arrived, news.homes)
    for arrived in news.patterns:
        _patterns(parcels, arrived)
    for parcel, within in zip(parcels, news.homes.T, strict=True):
        _links(parcel, news, within)
        _duplicates(parcel, news, within)
        _closings(parcel, news, within)
        _removals(parcel, news, within)
    return tuple(parcel.output() for parcel in parcels if parcel.keys)


def joined(blobs: list[Blob]) -> Blob:
    """Return the items of all blobs as one."""
    sizes = [np.diff(blob.bounds) for blob in blobs]
    bounds = np.concatenate([[0], np.cumsum(np.concatenate(sizes))]).astype(np.int64)
    return Blob(np.concatenate([blob.data[blob.bounds[0] : blob.bounds[-1]] for blob in blobs]), bounds)


def _incidents(parcels: list[_Parcel], arrived: Arrived, homes: NDArray[np.bool_]) -> None:
    wanted = homes[arrived.areas[arrived.rows]]
    chosen = wanted.any(axis=1)
    rows, numbers = arrived.rows[chosen], arrived.numbers[chosen]
    more = {"area": part(arrived.columns, "area", rows)}
    for parcel, mine, minted in _facts(parcels, arrived, rows, wanted[chosen], "IncidentShared", more):
        parcel.minted[numbers[mine] - parcel.first] = minted


def _revisions(parcels: list[_Parcel], arrived: Arrived, homes: NDArray[np.bool_]) -> None:
    columns = arrived.columns
    release = carrier("RevisionShared", "incident", arrived.release)
    layout, prefix = compile(release, ("incident",)), confluent_prefix(release)
    wanted = homes[arrived.areas[arrived.rows]]
    for parcel, mine in zip(parcels, wanted.T, strict=True):
        rows, numbers = arrived.rows[mine], arrived.numbers[mine]
        if not len(rows):
            continue
        versions, incidents = (
            mint_batch(parcel.secret, columns.data, columns.spans(name)[rows]) for name in ("event_id", "incident_id")
        )
        parcel.minted[numbers - parcel.first] = versions
        values: dict[str, Part] = {
            **{name: part(columns, name, rows) for name in REVISION},
            "version_id": _fixed(versions),
            "incident_id": _fixed(incidents),
            "recorded_on": columns.ints("recorded_at")[rows] // DAY,
        }
        order = by_id(versions)
        parcel.put(versions[order], encode(layout, len(rows), values, prefix, order))


def _referrals(parcels: list[_Parcel], arrived: Arrived, homes: NDArray[np.bool_]) -> None:
    columns, wanted = arrived.columns, homes[arrived.areas[arrived.rows]]
    for parcel, mine in zip(parcels, wanted.T, strict=True):
        rows, numbers = arrived.rows[mine], arrived.numbers[mine]
        if not len(rows):
            continue
        versions, incidents, referrals = (
            mint_batch(parcel.secret, columns.data, columns.spans(f"{name}_id")[rows])
            for name in ("event", "incident", "referral")
        )
        parcel.minted[numbers - parcel.first] = versions
        followed_up = Numbers(_months(columns, "followed_up_on", rows), columns.valid("referral.followed_up_on")[rows])
        values: dict[str, Part] = {
            **{name: part(columns, name, rows) for name in ("node", "area")},
            **{name: part(columns, f"referral.{name}", rows) for name in ("service", "consented", "outcome")},
            "referral_id": _fixed(referrals),
            "version_id": _fixed(versions),
            "incident_id": _fixed(incidents),
            "referred_in": _months(columns, "referred_on", rows),
            "followed_up_in": followed_up,
        }
        parcel.add("ReferralShared", versions, values, by_id(versions))


_BRING = {REVISIONS: _revisions, REFERRALS: _referrals}


def _months(columns: Columns, name: str, rows: Longs) -> Longs:
    """Return the first day of the month of each date, in days since 1970."""
    days = columns.ints(f"referral.{name}")[rows].astype("datetime64[D]")
    return days.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)


def _patterns(parcels: list[_Parcel], arrived: Arrived) -> None:
    offsets, spans = arrived.columns.lists("leads")
    known = names.empty()
    names.add(known, [parcel.region.encode() for parcel in parcels])
    leads = names.intern(known, arrived.columns.data, spans, np.ones(len(spans), np.bool_))
    led = np.repeat(np.arange(arrived.columns.n), np.diff(offsets))
    wanted = np.zeros((arrived.columns.n, max(known.count, len(parcels))), np.bool_)
    wanted[led, leads] = True
    wanted = wanted[arrived.rows, : len(parcels)]
    chosen = wanted.any(axis=1)
    _facts(parcels, arrived, arrived.rows[chosen], wanted[chosen], "PatternShared", {})


def _facts(
    parcels: list[_Parcel],
    arrived: Arrived,
    rows: Longs,
    wanted: NDArray[np.bool_],
    name: str,
    more: Mapping[str, Part],
) -> list[tuple[_Parcel, Longs, Minted]]:
    """Add the incidents or patterns of `rows` to each parcel that wants them, bool[rows, parcels]; return their new ids.

    They are encoded once, their facts copied byte for byte; what a region receives differs in the id alone.
    """
    if not len(rows):
        return []
    columns, record = arrived.columns, arrived.columns.layout.raw[0]
    release = carrier(name, record, arrived.release)
    layout, prefix = compile(release, (record,)), confluent_prefix(release)
    assert next(iter(layout.columns)) == f"{record}_id", f"the id must come first in {name}: `_stamp` writes it there"
    values: dict[str, Part] = {
        f"{record}_id": bytes(16),
        "node": part(columns, "node", rows),
        "recorded_on": columns.ints("recorded_at")[rows] // DAY,
        record: part(columns, record, rows),
        **more,
    }
    blob, spans, given = encode(layout, len(rows), values, prefix), columns.spans("event_id")[rows], []
    for parcel, chosen in zip(parcels, wanted.T, strict=True):
        mine = np.flatnonzero(chosen)
        if len(mine):
            minted = mint_batch(parcel.secret, columns.data, spans[mine])
            order = by_id(minted)
            parcel.put(minted[order], stamped(blob, mine[order], minted[order], len(prefix)))
            given.append((parcel, mine, minted))
    return given


@kernel
def _stamp(data: Octets, bounds: Longs, rows: Longs, ids: Minted, at: int, out: Octets, ends: Longs) -> None:
    pos = 0
    for i in range(len(rows)):
        begin = bounds[rows[i]]
        size = bounds[rows[i] + 1] - begin
        copy(out, pos, data, begin, size)
        for k in range(16):
            out[pos + at + k] = ids[i, k]
        pos += size
        ends[i + 1] = pos


def stamped(blob: Blob, rows: Longs, ids: Minted, at: int) -> Blob:
    """Return the items `rows` int64[k] of a blob in that order, each with its id (`ids` uint8[k, 16]) from byte `at` on."""
    bounds = np.zeros(len(rows) + 1, np.int64)
    out = np.empty(int(np.diff(blob.bounds)[rows].sum()), np.uint8)
    _stamp(read_only(blob.data), blob.bounds, rows, ids, at, out, bounds)
    return Blob(out, bounds)


def _links(parcel: _Parcel, news: News, within: NDArray[np.bool_]) -> None:
    areas = news.held.areas_of(news.links[:, 0])
    rows = np.flatnonzero(within[areas])
    if not len(rows):
        return
    links = news.links[rows].astype(np.int64)
    incidents, version = _incident_ids(parcel, news.held, links[:, 0])
    patterns = _minted(parcel, news.held.pattern_ids(), links[:, 1])
    values: dict[str, Part] = {
        "incident_id": _fixed(incidents),
        "version_id": version,
        "pattern_id": _fixed(patterns),
        "area": _named(news.held, areas[rows]),
        "party_match": links[:, 2],
        "days_outside": links[:, 3],
    }
    keys = np.hstack([_of_all(version, incidents), patterns])
    parcel.add("PatternLinked", keys, values, by_id(incidents, patterns))


def _duplicates(parcel: _Parcel, news: News, within: NDArray[np.bool_]) -> None:
    areas = news.held.areas_of(news.duplicates[:, 0])
    rows = np.flatnonzero(within[areas])
    if not len(rows):
        return
    pairs = news.duplicates[rows].astype(np.int64)
    (first, first_version), (second, second_version) = (_incident_ids(parcel, news.held, pairs[:, k]) for k in (0, 1))
    values: dict[str, Part] = {
        "first_id": _fixed(first),
        "second_id": _fixed(second),
        "first_version": first_version,
        "second_version": second_version,
        "area": _named(news.held, areas[rows]),
        "score": pairs[:, 2],
        "reasons": pairs[:, 3],
    }
    keys = np.hstack([_of_all(first_version, first), _of_all(second_version, second)])
    parcel.add("ProbableDuplicate", keys, values, by_id(first, second))


def _closings(parcel: _Parcel, news: News, within: NDArray[np.bool_]) -> None:
    """Add which versions are no longer current; after all that may name them, for whoever reads in order."""
    mine = within[news.held.areas_of(news.ended.numbers)]
    if mine.any():
        ids, version = _incident_ids(parcel, news.held, news.ended.numbers[mine])
        days, endings = news.ended.days[mine], news.ended.endings[mine]
        values: dict[str, Part] = {
            "incident_id": _fixed(ids),
            "version_id": version,
            "ended_on": days,
            "ending": endings,
        }
        versions = _of_all(version, ids)
        parcel.add("VersionClosed", _marked(versions, CLOSED), values, by_id(ids, versions))


def _removals(parcel: _Parcel, news: News, within: NDArray[np.bool_]) -> None:
    """Add what leaves the region, each incident once whatever its versions; after all that may name it."""
    gone = news.gone[within[news.held.areas_of(news.gone)]]
    if len(gone):
        ids = np.unique(_incident_ids(parcel, news.held, gone)[0], axis=0)
        parcel.add("IncidentRemoved", _marked(ids, REMOVED), {"incident_id": _fixed(ids)}, by_id(ids))


def _incident_ids(parcel: _Parcel, held: Held, numbers: Longs) -> tuple[Minted, Spans | None]:
    """Return the minted ids of incidents, and those of their versions, null for the first; None where all are that."""
    new = numbers >= parcel.first
    ids = np.empty((len(numbers), 16), np.uint8)
    ids[new] = parcel.minted[numbers[new] - parcel.first]
    ids[~new] = _minted(parcel, held.incidents.ids, numbers[~new])
    if not held.origins.of:
        return ids, None
    events = held.incidents.ids[numbers]
    revised = held.origins.revised(events)
    if not revised.any():
        return ids, None
    version, ids = Spans(ids.reshape(-1), _fixed(ids).spans, revised), ids.copy()
    ids[revised] = parcel.mint(_octets(held.origins.incidents(events[revised])))
    return ids, version


def _marked(ids: Minted, mark: Minted) -> Minted:
    """Return keys, the ids with one byte behind each."""
    return np.hstack([ids, np.broadcast_to(mark, (len(ids), 1))])


def _of_all(version: Spans | None, ids: Minted) -> Minted:
    """Return the versions' ids, those of the incidents where there are none."""
    return ids if version is None else version.data.reshape(-1, 16)


def _minted(parcel: _Parcel, table: Words, numbers: Column) -> Minted:
    """Return the minted ids of held records by number, `table` uint64[n, 2], each minted once."""
    unique, back = np.unique(numbers, return_inverse=True)
    return parcel.mint(_octets(table[unique]))[back]


def _octets(ids: Words) -> Minted:
    return ids.astype(">u8").view(np.uint8).reshape(-1, 16)


def _named(held: Held, areas: Column) -> Spans:
    bounds = held.areas.bounds
    return Spans(held.areas.text, np.stack([bounds[areas], bounds[areas + np.int64(1)]], axis=1))


def _fixed(ids: Minted) -> Spans:
    starts = np.arange(len(ids), dtype=np.int64) * 16
    return Spans(ids.reshape(-1), np.stack([starts, starts + 16], axis=1))


def by_id(*ids: Minted) -> Longs:
    """Return the order of rows by their ids uint8[n, 16], the first counting most."""
    words = [np.ascontiguousarray(each).reshape(-1).view(">u8").reshape(-1, 2).astype(np.uint64) for each in ids]
    order = np.argsort(words[0][:, 0])
    first = words[0][order, 0]
    if (first[1:] != first[:-1]).all():
        return order
    return np.lexsort([words[k][:, half] for k in reversed(range(len(words))) for half in (1, 0)])
