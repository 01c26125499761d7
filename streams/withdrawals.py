"""A withdrawn consent on its way to `accepted`: the incidents that it names, told to every partition.

Which area an incident lies in is sealed, and its key may be gone with the consent; so all lanes of merge are told, and
that which holds it lets go of it, if the same node reported it.
"""

import numpy as np

from schemas.build import Part, Spans, encode
from schemas.columns import compile, decode  # noqa: A004
from schemas.released import Release, latest
from schemas.wire import confluent_prefix
from streams.accepted import TOPIC, gathered
from streams.base import Output
from streams.envelopes import Envelopes
from streams.frames import versions
from streams.names import Longs

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
    release = latest("IncidentWithdrawn")
    spans = np.tile(ids, (count, 1))
    values: dict[str, Part] = {"event_id": Spans(found.data, spans), "node": node}
    blob = encode(compile(release), len(spans), values, confluent_prefix(release))
    return (Output(TOPIC, np.repeat(np.arange(count, dtype=np.int32), len(ids)), gathered(found.data, spans), blob),)
