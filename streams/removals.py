"""What a lane of merge lets go of: which incidents and versions, and how they are blotted out.

One whose consent is withdrawn, or that is no longer the current version, keeps its place, its id and its key, so that a
repeat is still known; its profile becomes one that fits nothing: no pattern links it any more and nothing is its duplicate.
"""

from dataclasses import dataclass

import numpy as np

from streams import names, profiles, runs
from streams.held import Held
from streams.names import Longs
from streams.runs import Runs, Words

ASIDE, ENDED, GONE = 0xFFFD, 0xFFFE, 0xFFFF
"""In place of a kind of party, in the order in which they may follow: in conflict, no longer current, withdrawn."""
FILTER = 1 << 16


@dataclass(frozen=True, eq=False)
class Named:
    """Incidents and versions that nodes name: `ids` uint64[k, 2], big-endian halves, `nodes` int64[k], -1 for one unknown here."""

    ids: Words
    nodes: Longs


def chosen(held: Held, named: Named, lasting: int) -> tuple[Longs, Longs]:
    """Return the numbers of what is held and named by its own node, int64[k], each once, and where in `named` it stands.

    What was blotted out as `lasting`, or for longer, is left alone.
    """
    some = held.incidents
    near = _with_ids(some, named.ids)
    marks = some.keys[near] >> runs.NODE & (runs.NODES - 1)
    wanted: dict[tuple[int, int, int], int] = {}
    for at, ((a, b), node) in enumerate(zip(named.ids.tolist(), named.nodes.tolist(), strict=True)):
        wanted.setdefault((a, b, node), at)
    places = _places(some.ids[near], marks, wanted)
    there = (places >= 0) & (held.profiles.rows["category"][some.codes[near]] < lasting)
    return near[there], places[there]


def numbers(held: Held, ids: Words, keys: Longs) -> Longs:
    """Return the numbers of incidents that are held, int64[k], by their ids and keys."""
    near = _with_ids(held.incidents, ids)
    wanted = {(a, b, key): at for at, ((a, b), key) in enumerate(zip(ids.tolist(), keys.tolist(), strict=True))}
    return near[_places(held.incidents.ids[near], held.incidents.keys[near], wanted) >= 0]


def _with_ids(some: Runs, ids: Words) -> Longs:
    """Return the positions whose ids may be among some: all of those, and a few others.

    All ids of the lane are looked through, a million in about 3 ms: they lie in no order.
    """
    perhaps = np.zeros(FILTER, np.bool_)
    perhaps[ids[:, 1] % np.uint64(FILTER)] = True
    return np.flatnonzero(perhaps[some.ids[: some.count, 1] % np.uint64(FILTER)])


def _places(ids: Words, marks: Longs, wanted: dict[tuple[int, int, int], int]) -> Longs:
    """Return int64[n]: where each id and what goes with it is among others, -1 where it is not."""
    found = [wanted.get((a, b, mark), -1) for (a, b), mark in zip(ids.tolist(), marks.tolist(), strict=True)]
    return np.array(found, np.int64)


def blot(held: Held, places: Longs, kind: int) -> None:
    """Take away what is known of the incidents with these numbers, int64[k]: they are ENDED or GONE."""
    held.incidents.codes[places] = prepare(held, kind)
    held.incidents.briefs[places] = 0


def prepare(held: Held, kind: int) -> int:
    """Return the number of the profile of what is ENDED or GONE, which is added where it is new."""
    one = np.zeros(1, profiles.PROFILE)
    one["party"], one["category"] = -1, kind
    return int(profiles.number(held.profiles, one)[0])


def node_numbers(held: Held, nodes: list[bytes]) -> Longs:
    """Return the lane's number of each node, -1 for one of which it holds nothing."""
    known = {name: number for number, name in enumerate(names.listed(held.nodes))}
    return np.array([known.get(node, -1) for node in nodes], np.int64)
