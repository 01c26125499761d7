"""An incident goes on after its report: it is amended, verified, shared further, retracted. Each is one event under its case's key.

An event names the versions that it takes the place of: all newest ones, or those that its author had seen. Two that take
the place of the same version are in conflict, which a later event ends that takes the place of both.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from pipeline.node import facts, versions
from pipeline.node.importing import broken, not_recorded, sentence
from pipeline.node.journal import Journal
from pipeline.node.node import Node
from pipeline.node.record import NotRecorded, Recorder, decided_on, today
from pipeline.node.versions import AMENDED, CHANGES, GIVEN, RETRACTED, VERIFIED, Event, History
from schemas import consent, decisions, lifecycle
from schemas.consent import Consent
from schemas.errors import BadInput


@dataclass(frozen=True)
class Revised:
    """The number of the event, what it did (`amended`, `verified`, `consent_given`, `retracted`) to the incident of which report.

    `set` are the fields that changed with their values; `replaces`, `resolves` and `conflicts` numbers of versions: those
    it takes the place of, those between which it ends a conflict, those it is in conflict with. `before` is whether that
    had been done before, so that nothing was recorded. `warnings` are sentences on what the person should make sure of.
    """

    event: int
    change: str
    incident: int
    set: Mapping[str, Any]
    replaces: tuple[int, ...] = ()
    resolves: tuple[int, ...] = ()
    conflicts: tuple[int, ...] = ()
    before: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decision:
    """What a person has decided on an incident; numbers of sources and eyewitness are None where they stay.

    `by` is who she is, or the digest that a hub gives of her, whose decision of this `decision_id` it is then.
    """

    state: str
    step: str
    by: str | bytes
    on: date | None = None
    primary: int | None = None
    secondary: int | None = None
    eyewitness: bool | None = None
    decision_id: bytes | None = None


def amend(node: Node, journal: Journal, number: int, changes: Mapping[str, Any], seen: Sequence[int] = ()) -> Revised:
    """Record other values of fields of an incident; without `seen` it takes the place of all newest versions.

    The facts are those of the newest of the versions that it replaces. BadInput where nothing changes or a rule refuses.
    """
    history = versions.history(node, journal, number)
    replaced = _replaced(history, seen)
    _one_state(replaced)
    before = replaced[-1].body["incident"]
    after = {**before, **changes}
    fields = facts.changed(before, after)
    if not fields and not _resolved(history, replaced):
        raise BadInput(f"Nothing was recorded: event {replaced[-1].number} has these values already.")
    if after["sharing_basis"] == consent.BASIS and consent.wider(after["sharing_scope"], _scopes(replaced)):
        raise not_recorded("consent.not_given", node.lang)
    _check(node, after)
    changed = {name: after[name] for name in fields}
    return _recorded(node, journal, history, replaced, AMENDED, {"incident": after}, changed)


def verify(node: Node, journal: Journal, number: int, decision: Decision, seen: Sequence[int] = ()) -> Revised:
    """Record that a person examined an incident: a move of its state, or a further step that confirms it.

    BadInput where the move is not allowed, the step is not above the last, the person has taken one, or a rule refuses.
    """
    history = versions.history(node, journal, number)
    replaced = _replaced(history, seen)
    who = decision.by if isinstance(decision.by, bytes) else verifier(node, decision.by)
    base, taken = replaced[-1], (decision.step, who)
    if reason := lifecycle.refusal(history.chain(base.number), (base.state, decision.state), taken):
        raise not_recorded(reason, node.lang)
    before = base.body["incident"]
    after = {**before, **_examined(decision)}
    _check(node, after)
    body = {"step": decision.step, "verifier": who, "verified_on": decided_on(decision.on, today()), "incident": after}
    body["decision"] = decision.decision_id
    changed = {name: after[name] for name in facts.changed(before, after)}
    stated = {"step": decision.step, "verification": decision.state, **changed}
    return _recorded(node, journal, history, replaced, VERIFIED, body, stated)


def grant(
    node: Node, journal: Journal, number: int, scope: str, on: date | None = None, seen: Sequence[int] = ()
) -> Revised:
    """Record that a survivor has consented to share an incident with an audience, no narrower than the one before.

    BadInput where that is so already, the audience is narrower, the day is impossible, or a rule refuses.
    """
    history = versions.history(node, journal, number)
    replaced = _replaced(history, seen)
    _one_state(replaced)
    before = replaced[-1].body["incident"]
    after = {**before, "sharing_basis": consent.BASIS, "sharing_scope": scope}
    given = Consent(consent.BASIS, scope, decided_on(on, today()), before["occurred_on"], today())
    if reason := consent.refusal(_scopes(replaced), given):
        raise not_recorded(reason, node.lang)
    fields = facts.changed(before, after)
    if not fields and not _resolved(history, replaced):
        raise BadInput(f"Nothing was recorded: event {replaced[-1].number} has consent for this audience already.")
    _check(node, after)
    changed = {"given_on": given.given_on, **{name: after[name] for name in fields}}
    done = _recorded(node, journal, history, replaced, GIVEN, {"given_on": given.given_on, "incident": after}, changed)
    warnings = ("incident.consent_for_public",) if scope == consent.scopes()[-1] else ()
    return replace(done, warnings=tuple(sentence(code, node.lang) for code in warnings))


def retract(
    node: Node,
    journal: Journal,
    number: int,
    reason: str,
    seen: Sequence[int] = (),
    agreed: Callable[[int], object] = lambda _: None,
) -> Revised:
    """Take an incident back, once; BadInput where the reason is none, or a newest version was not seen.

    `agreed` hears the number of the report before anything is recorded; what it raises prevents that.
    """
    if reason == "consent_withdrawn":
        raise BadInput("A survivor takes her consent back by `tocsin node withdraw`: it destroys the key of her case.")
    if reason not in lifecycle.reasons():
        raise BadInput(f"{reason[:40]!r} is no reason; choose one of: {', '.join(lifecycle.reasons())}.")
    history = versions.history(node, journal, number)
    if event := history.retracted:
        return Revised(event, "retracted", history.reported.number, {}, before=True)
    replaced = _replaced(history, seen)
    if set(history.heads) - {version.number for version in replaced}:
        raise not_recorded("revision.not_newest", node.lang)
    agreed(history.reported.number)
    return _recorded(node, journal, history, replaced, RETRACTED, {"reason": reason}, {"reason": reason})


def verifier(node: Node, who: str) -> bytes:
    """Return the digest by which the node knows a person: keyed, so that it says nothing to who has no key."""
    return decisions.verifier(node.secret("digest"), who)


def listed(numbers: Sequence[int]) -> str:
    """Return numbers as one says them: 12, 14 and 15."""
    first, last = ", ".join(map(str, numbers[:-1])), str(numbers[-1])
    return f"{first} and {last}" if first else last


def _replaced(history: History, seen: Sequence[int]) -> list[Event]:
    """Return the versions that the next event takes the place of, in order; BadInput where none can follow."""
    report = history.reported.number
    if not history.heads and not history.retracted:
        raise BadInput(f"The hub refused event {report}: `tocsin node status` says why. Correct its row and import it.")
    if event := history.retracted:
        raise BadInput(
            f"The incident of event {report} was retracted by event {event}: report it anew, by a row "
            "that differs from the one that was imported before."
        )
    if unknown := set(seen) - history.versions.keys():
        raise BadInput(
            f"Event {min(unknown)} is no version of the incident of event {report}: "
            f"`tocsin node case --event {report}` lists them."
        )
    return [history.versions[version] for version in sorted(set(seen or history.heads))]


def _examined(decision: Decision) -> dict[str, Any]:
    """Return what a decision changes of the facts."""
    values = (decision.state, decision.primary, decision.secondary, decision.eyewitness)
    named = zip(facts.OF_VERIFICATION, values, strict=True)
    return {name: value for name, value in named if value is not None}


def _one_state(replaced: list[Event]) -> None:
    """Refuse what would have to choose between states of verification: BadInput."""
    if len(states := {version.state for version in replaced}) > 1:
        raise BadInput(
            f"Events {listed([version.number for version in replaced])} are in conflict over the state of verification "
            f"({', '.join(sorted(states))}), which nothing else moves: end the conflict by `tocsin node verify`."
        )


def _scopes(replaced: list[Event]) -> list[str]:
    return [version.scope for version in replaced]


def _check(node: Node, incident: Mapping[str, Any]) -> None:
    """Refuse facts that break a rule: BadInput, a line for each."""
    if against := broken("incident", incident):
        said = "".join(f"\n  {code}  {sentence(code, node.lang)}" for code in against)
        raise NotRecorded(against[0], f"Nothing was recorded; rules refuse it:{said}")


def _resolved(history: History, replaced: list[Event]) -> tuple[int, ...]:
    """Return the newest versions that are in conflict and are replaced together."""
    both = tuple(event.number for event in replaced if event.number in history.heads)
    return both if len(both) > 1 else ()


def _recorded(
    node: Node,
    journal: Journal,
    history: History,
    replaced: list[Event],
    kind: str,
    body: Mapping[str, Any],
    changed: Mapping[str, Any],
) -> Revised:
    """Record one event and say what it does."""
    report, numbers = history.reported, tuple(event.number for event in replaced)
    naming = {
        "incident_id": report.event_id,
        "incident_number": report.number,
        "replaces": lifecycle.replaces((event.event_id, event.number) for event in replaced),
    }
    with Recorder(node, journal) as recorder:
        recorder.follow(history.case, kind, {**naming, **body})
    beside = tuple(number for number in history.heads if number not in numbers)
    resolved = _resolved(history, replaced)
    return Revised(journal.last, CHANGES[kind], report.number, changed, numbers, resolved, beside)
