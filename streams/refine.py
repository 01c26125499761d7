"""refine: what a node sent becomes accepted, or goes to quarantine with every reason; each event once.

One lane is one node's topic, `raw.<node>`. The walk: unframe, decode the envelope (`envelopes`), see each number once
(`dedupe`), open and decode the body and judge it by the rules (`bodies`), send it on by area (`accepted`), and say
which incidents a withdrawn consent takes out (`withdrawals`).
Each record has one outcome: accepted, repeated, quarantined, withdrawn (its case's consent was taken back before), or
consent_withdrawn. Repeated is decided first, so a refused event that comes again is not refused again.
"""

from typing import Any

import numpy as np

from quality.rules import SUITE
from schemas.keyring import Keyring
from streams import dedupe, envelopes, refined
from streams.accepted import TOPIC as ACCEPTED
from streams.accepted import incident_output, pattern_output
from streams.base import Outcome, Output, Records
from streams.bodies import Opener, incidents, patterns, sealed
from streams.dedupe import FAR, FORKED, NEW, REPEATED, Verdicts
from streams.envelopes import INCIDENT, PATTERN, WITHDRAWAL, Envelopes
from streams.names import Longs
from streams.quarantine import TOPIC as QUARANTINE
from streams.quarantine import failed, quarantined
from streams.refined import REF_BYTES, Refined
from streams.withdrawals import named, withdrawn_output


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
            outputs, counts, withdrawn = self._go_on(state, records, found, (rows, verdicts), side)
            delta = refined.changes(found.sequence[rows[new]], hashes[new], withdrawn)
        except BaseException:
            dedupe.forget(state.seen, found.sequence[rows[new]], before)
            raise
        state.withdrawn |= withdrawn
        return state, Outcome(outputs, counts, delta, SUITE)

    def _go_on(
        self, state: Refined, records: Records, found: Envelopes, settled: tuple[Longs, Verdicts], keyring: Keyring
    ) -> tuple[tuple[Output, ...], dict[str, int], set[bytes]]:
        """Return outputs, counts, and the cases that the batch withdraws; `settled` are rows and their verdicts."""
        rows, verdicts = settled
        found.refuse(rows[verdicts == FORKED], "envelope.sequence_forked")
        found.refuse(rows[verdicts == FAR], "envelope.sequence")
        new = rows[verdicts == NEW]
        envelopes.check(found, new)
        withdrawing = new[(found.kind[new] == WITHDRAWAL) & found.has_case[new]]
        good = new[~found.refused[new]]
        reported = good[found.kind[good] == INCIDENT]
        since = _withdrawals(state, found, withdrawing)
        late = _withdrawn(found, reported, since)
        accepted = incidents(found, reported[~late], keyring, self._opened)
        observed = patterns(found, good[found.kind[good] == PATTERN])
        consents = good[found.kind[good] == WITHDRAWAL]
        taken_back = named(found, consents)
        refused = np.flatnonzero(found.refused)
        outputs = [incident_output(found, each, self._node, self._partitions) for each in accepted]
        outputs += [pattern_output(found, each, self._node, self._partitions) for each in observed]
        outputs += withdrawn_output(found, taken_back, self._node, self._partitions)
        reasons = [found.reasons[row] for row in refused.tolist()]
        outputs += quarantined(records, refused, reasons, node=self._node, suite=SUITE, read=found.parts(refused))
        counts = {
            "accepted": sum(len(each.rows) for each in (*accepted, *observed)),
            "repeated": int((verdicts == REPEATED).sum()),
            "quarantined": len(refused),
            "withdrawn": int(late.sum()),
            "consent_withdrawn": int((~found.refused[consents]).sum()),
        }
        return (
            tuple(output for output in outputs if len(output.values)),
            {name: count for name, count in counts.items() if count},
            {ref for ref, row in since.items() if row >= 0},
        )

    def refuse(self, state: Refined, records: Records, error: Exception) -> tuple[Refined, Outcome]:  # noqa: ARG002
        """Send records on which `step` fails to quarantine, with the reason `stage.failed`; none is read."""
        nothing = refined.changes(np.zeros(0, np.int64), np.zeros(0, np.uint32), set())
        outputs = failed(records, self._node, SUITE)
        return state, Outcome(outputs, {"quarantined": len(records)}, nothing, SUITE)

    def restore(self, state: Refined, delta: bytes) -> Refined:
        """Add a batch's delta."""
        return refined.apply(state, delta)

    def freeze(self, state: Refined) -> bytes:
        """Return the snapshot."""
        return refined.freeze(state)

    def thaw(self, frozen: bytes) -> Refined:
        """Return the state of a snapshot."""
        return refined.apply(Refined(), frozen)


def _refs(found: Envelopes, rows: Longs) -> list[bytes]:
    refs = found.data[found.case[rows, 0, None] + np.arange(REF_BYTES)]
    return [each.tobytes() for each in refs]


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
