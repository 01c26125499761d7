"""Every kernel of the stages, loaded or compiled before the first batch is waited for (2 s; a minute the first time)."""

from collections.abc import Mapping

import numpy as np

from schemas import columns, unseal
from schemas.build import Part, Strings, encode
from schemas.columns import Blob, compile  # noqa: A004
from schemas.keyring import Keyring
from schemas.layout import Layout
from schemas.places import regions
from schemas.released import latest
from schemas.wire import confluent_prefix, single_object_prefix
from streams import dedupe, held, held_bytes, names
from streams.base import Records
from streams.completeness import missing
from streams.merge import Merge
from streams.refine import Refine

SECRET = bytes(32)
EMPTY: Mapping[str, Part] = {"string": "", "bytes": b""}
GROWN = 200


def warm() -> None:
    """Run both stages on blank events, and what else their states may need."""
    columns.warm()
    unseal.warm()
    _refine()
    _merge()
    names.add(names.empty(), [b"%d" % number for number in range(GROWN)])
    lane = held.Held()
    held.enter_patterns(lane, np.zeros(GROWN, held.PATTERN))
    for first in (0, GROWN, 2 * GROWN):  # two runs that are merged when the third comes
        crowd = np.zeros(GROWN, held.INCIDENT)
        crowd["b"] = crowd["party"] = np.arange(first, first + GROWN)
        held.enter_incidents(lane, crowd, np.zeros(GROWN, np.int64))


def _refine() -> None:
    stage = Refine("W", 1)
    events = [_envelope(1, "PatternObserved", None), _envelope(2, "IncidentReported", bytes(16))]
    state, outcome = stage.step(stage.empty("raw.W-0"), _records("raw.W", events), Keyring())
    stage.thaw(stage.freeze(stage.restore(stage.empty("raw.W-0"), outcome.delta)))
    missing(state.seen, 1)
    dedupe.look(state.seen, np.zeros(1, np.int64), np.zeros(1, np.uint32))
    dedupe.forget(state.seen, np.zeros(0, np.int64), state.seen.marks.copy())


def _envelope(sequence: int, kind: str, case_ref: bytes | None) -> bytes:
    schema, body = latest(kind).fingerprint, _blank(kind).item(0)
    given: dict[str, Part] = {"node": "W", "sequence": sequence, "kind": kind, "body_schema": schema, "body": body}
    return _blank("Envelope", {**given, "case_ref": case_ref}, single_object_prefix(latest("Envelope"))).item(0)


def _merge() -> None:
    stage = Merge({region.code: SECRET for region in regions()})
    events = [
        _blank(name, {"area": regions()[0].areas[0]}, confluent_prefix(latest(name))).item(0)
        for name in ("PatternAccepted", "IncidentAccepted", "RevisionAccepted", "ReferralAccepted", "VersionEnded")
    ]
    state, _ = stage.step(stage.empty("accepted-0"), _records("accepted", events))
    held_bytes.undo(state, held_bytes.NOTHING)


def _records(topic: str, values: list[bytes]) -> Records:
    n = len(values)
    numbers = np.arange(n, dtype=np.int64)
    return Records(topic, 0, 0, n, numbers, numbers, Blob.of(values), Blob.of([b""] * n))


def _blank(name: str, given: Mapping[str, Part] = EMPTY, prefix: bytes = b"") -> Blob:
    """Return one record whose fields, but those given, are zero, empty or null."""
    layout = compile(latest(name))
    values = {field: given.get(field, _empty(layout, field)) for field in layout.columns}
    return encode(layout, 1, values, prefix)


def _empty(layout: Layout, field: str) -> Part:
    column = layout.columns[field]
    if column.null >= 0:
        return None
    if column.kind == "fixed":
        return bytes(column.size)
    return Strings.of([[]]) if column.kind == "strings" else EMPTY.get(column.kind, 0)
