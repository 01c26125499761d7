"""What became of one incident, for the person at the node: a line for each event, and how it stands now."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pipeline.node import envelopes, facts, known, versions
from pipeline.node.envelopes import Envelope
from pipeline.node.journal import Reader
from pipeline.node.node import Node
from pipeline.node.versions import Event, History
from schemas import lifecycle
from schemas.withdrawals import HANDED_OVER, RETENTION, SAID, Said

BY_HUB = "by the hub"
State = Literal["current", "in conflict", "no longer shared", "retracted", "withdrawn"] | Said


@dataclass(frozen=True)
class Line:
    """One event: number, the day it was recorded, what it did, the versions that it follows, and its details.

    `details` are a step and a state (and BY_HUB where the hub had decided), an audience and a day, a service and an outcome, a reason, or the names of fields; none of a case that was
    withdrawn.
    """

    event: int
    recorded_on: str
    change: str
    follows: tuple[int, ...] = ()
    details: tuple[str, ...] = ()
    refused: bool = False


@dataclass(frozen=True)
class Story:
    """The case in hex, the event that reported the incident, its events, the newest versions, and the state now.

    `not_recorded` are the reasons for which decisions of the hub about it were not recorded.
    """

    node: str
    case_ref: str
    incident: int
    state: State
    newest: tuple[int, ...]
    lines: tuple[Line, ...]
    not_recorded: tuple[str, ...] = ()


def story(node: Node, reader: Reader, number: int) -> Story:
    """Return what became of the incident of an event; of a withdrawn case, all that its envelopes still say.

    BadInput where the event is about no incident.
    """
    found = envelopes.of_event(node, reader, number)
    ref = found[0]["case_ref"].hex()
    if envelopes.withdrawn(found):
        state: State = SAID.get(envelopes.why_withdrawn(found)) or "withdrawn"
        return Story(node.code, ref, found[0]["sequence"], state, (), tuple(_sealed_line(each) for each in found))
    history = versions.history(node, reader, number)
    events = {**history.events, **history.referrals}
    lines = tuple(_line(history, events[number]) for number in sorted(events))
    refused = tuple(
        one.reason
        for one in known.read(node).decisions
        if one.reason and not one.event and one.decision.case_ref == history.case.ref
    )
    return Story(node.code, ref, history.reported.number, _state(history), tuple(history.heads), lines, refused)


def _state(history: History) -> State:
    if history.retracted:
        return "retracted"
    if len(history.heads) > 1:
        return "in conflict"
    changed = history.heads != [history.reported.number]
    shared = all(history.versions[head].state in lifecycle.SHARED for head in history.heads)
    return "current" if shared or not changed else "no longer shared"


def _sealed_line(envelope: Envelope) -> Line:
    """Return the line of an event that nothing opens any more."""
    why = envelopes.why_withdrawn([envelope])
    change = {RETENTION: "forgotten", HANDED_OVER: "handed over"}.get(why) or _change(envelope["kind"])
    return Line(envelope["sequence"], envelopes.recorded_on(envelope).isoformat(), change)


def _line(history: History, event: Event) -> Line:
    day = _day(event.body["recorded_at"])
    refused = event.number in history.refused
    return Line(event.number, day, _change(event.kind), event.follows, _details(history, event), refused)


def _details(history: History, event: Event) -> tuple[str, ...]:
    if event.kind == versions.AMENDED:
        before: Mapping[str, Any] = history.events[max(event.follows)].body["incident"]
        return tuple(facts.changed(before, event.body["incident"]))
    if event.kind == versions.VERIFIED:
        return event.body["step"], event.state, *([BY_HUB] if event.body.get("decision") else [])
    if event.kind == versions.GIVEN:
        return event.scope, event.body["given_on"].isoformat()
    if event.kind in versions.REFERRALS:
        return event.body["referral"]["service"], event.body["referral"]["outcome"]
    return (event.body["reason"],) if event.kind == versions.RETRACTED else ()


def _change(kind: str) -> str:
    return versions.CHANGES.get(kind, kind)


def _day(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).date().isoformat()
