"""Raw records as envelopes: unframed, decoded, checked; what is refused, with every reason.

Nothing here opens a body. Arrays are by record of the batch; a record whose envelope cannot be read has zeros.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from schemas.assessments import VERDICTS
from schemas.build import Ints, Part, Spans
from schemas.columns import Blob, Columns, compile, decode  # noqa: A004
from schemas.jit import kernel
from schemas.limits import NUMBERS
from schemas.released import latest, releases
from streams.base import Records
from streams.frames import unframe, versions
from streams.names import Longs, Octets

Bools = NDArray[np.bool_]
Prints = NDArray[np.uint64]
KINDS: tuple[str, ...] = tuple(
    next(one["type"]["symbols"] for one in latest("Envelope").schema["fields"] if one["name"] == "kind")
)
INCIDENT, PATTERN, WITHDRAWAL, HANDOVER, AMENDMENT, VERIFICATION, RETRACTION, CONSENT, REFERRAL, FOLLOW_UP = (
    KINDS.index(name)
    for name in (
        *("IncidentReported", "PatternObserved", "ConsentWithdrawn", "NodeHandedOver"),
        *("IncidentAmended", "IncidentVerified", "IncidentRetracted", "ConsentGiven"),
        *("ReferralMade", "ReferralFollowedUp"),
    )
)
CORROBORATION, DISPUTE, TAKING_BACK = ASSESSMENTS = tuple(map(KINDS.index, VERDICTS))
REVISIONS, REFERRALS = (AMENDMENT, VERIFICATION, RETRACTION, CONSENT), (REFERRAL, FOLLOW_UP)
FOLLOWING = (*REVISIONS, *REFERRALS)
PROCESSED = (INCIDENT, PATTERN, WITHDRAWAL, HANDOVER, *FOLLOWING, *ASSESSMENTS)
OF_A_CASE = (INCIDENT, WITHDRAWAL, *FOLLOWING)
FINGERPRINT = 8


@dataclass(eq=False)
class Envelopes:
    """n envelopes: `good` bool[n] those that could be read; spans int64[n, 2] point into `data`.

    `kind` is an index into `KINDS`; `schema` the id of the body's release, 0 where it is not released; `groups` the
    decoded columns by version of the envelope, with the records that they are. `reasons` are those of the `refused`.
    """

    data: Octets
    refused: Bools
    good: Bools
    home: Bools
    sequence: Longs
    kind: Longs
    schema: Longs
    has_case: Bools
    event: Longs
    case: Longs
    body: Longs
    groups: list[tuple[Longs, Columns]] = field(default_factory=list)
    reasons: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))

    def refuse(self, rows: Longs, reason: str) -> None:
        """Add a reason to records."""
        for row in rows.tolist():
            self.add(row, [reason])

    def add(self, row: int, reasons: list[str]) -> None:
        """Add reasons to one record."""
        self.refused[row] = True
        self.reasons[row] += reasons

    def parts(self, rows: Longs) -> dict[str, Part]:
        """Return what quarantine may say of records: event_id, sequence, kind; null where it could not be read."""
        valid, kinds = self.good[rows], Blob.of([kind.encode() for kind in KINDS])
        names = np.stack([kinds.starts, kinds.ends], axis=1)[self.kind[rows]]
        return {
            "event_id": Spans(self.data, self.event[rows], valid),
            "sequence": Ints(self.sequence[rows], valid),
            "kind": Spans(kinds.data, names, valid),
        }


def read(records: Records, node: str) -> Envelopes:
    """Return a batch's envelopes; those with a bad frame or envelope, of another node or with an impossible number are refused."""
    framed, n = unframe(records.values, ("Envelope",)), len(records)
    found = _blank(framed.data, n)
    for row in framed.bad().tolist():
        found.add(row, [framed.reason(row)])
    for release in versions("Envelope"):
        rows = framed.of(release)
        if not len(rows):
            continue
        columns = decode(compile(release), framed.data, framed.starts[rows], framed.ends[rows])
        for at in np.flatnonzero(columns.status).tolist():
            found.add(int(rows[at]), [columns.reason(at)])
        _fill(found, rows, columns, node)
        found.groups.append((rows, columns))
    found.refuse(np.flatnonzero(found.good & ~found.home), "envelope.other_node")
    found.refuse(np.flatnonzero(found.good & ~possible(found.sequence)), "envelope.sequence")
    return found


def check(found: Envelopes, rows: Longs) -> None:
    """Refuse, of `rows`, what this version does not process and what does not fit its kind."""
    kind = found.kind[rows]
    processed = np.isin(kind, PROCESSED)
    fitting = _schemas()[kind, found.schema[rows]]
    misplaced = (np.isin(kind, OF_A_CASE) != found.has_case[rows]) & (kind != 0)
    found.refuse(rows[~processed], "envelope.kind_not_supported")
    found.refuse(rows[misplaced], "envelope.case_ref")
    found.refuse(rows[processed & ~fitting], "envelope.body_schema")


def possible(sequence: Longs) -> Bools:
    """Return whether an event can have each of these numbers."""
    return (sequence >= 1) & (sequence < NUMBERS)


def _blank(data: Octets, n: int) -> Envelopes:
    refused, good, home, has_case = (np.zeros(n, np.bool_) for _ in range(4))
    sequence, kind, schema = (np.zeros(n, np.int64) for _ in range(3))
    event, case, body = (np.zeros((n, 2), np.int64) for _ in range(3))
    return Envelopes(data, refused, good, home, sequence, kind, schema, has_case, event, case, body)


def _fill(found: Envelopes, rows: Longs, columns: Columns, node: str) -> None:
    good = np.flatnonzero(columns.status == 0)
    home, schema = np.empty(len(good), np.bool_), np.empty(len(good), np.int64)
    nodes, prints = columns.spans("node")[good], columns.spans("body_schema")[good, 0]
    _compare(columns.data, nodes, np.frombuffer(node.encode(), np.uint8), prints, *_known(), home, schema)
    found.good[rows[good]], found.home[rows[good]], found.schema[rows[good]] = True, home, schema
    found.sequence[rows] = columns.ints("sequence")
    found.kind[rows] = _kinds(columns)[columns.ints("kind")]
    found.has_case[rows] = columns.valid("case_ref")
    for name, spans in (("event_id", found.event), ("case_ref", found.case), ("body", found.body)):
        spans[rows] = columns.spans(name)


def _kinds(columns: Columns) -> Longs:
    """Return the index in `KINDS` of each symbol of an envelope's version."""
    return np.array([KINDS.index(name) if name in KINDS else 0 for name in columns.symbols("kind")], np.int64)


@kernel
def _compare(
    data: Octets, nodes: Longs, node: Octets, starts: Longs, prints: Prints, ids: Longs, home: Bools, schema: Longs
) -> None:
    """Set for n envelopes `home` bool[n], the node is this one, and `schema` int64[n], the id of the body's release or 0.

    `nodes` int64[n, 2] and `starts` int64[n] say where in `data` the node and the fingerprint (8 bytes) lie.
    """
    for i in range(len(nodes)):
        same = nodes[i, 1] - nodes[i, 0] == len(node)
        if same:
            for k in range(len(node)):
                same &= data[nodes[i, 0] + k] == node[k]
        home[i] = same
        given = np.uint64(0)
        for k in range(FINGERPRINT):
            given |= np.uint64(data[starts[i] + k]) << np.uint64(8 * k)
        schema[i] = 0
        for k in range(len(prints)):
            if prints[k] == given:
                schema[i] = ids[k]
                break


@cache
def _known() -> tuple[Prints, Longs]:
    """Return the fingerprints of all releases and their ids; of releases with the same fingerprint the first counts."""
    known = sorted((release.id, int.from_bytes(release.fingerprint, "little")) for release in releases())
    return np.array([number for _, number in known], np.uint64), np.array([each for each, _ in known], np.int64)


@cache
def _schemas() -> Bools:
    """Return bool[kinds, ids + 1]: whether the release with an id is a body of the kind."""
    fitting = np.zeros((len(KINDS), max(release.id for release in releases()) + 1), np.bool_)
    for release in releases():
        if release.name in KINDS:
            fitting[KINDS.index(release.name), release.id] = True
    return fitting
