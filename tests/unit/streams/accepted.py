"""Records of `accepted` from rows of `plain`, and the hubs' records back as rows."""

from datetime import timedelta

import numpy as np

from schemas import rows
from schemas.columns import Blob
from schemas.places import regions
from schemas.released import latest
from schemas.wire import confluent, unframe
from streams.base import Records
from tests.unit.streams.plain import EPOCH, Pattern

PRECISIONS = ("day", "week", "month", "quarter", "year")
FORMS = ("unspecified", "rape", "sexual_slavery", "forced_prostitution")
CATEGORIES = ("unknown", "national_army", "security_forces", "police_forces", "paramilitary_forces")
CATEGORIES += ("international_forces", "armed_group", "other")
SOURCES = ("unknown", "mission_monitoring", "service_provider")
SECRETS = {region.code: bytes([7 + i]) * 32 for i, region in enumerate(regions())}
RECORDED = 1_767_225_600_000


def identity(number):
    """Return a 16-byte event id that grows with the number."""
    return bytes(8) + number.to_bytes(8, "big")


def day(number):
    return EPOCH + timedelta(number)


def forms(mask):
    return [form for bit, form in enumerate(FORMS) if mask >> bit & 1]


def facts(row):
    """Return the nested record of an incident or a pattern, as the contract has it."""
    shared = {
        "forms": forms(row.forms),
        "party_category": CATEGORIES[row.category],
        "party": row.party,
        "tactic": "not_assessed",
        "nexus": [],
        "verification": "report_pending_verification",
    }
    if isinstance(row, Pattern):
        period = {"period_start": day(row.start), "period_end": day(row.end), "areas": [row.area]}
        counts = {"scale": "not_assessed", "prevalence": None, "reporting_sources": 1, "silent_sources": 0}
        return {**shared, **period, **counts, "source_kind": "academic_dataset"}
    where = {"country": "MLI", "admin1": row.area if len(row.area) != 3 else None}
    when = {"occurred_on": day(row.day), "date_precision": PRECISIONS[row.precision]}
    people = dict(zip(("women", "girls", "men", "boys", "unknown"), row.counts, strict=True))
    sources = {"primary_sources": 1, "secondary_sources": 1, "un_eyewitness": False, "source_kind": SOURCES[row.source]}
    judged = {"source_reliability": "B", "information_credibility": 3, "sharing_basis": "informed_consent"}
    return {
        **shared,
        **where,
        **when,
        **people,
        **sources,
        **judged,
        "deaths": 0,
        "setting": "unknown",
        "sharing_scope": "hub",
    }


def value(row, leads=("sahel",)):
    """Return the framed record of an accepted incident or pattern."""
    common = {"event_id": identity(row.id), "sequence": row.id, "recorded_at": RECORDED, "area": row.area}
    if isinstance(row, Pattern):
        name, more = "PatternAccepted", {"node": "N1", "leads": list(leads), "pattern": facts(row)}
    else:
        name, more = "IncidentAccepted", {"node": row.node, "case_ref": identity(row.id), "incident": facts(row)}
    return confluent(latest(name), rows.write(latest(name), {**common, **more}))


def revised(row, of, current=True, release=None, **more):
    """Return the framed record of a further version, `row`, of the incident with the number `of`."""
    release = release or latest("RevisionAccepted")
    verified = {"change": "verified", "step": "technical", "verified_on": day(row.day), "late_verification": False}
    common = {"event_id": identity(row.id), "sequence": row.id, "recorded_at": RECORDED, "area": row.area}
    values = {**common, **verified, "node": row.node, "case_ref": identity(of), "incident": facts(row)}
    values |= {"incident_id": identity(of), "current": current, **more}
    return confluent(release, rows.write(release, values))


def ended(number, node="N1", ending="amended", release=None):
    """Return the framed record that ends a version of a node's incident."""
    release = release or latest("VersionEnded")
    values = {"event_id": identity(number), "node": node, "ended_at": RECORDED, "ending": ending}
    return confluent(release, rows.write(release, values))


def withdrawn(number, node="N1"):
    """Return the framed record that takes a node's incident out."""
    release = latest("IncidentWithdrawn")
    return confluent(release, rows.write(release, {"event_id": identity(number), "node": node}))


def records(values, start=0, topic="accepted", partition=0, keys=None):
    """Return a batch of values."""
    n = len(values)
    offsets = np.arange(start, start + n, dtype=np.int64)
    blob = Blob.of(keys or [b""] * n)
    return Records(topic, partition, start, start + n, offsets, np.zeros(n, np.int64), Blob.of(values), blob)


def read(outputs):
    """Return what was put out: (topic, partition, key, name of the event, its values) of each record."""
    found = []
    for output in outputs:
        for i in range(len(output.values)):
            release, body = unframe(output.values.item(i))
            row = rows.read(release, body)
            found.append((output.topic, int(output.partitions[i]), output.keys.item(i), release.name, row))
    return found


def hashable(value):
    """Return a value of a row as one that a set can hold."""
    if isinstance(value, dict):
        return tuple((key, hashable(each)) for key, each in sorted(value.items()))
    if isinstance(value, list):
        return tuple(map(hashable, value))
    return value
