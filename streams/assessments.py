"""Assessments in refine: what a node says of an incident of another one, judged, and what goes on to `accepted`.

All go to its first partition, whatever their area, which their node does not say: the lane there tells them on.
"""

from dataclasses import fields

import numpy as np

from schemas.assessments import VERDICTS, Assessment, refusal
from schemas.build import Part, Spans, encode, part
from schemas.columns import Columns, compile  # noqa: A004
from schemas.released import latest
from schemas.wire import confluent_prefix
from streams.accepted import TOPIC, gathered
from streams.base import Output
from streams.bodies import Judged, day, plain
from streams.envelopes import Envelopes
from streams.names import Longs

PARTITION = 0


def assessments(found: Envelopes, wanted: Longs) -> list[Judged]:
    """Return the accepted assessments of the records `wanted`; reasons of the others go to `found`."""
    return [_judged(found, columns, records) for records, columns in plain(found, wanted, tuple(VERDICTS), ())]


def assessment_output(found: Envelopes, judged: Judged, node: str) -> Output:
    """Return the assessments for the first partition, each under the id of its incident."""
    columns, rows, release = judged.columns, judged.rows, latest("AssessmentAccepted")
    values: dict[str, Part] = {
        "event_id": Spans(found.data, found.event[judged.records]),
        "node": node,
        "sequence": found.sequence[judged.records],
        "recorded_at": columns.ints("recorded_at")[rows],
        "verdict": VERDICTS[judged.release.name],
        **{f"assessment.{each.name}": part(columns, f"assessment.{each.name}", rows) for each in fields(Assessment)},
    }
    blob = encode(compile(release), len(rows), values, confluent_prefix(release))
    keys = gathered(columns.data, columns.spans("assessment.incident_id")[rows])
    return Output(TOPIC, np.full(len(rows), PARTITION, np.int32), keys, blob)


def _judged(found: Envelopes, columns: Columns, records: Longs) -> Judged:
    """Judge bodies by their release, int64[k] `records` of the batch."""
    for row, record in enumerate(records.tolist()):
        if reason := columns.reason(row) if columns.status[row] else _refusal(columns, row):
            found.add(record, [reason])
    rows = np.flatnonzero(~found.refused[records])
    return Judged(columns.layout.release, columns, rows, records[rows])


def _refusal(columns: Columns, row: int) -> str:
    said = Assessment(**columns.row(row)["assessment"])
    return refusal(said, VERDICTS[columns.layout.release.name], day(columns, row, "recorded_at"))
