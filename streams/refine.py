"""refine: what a node sent becomes accepted, or goes to quarantine with every reason; each event once.

One lane is one node's topic, `raw.<node>`. The walk: unframe, decode the envelope (`envelopes`), see each number once
(`dedupe`), open and decode the body and judge it by the rules (`bodies`, `assessments`), send it on by area (`accepted`), follow what
revises an incident (`revisions`), and say which incidents a withdrawn consent takes out (`withdrawals`).
Each record has one outcome: accepted (a referral or an assessment too), revised, waiting (for what it follows), repeated, quarantined,
withdrawn (its case's consent was taken back before), consent_withdrawn, or handed_over. Repeated is decided first, so a
refused event that comes again is not refused again.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quality.rules import SUITE
from schemas.columns import Blob
from schemas.keyring import Keyring
from streams import dedupe, envelopes, handovers, refined
from streams.accepted import TOPIC as ACCEPTED
from streams.accepted import incident_output, pattern_output
from streams.assessments import assessment_output, assessments
from streams.base import Outcome, Output, Records
from streams.bodies import Judged, Opener, incidents, patterns, sealed
from streams.dedupe import FAR, FORKED, NEW, REPEATED, Hashes, Verdicts
from streams.envelopes import ASSESSMENTS, FOLLOWING, HANDOVER, INCIDENT, PATTERN, WITHDRAWAL, Envelopes
from streams.names import Longs
from streams.quarantine import TOPIC as QUARANTINE
from streams.quarantine import failed, quarantined
from streams.referrals import CONTRACTS as REFERRALS
from streams.refined import REF_BYTES, Changed, Refined
from streams.reported import Reported, States, coded
from streams.revised import revised_output
from streams.revisions import Past, Revised, Sent, needed, revise
from streams.withdrawals import named, withdrawn_output

STATED = ("verification", "sharing_scope")


@dataclass(frozen=True, eq=False)
class _Done:
    """What a batch comes to: `states` uint8[n] of its reports by record, and what it changes of the state."""

    outputs: tuple[Output, ...]
    counts: dict[str, int]
    states: States
    changed: Changed


class Refine:
    """The stage for one node; `partitions` is the number of partitions of `accepted`.

    `opened` reads the bodies of incidents; whoever measures what sealing costs gives another than `sealed`.
    """

    name = "refine"
    topics = (ACCEPTED, QUARANTINE)

    def __init__(self, node: str, partitions: int, opened: Opener = sealed) -> None:
        self._node, self._partitions, self._opened = node, partitions, opened

    def empty(self, lane: str) -> Refined:  # noqa: ARG002
        """Return the state of a lane that has seen nothing."""
        return Refined()

    def step(self, state: Refined, records: Records, side: Keyring) -> tuple[Refined, Outcome]:
        """Fold one batch; `side` has the node's case keys. On any error the state is as before."""
        found = envelopes.read(records, self._node)
        rows = np.flatnonzero(~found.refused)
        hashes = dedupe.hashes(found.data, found.event[rows, 0].copy())
        before = state.seen.marks.copy()
        verdicts = dedupe.settle(state.seen, found.sequence[rows], hashes)
        new = verdicts == NEW
        try:
            done = self._go_on(state, records, found, (rows, verdicts), side)
            numbers, states = found.sequence[rows[new]], done.states[rows[new]]
            delta = refined.changes(numbers, hashes[new], states, done.changed)
        except BaseException:
            dedupe.forget(state.seen, found.sequence[rows[new]], before)
            raise
        state.reported.add(numbers, states)
        state.go_on(done.changed)
        return state, Outcome(done.outputs, done.counts, delta, SUITE)

    def _go_on(
        self, state: Refined, records: Records, found: Envelopes, settled: tuple[Longs, Verdicts], keyring: Keyring
    ) -> _Done:
        """Return what a batch comes to; `settled` are rows and their verdicts."""
        rows, verdicts = settled
        found.refuse(rows[verdicts == FORKED], "envelope.sequence_forked")
        found.refuse(rows[verdicts == FAR], "envelope.sequence")
        new = rows[verdicts == NEW]
        envelopes.check(found, new)
        withdrawing = new[(found.kind[new] == WITHDRAWAL) & found.has_case[new]]
        since = _withdrawals(state, found, withdrawing)
        good = new[~found.refused[new]]
        shared = good[np.isin(found.kind[good], (INCIDENT, *FOLLOWING))]
        late = _withdrawn(found, shared, since)
        timely = shared[~late]
        accepted = incidents(found, timely[found.kind[timely] == INCIDENT], keyring, self._opened)
        states = _states(found, accepted)
        now = Sent(records, found, timely[found.kind[timely] != INCIDENT])
        waited, revised = self._waited(state, now, new, since), Revised()
        if waited or len(now.rows):
            past = _past(state, found, new, states, since)
            revised = revise(waited, now, new, keyring, self._opened, past)
        observed = patterns(found, good[found.kind[good] == PATTERN])
        said = assessments(found, good[np.isin(found.kind[good], ASSESSMENTS)])
        consents = good[found.kind[good] == WITHDRAWAL]
        taken_back = _reported(state, found, new, (consents, named(found, consents)))
        handed = good[found.kind[good] == HANDOVER]
        handovers.check(found, handed)
        outputs = [incident_output(found, each, self._node, self._partitions) for each in accepted]
        outputs += [pattern_output(found, each, self._node, self._partitions) for each in observed]
        outputs += [assessment_output(found, each, self._node) for each in said]
        outputs += revised_output(revised, self._node, self._partitions)
        outputs += withdrawn_output(found, taken_back, self._node, self._partitions)
        for sent in filter(None, (waited, now)):
            outputs += self._quarantined(sent)
        refused = records.offsets[found.refused].tolist()
        came = [
            one.revision.kind in REFERRALS
            for one in revised.followed.values()
            if one.event.sent is now and one.event.offset not in revised.waiting
        ]
        counts = {
            "accepted": sum(len(each.rows) for each in (*accepted, *observed, *said)) + came.count(True),
            "revised": came.count(False),
            "waiting": len(revised.waiting),
            "repeated": int((verdicts == REPEATED).sum()),
            "quarantined": sum(offset not in revised.waiting for offset in refused),
            "withdrawn": int(late.sum()),
            "consent_withdrawn": int((~found.refused[consents]).sum()),
            "handed_over": int((~found.refused[handed]).sum()),
        }
        return _Done(
            tuple(output for output in outputs if len(output.values)),
            {name: count for name, count in counts.items() if count},
            states,
            _changed(revised, since),
        )

    def _waited(self, state: Refined, now: Sent, new: Longs, since: dict[bytes, int]) -> Sent | None:
        """Return what waits, as it came, where the batch brings a number that it needs or withdraws its case; else None."""
        some, records = list(state.waiting.values()), now.records
        needs = np.isin(needed(state.waiting), now.found.sequence[new])
        if not needs.any() and not any(each.case in since for each in some):
            return None
        offsets = np.array([each.offset for each in some], np.int64)
        values, keys = Blob.of([each.value for each in some]), Blob.of([b""] * len(some))
        again = Records(records.topic, records.partition, 0, 0, offsets, offsets, values, keys)
        return Sent(again, envelopes.read(again, self._node), np.arange(len(some)))

    def _quarantined(self, sent: Sent) -> tuple[Output, ...]:
        refused = np.flatnonzero(sent.found.refused)
        reasons, read = [sent.found.reasons[row] for row in refused.tolist()], sent.found.parts(refused)
        return quarantined(sent.records, refused, reasons, node=self._node, suite=SUITE, read=read)

    def refuse(self, state: Refined, records: Records, error: Exception) -> tuple[Refined, Outcome]:  # noqa: ARG002
        """Send records on which `step` fails to quarantine, with the reason `stage.failed`; none is read."""
        nothing = refined.changes(np.zeros(0, np.int64), np.zeros(0, np.uint32), np.zeros(0, np.uint8), Changed())
        outputs = failed(records, self._node, SUITE)
        return state, Outcome(outputs, {"quarantined": len(records)}, nothing, SUITE)

    def restore(self, state: Refined, delta: bytes) -> Refined:
        """Add a batch's delta."""
        return refined.apply(state, delta)

    def shed(self, state: Refined) -> Refined:
        """Return the state as it is: a withdrawal has taken the lives and what waited with it."""
        return state

    def freeze(self, state: Refined) -> bytes:
        """Return the snapshot."""
        return refined.freeze(state)

    def thaw(self, frozen: bytes) -> Refined:
        """Return the state of a snapshot."""
        return refined.apply(Refined(), frozen)


def _states(found: Envelopes, accepted: list[Judged]) -> States:
    """Return the states that the batch's reports have, uint8[n] by record; 0 for all others."""
    states = np.zeros(len(found.good), np.uint8)
    for each in accepted:
        verification, scope = (each.columns.ints(f"incident.{name}")[each.rows] for name in STATED)
        states[each.records] = coded(verification, scope)
    return states


def _changed(revised: Revised, since: dict[bytes, int]) -> Changed:
    """Return what a batch changes beside the numbers; of a case that is withdrawn by its end nothing is kept."""
    waiting = {offset: one for offset, one in revised.waiting.items() if offset not in revised.released}
    return Changed(
        frozenset(ref for ref, row in since.items() if row >= 0),
        {key: one for key, one in revised.lives.items() if one.case not in since},
        {offset: one for offset, one in waiting.items() if one.case not in since},
        revised.released - revised.waiting.keys(),
    )


def _past(state: Refined, found: Envelopes, new: Longs, states: States, since: dict[bytes, int]) -> Past:
    """Return what revisions go on from: what the lane knew, and what the batch has brought before them."""
    now = Reported()
    now.add(found.sequence, states)
    came = dict(zip(found.sequence[new].tolist(), new.tolist(), strict=True))

    def known(numbers: Longs, hashes: Hashes, row: int) -> Verdicts:
        before = [came.get(number, -1) < row for number in numbers.tolist()]
        return np.where(before, dedupe.look(state.seen, numbers, hashes), NEW).astype(np.uint8)

    withdrawn = {row: case for case, row in since.items() if row >= 0}
    return Past(
        state.lives, state.waiting, withdrawn, known, lambda numbers: state.reported.of(numbers) | now.of(numbers)
    )


def _refs(found: Envelopes, rows: Longs) -> list[bytes]:
    refs = found.data[found.case[rows, 0, None] + np.arange(REF_BYTES)]
    return [each.tobytes() for each in refs]


def _reported(state: Refined, found: Envelopes, new: Longs, named: tuple[Longs, Longs]) -> Longs:
    """Return those of the ids that withdrawals name, int64[k, 2], that an event of this node bears which came before.

    A node names what it has reported; of another's incident, or of what it sends afterwards, nobody is told.
    `new` are the rows of the batch that were entered, `named` those of withdrawals and the ids.
    """
    rows, ids = named
    if not len(ids):
        return ids
    at = rows[np.searchsorted(found.body[rows, 0], ids[:, 0], side="right") - 1]
    hashes = dedupe.hashes(found.data, ids[:, 0].copy())
    behind = np.sort(_places(dedupe.hashes(found.data, found.event[new, 0].copy()), new))
    last = np.searchsorted(behind, _places(hashes, np.full(len(at), 0xFFFFFFFF)), side="right")
    later = last - np.searchsorted(behind, _places(hashes, at))
    return ids[dedupe.times(state.seen, hashes) > later]


def _places(hashes: dedupe.Hashes, rows: Longs) -> NDArray[np.uint64]:
    """Return hash and row as one number each, in that order."""
    return hashes.astype(np.uint64) << np.uint64(32) | rows.astype(np.uint64)


def _withdrawals(state: Refined, found: Envelopes, rows: Longs) -> dict[bytes, int]:
    """Return since which record of the batch each case is withdrawn; -1 for those withdrawn before it."""
    since = dict.fromkeys(state.withdrawn, -1)
    for ref, row in zip(_refs(found, rows), rows.tolist(), strict=True):
        since.setdefault(ref, row)
    return since


def _withdrawn(found: Envelopes, rows: Longs, since: dict[bytes, int]) -> Any:
    """Return bool[k]: whether each report comes after its case's withdrawal."""
    if not since:
        return np.zeros(len(rows), np.bool_)
    refs = _refs(found, rows)
    never = len(found.good)
    return np.array([since.get(ref, never) < row for ref, row in zip(refs, rows.tolist(), strict=True)], np.bool_)
