"""Which cases were withdrawn, as the nodes' own topics say: each by its reference, with all that was reported of it."""

from dataclasses import dataclass

import numpy as np

from schemas.errors import Quarantines
from schemas.released import by_id
from schemas.rows import read as read_row
from streams.client import Broker
from streams.envelopes import WITHDRAWAL, Envelopes, read
from streams.topiclog import follow

ID = 16


@dataclass(frozen=True)
class Case:
    """A withdrawn case: its reference (16 bytes), and the ids of all that its node reported of it (16 bytes each).

    `number` is that of the withdrawal at its node, `offset` where it stands in `raw.<node>`.
    """

    ref: bytes
    node: str
    number: int
    offset: int
    events: frozenset[bytes]


async def withdrawn(broker: Broker, node: str) -> list[Case]:
    """Return the cases that a node has withdrawn so far, in the order in which it did."""
    cases: dict[bytes, Case] = {}
    async for records in follow(broker, (f"raw.{node}", 0), 0):
        found = read(records, node)
        for row in np.flatnonzero((found.kind == WITHDRAWAL) & found.good & ~found.refused & found.has_case).tolist():
            one = _case(found, row, node, int(records.offsets[row]))
            known = cases.get(one.ref)
            if known is None:
                cases[one.ref] = one
            elif one.events - known.events:
                cases[one.ref] = Case(one.ref, node, known.number, one.offset, known.events | one.events)
    return list(cases.values())


def _case(found: Envelopes, row: int, node: str, offset: int) -> Case:
    ref = found.data[slice(*found.case[row])].tobytes()
    return Case(ref, node, int(found.sequence[row]), offset, _named(found, row))


def _named(found: Envelopes, row: int) -> frozenset[bytes]:
    """Return the ids that a withdrawal names; none where its contract names none, or where it cannot be read."""
    try:
        body = read_row(by_id(int(found.schema[row])), found.data[slice(*found.body[row])].tobytes())
    except Quarantines:
        return frozenset()
    ids = body.get("incidents", b"")
    return frozenset(ids[at : at + ID] for at in range(0, len(ids) - len(ids) % ID, ID))
