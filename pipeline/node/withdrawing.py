"""A case is forgotten: its key goes, and an event has the hub take out all that was reported of it.

A survivor takes her consent back, the case was kept as long as its rule says, or another node has it now; the event says which.
The key's tombstone is safe on the disk before the event, so that whatever happens between, the case cannot be opened any
more. The event names every version of what was reported, and what was said of referrals, by ids that say nothing of it; it
travels in clear, since no key is left.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeGuard

from pipeline.node import forgetting, revising, versions
from pipeline.node.envelopes import Envelope
from pipeline.node.importers.base import Importer, Reject, Row, read
from pipeline.node.importers.table import Table
from pipeline.node.importing import digests
from pipeline.node.journal import Journal, Reader
from pipeline.node.node import Node
from pipeline.node.record import Recorder
from pipeline.node.revising import Revised
from pipeline.node.transfer import boxes
from pipeline.node.versions import REFERRALS, REPORTED, VERSIONS
from schemas import consent
from schemas.errors import BadInput
from schemas.rows import read as read_row
from schemas.wire import unframe
from schemas.withdrawals import CONSENT, HANDED_OVER, WITHDRAWN, cause

NAMED = 1_000  # versions that one event names; a case with more gets several


@dataclass(frozen=True)
class Withdrawn:
    """One case: its reference in hex, how many incidents of it were reported, and the number of the event that withdrew it.

    `before` is whether that had been done before, `cause` why. `number` is that of the first event of the case.
    """

    case_ref: str
    incidents: int
    event: int
    before: bool
    cause: str
    number: int


@dataclass
class _Case:
    versions: list[bytes]
    number: int
    incidents: int = 0
    withdrawn: int = 0
    cause: str = CONSENT
    digests: set[bytes] = field(default_factory=set)


def numbers_of(node: Node, importer: Importer, table: Table, wanted: Iterable[int], journal: Reader) -> list[int]:
    """Return the numbers of the events that rows of a file became, rows counted from 1; BadInput where one became none."""
    rows, digest_of = set(wanted), digests(node)
    given = {digest_of(row): row.source.number for row in read(importer, table) if _among(row, rows)}
    found = {given[entry.digest]: entry.sequence for entry in journal.read() if entry.digest in given}
    if lacking := rows - found.keys():
        raise BadInput(
            f"Row {min(lacking)} of {table.path.name} is no event of {node.code}: count the rows from 1 below the line of "
            "titles, and give the file as it was imported."
        )
    return sorted(found.values())


def _among(row: Row | Reject, wanted: set[int]) -> TypeGuard[Row]:
    return isinstance(row, Row) and row.source.number in wanted


def withdraw(
    node: Node, journal: Journal, numbers: Iterable[int], step: Callable[[int], None], why: str = CONSENT
) -> list[Withdrawn]:
    """Withdraw the cases of the events with these numbers, each case once; BadInput where an event is about no case.

    `step` hears of each event of the journal that was read. A case of which a command that was killed has destroyed the key
    is withdrawn for the cause of that command.
    """
    wanted, of_number = set(numbers), dict[int, bytes]()
    cases: dict[bytes, _Case] = {}
    for digest, envelope in _of_cases(journal, step):
        case = cases.setdefault(envelope["case_ref"], _Case([], envelope["sequence"]))
        _add(case, envelope, digest)
        if envelope["sequence"] in wanted:
            of_number[envelope["sequence"]] = envelope["case_ref"]
    if lacking := wanted - of_number.keys():
        raise BadInput(
            f"Event {min(lacking)} of {node.code} is about no case, or there is none of that number: `tocsin node status` "
            "says which numbers there are."
        )
    chosen = sorted({of_number[number] for number in wanted})
    held = journal.keys()
    cut_off = {ref for ref, case in cases.items() if not case.withdrawn and not held.get(ref)}
    begun = {ref: reason for ref, reason in forgetting.read(node).items() if ref in cut_off}
    leaving = {ref for ref in cut_off if boxes.box_of(node, ref).exists()}  # all else destroys it before the key
    causes = {ref: begun.get(ref, HANDED_OVER if ref in leaving else why) for ref in chosen if not cases[ref].withdrawn}
    for ref in chosen:
        boxes.forget_keys(node, cases[ref].digests)
        if causes.get(ref, cases[ref].cause) != HANDED_OVER:
            boxes.forget_box(node, ref)
    forgetting.write(node, {**begun, **causes})
    found = [_withdrawn(node, journal, ref, cases[ref], causes.get(ref, why)) for ref in chosen]
    journal.forget()
    forgetting.write(node, {ref: reason for ref, reason in begun.items() if ref not in causes})
    return found


def narrow(node: Node, journal: Journal, number: int, scope: str) -> Revised:
    """Record that consent is taken back for an audience and those beyond it: an amendment; key and row stay.

    BadInput where the incident does not go so far, or cannot be amended.
    """
    history = versions.history(node, journal, number)
    left = consent.scopes()[consent.scopes().index(scope) - 1]
    scopes = [history.versions[version].scope for version in history.heads]
    if scopes and not any(consent.wider(each, (left,)) for each in scopes):
        raise BadInput(f"Nothing was recorded: event {history.heads[-1]} goes no further than {left} already.")
    return revising.amend(node, journal, number, {"sharing_scope": left})


def _of_cases(journal: Journal, step: Callable[[int], None]) -> Iterator[tuple[bytes, Envelope]]:
    """Yield the digest and each event about a case."""
    for entry in journal.read():
        step(1)
        envelope = read_row(*unframe(entry.envelope))
        if envelope["case_ref"] is not None:
            yield entry.digest, envelope


def _add(case: _Case, envelope: Envelope, digest: bytes) -> None:
    """Add an event to its case."""
    kind = envelope["kind"]
    case.digests.add(digest)
    case.incidents += kind == REPORTED
    if kind in VERSIONS | REFERRALS:
        case.versions.append(envelope["event_id"])
    if kind == WITHDRAWN:
        case.withdrawn, case.cause = envelope["sequence"], cause(envelope["body_schema"], envelope["body"])


def _withdrawn(node: Node, journal: Journal, case_ref: bytes, case: _Case, why: str = CONSENT) -> Withdrawn:
    """Record the withdrawal of one case, unless that was done."""
    if case.withdrawn:
        return Withdrawn(case_ref.hex(), case.incidents, case.withdrawn, True, case.cause, case.number)
    with Recorder(node, journal) as recorder:
        for first in range(0, max(len(case.versions), 1), NAMED):
            recorder.withdraw(case_ref, case.versions[first : first + NAMED], why)
    return Withdrawn(case_ref.hex(), case.incidents, journal.last, False, why, case.number)
