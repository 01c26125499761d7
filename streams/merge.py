"""merge: accepted incidents and patterns of an area meet, and each regional hub receives what belongs to it, referrals too.

One lane is one partition of `accepted`. Either side may be late; the union of what a lane puts out is the same for
any order of arrival and any batching: a link or probable duplicate depends on its two sides alone and is found when
the later of them comes. A lane holds its whole history: 34 bytes an incident. An incident whose consent is withdrawn
leaves each hub by one event, which voids what names it; what comes later finds nothing of it. So does a version that is
no longer the current one, and the next one is met as if it were new. What another node says of an incident meets nothing: it is
told on (`assessing`).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import NotSetUp
from schemas.places import regions
from streams import held_bytes
from streams.arrivals import (
    ENDINGS,
    PATTERNS,
    REFERRALS,
    REVISIONS,
    WITHDRAWALS,
    Arrived,
    Batch,
    bring_incidents,
    bring_patterns,
    named,
    read,
)
from streams.assessing import Told, assess
from streams.base import Outcome, Records
from streams.duplicates import flag
from streams.held import Held
from streams.match import fit_incidents, fit_late_patterns
from streams.names import Ints, Longs
from streams.quarantine import TOPIC as QUARANTINE
from streams.quarantine import failed, quarantined
from streams.removals import ENDED, GONE, blot, chosen, prepare
from streams.runs import compact
from streams.sharing import DAY, NOTHING_ENDED, Ended, News, share, topic_of
from streams.shedding import shed

SECRET_BYTES = 32


class Merge:
    """The stage; `secrets` has the 32 bytes of every region, under which its ids are minted."""

    name = "merge"

    def __init__(self, secrets: Mapping[str, bytes]) -> None:
        lacking = [region.code for region in regions() if len(secrets.get(region.code, b"")) != SECRET_BYTES]
        if lacking:
            raise NotSetUp(f"No secret of 32 bytes for {', '.join(lacking)}: run tocsin up, which makes them.")
        self._secrets = {region.code: secrets[region.code] for region in regions()}
        self.topics = (*(topic_of(region) for region in self._secrets), QUARANTINE)

    def empty(self, lane: str) -> Held:  # noqa: ARG002
        """Return the state of a lane that has seen nothing."""
        return Held()

    def step(self, state: Held, records: Records, side: Any = None) -> tuple[Held, Outcome]:  # noqa: ARG002
        """Fold one batch; on any error the state is as before. Counts: see `_counts`."""
        batch, marks = read(records), held_bytes.marks(state)
        try:
            news = _meet(state, batch)
            told = assess(state.assessed, batch, records.partition, self._secrets)
            outputs = share(news, self._secrets) + told.outputs + quarantined(records, batch.refused, batch.reasons)
            delta = held_bytes.changes(state, marks, news.gone, news.ended.numbers)
        except BaseException:
            held_bytes.undo(state, marks)
            raise
        for numbers, kind in ((news.gone, GONE), (news.ended.numbers, ENDED)):
            if len(numbers):
                blot(state, numbers, kind)
        return state, Outcome(outputs, _counts(records, batch, news, told), delta)

    def refuse(self, state: Held, records: Records, error: Exception) -> tuple[Held, Outcome]:  # noqa: ARG002
        """Send records on which `step` fails to quarantine, with the reason `stage.failed`."""
        return state, Outcome(
            failed(records), {"quarantined": len(records)}, held_bytes.changes(state, held_bytes.marks(state))
        )

    def restore(self, state: Held, delta: bytes) -> Held:
        """Add a batch's delta."""
        return held_bytes.apply(state, delta)

    def shed(self, state: Held) -> Held:
        """Return the state without incidents whose consent is withdrawn, and what they alone have brought."""
        return shed(state)

    def freeze(self, state: Held) -> bytes:
        """Return the snapshot."""
        return held_bytes.changes(state)

    def thaw(self, frozen: bytes) -> Held:
        """Return the state of a snapshot."""
        return held_bytes.apply(Held(), frozen)


def _meet(state: Held, batch: Batch) -> News:
    """Enter a batch: its patterns among the incidents before it, then its incidents among all patterns."""
    compact(state.incidents)  # numbers of incidents hold from here on
    first_pattern, first_incident = state.pattern_count, state.incident_count
    patterns = [bring_patterns(state, *each) for each in batch.columns[PATTERNS]]
    late: Ints = fit_late_patterns(state, first_pattern)
    incidents = bring_incidents(state, batch)
    links = np.concatenate([late, fit_incidents(state, first_incident)])
    duplicates = flag(state, first_incident)
    gone = _gone(state, batch)
    ended = _ended(state, batch, gone)
    return News(state, first_incident, incidents, patterns, links, duplicates, gone, ended)


def _gone(state: Held, batch: Batch) -> Longs:
    """Return the numbers of the incidents and versions that the batch takes out."""
    if not _sum(batch, WITHDRAWALS):
        return np.zeros(0, np.int64)
    prepare(state, GONE)
    return chosen(state, named(state, batch, WITHDRAWALS), GONE)[0]


def _ended(state: Held, batch: Batch, gone: Longs) -> Ended:
    """Return the versions that come to their end, but those that are taken out."""
    if not _sum(batch, ENDINGS):
        return NOTHING_ENDED
    prepare(state, ENDED)
    numbers, places = chosen(state, named(state, batch, ENDINGS), ENDED)
    kept = ~np.isin(numbers, gone)
    times, endings = (
        np.concatenate([columns.ints(name) for _, columns in batch.columns[ENDINGS]]) for name in ("ended_at", "ending")
    )
    return Ended(numbers[kept], times[places[kept]] // DAY, endings[places[kept]])


def _sum(batch: Batch, name: str) -> int:
    """Return how many records of a contract a batch has."""
    return sum(columns.n for _, columns in batch.columns[name])


def _counts(records: Records, batch: Batch, news: News, told: Told) -> dict[str, int]:
    """Count the records by what became of them; `outside` is an area that no region has any more.

    `withdrawn` are incidents, versions and referrals taken out, `ended` those that are no longer current, `elsewhere` those to be
    taken out or ended that this lane does not hold, or no longer; `late` are assessments of what was withdrawn before;
    `tombstones` have no value.
    """
    homeless = np.logical_not(news.homes.any(axis=1))
    outside = sum(int(homeless[each.areas[each.rows]].sum()) for each in (*news.incidents, *news.patterns))
    further = [[each for each in news.incidents if each.release.name == name] for name in (REVISIONS, REFERRALS)]
    revisions, referrals, incidents, patterns = (
        _new(each, homeless) for each in (*further, news.incidents, news.patterns)
    )
    letting_go = _sum(batch, WITHDRAWALS) + _sum(batch, ENDINGS)
    outside += told.outside
    known = (
        incidents + patterns + outside + letting_go + len(batch.refused) + batch.tombstones + told.shared + told.late
    )
    counts = {
        "incidents": incidents - revisions - referrals,
        "revisions": revisions,
        "referrals": referrals,
        "patterns": patterns,
        "assessments": told.shared,
        "late": told.late,
        "outside": outside,
        "withdrawn": len(news.gone),
        "ended": len(news.ended.numbers),
        "elsewhere": letting_go - len(news.gone) - len(news.ended.numbers),
        "quarantined": len(batch.refused),
        "tombstones": batch.tombstones,
        "repeated": len(records) - known,
    }
    return {name: count for name, count in counts.items() if count}


def _new(arrived: list[Arrived], homeless: NDArray[np.bool_]) -> int:
    return sum(int((~homeless[each.areas[each.rows]]).sum()) for each in arrived)
