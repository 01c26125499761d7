"""Events of a hub topic, made from a number: the same number gives the same event, its id is the number."""

from datetime import date, timedelta

import numpy as np

from schemas import rows, wire
from schemas.columns import Blob
from schemas.released import latest
from streams.base import Records

DAY = date(2022, 1, 1)
FORMS = ["rape", "sexual_slavery", "forced_marriage", "sexual_assault"]


def incident(number, **changed):
    facts = {
        "occurred_on": DAY + timedelta(days=number % 700),
        "date_precision": ("day", "month", "year")[number % 3],
        "country": "COD",
        "admin1": "CD61" if number % 4 else None,
        "forms": FORMS[: 1 + number % 4],
        "women": number % 5,
        "girls": number % 3,
        "men": 0,
        "boys": number % 2,
        "unknown": 1,
        "deaths": 0,
        "party_category": "armed_group",
        "party": f"Party {number % 7}" if number % 5 else None,
        "setting": "road",
        "tactic": "not_assessed",
        "nexus": ["displacement"] if number % 2 else [],
        "verification": "verified",
        "primary_sources": 1,
        "secondary_sources": number % 3,
        "un_eyewitness": number % 2 == 0,
        "source_kind": "mission_monitoring",
        "source_reliability": "B",
        "information_credibility": 2,
        "sharing_basis": "informed_consent",
        "sharing_scope": "hub",
    }
    head = {"incident_id": octets(number), "node": "MONUSCO", "recorded_on": DAY + timedelta(days=800), "area": "CD61"}
    return framed("IncidentShared", head | {"incident": facts | changed})


def pattern(number):
    facts = {
        "period_start": DAY,
        "period_end": DAY + timedelta(days=30 + number % 300),
        "areas": ["CD61", "CD62", "UGA"][: 1 + number % 3],
        "forms": FORMS[: 1 + number % 4],
        "party_category": "armed_group",
        "party": None,
        "scale": "repeated",
        "prevalence": number % 4 or None,
        "reporting_sources": 2,
        "silent_sources": 1,
        "tactic": "war",
        "nexus": [],
        "verification": "report_pending_verification",
        "source_kind": "academic_dataset",
    }
    head = {"pattern_id": octets(number), "node": "UNMISS", "recorded_on": DAY + timedelta(days=900)}
    return framed("PatternShared", head | {"pattern": facts})


def link(number):
    row = {
        "incident_id": octets(number),
        "pattern_id": octets(number + 1),
        "area": "CD61",
        "party_match": "same_party",
        "days_outside": number % 30,
    }
    return framed("PatternLinked", row)


def duplicate(number):
    row = {
        "first_id": octets(number),
        "second_id": octets(number + 1),
        "area": "CD61",
        "score": number % 101,
        "reasons": ["near_date", "same_forms"],
    }
    return framed("ProbableDuplicate", row)


def removal(number):
    return framed("IncidentRemoved", {"incident_id": octets(number)})


def quarantined(number):
    row = {
        "node": "MONUSCO",
        "topic": "raw.MONUSCO",
        "partition": 0,
        "offset": number,
        "event_id": octets(number) if number % 3 else None,
        "sequence": number if number % 3 else None,
        "kind": "IncidentReported" if number % 3 else None,
        "reasons": ["avro.truncated"],
        "suite": "1",
    }
    return framed("Quarantined", row)


KINDS = {"incidents": incident, "patterns": pattern, "links": link, "duplicates": duplicate}


def octets(number):
    """Scattered, so that ids are not in the order of arrival."""
    return (number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128)).to_bytes(16, "big")


def framed(name, row):
    return wire.confluent(latest(name), rows.write(latest(name), row))


def batch(topic, log, start, end, partition=0):
    """The records of `log` (value by offset, with gaps as transaction markers make them) in `[start, end)`."""
    offsets = [offset for offset in range(start, end) if offset in log]
    none = Blob.of([b""] * len(offsets))
    values = Blob.of([log[offset] for offset in offsets])
    stamps = np.zeros(len(offsets), np.int64)
    return Records(topic, partition, start, end, np.array(offsets, np.int64), stamps, values, none)
