"""A node's raw records: events sealed and framed as a node does it, row by row."""

from datetime import date

import numpy as np

from schemas import rows, seal
from schemas.keyring import Keyring
from schemas.lifecycle import replaces
from schemas.released import latest
from schemas.wire import single_object

NODE = "MINUSMA"
RECORDED = 1_767_225_600_000
INCIDENT = {
    "occurred_on": date(2021, 3, 1),
    "date_precision": "day",
    "country": "MLI",
    "admin1": "ML01",
    "forms": ["rape"],
    "women": 1,
    "girls": 0,
    "men": 0,
    "boys": 0,
    "unknown": 0,
    "deaths": 0,
    "party_category": "armed_group",
    "party": "A party",
    "setting": "road",
    "tactic": "not_assessed",
    "nexus": [],
    "verification": "report_pending_verification",
    "primary_sources": 1,
    "secondary_sources": 0,
    "un_eyewitness": False,
    "source_kind": "mission_monitoring",
    "source_reliability": "B",
    "information_credibility": 2,
    "sharing_basis": "informed_consent",
    "sharing_scope": "hub",
}
PATTERN = {
    "period_start": date(2020, 1, 1),
    "period_end": date(2020, 12, 31),
    "areas": ["ML01", "TD02"],
    "forms": ["rape"],
    "party_category": "armed_group",
    "party": None,
    "scale": "not_assessed",
    "prevalence": 1,
    "reporting_sources": 1,
    "silent_sources": 0,
    "tactic": "not_assessed",
    "nexus": [],
    "verification": "report_pending_verification",
    "source_kind": "academic_dataset",
}


def case(number):
    return b"case" + number.to_bytes(12, "big")


def key(number):
    return b"key!" + number.to_bytes(28, "big")


def identity(number, salt=0):
    return b"\x01" + salt.to_bytes(7, "big") + number.to_bytes(8, "big")


def keyring(cases):
    held = Keyring()
    for number in cases:
        held.put(np.frombuffer(case(number), np.uint8)[None], np.frombuffer(key(number), np.uint8)[None])
    return held


def envelope(kind, sequence, body, case_ref=None, schema=None, **more):
    """Return a framed envelope around a body as it is."""
    values = {
        "event_id": identity(sequence),
        "node": NODE,
        "sequence": sequence,
        "kind": kind,
        "case_ref": case_ref,
        "body_schema": schema or latest(kind).fingerprint,
        "body": body,
        **more,
    }
    return single_object(latest("Envelope"), rows.write(latest("Envelope"), values))


def sealed(kind, sequence, number, body, **more):
    event_id = more.get("event_id", identity(sequence))
    shut = seal.seal_body(
        key(number),
        body_schema=latest(kind).fingerprint,
        event_id=event_id,
        case_ref=case(number),
        sequence=sequence,
        node=more.get("node", NODE),
        body=body,
    )
    return envelope(kind, sequence, shut, case(number), **more)


def incident_body(**facts):
    values = {"recorded_at": RECORDED, "incident": {**INCIDENT, **facts}}
    return rows.write(latest("IncidentReported"), values)


def incident(sequence, number=None, facts=None, **more):
    """Return an IncidentReported of case `number` (default: the sequence), sealed."""
    number = sequence if number is None else number
    return sealed("IncidentReported", sequence, number, incident_body(**(facts or {})), **more)


def pattern(sequence, facts=None, **more):
    values = {"recorded_at": RECORDED, "pattern": {**PATTERN, **(facts or {})}}
    return envelope("PatternObserved", sequence, rows.write(latest("PatternObserved"), values), **more)


def revision(kind, sequence, number, replaced, *, of=None, **more):
    """Return an event of case `number` that revises the incident of event `of` (default: the number of its case).

    `replaced` are numbers of events as `identity` takes them; `more` are fields of its contract, or of its envelope.
    """
    return _following(
        kind, sequence, number, of, {"replaces": replaces((identity(each), each) for each in replaced)}, more
    )


def _following(kind, sequence, number, of, values, more):
    """Return an event of case `number` about the incident of event `of`; `more` are fields of its contract, or of its envelope."""
    of = number if of is None else of
    own = {field["name"] for field in latest(kind).schema["fields"]}
    values = {
        "recorded_at": RECORDED,
        "incident_id": identity(of),
        "incident_number": of,
        **values,
        **{name: value for name, value in more.items() if name in own},
    }
    around = {name: value for name, value in more.items() if name not in own}
    return sealed(kind, sequence, number, rows.write(latest(kind), values), **around)


def amendment(sequence, number, replaced, facts=None, **more):
    """Return an IncidentAmended of case `number`; see `revision`."""
    return revision("IncidentAmended", sequence, number, replaced, incident={**INCIDENT, **(facts or {})}, **more)


def verification(sequence, number, replaced, state="verified", step="focal_point", verifier=1, facts=None, **more):
    """Return an IncidentVerified of case `number`; see `revision`."""
    incident = {**INCIDENT, **(facts or {}), "verification": state}
    who = {"step": step, "verifier": verifier.to_bytes(8, "big"), "verified_on": more.pop("on", date(2021, 3, 31))}
    return revision("IncidentVerified", sequence, number, replaced, incident=incident, **who, **more)


def consent(sequence, number, replaced, scope="headquarters", on=date(2021, 3, 31), facts=None, **more):
    """Return a ConsentGiven of case `number`; see `revision`."""
    incident = {**INCIDENT, **(facts or {}), "sharing_scope": scope}
    return revision("ConsentGiven", sequence, number, replaced, incident=incident, given_on=on, **more)


REFERRAL = {
    "service": "medical",
    "referred_on": date(2021, 3, 5),
    "consented": True,
    "outcome": "pending",
    "followed_up_on": None,
}


def referral(sequence, number, area="ML01", *, of=None, facts=None, contract="ReferralMade", **more):
    """Return a ReferralMade of case `number`, about the incident of event `of` (default: the number of its case)."""
    return _following(contract, sequence, number, of, {"area": area, "referral": {**REFERRAL, **(facts or {})}}, more)


def follow_up(sequence, number, made, replaced=None, outcome="service_received", facts=None, **more):
    """Return a ReferralFollowedUp of the referral of event `made`; it replaces what event `replaced` said (default: that)."""
    replaced = made if replaced is None else replaced
    facts = {"outcome": outcome, "followed_up_on": date(2021, 4, 6), **(facts or {})}
    named = {
        "referral_id": identity(made),
        "referral_number": made,
        "replaces": replaces([(identity(replaced), replaced)]),
    }
    return referral(sequence, number, facts=facts, contract="ReferralFollowedUp", **{**named, **more})


ASSESSMENT = {
    "region": "sahel",
    "incident_id": bytes(range(16)),
    "number": 1,
    "source": "primary",
    "reliability": "B",
    "credibility": 2,
    "grounds": "unspecified",
    "assessed_on": date(2021, 4, 7),
}


def corroboration(sequence, facts=None, contract="IncidentCorroborated", **more):
    """Return an IncidentCorroborated, or another assessment, of an incident that another node reported."""
    values = {"recorded_at": RECORDED, "assessment": {**ASSESSMENT, **(facts or {})}}
    return envelope(contract, sequence, rows.write(latest(contract), values), **more)


def dispute(sequence, facts=None, **more):
    """Return an IncidentDisputed; see `corroboration`."""
    return corroboration(sequence, {"grounds": "place", **(facts or {})}, "IncidentDisputed", **more)


def taking_back(sequence, facts=None, **more):
    """Return an AssessmentTakenBack; see `corroboration`."""
    nothing = {"source": "unspecified", "reliability": "F", "credibility": 6}
    return corroboration(sequence, {**nothing, **(facts or {})}, "AssessmentTakenBack", **more)


def retraction(sequence, number, replaced, reason="error", **more):
    """Return an IncidentRetracted of case `number`; see `revision`."""
    return revision("IncidentRetracted", sequence, number, replaced, reason=reason, **more)


def withdrawal(sequence, number, incidents=(), cause="consent", **more):
    """Return a ConsentWithdrawn of case `number`, which names the events `incidents`, numbers as `identity` takes them."""
    named = b"".join(map(identity, incidents))
    said = {"recorded_at": RECORDED, "scope": "all", "incidents": named, "cause": cause}
    body = rows.write(latest("ConsentWithdrawn"), said)
    return envelope("ConsentWithdrawn", sequence, body, case(number), **more)
