"""Which cases were withdrawn, as the nodes' own topics say: each by its reference, with all that was sent about it."""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from schemas.columns import matrix
from streams.client import Broker
from streams.envelopes import WITHDRAWAL, read
from streams.topiclog import follow

ID = 16
Octets = NDArray[np.uint8]


@dataclass(frozen=True)
class Case:
    """A withdrawn case: its reference (16 bytes), and the ids of all events about it that its node has sent (16 bytes each).

    `number` is that of the withdrawal at its node, `offset` where the last of it stands in `raw.<node>`.
    """

    ref: bytes
    node: str
    number: int
    offset: int
    events: frozenset[bytes]


async def withdrawn(broker: Broker, node: str) -> list[Case]:
    """Return the cases that a node has withdrawn so far, in the order in which it did."""
    cases: dict[bytes, Case] = {}
    refs, ids = [np.zeros((0, ID), np.uint8)], [np.zeros((0, ID), np.uint8)]
    async for records in follow(broker, (f"raw.{node}", 0), 0):
        found = read(records, node)
        rows = np.flatnonzero(found.good & ~found.refused & found.has_case)
        refs.append(matrix(found.data, found.case[rows, 0], ID))
        ids.append(matrix(found.data, found.event[rows, 0], ID))
        for row in rows[found.kind[rows] == WITHDRAWAL].tolist():
            ref, number = found.data[slice(*found.case[row])].tobytes(), int(found.sequence[row])
            first = cases[ref].number if ref in cases else number
            cases[ref] = Case(ref, node, first, int(records.offsets[row]), frozenset())
    sent = _sent(np.concatenate(refs), np.concatenate(ids), cases.keys())
    return [replace(one, events=frozenset(sent[ref])) for ref, one in cases.items()]


def _sent(refs: Octets, ids: Octets, wanted: Collection[bytes]) -> dict[bytes, set[bytes]]:
    """Return the ids of the events about each of these cases, by its reference; `refs` and `ids` uint8[n, 16]."""
    firsts = np.array([int.from_bytes(ref[:8], "little") for ref in wanted], "<u8")
    perhaps = np.flatnonzero(np.isin(np.ascontiguousarray(refs[:, :8]).view("<u8")[:, 0], firsts))
    found: dict[bytes, set[bytes]] = {ref: set() for ref in wanted}
    for row in perhaps.tolist():
        if (ref := refs[row].tobytes()) in found:
            found[ref].add(ids[row].tobytes())
    return found
