"""Assessments in merge: told on to the region that each names, and taken out with the incident that they are about.

An incident is known here by the id that its region has, and by that alone: an assessment may come before it, and it may
lie in another lane. So the lane that all assessments go to is told of every withdrawal and keeps the ids that a region
could have of it: what was said before is taken out, what comes after is told to nobody. An id of one region that was said of
another is taken out there.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from schemas.build import Part, part
from schemas.columns import Columns
from schemas.minting import mint_batch
from schemas.order import order_of
from streams.arrivals import ASSESSMENTS, WITHDRAWALS, Batch, ids_of
from streams.assessed import ID, Assessed, about, tag
from streams.assessments import PARTITION
from streams.base import Output
from streams.sharing import ASSESSED, REMOVED, Parcel, fixed, marked

FACTS = ("number", "source", "reliability", "credibility", "grounds")


@dataclass(frozen=True)
class Told:
    """What a batch tells the regions of assessments; how many it tells on, how many are of what was withdrawn before.

    `outside` are those of a region that there is no more.
    """

    outputs: tuple[Output, ...]
    shared: int
    late: int
    outside: int


def assess(held: Assessed, batch: Batch, partition: int, secrets: Mapping[str, bytes]) -> Told:
    """Enter the assessments of a batch, and what it withdraws; `secrets` by region."""
    outputs = tuple(_removals(held, batch, secrets)) if partition == PARTITION else ()
    shared = late = outside = 0
    for _, columns in batch.columns[ASSESSMENTS]:
        for region, rows in _new(held, columns).items():
            if region not in secrets:
                outside += len(rows)
                continue
            told = [row for row, of in rows if of not in held.gone]
            late += len(rows) - len(told)
            shared += len(told)
            if told:
                outputs += (_shared(columns, region, secrets[region], told),)
    return Told(outputs, shared, late, outside)


def _new(held: Assessed, columns: Columns) -> dict[str, list[tuple[int, bytes]]]:
    """Enter those that are new; return their rows and incidents by region."""
    found: dict[str, list[tuple[int, bytes]]] = {}
    events, incidents, regions = (
        columns.spans(name) for name in ("event_id", "assessment.incident_id", "assessment.region")
    )
    for row in range(columns.n):
        event, incident = columns.octets(row, events), columns.octets(row, incidents)
        region = columns.octets(row, regions).decode()
        if event not in held.of:
            held.of[event] = about(incident, region)
            found.setdefault(region, []).append((row, incident))
    return found


def _shared(columns: Columns, region: str, secret: bytes, chosen: list[int]) -> Output:
    """Return an AssessmentShared for each of these rows, by minted id."""
    parcel, rows = Parcel(region, secret), np.array(chosen)
    minted = parcel.mint(ids_of(columns, "event_id")[rows])
    months = columns.ints("assessment.assessed_on")[rows].astype("datetime64[D]").astype("datetime64[M]")
    values: dict[str, Part] = {
        "incident_id": part(columns, "assessment.incident_id", rows),
        "assessment_id": fixed(minted),
        **{name: part(columns, name, rows) for name in ("node", "verdict")},
        **{name: part(columns, f"assessment.{name}", rows) for name in FACTS},
        "assessed_in": months.astype("datetime64[D]").astype(np.int64),
    }
    parcel.add("AssessmentShared", marked(minted, ASSESSED), values, order_of(minted))
    return parcel.output()


def _removals(held: Assessed, batch: Batch, secrets: Mapping[str, bytes]) -> Iterator[Output]:
    """Enter what a batch withdraws; yield for each region the removal of what was assessed as one of its own."""
    ids = [ids_of(columns, "event_id") for _, columns in batch.columns[WITHDRAWALS] if columns.n]
    if not ids:
        return
    withdrawn = np.concatenate(ids)
    minted = dict.fromkeys(one.tobytes() for secret in secrets.values() for one in mint_batch(secret, withdrawn))
    new = {one: None for one in minted if one not in held.gone}
    held.gone |= new
    regions = {tag(region): region for region in secrets}
    removed: dict[str, set[bytes]] = {}
    for said in held.of.values():
        if said[:ID] in new and said[ID:] in regions:
            removed.setdefault(regions[said[ID:]], set()).add(said[:ID])
    for region in sorted(removed):
        parcel, gone = Parcel(region, secrets[region]), bytearray(b"".join(removed[region]))
        found = np.frombuffer(gone, np.uint8).reshape(-1, ID)
        parcel.add("IncidentRemoved", marked(found, REMOVED), {"incident_id": fixed(found)}, order_of(found))
        yield parcel.output()
