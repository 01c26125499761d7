"""Assessments of incidents that another node reported: what can be said of one, and what can be recorded.

A node asks before it records, refine before it accepts: both by what stands here.
"""

from dataclasses import dataclass
from datetime import date
from functools import cache

from schemas.events import load
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
    return _symbols("source")


@cache
def reliabilities() -> tuple[str, ...]:
    """Return the reliabilities of a source, Admiralty scale."""
    return _symbols("reliability")


@cache
def grounds() -> tuple[str, ...]:
    """Return what can be disputed."""
    return _symbols("grounds")


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


def _symbols(name: str) -> tuple[str, ...]:
    """Return what a coded field may hold, but for the symbol that stands for what a newer contract adds."""
    fields = {field["name"]: field["type"] for field in load("Assessment")["fields"]}
    return tuple(symbol for symbol in fields[name]["symbols"] if symbol != UNSPECIFIED)
