"""Which cases a node has kept as long as the rule of their class says; to forget them, as a withdrawn case is forgotten.

Each case has one class. Time counts from the day of the last event that was recorded of it, whatever it was: whoever works
on a case keeps it. One with a referral that is still open is held until somebody says what became of it, and one that is offered to
another node until it has gone or not.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from pipeline.node import casefiles, envelopes, forgetting, referring, withdrawing
from pipeline.node.casefiles import CaseFile
from pipeline.node.journal import Journal, Reader
from pipeline.node.node import Node
from pipeline.node.record import ABOUT_NO_CASE
from pipeline.node.transfer import records
from pipeline.node.versions import History
from pipeline.node.withdrawing import Withdrawn
from schemas import retention
from schemas.lifecycle import PENDING
from schemas.retention import CLASSES, UNDER_RULE, Rules, kept_through
from schemas.withdrawals import RETENTION

FILE = "retention.csv"


@dataclass(frozen=True)
class Held:
    """The case of which event `event` was the first is past its rule; the `referrals` of these events are open.

    Or it is `offered` to the node of this code.
    """

    event: int
    referrals: tuple[int, ...]
    offered: str = ""


@dataclass(frozen=True)
class Part:
    """The cases of one class: `months` of its rule, None for ever; how many `stay`; the first events of those that go.

    `next_on` is the next day on which one of those that stay goes, if nothing more is recorded of it. Of `no_case` it is
    events that stay.
    """

    name: str
    months: int | None
    stay: int
    goes: tuple[int, ...] = ()
    held: tuple[Held, ...] = ()
    next_on: date | None = None


@dataclass(frozen=True)
class Plan:
    """What goes on a day, by the rules of `rules`: a part for each class.

    `unfinished` are the first events of cases that go too: a command was killed between their keys and the events that say
    so. `withdraw_again` are those of which a withdrawal was; `before` counts the cases that were forgotten before.
    """

    node: str
    on: date
    rules: str
    parts: tuple[Part, ...]
    unfinished: tuple[int, ...] = ()
    withdraw_again: tuple[int, ...] = ()
    before: int = 0

    @property
    def goes(self) -> tuple[int, ...]:
        """Return the first events of all cases that go."""
        return tuple(sorted([*self.unfinished, *(number for part in self.parts for number in part.goes)]))


@dataclass
class _Gathered:
    stay: int = 0
    goes: list[int] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    days: list[date] = field(default_factory=list)


def rules(node: Node, file: Path | None = None) -> Rules:
    """Return the rules of a file, else those of the node's folder, else the default ones. BadInput."""
    own = node.folder / FILE
    return retention.read(file or (own if own.exists() else retention.DEFAULT))


def plan(node: Node, reader: Reader, by: Rules, on: date, step: Callable[[int], None] = lambda _: None) -> Plan:
    """Return what goes on a day; `step` hears of each event of the journal that was read. Changes nothing."""
    parts, begun = defaultdict[str, _Gathered](_Gathered), forgetting.read(node)
    offers = records.receivers(node)
    cut: dict[bool, list[int]] = {True: [], False: []}
    before = 0

    def heard(kind: str) -> None:
        parts["no_case"].stay += kind in ABOUT_NO_CASE
        step(1)

    for case in casefiles.every(node, reader, heard):
        before += bool(case.withdrawn)
        if case.forgotten:
            cut[begun.get(case.ref) == RETENTION].append(case.number)
        elif not case.withdrawn:
            name = class_of(case)
            _add(parts[name], case, by.months[name], on, offers.get(case.ref, ""))
    every = tuple(_part(name, by.months, parts[name]) for name in CLASSES)
    return Plan(node.code, on, by.source, every, tuple(cut[True]), tuple(cut[False]), before)


def class_of(case: CaseFile) -> str:
    """Return the class of a case that was not forgotten: of several incidents or versions, that which comes first in CLASSES."""
    found = {name for history in case.histories for name in _classes(history, casefiles.by_consent(case))}
    return min(found, key=UNDER_RULE.index, default="not_opened")


def _classes(history: History, by_consent: bool) -> Iterator[str]:
    """Yield the class of each newest version of an incident; of one that has none, whether the node or the hub ended it."""
    if not history.heads:
        yield "retracted" if history.retracted else "refused"
    shared = "by_consent" if by_consent else "public"
    for head in history.heads:
        state = history.versions[head].state
        yield {"verified": f"verified_{shared}", PENDING: f"unverified_{shared}"}.get(state, state)


def forget(node: Node, journal: Journal, found: Plan, step: Callable[[int], None] = lambda _: None) -> list[Withdrawn]:
    """Forget the cases that go by a plan: of each the key, then the event that has the hub take it out.

    A command that was killed is run again, by a new plan: what it had begun is ended then.
    """
    return withdrawing.withdraw(node, journal, found.goes, step, RETENTION)


def _add(part: _Gathered, case: CaseFile, months: int | None, on: date, offered: str) -> None:
    """Add a case to those of its class; `offered` is the node to which it may go."""
    last = max(envelopes.recorded_on(each) for each in case.envelopes)
    through = kept_through(last, months) if months else None
    if through is None or on <= through:
        part.stay += 1
        part.days += [through + timedelta(days=1)] if through else []
        return
    still = tuple(number for history in case.histories for number in referring.unsettled(history))
    if still or offered:
        part.held.append(Held(case.number, still, offered))
    else:
        part.goes.append(case.number)


def _part(name: str, months: Mapping[str, int | None], part: _Gathered) -> Part:
    return Part(name, months[name], part.stay, tuple(part.goes), tuple(part.held), min(part.days, default=None))
