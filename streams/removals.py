"""What a lane of merge lets go of when a consent is withdrawn: which incidents, and how they are blotted out.

An incident that is gone keeps its place, its id and its key, so that a repeat is still known; its profile becomes
`GONE`, which fits nothing: no pattern links it any more and nothing is its duplicate.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams import names, profiles, runs
from streams.held import Held
from streams.names import Longs
from streams.runs import Runs, Words

GONE_CATEGORY = 0xFFFF  # no kind of party has this number
FILTER = 1 << 16


@dataclass(frozen=True, eq=False)
class Withdrawn:
    """Incidents that nodes want taken out: `ids` uint64[k, 2], big-endian halves, `nodes` int64[k], -1 for one unknown here."""

    ids: Words
    nodes: Longs


def chosen(held: Held, withdrawn: Withdrawn) -> Longs:
    """Return the numbers of the incidents that are held and named by their own node, int64[k], each once."""
    some = held.incidents
    near = _with_ids(some, withdrawn.ids)
    found = _among(some.ids[near], some.keys[near] >> runs.NODE & (runs.NODES - 1), withdrawn.ids, withdrawn.nodes)
    near = near[found]
    there = np.asarray(held.profiles.rows["category"][some.codes[near]] != GONE_CATEGORY, np.bool_)
    return near[there]


def numbers(held: Held, ids: Words, keys: Longs) -> Longs:
    """Return the numbers of incidents that are held, int64[k], by their ids and keys."""
    near = _with_ids(held.incidents, ids)
    return near[_among(held.incidents.ids[near], held.incidents.keys[near], ids, keys)]


def _with_ids(some: Runs, ids: Words) -> Longs:
    """Return the positions whose ids may be among some: all of those, and a few others.

    All ids of the lane are looked through, a million in about 3 ms: they lie in no order.
    """
    perhaps = np.zeros(FILTER, np.bool_)
    perhaps[ids[:, 1] % np.uint64(FILTER)] = True
    return np.flatnonzero(perhaps[some.ids[: some.count, 1] % np.uint64(FILTER)])


def _among(ids: Words, marks: Longs, wanted: Words, wanted_marks: Longs) -> NDArray[np.bool_]:
    """Return bool[n]: whether an id and what goes with it are among others."""
    known = {(a, b, mark) for (a, b), mark in zip(wanted.tolist(), wanted_marks.tolist(), strict=True)}
    return np.array([(a, b, m) in known for (a, b), m in zip(ids.tolist(), marks.tolist(), strict=True)], np.bool_)


def blot(held: Held, gone: Longs) -> None:
    """Take away what is known of the incidents with these numbers, int64[k]."""
    held.incidents.codes[gone] = prepare(held)
    held.incidents.briefs[gone] = 0


def prepare(held: Held) -> int:
    """Return the number of the profile `GONE`, which is added where it is new."""
    one = np.zeros(1, profiles.PROFILE)
    one["party"], one["category"] = -1, GONE_CATEGORY
    return int(profiles.number(held.profiles, one)[0])


def node_numbers(held: Held, nodes: list[bytes]) -> Longs:
    """Return the lane's number of each node, -1 for one of which it holds nothing."""
    known = {name: number for number, name in enumerate(names.listed(held.nodes))}
    return np.array([known.get(node, -1) for node in nodes], np.int64)
