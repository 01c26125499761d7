"""This node's own sources say the same of an incident that another one reported, or otherwise; and that is taken back.

The incident is known by the id under which a region's table shows it, and by nothing else: no copy of the case is here.
What is said of it later counts in place of what was said before.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from pipeline.node.importing import not_recorded
from pipeline.node.journal import Journal, Reader
from pipeline.node.node import Node
from pipeline.node.record import Recorder, today
from schemas.assessments import (
    CORROBORATED,
    DISPUTED,
    LEAST_CREDIBLE,
    LEAST_RELIABLE,
    TAKEN_BACK,
    UNSPECIFIED,
    VERDICTS,
    Assessment,
    refusal,
)
from schemas.errors import BadInput
from schemas.released import by_fingerprint
from schemas.rows import read as read_row
from schemas.wire import unframe

KINDS = {verdict: kind for kind, verdict in VERDICTS.items()}


@dataclass(frozen=True)
class Incident:
    """Another node's incident: the region as whose row it was seen, and the id that the row has, 16 bytes."""

    region: str
    incident_id: bytes


@dataclass(frozen=True)
class Source:
    """A source of this node's own, primary or secondary, as the Admiralty scale has it; by default it cannot be judged."""

    source: str
    reliability: str = LEAST_RELIABLE
    credibility: int = LEAST_CREDIBLE


@dataclass(frozen=True)
class Said:
    """The number of an event of this node, its verdict, what it says, and the number of the one that counted before; 0 for none."""

    event: int
    verdict: str
    known: Assessment
    replaced: int = 0


def assess(
    node: Node, journal: Journal, about: Incident, source: Source, grounds: str | None = None, on: date | None = None
) -> Said:
    """Record that a source says the same of an incident, or on which `grounds` it says otherwise.

    BadInput where it cannot be recorded: no such region, an impossible day.
    """
    verdict = DISPUTED if grounds else CORROBORATED
    facts = {**asdict(about), **asdict(source), "grounds": grounds or UNSPECIFIED, "assessed_on": on or today()}
    return _recorded(node, journal, verdict, facts)


def take_back(node: Node, journal: Journal, number: int) -> Said:
    """Record that the assessment of an event does not count any more, nor any before it.

    BadInput where the event is no assessment, or another one counts.
    """
    event = next(journal.read(number), None) if number <= journal.mark.last else None
    one = _read(event.sequence, event.envelope) if event else None
    if one is None:
        raise BadInput(f"Event {number} of {node.code} assesses no incident: nothing was recorded.")
    last = said(journal, one.known.incident_id, one.known.region)[-1]
    if last.verdict == TAKEN_BACK:
        raise BadInput(
            f"What was said of this incident had been taken back by event {last.event}: nothing was recorded."
        )
    if last.event != number:
        raise BadInput(f"Event {last.event} counts in place of event {number}: take that one back.")
    about = {"region": one.known.region, "incident_id": one.known.incident_id, "assessed_on": today()}
    return _recorded(node, journal, TAKEN_BACK, {**about, **asdict(Source(UNSPECIFIED)), "grounds": UNSPECIFIED})


def said(reader: Reader, incident_id: bytes, region: str) -> list[Said]:
    """Return all that this node has said of an incident, in its order."""
    near = (_read(entry.sequence, entry.envelope) for entry in reader.read() if incident_id in entry.envelope)
    return [one for one in near if one and (one.known.incident_id, one.known.region) == (incident_id, region)]


def _recorded(node: Node, journal: Journal, verdict: str, facts: Mapping[str, Any]) -> Said:
    """Record one event that can be recorded, with the next number of its incident."""
    before = said(journal, facts["incident_id"], facts["region"])
    known = Assessment(number=before[-1].known.number + 1 if before else 1, **facts)
    if reason := refusal(known, verdict, today()):
        raise not_recorded(reason, node.lang)
    with Recorder(node, journal) as recorder:
        recorder.record(KINDS[verdict], {"assessment": asdict(known)})
    counted = before[-1].event if before and before[-1].verdict != TAKEN_BACK else 0
    return Said(journal.last, verdict, known, counted)


def _read(number: int, framed: bytes) -> Said | None:
    """Return what an event says, None where it is no assessment."""
    envelope = read_row(*unframe(framed))
    if envelope["kind"] not in VERDICTS:
        return None
    body = read_row(by_fingerprint(envelope["body_schema"]), envelope["body"])
    return Said(number, VERDICTS[envelope["kind"]], Assessment(**body["assessment"]))
