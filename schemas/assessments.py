"""Assessments of incidents that another node reported: what can be said of one, and what can be recorded.

A node asks before it records, refine before it accepts: both by what stands here.
"""

from dataclasses import dataclass
from datetime import date
from functools import cache

from schemas.events import symbols
from schemas.places import regions

CORROBORATED, DISPUTED, TAKEN_BACK = "corroborated", "disputed", "taken_back"
VERDICTS = {"IncidentCorroborated": CORROBORATED, "IncidentDisputed": DISPUTED, "AssessmentTakenBack": TAKEN_BACK}
"""What each kind of event of a node says."""

UNSPECIFIED, LEAST_RELIABLE, LEAST_CREDIBLE = "unspecified", "F", 6


@dataclass(frozen=True)
class Assessment:
    """What a node says of an incident, as its contract has it: `incident_id` is minted for `region`, `number` its own count."""

    region: str
    incident_id: bytes
    number: int
    source: str
    reliability: str
    credibility: int
    grounds: str
    assessed_on: date


@cache
def sources() -> tuple[str, ...]:
    """Return the kinds of sources."""
    return symbols("Assessment", "source")


@cache
def reliabilities() -> tuple[str, ...]:
    """Return the reliabilities of a source, Admiralty scale."""
    return symbols("Assessment", "reliability")


@cache
def grounds() -> tuple[str, ...]:
    """Return what can be disputed."""
    return symbols("Assessment", "grounds")


def refusal(said: Assessment, verdict: str, recorded_on: date) -> str:
    """Return why an assessment can't be recorded, "" where it can: its reason as in schemas/codes/reasons.csv.

    One that is taken back says nothing else. One day of slack, since east of Greenwich the day begins earlier.
    """
    if said.region not in {region.code for region in regions()}:
        return "assessment.region"
    if said.number < 1:
        return "assessment.number"
    if (said.source in sources()) != (verdict != TAKEN_BACK):
        return "assessment.source"
    if (said.grounds in grounds()) != (verdict == DISPUTED):
        return "assessment.grounds"
    if not 1 <= said.credibility <= LEAST_CREDIBLE:
        return "assessment.credibility"
    return "assessment.day" if (said.assessed_on - recorded_on).days > 1 else ""
