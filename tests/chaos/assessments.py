"""Assessments for the load: what a node says of an incident by the id that a region has of it, or of none that there is."""

import random
from dataclasses import dataclass

from tests.synthetic import text, zigzag

KINDS = {"IncidentCorroborated": "corroborated", "IncidentDisputed": "disputed", "AssessmentTakenBack": "taken_back"}
SOURCES = ("unspecified", "primary", "secondary")
GROUNDS = ("unspecified", "place", "date", "party", "form", "did_not_occur", "duplicate", "other")
FIRST_DAY, DAYS = 18_700, 700


@dataclass
class Assessment:
    """The fields of an assessment, codes as their numbers; `name` is the incident's id in the region."""

    kind: str
    region: str
    name: bytes
    number: int
    source: int
    reliability: int
    credibility: int
    grounds: int
    day: int

    def encode(self) -> bytes:
        codes = (self.source, self.reliability, self.credibility, self.grounds, self.day)
        return text(self.region) + self.name + zigzag(self.number) + b"".join(map(zigzag, codes))

    def truth(self) -> dict[str, object]:
        """Return what a region is told of it, but for the day, which is a month there."""
        return {
            "verdict": KINDS[self.kind],
            "number": self.number,
            "source": SOURCES[self.source],
            "reliability": "ABCDEF"[self.reliability],
            "credibility": self.credibility,
            "grounds": GROUNDS[self.grounds],
            "day": self.day,
        }


def drafted(rng: random.Random, region: str, name: bytes, number: int) -> Assessment:
    kind = rng.choice(list(KINDS))
    back, disputed = kind == "AssessmentTakenBack", kind == "IncidentDisputed"
    source = 0 if back else rng.randrange(1, len(SOURCES))
    grounds = rng.randrange(1, len(GROUNDS)) if disputed else 0
    judged = (5, 6) if back else (rng.randrange(6), rng.randrange(1, 7))
    return Assessment(kind, region, name, number, source, *judged, grounds, FIRST_DAY + rng.randrange(DAYS))
