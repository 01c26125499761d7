"""What revisions and referrals come to, on its way to `accepted`.

A version goes to its area as a whole. What it ends is told to every partition, as a withdrawal is: the area of the version
before is sealed, and may be another one.
"""

from collections.abc import Iterator

import numpy as np

from schemas.build import Part, Spans, encode, part
from schemas.columns import Blob, compile  # noqa: A004
from schemas.lifecycle import SHARED
from schemas.released import latest
from schemas.wire import confluent_prefix
from streams.accepted import TOPIC, revision_output
from streams.base import Output
from streams.bodies import Judged
from streams.envelopes import Envelopes
from streams.match import QUARTERLY, last_days
from streams.referrals import FOLLOWED_UP, referral_output
from streams.revisions import Followed, Revised, Sent

FOUND = {"not_in_scope": "out_of_scope"}  # a state of verification, as the ending that it means
CHANGES = {"IncidentAmended": "amended", "IncidentVerified": "verified", "ConsentGiven": "consent_given"}


def revised_output(revised: Revised, node: str, count: int) -> list[Output]:
    """Return a record for each version that the regions are to have and for each referral, then one for each that ends."""
    versions = [
        revision_output(found, judged, _of_versions(judged, chosen), node, count)
        for found, judged, chosen in _shared(revised)
    ]
    referrals = [
        referral_output(sent.found, _of(each, chosen), node, count)
        for sent, each in revised.referred
        if (chosen := _followed(revised, sent, each))
    ]
    return [*versions, *referrals, *_ended_output(revised, node, count)]


def _shared(revised: Revised) -> Iterator[tuple[Envelopes, Judged, list[Followed]]]:
    """Yield, release by release, the versions that the regions are to have."""
    for sent, each in revised.judged:
        chosen = [one for one in _followed(revised, sent, each) if one.revision.state in SHARED]
        if chosen:
            yield sent.found, _of(each, chosen), chosen


def _followed(revised: Revised, sent: Sent, judged: Judged) -> list[Followed]:
    """Return those of some bodies that were allowed."""
    offsets = sent.records.offsets[judged.records].tolist()
    return [revised.followed[offset] for offset in offsets if offset in revised.followed]


def _of(judged: Judged, chosen: list[Followed]) -> Judged:
    rows, places = (np.array([getattr(one.event, name) for one in chosen], np.int64) for name in ("row", "place"))
    return Judged(judged.release, judged.columns, rows, places)


def _of_versions(judged: Judged, chosen: list[Followed]) -> dict[str, Part]:
    """Return what a version has beside an incident."""
    columns, rows = judged.columns, judged.rows
    values: dict[str, Part] = {
        "incident_id": part(columns, "incident_id", rows),
        "current": np.array([one.turn.speaks for one in chosen], np.int64),
        "change": CHANGES[judged.release.name],
    }
    if judged.release.name != "IncidentVerified":
        return {**values, "step": "unspecified", "verified_on": None, "late_verification": False}
    days = columns.ints("verified_on")[rows]
    happened = last_days(columns.ints("incident.occurred_on")[rows], columns.ints("incident.date_precision")[rows])
    late = days > last_days(happened, np.full(len(rows), QUARTERLY))
    step = part(columns, "step", rows)
    return {**values, "step": step, "verified_on": days, "late_verification": late.astype(np.int64)}


def _ended_output(revised: Revised, node: str, count: int) -> tuple[Output, ...]:
    """Return a VersionEnded for each version that came to its end, for each of `count` partitions; nothing for none."""
    ended = [(version, one) for one in revised.followed.values() for version in one.turn.ended]
    if not ended:
        return ()
    release, layout = latest("VersionEnded"), compile(latest("VersionEnded"))
    symbols = layout.columns["ending"].symbols
    times = [int(one.event.columns.ints("recorded_at")[one.event.row]) for _, one in ended]
    ids = Blob.of([version for version, _ in ended] * count)
    values: dict[str, Part] = {
        "event_id": Spans.of(ids),
        "node": node,
        "ended_at": np.array(times * count, np.int64),
        "ending": np.array([symbols.index(_ending(one)) for _, one in ended] * count, np.int64),
    }
    partitions = np.repeat(np.arange(count, dtype=np.int32), len(ended))
    return (Output(TOPIC, partitions, ids, encode(layout, len(ids), values, confluent_prefix(release))),)


def _ending(one: Followed) -> str:
    """Return what an event means to the version that it ends."""
    if one.revision.kind == "IncidentRetracted":
        return one.event.text("reason")
    if one.revision.kind == FOLLOWED_UP:
        return "followed_up"
    state = one.revision.state
    if state not in SHARED:
        return FOUND.get(state, state)
    return CHANGES[one.revision.kind]
