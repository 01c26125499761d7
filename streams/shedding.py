"""What is left of a lane of merge once it lets go for good of what was withdrawn: the ids and keys, too, and what only those named.

A lane that is blotted keeps an incident's place, so that numbers in deltas hold. Here all is numbered anew: names, profiles,
incidents. That a repeat is known is not needed of what was withdrawn: refine brings each event once, and none of a case
after its withdrawal.
"""

import numpy as np

from streams import names, profiles, runs
from streams.held import Held, enter_patterns
from streams.names import Longs, Names
from streams.removals import GONE
from streams.state import Column

AREA_BITS, NODE_BITS = (1 << runs.AREA) - 1, (runs.NODES - 1) << runs.NODE


def shed(held: Held) -> Held:
    """Return a lane without incidents that are GONE; the areas, parties, nodes and profiles are those that others have.

    So are assessments; of what was withdrawn the ids that regions had stay, or what comes later would be told on.
    """
    runs.compact(held.incidents)
    some, count = held.incidents, held.incidents.count
    kept = held.profiles.rows["category"][some.codes[:count]] != GONE
    ids, keys, codes = some.ids[:count][kept], some.keys[:count][kept], some.codes[:count][kept]
    patterns = held.patterns[: held.pattern_count].copy()
    numbers, codes = np.unique(codes, return_inverse=True)
    rows = held.profiles.rows[numbers]

    left = Held(assessed=held.assessed.shed())
    areas = _renumber(held.areas, left.areas, [keys >> runs.AREA, patterns["area"]])
    parties = _renumber(held.parties, left.parties, [rows["party"], patterns["party"]])
    nodes = _renumber(held.nodes, left.nodes, [keys >> runs.NODE & (runs.NODES - 1)])
    for table in (rows, patterns):
        table["party"] = parties[table["party"]]
    patterns["area"] = areas[patterns["area"]]
    _enter(left, ids, _moved(keys, areas, nodes), profiles.number(left.profiles, rows)[codes])
    enter_patterns(left, patterns)
    gone = set(map(tuple, some.ids[:count][~kept].tolist()))
    origins = [(*one, *of) for one, of in held.origins.of.items() if one not in gone]
    words = np.array(origins, np.uint64).reshape(-1, 4)
    left.origins.add(words[:, :2], words[:, 2:])
    return left


def _renumber(table: Names, into: Names, used: list[Column]) -> Longs:
    """Add the names that are used to `into`, in their order; return the number there of each that there was.

    int64[n + 1]: the last is -1, which stands for no name, and is found under -1.
    """
    numbers = np.unique(np.concatenate(used).astype(np.int64))
    numbers = numbers[numbers >= 0]
    known = names.listed(table)
    anew = np.full(table.count + 1, -1, np.int64)
    anew[numbers] = names.add(into, [known[number] for number in numbers.tolist()])
    return anew


def _moved(keys: Longs, areas: Longs, nodes: Longs) -> Longs:
    """Return keys with other numbers of areas and nodes."""
    area, node = areas[keys >> runs.AREA], nodes[keys >> runs.NODE & (runs.NODES - 1)]
    return np.asarray(keys & AREA_BITS & ~NODE_BITS | area << runs.AREA | node << runs.NODE, np.int64)


def _enter(left: Held, ids: runs.Words, keys: Longs, codes: Column) -> None:
    """Load incidents as one run; none are no run."""
    order = np.argsort(keys, kind="stable")
    briefs = profiles.briefs(left.profiles.rows)[codes]
    sizes = [len(keys)] if len(keys) else []
    runs.load(left.incidents, ids[order], keys[order], codes[order], briefs[order], sizes)
