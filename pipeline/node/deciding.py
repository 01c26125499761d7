"""What the hub has decided about cases of this node, which alone records it.

A decision is kept before anything else is done about it, recorded as the node's next event, then marked as settled. The event
names the decision: killed at any moment nothing is lost, and nothing is recorded twice. One that cannot be recorded is told,
with its reason, and changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.node import envelopes, known, revising, sent, versions
from pipeline.node.entries import Damaged
from pipeline.node.handover import owning
from pipeline.node.handover.deeds import NotEntrusted
from pipeline.node.journal import Busy, Journal
from pipeline.node.known import DAMAGED, NEWER, Kept
from pipeline.node.node import Node
from pipeline.node.record import NotRecorded
from pipeline.node.revising import Decision
from pipeline.node.versions import History
from schemas.decisions import Decided
from schemas.errors import BadInput, Quarantines

BUSY = "decision.busy"


@dataclass(frozen=True)
class Settled:
    """What came of a decision on the incident of event `incident`, 0 where that is not known.

    It is recorded by `event`, which sets what is in `set`; or by none, for the `reason`.
    """

    incident: int = 0
    event: int = 0
    reason: str = ""
    set: Mapping[str, Any] = field(default_factory=dict)


def record(node: Node) -> tuple[Settled, ...]:
    """Record what is kept and still open, each once, in the order in which it came; return what came of each.

    One stays open where another command writes to the node, or where it may be recorded later. Errors: Damaged, NotWritten,
    OlderThanSent.
    """
    if not _open(node):
        return ()
    try:
        journal = sent.open_journal(node)
    except Busy:
        return (Settled(reason=BUSY),)
    with journal:
        if owning.left(node.folder, journal):
            return ()  # its successor is told, too
        return tuple(_recorded(node, journal, one) for one in _open(node))


def _open(node: Node) -> list[Kept]:
    return [one for one in known.read(node).decisions if one.open]


def _recorded(node: Node, journal: Journal, one: Kept) -> Settled:
    """Settle a decision, then mark it as settled."""
    settled = _settled(node, journal, one.decision)
    marked = replace(one, event=settled.event, reason=settled.reason)
    with known.locked(node):
        now = known.read(node)
        decisions = tuple(marked if each.record == one.record else each for each in now.decisions)
        known.write(node, replace(now, decisions=decisions))
    return settled


def _settled(node: Node, journal: Journal, decision: Decided) -> Settled:
    """Record a decision, unless an event records it already or there is a reason against it."""
    try:
        history, body = _opened(node, journal, decision)
    except Quarantines as refusal:
        return Settled(reason=refusal.reason)
    incident = history.reported.number
    if event := next((e for e, each in history.events.items() if _names(each.body, decision)), 0):
        return Settled(incident, event, set=_stated(history.events[event].body))
    if reason := _unfit(history, body):
        return Settled(incident, reason=reason)
    try:
        done = revising.verify(node, journal, incident, _as_of_here(body, decision.decision_id))
    except NotRecorded as refusal:
        return Settled(incident, reason=refusal.reason)
    return Settled(incident, done.event, set=done.set)


def _as_of_here(body: Mapping[str, Any], decision_id: bytes) -> Decision:
    """Return a decision as one of this node, by somebody of whom it knows a digest."""
    return Decision(
        state=body["verification"],
        step=body["step"],
        by=body["verifier"],
        on=body["verified_on"],
        primary=body["primary_sources"],
        secondary=body["secondary_sources"],
        eyewitness=body["un_eyewitness"],
        decision_id=decision_id,
    )


def _opened(node: Node, journal: Journal, decision: Decided) -> tuple[History, dict[str, Any]]:
    """Return the history of the incident that a decision is about, and what was decided. Quarantines with the reason."""
    found = envelopes.of_case(journal, decision.case_ref)
    if not found:
        raise Quarantines("decision.unknown_case")
    try:
        history = versions.history(node, journal, found[0]["sequence"])
    except NotEntrusted as error:
        raise Quarantines(known.NOT_ENTRUSTED) from error
    except BadInput as error:
        raise Quarantines("decision.withdrawn") from error  # or its key is destroyed, and no event says so yet
    except Damaged as error:
        raise Quarantines(DAMAGED) from error
    try:
        body = decision.open(history.case.key)
    except Quarantines as error:
        raise Quarantines("decision.unknown_case" if error.reason == "seal.broken" else NEWER) from error
    return history, body


def _unfit(history: History, body: Mapping[str, Any]) -> str:
    """Return why a decision is not about the newest version of the incident, "" where it is."""
    number, report = body["version_number"], history.reported
    version = history.versions.get(number)
    if body["incident_id"] != report.event_id or version is None or version.event_id != body["version_id"]:
        return "decision.unknown_version"
    return "" if history.heads == [number] else "decision.replaced"


def _names(body: Mapping[str, Any], decision: Decided) -> bool:
    return body.get("decision") == decision.decision_id


def _stated(body: Mapping[str, Any]) -> dict[str, Any]:
    return {"step": body["step"], "verification": body["incident"]["verification"]}
