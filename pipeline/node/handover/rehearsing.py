"""A handover rehearsed: what would be handed over, in counts, and what would break or be harder after it. Changes nothing."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from pipeline.node import casefiles, known, receipts, referring, sent, versions
from pipeline.node.casefiles import CaseFile
from pipeline.node.handover import deeds, owning
from pipeline.node.journal import Reader
from pipeline.node.node import Node
from pipeline.node.transfer import standing
from pipeline.node.versions import REPORTED, History
from schemas.consent import BASIS
from schemas.handover import COUNTS
from schemas.lifecycle import PENDING as UNVERIFIED
from schemas.referrals import PENDING

Weight = Literal["must", "should", "told"]


@dataclass(frozen=True)
class Finding:
    """One thing, of the events `numbers`: it `must` be mended first, `should` be done first, or is only `told`."""

    weight: Weight
    kind: str
    numbers: tuple[int, ...]


@dataclass
class Rehearsal:
    """`counts` by the names of a deed; `findings`; `public` are the references of cases that need no consent, with their keys."""

    node: str
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    public: dict[bytes, bytes] = field(default_factory=dict, repr=False)

    @property
    def ready(self) -> bool:
        """Return whether nothing must be mended first."""
        return not any(one.weight == "must" for one in self.findings)

    def count(self) -> dict[str, int]:
        """Return the counts of a deed."""
        return {name: self.counts[name] for name in COUNTS}


def rehearse(node: Node, reader: Reader, step: Callable[[int], None] = lambda _: None) -> Rehearsal:
    """Look through the whole journal; `step` hears of each event.

    Damaged where it cannot be read, BadInput where it was left, or a case is on its way to or from another node.
    """
    owning.check(node.folder, reader)
    standing.check_settled(node, reader)
    return look_through(node, reader, step)


def look_through(node: Node, reader: Reader, step: Callable[[int], None]) -> Rehearsal:
    """Look through the journal of a node, also of one that was handed over."""
    found, gathered = Rehearsal(node.code), _Gathered(deeds.owned_from(node.folder))
    last = reader.mark.last
    sent.check(node, last)
    kinds = Counter[str]()

    def heard(kind: str) -> None:
        kinds[kind] += 1
        step(1)

    for case in casefiles.every(node, reader, heard):
        _count(found, gathered, case)
    found.counts["events"], found.counts["patterns"] = last, kinds["PatternObserved"]
    told, refused = known.read(node).fates(), versions.refused(node)
    waiting = (number for number, fate in told.items() if fate.fate == "waiting")
    settled = receipts.read(node)
    unsettled = [*range(settled.through + 1, last + 1)]
    lines: list[tuple[Weight, str, Iterable[int]]] = [
        ("must", "does_not_open", gathered.shut),
        ("must", "forgotten", gathered.forgotten),
        ("should", "not_sent", range(sent.read(node).events + 1, last + 1)),
        ("should", "no_receipt", [number for number in unsettled if number <= sent.read(node).events]),
        ("should", "refused", sorted(refused)),
        ("should", "waiting", sorted(waiting)),
        ("should", "in_conflict", gathered.conflicts),
        ("should", "open_referral", gathered.referrals),
        ("told", "step_begun", gathered.steps),
        ("told", "consent_to_grant", gathered.consents),
        ("told", "not_entrusted", gathered.before),
    ]
    found.findings = [Finding(weight, kind, tuple(numbers)) for weight, kind, numbers in lines if numbers]
    return found


@dataclass
class _Gathered:
    """Numbers of events that reported incidents, or made referrals, by what there is to say of them.

    `shut` are cases of this team, from `owned_from` on, that do not open; `before` are those of the team before it.
    """

    owned_from: int
    before: list[int] = field(default_factory=list)
    forgotten: list[int] = field(default_factory=list)
    shut: list[int] = field(default_factory=list)
    conflicts: list[int] = field(default_factory=list)
    referrals: list[int] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    consents: list[int] = field(default_factory=list)


def _count(found: Rehearsal, gathered: _Gathered, case: CaseFile) -> None:
    found.counts["cases"] += 1
    if case.withdrawn or case.forgotten:
        found.counts["withdrawn_cases"] += 1
        if not case.withdrawn:
            gathered.forgotten.append(case.number)
        return
    if case.key is None:
        own = case.number >= gathered.owned_from
        (gathered.shut if own else gathered.before).append(case.number)
        reports = sum(envelope["kind"] == REPORTED for envelope in case.envelopes)
        found.counts["incidents"] += reports
        found.counts["consents_to_grant"] += reports
        return
    if not casefiles.by_consent(case):
        found.counts["public_cases"] += 1
        found.public[case.ref] = case.key
    for history in case.histories:
        _count_incident(found, gathered, history)


def _count_incident(found: Rehearsal, gathered: _Gathered, history: History) -> None:
    report, heads = history.reported.number, history.heads
    found.counts["incidents"] += bool(heads)
    if not heads:
        return
    newest = history.versions[heads[-1]]
    if any(each.body["incident"]["sharing_basis"] == BASIS for each in history.versions.values()):
        found.counts["consents_to_grant"] += 1
        gathered.consents.append(report)
    found.counts["verified"] += newest.state == "verified"
    if len(heads) > 1:
        found.counts["in_conflict"] += 1
        gathered.conflicts.append(report)
    if history.chain(newest.number) and newest.state == UNVERIFIED:
        gathered.steps.append(report)
    still = [number for number, outcome in referring.outcomes(history).items() if outcome == PENDING]
    found.counts["open_referrals"] += len(still)
    gathered.referrals += still
