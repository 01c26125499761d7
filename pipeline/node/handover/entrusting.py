"""A survivor consents anew, and her case is entrusted to the node's new team: the hub gives its key, and an event says so.

Until then the team has counts, not cases: the keys are wrapped under a secret that only the team before it had.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import date, timedelta

from pipeline.files import hexadecimal, replace
from pipeline.node import casefiles, keys, versions
from pipeline.node.casefiles import CaseFile
from pipeline.node.handover import deeds, owning
from pipeline.node.handover.succeeding import BOX
from pipeline.node.importing import not_recorded
from pipeline.node.journal import Journal, Reader
from pipeline.node.node import Node
from pipeline.node.record import Recorder, today
from pipeline.node.versions import GIVEN, RETRACTED, History
from schemas import entrusting
from schemas.consent import BASIS, Consent, refusal
from schemas.errors import BadInput, Quarantines
from schemas.handover import Deed
from schemas.lifecycle import replaces

REQUESTS = "requests"
DIGEST = re.compile(r"[0-9a-f]{64}")
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
    """How many cases of those before are entrusted by now: `opened` of `cases`; how many are `withdrawn`, and `retracted`.

    `waiting` are the first events of the rest.
    """

    cases: int
    opened: int
    withdrawn: int
    retracted: int
    waiting: tuple[int, ...]


def custody(node: Node, reader: Reader, step: Step = lambda _: None) -> Custody:
    """Return how far the cases of the team before are entrusted to this one."""
    first = deeds.owned_from(node.folder)
    cases = [case for case in casefiles.every(node, reader, step) if case.number < first]
    gone = sum(bool(case.withdrawn or case.forgotten) for case in cases)
    rest = [case for case in cases if not case.withdrawn and not case.forgotten]
    waiting = [case for case in rest if not _mine(case, first)]
    retracted = [case for case in waiting if any(each["kind"] == RETRACTED for each in case.envelopes)]
    left = tuple(case.number for case in waiting if case not in retracted)
    return Custody(len(cases), len(rest) - len(waiting), gone, len(retracted), left)


def ask(node: Node, reader: Reader, numbers: Collection[int], on: date | None, step: Step = lambda _: None) -> str:
    """Return the note by which the hub is asked for the keys of the cases of these events, and keep it.

    BadInput where one is none to ask for, or the day is impossible.
    """
    deed = deeds.taken_over(node.folder)
    if deed is None:
        raise BadInput(f"{node.code} was not taken over: its cases are its own.")
    _check_day(reader, deed, on or today())
    of_event = {each["sequence"]: case for case in casefiles.every(node, reader, step) for each in case.envelopes}
    for number in sorted(numbers):
        _check_asked(node, number, of_event.get(number), deed)
    refs = dict.fromkeys(of_event[number].ref for number in sorted(numbers))
    note = entrusting.request(node.code, dict.fromkeys(refs, on or today()), node.secret("sign"))
    (node.folder / REQUESTS).mkdir(exist_ok=True)
    replace(node.folder / REQUESTS / entrusting.digest(note), note.encode())
    return note


def take(node: Node, journal: Journal, text: str, step: Step = lambda _: None) -> Entrusted:
    """Take in what the hub has answered: each key is wrapped anew, and the survivor's consent recorded as an event of its case.

    Run again, it adds nothing. BadInput where the answer is another node's, sealed for somebody else, or answers no request that
    this folder has made.
    """
    private = hexadecimal(node.folder / f"{BOX}.key")[32:]
    asked, given, gone = entrusting.unsealed_keys(text, node.code, private)
    days = _days(node, asked)
    cases = {case.ref: case for case in casefiles.every(node, journal, step)}
    first, found = deeds.owned_from(node.folder), Entrusted()
    if not {*given, *gone} <= cases.keys() & days.keys():
        raise BadInput("The answer names a case that was not asked for: ask the hub for the file again.")
    for ref, key in given.items():
        case = cases[ref]
        if case.withdrawn or case.forgotten:
            found.gone.append(case.number)
        elif _mine(case, first):
            found.before.append(case.number)
        else:
            _take_one(node, journal, case, (key, days[ref]), found)
    found.gone += [cases[ref].number for ref in gone]
    return found


def _days(node: Node, asked: str) -> dict[bytes, date]:
    """Return the days that a request of this folder has named, by case. BadInput where it has made none such."""
    path = node.folder / REQUESTS / asked
    if not DIGEST.fullmatch(asked) or not path.exists():
        raise BadInput("That answers no request that was made here: ask for the keys by `tocsin node handover ask`.")
    return entrusting.requested(path.read_text(encoding="utf-8"), node.code, node.public)


def _mine(case: CaseFile, first: int) -> bool:
    """Return whether a case opens, and needs no consent or has one that was given to this team."""
    return case.key is not None and (not casefiles.by_consent(case) or _consented(case, first))


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


def _check_day(reader: Reader, deed: Deed, on: date) -> None:
    """Refuse a day on which nobody can have consented to this team's going on: BadInput."""
    entry = next(reader.read(deed.through + 1))
    handed = owning.read(entry.envelope)
    if on > today() or (handed and handed.day and on < handed.day - timedelta(days=1)):
        raise BadInput(
            f"The day of a consent lies between that of the handover, {handed.day if handed else '?'}, and today: correct it."
        )


def _check_asked(node: Node, number: int, case: CaseFile | None, deed: Deed) -> None:
    if case is None:
        raise BadInput(f"Event {number} of {node.code} is about no case, or there is none of that number.")
    if case.withdrawn:
        raise BadInput(f"The case of event {number} was withdrawn by event {case.withdrawn}: nobody can open it.")
    if case.forgotten:
        raise BadInput(f"The key of that case is destroyed: run `tocsin node withdraw --event {number}` again.")
    if case.number > deed.through or _mine(case, deed.through + 2):
        raise BadInput(f"The case of event {number} is yours already: `tocsin node case --event {number}` shows it.")


def _opened(node: Node, case: CaseFile, key: bytes) -> list[History]:
    """Return what a key opens of a case. Quarantines where it is not its key."""
    return versions.histories(keys.Case(case.ref, key), case.envelopes, versions.refused(node))


def _consented(case: CaseFile, first: int) -> bool:
    return any(each["kind"] == GIVEN and each["sequence"] >= first for each in case.envelopes)


def _entrust(node: Node, journal: Journal, case: CaseFile, history: History, on: date) -> None:
    """Record the consent, with the key wrapped for this team: killed in between, the next run records it.

    The newest version goes on as it is: of versions in conflict it ends none. BadInput where the day is impossible.
    """
    newest = history.versions[history.heads[-1]]
    incident = {**newest.body["incident"], "sharing_basis": BASIS}
    given = Consent(BASIS, newest.scope, on, incident["occurred_on"], today())
    if reason := refusal((newest.scope,), given):
        raise not_recorded(reason, node.lang)
    body = {
        "incident_id": history.reported.event_id,
        "incident_number": history.reported.number,
        "replaces": replaces([(newest.event_id, newest.number)]),
        "given_on": on,
        "incident": incident,
    }
    with Recorder(node, journal) as recorder:
        record = recorder.follow if case.key is not None else recorder.take_over
        record(history.case, GIVEN, body)
