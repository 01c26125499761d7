"""Accepted events on their way to `accepted`: by area, facts copied byte for byte.

An incident goes to its area once. A pattern goes to every area that it covers, and for each region the first of them
leads: it alone brings the pattern to the region's table.
"""

from functools import lru_cache

import numpy as np

from schemas import kernels
from schemas.build import Part, Spans, Strings, encode, part
from schemas.columns import Blob, compile, offsets_of  # noqa: A004
from schemas.places import areas_of, region_codes_of
from schemas.wire import confluent_prefix
from streams.base import Output
from streams.bodies import Judged
from streams.envelopes import Envelopes
from streams.frames import carrier
from streams.names import Longs, Octets
from streams.partition import partitions

TOPIC = "accepted"


def incident_output(found: Envelopes, judged: Judged, node: str, count: int) -> Output:
    """Return the incidents for `count` partitions."""
    values, areas = _incidents(found, judged, node)
    return _output("IncidentAccepted", judged, values, judged.columns.data, areas, count)


def revision_output(found: Envelopes, judged: Judged, values: dict[str, Part], node: str, count: int) -> Output:
    """Return further versions of incidents for `count` partitions; `values` has what a version has beside an incident."""
    common, areas = _incidents(found, judged, node)
    return _output("RevisionAccepted", judged, {**common, **values}, judged.columns.data, areas, count)


def _incidents(found: Envelopes, judged: Judged, node: str) -> tuple[dict[str, Part], Longs]:
    """Return what incidents and their versions share, and where the columns have their areas, int64[k, 2]."""
    columns, rows = judged.columns, judged.rows
    known = columns.valid("incident.admin1")[rows, None]
    areas = np.where(known, columns.spans("incident.admin1")[rows], columns.spans("incident.country")[rows])
    values = {
        **_common(found, judged, node, rows, judged.records),
        "case_ref": Spans(found.data, found.case[judged.records]),
        "area": Spans(columns.data, areas),
    }
    return values, areas


def pattern_output(found: Envelopes, judged: Judged, node: str, count: int) -> Output:
    """Return the patterns, one for each area of each, for `count` partitions."""
    columns = judged.columns
    offsets, spans = columns.lists("pattern.areas")
    codes = [columns.octets(i, spans).decode() for i in range(len(spans))]
    spread = [spread_over(tuple(codes[offsets[row] : offsets[row + 1]])) for row in judged.rows.tolist()]
    times = np.array([len(areas) for areas, _ in spread], np.int64)
    names = Blob.of([area.encode() for areas, _ in spread for area in areas])
    areas = np.stack([names.starts, names.ends], axis=1)
    values: dict[str, Part] = {
        **_common(found, judged, node, np.repeat(judged.rows, times), np.repeat(judged.records, times)),
        "area": Spans(names.data, areas),
        "leads": Strings.of([led for _, leads in spread for led in leads]),
    }
    return _output("PatternAccepted", judged, values, names.data, areas, count)


@lru_cache(maxsize=65_536)
def spread_over(codes: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return every area that codes of places stand for, in order, and for each the regions in which it leads."""
    areas = sorted({area for code in codes for area in areas_of(code)})
    led: set[str] = set()
    leads = []
    for area in areas:
        first = [region for region in region_codes_of(area) if region not in led]
        led.update(first)
        leads.append(tuple(sorted(first)))
    return tuple(areas), tuple(leads)


def _common(found: Envelopes, judged: Judged, node: str, rows: Longs, records: Longs) -> dict[str, Part]:
    record = _record(judged)
    return {
        "event_id": Spans(found.data, found.event[records]),
        "node": node,
        "sequence": found.sequence[records],
        "recorded_at": judged.columns.ints("recorded_at")[rows],
        record: part(judged.columns, record, rows),
    }


def _output(contract: str, judged: Judged, values: dict[str, Part], data: Octets, areas: Longs, count: int) -> Output:
    record = _record(judged)
    release = carrier(contract, record, judged.release)
    blob = encode(compile(release, (record,)), len(areas), values, confluent_prefix(release))
    return Output(TOPIC, partitions(data, areas, count), gathered(data, areas), blob)


def _record(judged: Judged) -> str:
    """Return the name of the nested record that is copied."""
    return judged.columns.layout.raw[0]


def gathered(data: Octets, spans: Longs) -> Blob:
    """Return the byte strings that lie at `spans` int64[n, 2] of `data`."""
    bounds = offsets_of(spans[:, 1] - spans[:, 0])
    out = np.empty(int(bounds[-1]), np.uint8)
    kernels.gather(data, spans, bounds, out)
    return Blob(out, bounds)
