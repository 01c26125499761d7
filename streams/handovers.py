"""A node that was handed over: refine makes sure that its last word can be read; who may sign after it is for `tocsin verify`."""

import numpy as np

from schemas.columns import compile, decode  # noqa: A004
from streams.envelopes import Envelopes
from streams.frames import versions
from streams.names import Longs


def check(found: Envelopes, records: Longs) -> None:
    """Refuse those of these records, handovers int64[k], whose bodies cannot be read."""
    for release in versions("NodeHandedOver"):
        rows = records[found.schema[records] == release.id]
        columns = decode(compile(release), found.data, found.body[rows, 0], found.body[rows, 1])
        for at in np.flatnonzero(columns.status).tolist():
            found.add(int(rows[at]), [columns.reason(at)])
