"""What each regional hub receives of a batch: under ids of its own, coarsened, in an order that says nothing.

Ids are minted with the region's secret, so that no two regions, and no hub and node, can be joined on them. Times are
days. Rows go by minted id, event by event, so that neither arrival nor sequence shows. No two records that say different
things share a key, so that what names an incident can be taken out of the log by compaction, record by record.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from schemas.build import Ints as Numbers
from schemas.build import Part, Spans, encode, part
from schemas.columns import Blob, Columns, compile, offsets_of  # noqa: A004
from schemas.minting import mint_batch
from schemas.order import order_of
from schemas.places import region_codes_of, regions
from schemas.released import latest
from schemas.wire import confluent_prefix
from streams import names
from streams.arrivals import REFERRALS, REVISIONS, Arrived, ids_of
from streams.base import Output
from streams.frames import carrier
from streams.held import ABROAD, HOME, Held
from streams.names import Ints, Longs
from streams.runs import Words
from streams.stamps import stamped
from streams.state import Column, cells

DAY = 86_400_000
Minted = NDArray[np.uint8]
_Versions = tuple[tuple[Minted, NDArray[np.bool_]], ...]
_Sides = tuple[Minted, Minted, tuple[Minted, Minted], _Versions]
REVISION = ("node", "area", "current", "change", "step", "verified_on", "late_verification", "incident")
"""What a region is told of a further version as refine wrote it."""


@dataclass(frozen=True, eq=False)
class Ended:
    """Versions that come to their end: `numbers` int64[k], `days` (since 1970) and `endings` (indexes in Ending) int64[k]."""

    numbers: Longs
    days: Longs
    endings: Longs


CLOSED, REMOVED, ASSESSED = (np.array([[mark]], np.uint8) for mark in range(3))
"""What stands behind the id in the key of the end of a version, of a removal, and of an assessment."""
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
        """Return for each area of the lane, by number, to which regions it belongs: bool[areas, regions].

        An area is looked up when a batch first meets it, and has none before: to look all up would cost a small batch more
        than the rest of it.
        """
        held = self.held
        met = np.zeros(held.areas.count, np.bool_)
        for each in (*self.incidents, *self.patterns):
            met[each.areas[each.rows]] = True
        met[held.areas_of(np.concatenate([self.gone, self.ended.numbers]))] = True
        held.homes = cells(held.homes, len(met))
        for number in np.flatnonzero(met & (held.homes[: len(met), 0] == 0)).tolist():
            (area,) = names.listed(held.areas, number, number + 1)
            held.homes[number] = np.where(_homes(area), HOME, ABROAD)
        return np.asarray(held.homes[: len(met)] == HOME)


@dataclass(eq=False)
class Parcel:
    """What one region receives: framed records and their keys, uint8[n, bytes of a key].

    `minted` uint8[n, 16] are the ids of the incidents from number `first` on, where the region receives them.
    """

    region: str
    secret: bytes
    first: int = 0
    minted: Minted = field(default_factory=lambda: np.zeros((0, 16), np.uint8))
    keys: list[Minted] = field(default_factory=list)
    values: list[Blob] = field(default_factory=list)

    def add(self, name: str, keys: Minted, values: Mapping[str, Part], order: Longs) -> None:
        """Add an event of this name for each key, in this order."""
        release = latest(name)
        self.put(keys[order], encode(compile(release), len(keys), values, confluent_prefix(release), order))

    def put(self, keys: Minted, values: Blob) -> None:
        """Add records that are framed already."""
        self.keys.append(keys)
        self.values.append(values)

    def mint(self, ids: Words) -> Minted:
        """Return ids as the region has them."""
        return mint_batch(self.secret, ids)

    def incidents(self, numbers: Longs, ids: Words) -> Minted:
        """Return the minted ids of incidents and versions, `ids` by number, those of this batch as they were minted before."""
        new = numbers >= self.first
        if new.all():
            return self.minted[numbers - self.first]
        minted = np.empty((len(numbers), 16), np.uint8)
        minted[new] = self.minted[numbers[new] - self.first]
        minted[~new] = self.mint(ids[~new])
        return minted

    def output(self) -> Output:
        """Return what was added, for the region's topic."""
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
    parcels = [Parcel(r, secret, first, np.zeros((count - first, 16), np.uint8)) for r, secret in secrets.items()]
    for arrived in news.incidents:
        _BRING.get(arrived.release.name, _incidents)(parcels, arrived, news.homes)
    for arrived in news.patterns:
        _patterns(parcels, arrived)
    _links(parcels, news)
    _duplicates(parcels, news)
    for parcel, within in zip(parcels, news.homes.T, strict=True):
        _closings(parcel, news, within)
        _removals(parcel, news, within)
    return tuple(parcel.output() for parcel in parcels if parcel.keys)


def joined(blobs: list[Blob]) -> Blob:
    """Return the items of all blobs as one."""
    sizes = [np.diff(blob.bounds) for blob in blobs]
    bounds = np.concatenate([[0], np.cumsum(np.concatenate(sizes))]).astype(np.int64)
    return Blob(np.concatenate([blob.data[blob.bounds[0] : blob.bounds[-1]] for blob in blobs]), bounds)


def _incidents(parcels: list[Parcel], arrived: Arrived, homes: NDArray[np.bool_]) -> None:
    rows, numbers, areas = arrived.rows, arrived.numbers, arrived.areas[arrived.rows]
    chosen = np.logical_or.reduce(homes, axis=1)[areas]
    if not chosen.all():
        rows, numbers, areas = rows[chosen], numbers[chosen], areas[chosen]
    wanted = (within[areas] for within in np.ascontiguousarray(homes.T))
    more = {"area": part(arrived.columns, "area", rows)}
    for parcel, mine, minted in _facts(parcels, arrived, rows, wanted, "IncidentShared", more):
        parcel.minted[numbers[mine] - parcel.first] = minted


def _revisions(parcels: list[Parcel], arrived: Arrived, homes: NDArray[np.bool_]) -> None:
    columns = arrived.columns
    release = carrier("RevisionShared", "incident", arrived.release)
    layout, prefix = compile(release, ("incident",)), confluent_prefix(release)
    wanted = homes[arrived.areas[arrived.rows]]
    for parcel, mine in zip(parcels, wanted.T, strict=True):
        rows, numbers = arrived.rows[mine], arrived.numbers[mine]
        if not len(rows):
            continue
        versions, incidents = parcel.mint(arrived.ids[rows]), parcel.mint(ids_of(columns, "incident_id")[rows])
        parcel.minted[numbers - parcel.first] = versions
        values: dict[str, Part] = {
            **{name: part(columns, name, rows) for name in REVISION},
            "version_id": fixed(versions),
            "incident_id": fixed(incidents),
            "recorded_on": columns.ints("recorded_at")[rows] // DAY,
        }
        order = order_of(versions)
        parcel.put(versions[order], encode(layout, len(rows), values, prefix, order))


def _referrals(parcels: list[Parcel], arrived: Arrived, homes: NDArray[np.bool_]) -> None:
    columns, wanted = arrived.columns, homes[arrived.areas[arrived.rows]]
    for parcel, mine in zip(parcels, wanted.T, strict=True):
        rows, numbers = arrived.rows[mine], arrived.numbers[mine]
        if not len(rows):
            continue
        versions = parcel.mint(arrived.ids[rows])
        incidents, referrals = (parcel.mint(ids_of(columns, name)[rows]) for name in ("incident_id", "referral_id"))
        parcel.minted[numbers - parcel.first] = versions
        followed_up = Numbers(_months(columns, "followed_up_on", rows), columns.valid("referral.followed_up_on")[rows])
        values: dict[str, Part] = {
            **{name: part(columns, name, rows) for name in ("node", "area")},
            **{name: part(columns, f"referral.{name}", rows) for name in ("service", "consented", "outcome")},
            "referral_id": fixed(referrals),
            "version_id": fixed(versions),
            "incident_id": fixed(incidents),
            "referred_in": _months(columns, "referred_on", rows),
            "followed_up_in": followed_up,
        }
        parcel.add("ReferralShared", versions, values, order_of(versions))


_BRING = {REVISIONS: _revisions, REFERRALS: _referrals}


def _months(columns: Columns, name: str, rows: Longs) -> Longs:
    """Return the first day of the month of each date, in days since 1970."""
    days = columns.ints(f"referral.{name}")[rows].astype("datetime64[D]")
    return days.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)


def _patterns(parcels: list[Parcel], arrived: Arrived) -> None:
    offsets, spans = arrived.columns.lists("leads")
    known = names.empty()
    names.add(known, [parcel.region.encode() for parcel in parcels])
    leads = names.intern(known, arrived.columns.data, spans, np.ones(len(spans), np.bool_))
    led = np.repeat(np.arange(arrived.columns.n), np.diff(offsets))
    wanted = np.zeros((arrived.columns.n, max(known.count, len(parcels))), np.bool_)
    wanted[led, leads] = True
    wanted = wanted[arrived.rows, : len(parcels)]
    chosen = wanted.any(axis=1)
    _facts(parcels, arrived, arrived.rows[chosen], wanted[chosen].T, "PatternShared", {})


def _facts(
    parcels: list[Parcel],
    arrived: Arrived,
    rows: Longs,
    wanted: Iterable[NDArray[np.bool_]],
    name: str,
    more: Mapping[str, Part],
) -> list[tuple[Parcel, Longs, Minted]]:
    """Add the incidents or patterns of `rows` to each parcel that wants them, for each bool[rows]; return their new ids.

    They are encoded once, their facts copied byte for byte; what a region receives differs in the id alone.
    """
    if not len(rows):
        return []
    columns, record = arrived.columns, arrived.columns.layout.raw[0]
    release = carrier(name, record, arrived.release)
    layout, prefix = compile(release, (record,)), confluent_prefix(release)
    assert next(iter(layout.columns)) == f"{record}_id", f"the id must come first in {name}: `stamped` writes it there"
    values: dict[str, Part] = {
        f"{record}_id": part(columns, "event_id", rows),
        "node": part(columns, "node", rows),
        "recorded_on": columns.ints("recorded_at")[rows] // DAY,
        record: part(columns, record, rows),
        **more,
    }
    blob, ids, given = encode(layout, len(rows), values, prefix), arrived.ids[rows], []
    for parcel, chosen in zip(parcels, wanted, strict=True):
        mine = np.flatnonzero(chosen)
        if len(mine):
            minted = parcel.mint(ids[mine])
            parcel.put(*stamped(blob, mine, minted, order_of(minted), len(prefix)))
            given.append((parcel, mine, minted))
    return given


@dataclass(frozen=True, eq=False)
class _Incidents:
    """Incidents that something names, `numbers` int64[k]; `revised` bool[k] are further versions.

    `events` uint64[k, 2] are their ids, `origins` those of their incidents, the same but where they are further versions.
    """

    numbers: Longs
    events: Words
    revised: NDArray[np.bool_]
    origins: Words

    @classmethod
    def of(cls, held: Held, numbers: Longs) -> "_Incidents":
        events = held.incidents.ids[numbers]
        revised = held.origins.revised(events)
        return cls(numbers, events, revised, held.origins.incidents(events) if revised.any() else events)

    def ids(self, parcel: Parcel, rows: Longs) -> tuple[Minted, Minted]:
        """Return the minted ids, uint8[n, 16], of the incidents `rows` int64[n], and those of their versions."""
        versions, revised = parcel.incidents(self.numbers[rows], self.events[rows]), self.revised[rows]
        if not revised.any():
            return versions, versions
        ids = versions.copy()
        ids[revised] = parcel.mint(self.origins[rows][revised])
        return ids, versions

    def versions(self) -> Part:
        """Return room for the ids of versions, null for the first of each incident."""
        if not self.revised.any():
            return None
        return Spans(np.zeros(16, np.uint8), np.broadcast_to(np.array([0, 16]), (len(self.numbers), 2)), self.revised)


def _links(parcels: list[Parcel], news: News) -> None:
    links = news.links.astype(np.int64)
    incidents, patterns = _Incidents.of(news.held, links[:, 0]), news.held.pattern_ids(links[:, 1])
    values: dict[str, Part] = {
        "incident_id": bytes(16),
        "version_id": incidents.versions(),
        "pattern_id": bytes(16),
        "party_match": links[:, 2],
        "days_outside": links[:, 3],
    }

    def sides(parcel: Parcel, rows: Longs) -> _Sides:
        (first, version), second = incidents.ids(parcel, rows), parcel.mint(patterns[rows])
        return first, second, (version, second), ((version, incidents.revised[rows]),)

    _pairs(parcels, news, "PatternLinked", links, values, sides)


def _duplicates(parcels: list[Parcel], news: News) -> None:
    pairs = news.duplicates.astype(np.int64)
    one, other = (_Incidents.of(news.held, pairs[:, k]) for k in (0, 1))
    values: dict[str, Part] = {
        "first_id": bytes(16),
        "second_id": bytes(16),
        "first_version": one.versions(),
        "second_version": other.versions(),
        "score": pairs[:, 2],
        "reasons": pairs[:, 3],
    }

    def sides(parcel: Parcel, rows: Longs) -> _Sides:
        (first, version), (second, other_version) = one.ids(parcel, rows), other.ids(parcel, rows)
        versions = (version, one.revised[rows]), (other_version, other.revised[rows])
        return first, second, (version, other_version), versions

    _pairs(parcels, news, "ProbableDuplicate", pairs, values, sides)


def _pairs(
    parcels: list[Parcel],
    news: News,
    name: str,
    pairs: Longs,
    values: Mapping[str, Part],
    sides: Callable[[Parcel, Longs], _Sides],
) -> None:
    """Add links or probable duplicates, int64[k, 4], to each parcel: encoded once, ids and versions are written in.

    The ids are the first two fields, the versions the last ones: that is where they are written.
    """
    if not len(pairs):
        return
    areas, release = news.held.areas_of(pairs[:, 0]), latest(name)
    layout, prefix = compile(release), confluent_prefix(release)
    kinds = [column.kind for column in layout.columns.values()]
    assert kinds[0] == kinds[1] == kinds[-1] == "fixed", f"ids must come first and versions last in {name}"
    blob = encode(layout, len(pairs), {**values, "area": _named(news.held, areas)}, prefix)
    for parcel, within in zip(parcels, news.homes.T, strict=True):
        rows = np.flatnonzero(within[areas])
        if len(rows):
            first, second, keys, versions = sides(parcel, rows)
            ids = np.concatenate([first, second], axis=1)
            order = order_of(ids)
            _, told = stamped(blob, rows, ids, order, len(prefix))
            _write_versions(told, order, versions)
            parcel.put(np.concatenate(keys, axis=1)[order], told)


def _write_versions(told: Blob, order: Longs, versions: _Versions) -> None:
    """Write the versions' ids, the last fields of a record, each one byte where it is null and 17 where it is not."""
    ends = told.ends.copy()
    for ids, revised in reversed(versions):
        mine = np.flatnonzero(revised[order])
        told.data[ends[mine, None] + np.arange(-16, 0)] = ids[order[mine]]
        ends -= np.where(revised[order], 17, 1)


def _closings(parcel: Parcel, news: News, within: NDArray[np.bool_]) -> None:
    """Add which versions are no longer current; after all that may name them, for whoever reads in order."""
    mine = within[news.held.areas_of(news.ended.numbers)]
    if mine.any():
        ended, rows = _Incidents.of(news.held, news.ended.numbers), np.flatnonzero(mine)
        ids, versions = ended.ids(parcel, rows)
        values: dict[str, Part] = {
            "incident_id": fixed(ids),
            "version_id": Spans(versions.reshape(-1), fixed(versions).spans, ended.revised[rows]),
            "ended_on": news.ended.days[mine],
            "ending": news.ended.endings[mine],
        }
        parcel.add("VersionClosed", marked(versions, CLOSED), values, order_of(np.concatenate([ids, versions], axis=1)))


def _removals(parcel: Parcel, news: News, within: NDArray[np.bool_]) -> None:
    """Add what leaves the region, each incident once whatever its versions; after all that may name it."""
    mine = np.flatnonzero(within[news.held.areas_of(news.gone)])
    if len(mine):
        ids = np.unique(_Incidents.of(news.held, news.gone).ids(parcel, mine)[0], axis=0)
        parcel.add("IncidentRemoved", marked(ids, REMOVED), {"incident_id": fixed(ids)}, order_of(ids))


def marked(ids: Minted, mark: Minted) -> Minted:
    """Return keys, the ids with one byte behind each."""
    return np.hstack([ids, np.broadcast_to(mark, (len(ids), 1))])


def _named(held: Held, areas: Column) -> Spans:
    bounds = held.areas.bounds
    return Spans(held.areas.text, np.stack([bounds[areas], bounds[areas + np.int64(1)]], axis=1))


def fixed(ids: Minted) -> Spans:
    """Return where each id lies, as the values of a field."""
    starts = np.arange(len(ids), dtype=np.int64) * 16
    return Spans(ids.reshape(-1), np.stack([starts, starts + 16], axis=1))
