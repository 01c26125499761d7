"""Events of a hub topic, made from a number: the same number gives the same event, its id is the number."""

from datetime import date, timedelta

import numpy as np

from schemas import rows, wire
from schemas.columns import Blob
from schemas.released import latest, releases
from streams.base import Records

DAY = date(2022, 1, 1)
FORMS = ["rape", "sexual_slavery", "forced_marriage", "sexual_assault"]


def facts(number):
    return {
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


def incident(number, recorded=800, **changed):
    return framed("IncidentShared", head(number, recorded) | {"incident": facts(number) | changed})


def head(number, recorded):
    day = DAY + timedelta(days=recorded)
    return {"incident_id": octets(number), "node": "MONUSCO", "recorded_on": day, "area": "CD61"}


def revision(number, version, current=True, recorded=810, change="amended", release=0, **changed):
    """A further version of incident `number`; the id of the version is the number `version`."""
    verified = change == "verified"
    more = {
        "version_id": octets(version),
        "current": current,
        "change": change,
        "step": "technical" if verified else "unspecified",
        "verified_on": DAY + timedelta(days=recorded) if verified else None,
        "late_verification": verified,
    }
    return framed("RevisionShared", head(number, recorded) | more | {"incident": facts(number) | changed}, release)


def closure(number, version=None, ended=820, ending="amended", release=0):
    row = {
        "incident_id": octets(number),
        "version_id": version_id(version),
        "ended_on": DAY + timedelta(days=ended),
        "ending": ending,
    }
    return framed("VersionClosed", row, release)


def referral(number, version, referral=None, outcome="pending"):
    """What is said of a referral about incident `number` in `version`, a number as `referral` is: by default the same."""
    row = {
        "referral_id": octets(version if referral is None else referral),
        "version_id": octets(version),
        "incident_id": octets(number),
        "node": "MONUSCO",
        "area": "CD61",
        "service": "medical",
        "referred_in": DAY,
        "consented": True,
        "outcome": outcome,
        "followed_up_in": None if outcome == "pending" else DAY,
    }
    return framed("ReferralShared", row)


def assessment(number, name, verdict="corroborated", count=1, node="UNMISS"):
    """What a node says of incident `number`; the id of the assessment is the number `name`, `count` the node's own."""
    row = {
        "incident_id": octets(number),
        "assessment_id": octets(name),
        "node": node,
        "number": count,
        "verdict": verdict,
        "source": "unspecified" if verdict == "taken_back" else "primary",
        "reliability": "B",
        "credibility": 2,
        "grounds": "place" if verdict == "disputed" else "unspecified",
        "assessed_in": DAY,
    }
    return framed("AssessmentShared", row)


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


def link(number, version=None, pattern=None, release=0):
    row = {
        "incident_id": octets(number),
        "pattern_id": octets(number + 1 if pattern is None else pattern),
        "area": "CD61",
        "party_match": "same_party",
        "days_outside": number % 30,
        "version_id": version_id(version),
    }
    return framed("PatternLinked", row, release)


def duplicate(number, second=None, versions=(None, None), release=0):
    row = {
        "first_id": octets(number),
        "second_id": octets(number + 1 if second is None else second),
        "area": "CD61",
        "score": number % 101,
        "reasons": ["near_date", "same_forms"],
        "first_version": version_id(versions[0]),
        "second_version": version_id(versions[1]),
    }
    return framed("ProbableDuplicate", row, release)


def version_id(number):
    return None if number is None else octets(number)


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


def referred(number):
    return referral(number, number + 2_000_000)


def conflict(number):
    return revision(number, number + 1_000_000, current=False)


def assessed(number):
    return assessment(number, number + 3_000_000)


KINDS = {
    "incidents": incident,
    "patterns": pattern,
    "links": link,
    "duplicates": duplicate,
    "versions": conflict,
    "referrals": referred,
    "assessments": assessed,
}


def octets(number):
    """Scattered, so that ids are not in the order of arrival."""
    return (number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128)).to_bytes(16, "big")


def framed(name, row, version=0):
    """The event as the newest release of its contract frames it, or as an earlier one did."""
    release = next(one for one in releases() if (one.name, one.version) == (name, version)) if version else latest(name)
    fields = {field["name"] for field in release.schema["fields"]}
    return wire.confluent(release, rows.write(release, {name: row[name] for name in row.keys() & fields}))


def batch(topic, log, start, end, partition=0):
    """The records of `log` (value by offset, with gaps as transaction markers make them) in `[start, end)`."""
    offsets = [offset for offset in range(start, end) if offset in log]
    none = Blob.of([b""] * len(offsets))
    values = Blob.of([log[offset] for offset in offsets])
    stamps = np.zeros(len(offsets), np.int64)
    return Records(topic, partition, start, end, np.array(offsets, np.int64), stamps, values, none)
