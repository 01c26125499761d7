"""What the log still holds of withdrawn cases: read in columns, aborted records too, since their bytes lie there as well."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.columns import Columns
from schemas.errors import Stops
from sinks.decoding import decoded
from streams.arrivals import ENDINGS, INCIDENTS, PATTERNS, REFERRALS, REVISIONS, WITHDRAWALS, ids_of
from streams.base import Records
from streams.client import Broker
from streams.topiclog import follow

ACCEPTED: Mapping[str, tuple[str, ...]] = {
    INCIDENTS: ("event_id",),
    **dict.fromkeys((REVISIONS, REFERRALS), ("event_id", "incident_id")),
    **dict.fromkeys((PATTERNS, ENDINGS, WITHDRAWALS), ()),
}
HUB: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("IncidentShared", "RevisionShared", "ReferralShared"), ("incident_id",)),
    **dict.fromkeys(("VersionClosed", "PatternLinked"), ("incident_id",)),
    "ProbableDuplicate": ("first_id", "second_id"),
    **dict.fromkeys(("PatternShared", "IncidentRemoved"), ()),
}
"""The contracts of a topic, and of each the fields that name an incident by which the record has to go."""

KEY_BYTES = {"PatternLinked": 32, "ProbableDuplicate": 32, "VersionClosed": 17, "IncidentRemoved": 17}
ID = 16


class SharedKeys(Stops):
    """A hub's topic has records that share a key: compaction would take out what has to stay."""


@dataclass(frozen=True)
class Hit:
    """A record that names something: the id that it names (16 bytes), its offset and its key."""

    named: bytes
    offset: int
    key: bytes


async def naming(
    broker: Broker, place: tuple[str, int], contracts: Mapping[str, tuple[str, ...]], ids: Collection[bytes]
) -> list[Hit]:
    """Return the records of a partition that name one of these ids, by offset; one that names two comes twice.

    `contracts` are those of the topic with the fields that name. Damaged where a record is of none of them.
    """
    hits: list[Hit] = []
    if not ids:
        return hits
    async for records in follow(broker, place, 0):
        for name, parts in decoded(records, contracts).items():
            for part in parts:
                for field in contracts[name]:
                    hits += _hits(records, part.columns, part.offsets, field, ids)
    return sorted(hits, key=lambda hit: hit.offset)


async def keyed(broker: Broker, topic: str, keys: Collection[bytes]) -> list[Hit]:
    """Return the records of a topic of one partition that have one of these keys of 16 bytes, and a value."""
    hits: list[Hit] = []
    if not keys:
        return hits
    async for records in follow(broker, (topic, 0), 0):
        valued = records.values.ends > records.values.starts
        for row in np.flatnonzero(valued & (np.diff(records.keys.bounds) == ID)).tolist():
            key = records.keys.item(row)
            if key in keys:
                hits.append(Hit(key, int(records.offsets[row]), key))
    return hits


async def stands(broker: Broker, place: tuple[str, int], hits: Sequence[Hit]) -> bool:
    """Return whether any of these records, one or more in the order of their offsets, is still in the log."""
    offsets = {hit.offset for hit in hits}
    async for records in follow(broker, place, hits[0].offset):
        if offsets & set(records.offsets[records.values.ends > records.values.starts].tolist()):
            return True
        if records.end > hits[-1].offset:
            break
    return False


async def check_keys(broker: Broker, topic: str) -> None:
    """Raise SharedKeys where a hub's topic has records that may share a key: those of an earlier tocsin."""
    async for records in follow(broker, (topic, 0), 0):
        lengths = np.diff(records.keys.bounds)
        for name, parts in decoded(records, HUB).items():
            for part in parts:
                at = np.searchsorted(records.offsets, part.offsets)
                if (lengths[at] != KEY_BYTES.get(name, ID)).any():
                    raise SharedKeys(
                        f"{topic} has records of an earlier tocsin, of which several share a key, so that none can be "
                        "taken out alone. Set up a new data folder and let the nodes send again: `tocsin node sync --again`."
                    )


def _hits(
    records: Records, columns: Columns, offsets: NDArray[np.int64], field: str, ids: Collection[bytes]
) -> Iterator[Hit]:
    words = ids_of(columns, field)
    firsts = np.frombuffer(b"".join(each[:8] for each in ids), ">u8")
    for row in np.flatnonzero(np.isin(words[:, 0], firsts.astype(np.uint64))).tolist():
        named = words[row].astype(">u8").tobytes()
        if named in ids:
            at = int(np.searchsorted(records.offsets, offsets[row]))
            yield Hit(named, int(offsets[row]), records.keys.item(at))
