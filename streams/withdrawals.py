"""A withdrawn consent on its way to `accepted`: the incidents that it names, told to every partition.

Which area an incident lies in is sealed, and its key may be gone with the consent; so all lanes of merge are told, and
that which holds it lets go of it, if the same node reported it.
"""

from collections.abc import Sequence

import numpy as np

from schemas.build import Part, Spans, encode
from schemas.columns import Blob, compile, decode  # noqa: A004
from schemas.released import Release, latest
from schemas.wire import confluent_prefix
from streams.accepted import TOPIC, gathered
from streams.base import Output
from streams.envelopes import Envelopes
from streams.frames import versions
from streams.names import Longs, Octets

ID = 16
NAMED_SINCE = 2  # the version of ConsentWithdrawn from which on it names what was reported of the case


def named(found: Envelopes, records: Longs) -> Longs:
    """Return where the event ids lie that withdrawals name, int64[k, 2] in the envelopes' data; refuse what cannot be read."""
    spans = [np.zeros((0, 2), np.int64)]
    for release in versions("ConsentWithdrawn"):
        rows = records[found.schema[records] == release.id]
        if release.version >= NAMED_SINCE and len(rows):
            spans.append(_of_release(found, release, rows))
    return np.concatenate(spans)


def _of_release(found: Envelopes, release: Release, rows: Longs) -> Longs:
    columns = decode(compile(release), found.data, found.body[rows, 0], found.body[rows, 1])
    for row in np.flatnonzero(columns.status).tolist():
        found.add(int(rows[row]), [columns.reason(row)])
    lists = columns.spans("incidents")
    broken = (lists[:, 1] - lists[:, 0]) % ID != 0
    found.refuse(rows[broken], "consent.incidents")
    ids = [np.arange(start, end, ID) for start, end in lists[~broken].tolist()]
    starts = np.concatenate([np.zeros(0, np.int64), *ids])
    return np.stack([starts, starts + ID], axis=1)


def withdrawn_output(found: Envelopes, ids: Longs, node: str, count: int) -> tuple[Output, ...]:
    """Return an IncidentWithdrawn for each of the ids that `named` gave, for each of `count` partitions; nothing for none."""
    if not len(ids):
        return ()
    keys, values = _told(found.data, np.tile(ids, (count, 1)), node)
    return (Output(TOPIC, np.repeat(np.arange(count, dtype=np.int32), len(ids)), keys, values),)


def told(events: Sequence[bytes], node: str) -> list[tuple[bytes, bytes]]:
    """Return key and value of an IncidentWithdrawn for each of these events of a node; each partition is to get all."""
    starts = np.arange(len(events), dtype=np.int64) * ID
    keys, values = _told(np.frombuffer(b"".join(events), np.uint8), np.stack([starts, starts + ID], axis=1), node)
    return [(keys.item(row), values.item(row)) for row in range(len(events))]


def _told(data: Octets, spans: Longs, node: str) -> tuple[Blob, Blob]:
    release = latest("IncidentWithdrawn")
    values: dict[str, Part] = {"event_id": Spans(data, spans), "node": node}
    return gathered(data, spans), encode(compile(release), len(spans), values, confluent_prefix(release))
