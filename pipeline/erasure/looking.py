"""What the log still holds of withdrawn cases: read in columns, aborted records too, since their bytes lie there as well."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from schemas.errors import Stops
from schemas.nodekeys import EPOCH
from sinks.decoding import Damaged, Part, decoded
from sinks.tables import REMOVAL
from streams.arrivals import ASSESSMENTS, ENDINGS, INCIDENTS, PATTERNS, REFERRALS, REVISIONS, WITHDRAWALS, ids_of
from streams.base import Records
from streams.client import Broker
from streams.topiclog import follow

ACCEPTED: Mapping[str, tuple[str, ...]] = {
    INCIDENTS: ("event_id",),
    **dict.fromkeys((REVISIONS, REFERRALS), ("event_id", "incident_id")),
    **dict.fromkeys((PATTERNS, ENDINGS, WITHDRAWALS, ASSESSMENTS), ()),
}
HUB: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("IncidentShared", "RevisionShared", "ReferralShared"), ("incident_id",)),
    **dict.fromkeys(("AssessmentShared", "VersionClosed", "PatternLinked", REMOVAL), ("incident_id",)),
    "ProbableDuplicate": ("first_id", "second_id"),
    "PatternShared": (),
}
"""The contracts of a topic, and of each the fields that name an incident: by it the record has to go, but for a removal."""

ID = 16


class SharedKeys(Stops):
    """A hub's topic has records that share a key: compaction would take out what has to stay."""


@dataclass(frozen=True)
class Hit:
    """A record that names something: the id that it names (16 bytes), its offset, its key and the name of its contract.

    The last is empty where the record could not be read.
    """

    named: bytes
    offset: int
    key: bytes
    contract: str = ""


async def naming(
    broker: Broker, place: tuple[str, int], contracts: Mapping[str, tuple[str, ...]], ids: Collection[bytes]
) -> list[Hit]:
    """Return the records of a partition that name one of these ids, by offset; one that names two comes twice.

    `contracts` are those of the topic with the fields that name. Among records of which one cannot be read, all that hold
    the bytes of an id name it.
    """
    hits: list[Hit] = []
    if not ids:
        return hits
    async for records in follow(broker, place, 0):
        try:
            found = decoded(records, contracts)
        except Damaged:
            hits += _held(records, ids)
            continue
        for name, parts in found.items():
            for part in parts:
                for field in contracts[name]:
                    hits += (replace(hit, contract=name) for hit in _hits(records, part, field, ids))
    return sorted(hits, key=lambda hit: hit.offset)


async def keyed(broker: Broker, topic: str, keys: Collection[bytes]) -> tuple[list[Hit], set[bytes]]:
    """Return the records of a topic of one partition that have a value, and one of these keys of 16 bytes or an epoch's.

    And the keys of which there is a tombstone: what was forgotten once may not come again; of an epoch, if it is the last.
    """
    hits: list[Hit] = []
    buried: set[bytes] = set()
    async for records in follow(broker, (topic, 0), 0):
        for row in np.flatnonzero(np.diff(records.keys.bounds) <= ID).tolist():
            key = records.keys.item(row)
            if key not in keys and not key.startswith(EPOCH):
                continue
            if len(records.values.item(row)):
                hits.append(Hit(key, int(records.offsets[row]), key))
                if key.startswith(EPOCH):
                    buried.discard(key)
            else:
                buried.add(key)
    return hits, buried


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
    """Raise SharedKeys where records of a hub's topic that say different things share a key, as those of an earlier tocsin do."""
    keys, values = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    async for records in follow(broker, (topic, 0), 0):
        valued = np.flatnonzero(records.values.ends > records.values.starts).tolist()
        for blob, hashes in ((records.keys, keys), (records.values, values)):
            hashes.append(np.array([hash(blob.item(row)) for row in valued], np.int64))
    key, value = np.concatenate(keys), np.concatenate(values)
    order = np.lexsort([value, key])
    if ((np.diff(key[order]) == 0) & (np.diff(value[order]) != 0)).any():
        raise SharedKeys(
            f"{topic} has records of which several share a key, as an earlier tocsin wrote them, so that none can be taken out "
            "alone. Set up a new data folder and let the nodes send again: `tocsin node sync --again`."
        )


def among(words: NDArray[np.uint64], ids: Collection[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield where one of these ids stands in uint64[n, 2], big-endian halves, and which."""
    firsts = np.frombuffer(b"".join(each[:8] for each in ids), ">u8")
    for row in np.flatnonzero(np.isin(words[:, 0], firsts.astype(np.uint64))).tolist():
        named = words[row].astype(">u8").tobytes()
        if named in ids:
            yield row, named


def _hits(records: Records, part: Part, field: str, ids: Collection[bytes]) -> Iterator[Hit]:
    for row, named in among(ids_of(part.columns, field), ids):
        at = int(np.searchsorted(records.offsets, part.offsets[row]))
        yield Hit(named, int(part.offsets[row]), records.keys.item(at))


def _held(records: Records, ids: Collection[bytes]) -> Iterator[Hit]:
    for row, offset in enumerate(records.offsets.tolist()):
        value = records.values.item(row)
        yield from (Hit(named, offset, records.keys.item(row)) for named in ids if named in value)
