"""A survivor consents anew, and her case is entrusted to the node's new team: the hub gives its key, and an event says so.

Until then the team has counts, not cases: the keys are wrapped under a secret that only the team before it had.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import date

from pipeline.files import hexadecimal
from pipeline.node import casefiles, envelopes, keys, versions
from pipeline.node.casefiles import CaseFile
from pipeline.node.handover import deeds
from pipeline.node.handover.succeeding import BOX
from pipeline.node.importing import not_recorded
from pipeline.node.journal import Journal, Reader
from pipeline.node.node import Node
from pipeline.node.record import Recorder, today
from pipeline.node.versions import GIVEN, History
from schemas import entrusting
from schemas.consent import BASIS, Consent, refusal
from schemas.errors import BadInput, Quarantines
from schemas.handover import Deed
from schemas.lifecycle import replaces

Step = Callable[[str], None]


@dataclass
class Entrusted:
    """What became of an answer of the hub: which `cases` can be opened now, and which are `gone`: withdrawn, retracted, refused.

    A case is named by the number of its first event. `before` had been entrusted before; `refused` says why not, by case.
    """

    cases: list[int] = field(default_factory=list)
    before: list[int] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Custody:
    """How many cases of those before can be opened by now: `opened` of `cases`, and `withdrawn`; `waiting` are their first events."""

    cases: int
    opened: int
    withdrawn: int
    waiting: tuple[int, ...]


def custody(node: Node, reader: Reader, step: Step = lambda _: None) -> Custody:
    """Return how far the cases of the team before are entrusted to this one."""
    first = deeds.owned_from(node.folder)
    cases = [case for case in casefiles.every(node, reader, step) if case.number < first]
    gone = sum(bool(case.withdrawn) for case in cases)
    waiting = tuple(case.number for case in cases if not case.withdrawn and case.key is None)
    return Custody(len(cases), len(cases) - gone - len(waiting), gone, waiting)


def ask(node: Node, reader: Reader, numbers: Collection[int], on: date | None, step: Step = lambda _: None) -> str:
    """Return the note by which the hub is asked for the keys of the cases of these events; BadInput where one is none to ask for."""
    deed = deeds.taken_over(node.folder)
    if deed is None:
        raise BadInput(f"{node.code} was not taken over: its cases are its own.")
    if on and on > today():
        raise BadInput("The day of a consent can't lie in the future: correct it.")
    wanted = {number: envelopes.of_event(node, reader, number)[0]["case_ref"] for number in sorted(numbers)}
    cases = {case.ref: case for case in casefiles.every(node, reader, step)}
    for number, ref in wanted.items():
        _check_asked(number, cases[ref], deed)
    return entrusting.request(node.code, dict.fromkeys(wanted.values(), on or today()), node.secret("sign"))


def take(node: Node, journal: Journal, text: str, step: Step = lambda _: None) -> Entrusted:
    """Take in what the hub has answered: each key is wrapped anew, and the survivor's consent recorded as an event of its case.

    Run again, it adds nothing. BadInput where the answer is another node's, or sealed for somebody else.
    """
    private = hexadecimal(node.folder / f"{BOX}.key")[32:]
    given, gone = entrusting.unsealed_keys(text, node.code, private)
    cases = {case.ref: case for case in casefiles.every(node, journal, step)}
    first, found = deeds.owned_from(node.folder), Entrusted()
    for ref, (on, key) in given.items():
        if (case := cases.get(ref)) is None:
            raise BadInput("The answer names a case that this node does not have: it is of another journal.")
        if case.withdrawn:
            found.gone.append(case.number)
        elif case.key is not None and _consented(case, first):
            found.before.append(case.number)
        else:
            _take_one(node, journal, case, (key, on), found)
    found.gone += [cases[ref].number for ref in gone if ref in cases]
    return found


def _take_one(node: Node, journal: Journal, case: CaseFile, given: tuple[bytes, date], found: Entrusted) -> None:
    key, on = given
    try:
        opened = [history for history in _opened(node, case, key) if history.heads]
        for history in opened:
            _entrust(node, journal, case, history, on)
    except Quarantines:
        found.refused[case.number] = "the key does not open it: ask the hub for it again"
    except BadInput as error:
        found.refused[case.number] = str(error)
    else:
        (found.cases if opened else found.gone).append(case.number)


def _check_asked(number: int, case: CaseFile, deed: Deed) -> None:
    if case.withdrawn:
        raise BadInput(f"The case of event {number} was withdrawn by event {case.withdrawn}: nobody can open it.")
    if case.key is not None:
        raise BadInput(f"The case of event {number} is yours already: `tocsin node case --event {number}` shows it.")
    if case.number > deed.through:
        raise BadInput(f"The case of event {number} is none of those that were handed over.")


def _opened(node: Node, case: CaseFile, key: bytes) -> list[History]:
    """Return what a key opens of a case. Quarantines where it is not its key."""
    return versions.histories(keys.Case(case.ref, key), case.envelopes, versions.refused(node))


def _consented(case: CaseFile, first: int) -> bool:
    return any(each["kind"] == GIVEN and each["sequence"] >= first for each in case.envelopes)


def _entrust(node: Node, journal: Journal, case: CaseFile, history: History, on: date) -> None:
    """Write the key, wrapped for this team, and then the consent: killed in between, it is recorded by the next run.

    The newest version goes on as it is: of versions in conflict it ends none. BadInput where the day is impossible.
    """
    newest = history.versions[history.heads[-1]]
    incident = {**newest.body["incident"], "sharing_basis": BASIS}
    given = Consent(BASIS, newest.scope, on, incident["occurred_on"], today())
    if reason := refusal((newest.scope,), given):
        raise not_recorded(reason, node.lang)
    if case.key is None:
        secret = node.secret(f"epoch-{node.epoch}")
        journal.append((), [keys.of_case(node.epoch, secret, history.case)])
    body = {
        "incident_id": history.reported.event_id,
        "incident_number": history.reported.number,
        "replaces": replaces([(newest.event_id, newest.number)]),
        "given_on": on,
        "incident": incident,
    }
    with Recorder(node, journal) as recorder:
        recorder.follow(history.case, GIVEN, body)
