"""Which cases were withdrawn, as the nodes' own topics say: each by its reference, with all that was sent about it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from schemas.columns import matrix
from schemas.released import by_id
from schemas.withdrawals import UNSPECIFIED, cause
from streams.client import Broker
from streams.envelopes import WITHDRAWAL, Envelopes, read
from streams.topiclog import follow

ID = 16
Octets = NDArray[np.uint8]


@dataclass(frozen=True)
class Case:
    """A withdrawn case: its reference (16 bytes), and the ids of all events about it that its node has sent (16 bytes each).

    `number` is that of the withdrawal at its node, `offset` where the last of it stands in `raw.<node>`. Number 0: a receipt
    has the withdrawal, and the log not any more; `offset` is then that of the last event about the case, -1 where none is
    left. `receipted` is whether `keys.<node>` has signed for it: its key may never come again. `cause` is why it was withdrawn.
    """

    ref: bytes
    node: str
    number: int
    offset: int
    events: frozenset[bytes]
    receipted: bool = False
    cause: str = UNSPECIFIED


async def withdrawn(broker: Broker, node: str, receipted: Iterable[bytes] = ()) -> list[Case]:
    """Return the cases that a node has withdrawn so far: those that are receipted, then the others in their order."""
    cases = {ref: Case(ref, node, 0, -1, frozenset(), receipted=True) for ref in receipted}
    refs, ids, offsets = [np.zeros((0, ID), np.uint8)], [np.zeros((0, ID), np.uint8)], [np.zeros(0, np.int64)]
    async for records in follow(broker, (f"raw.{node}", 0), 0):
        found = read(records, node)
        rows = np.flatnonzero(found.good & ~found.refused & found.has_case)
        refs.append(matrix(found.data, found.case[rows, 0], ID))
        ids.append(matrix(found.data, found.event[rows, 0], ID))
        offsets.append(records.offsets[rows])
        for row in rows[found.kind[rows] == WITHDRAWAL].tolist():
            ref, number = found.data[slice(*found.case[row])].tobytes(), int(found.sequence[row])
            known = cases.get(ref) or Case(ref, node, 0, -1, frozenset())
            why = known.cause if known.number else _cause(found, row)
            cases[ref] = replace(known, number=known.number or number, offset=int(records.offsets[row]), cause=why)
    of_case = np.concatenate(refs)
    sent, last = _sent(of_case, np.concatenate(ids), cases.keys()), _last(of_case, np.concatenate(offsets), cases)
    return [replace(one, events=frozenset(sent[ref]), offset=last[ref]) for ref, one in cases.items()]


def _cause(found: Envelopes, row: int) -> str:
    """Return why a withdrawal was recorded."""
    if not found.schema[row]:
        return UNSPECIFIED
    return cause(by_id(int(found.schema[row])).fingerprint, found.data[slice(*found.body[row])].tobytes())


def _last(refs: Octets, offsets: NDArray[np.int64], cases: Mapping[bytes, Case]) -> dict[bytes, int]:
    """Return the offset of the last withdrawal of each case, of one that has none that of its last event."""
    lost = {ref for ref, one in cases.items() if not one.number}
    found = _sent(refs, offsets.astype(">i8").view(np.uint8).reshape(-1, 8), lost)
    ends = {ref: int.from_bytes(max(found[ref]), "big") for ref in lost if found[ref]}
    return {ref: ends.get(ref, one.offset) for ref, one in cases.items()}


def _sent(refs: Octets, ids: Octets, wanted: Collection[bytes]) -> dict[bytes, set[bytes]]:
    """Return the ids of the events about each of these cases, by its reference; `refs` uint8[n, 16], `ids` uint8[n, any]."""
    firsts = np.array([int.from_bytes(ref[:8], "little") for ref in wanted], "<u8")
    perhaps = np.flatnonzero(np.isin(np.ascontiguousarray(refs[:, :8]).view("<u8")[:, 0], firsts))
    found: dict[bytes, set[bytes]] = {ref: set() for ref in wanted}
    for row in perhaps.tolist():
        if (ref := refs[row].tobytes()) in found:
            found[ref].add(ids[row].tobytes())
    return found
