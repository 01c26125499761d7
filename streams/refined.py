"""What a lane of refine remembers of its node, in bytes and back.

That are the numbers seen, the cases withdrawn, how reports were verified and for whom when they came, the lives of the incidents that
were revised, and the revisions that wait.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from streams import lives, waiting
from streams.completeness import listed
from streams.dedupe import Hashes, Longs, Seen, enter, fresh
from streams.lives import Life
from streams.reported import Reported, States
from streams.state import Column, pack, unpack
from streams.waiting import Waits

REF_BYTES = 16


@dataclass(frozen=True)
class Changed:
    """What a batch changes beside the numbers: the cases that it withdraws, `lives` by incident, what waits by offset.

    `released` are the offsets of what waits no longer.
    """

    withdrawn: frozenset[bytes] = frozenset()
    lives: Mapping[bytes, Life] = field(default_factory=dict)
    waiting: Mapping[int, Waits] = field(default_factory=dict)
    released: Collection[int] = ()


@dataclass
class Refined:
    """`seen` are the node's numbers, `withdrawn` the case references whose consent was taken back.

    `reported` says how reports were verified and for whom when they came, `lives` has the incidents that were revised, `waiting` the
    revisions that wait, by offset.
    """

    seen: Seen = field(default_factory=fresh)
    withdrawn: set[bytes] = field(default_factory=set)
    reported: Reported = field(default_factory=Reported)
    lives: dict[bytes, Life] = field(default_factory=dict)
    waiting: dict[int, Waits] = field(default_factory=dict)

    def go_on(self, changed: Changed) -> None:
        """Enter what a batch changed; of a withdrawn case nothing else is kept."""
        self.withdrawn |= changed.withdrawn
        self.lives.update(changed.lives)
        self.waiting.update(changed.waiting)
        for offset in changed.released:
            self.waiting.pop(offset, None)
        if changed.withdrawn:
            self.lives = {key: one for key, one in self.lives.items() if one.case not in self.withdrawn}
            self.waiting = {key: one for key, one in self.waiting.items() if one.case not in self.withdrawn}


def changes(sequences: Longs, hashes: Hashes, states: States, changed: Changed) -> bytes:
    """Return what a batch adds: numbers int64[n] with their hashes uint32[n] and states uint8[n], and what it changes.

    Numbers that follow one another take 4 bytes each, a gap 16; what few batches have is left out of all others.
    """
    order = np.argsort(sequences, kind="stable")
    numbers = sequences[order]
    starts = np.flatnonzero(np.diff(numbers, prepend=-1) != 1)
    lengths = np.diff(starts, append=len(numbers))
    refs = _octets(b"".join(sorted(changed.withdrawn)))
    columns = [numbers[starts].astype("<i8"), lengths.astype("<i8"), hashes[order].astype("<u4"), refs]
    if states.any() or changed.lives or changed.waiting or changed.released:
        columns.append(states[order] if states.any() else states[:0])
    if changed.lives or changed.waiting or changed.released:
        columns.append(_octets(lives.pack(changed.lives)))
        columns.append(_octets(waiting.pack(changed.waiting.values(), changed.released)))
    return pack(columns)


def named(delta: bytes) -> set[bytes]:
    """Return the ids of all events of cases that what `changes` gave names: in lives, and of what waits and for what."""
    packed = [each.tobytes() for each in _unpacked(delta)[5:]]
    some = lives.unpack(packed[0]) if packed else {}
    waits = waiting.unpack(packed[1])[0].values() if packed else ()
    found = {ident for key, life in some.items() for ident in (key, *life.versions)}
    return found | {ident for one in waits for ident in (one.event_id, *(need for need, _ in one.needs))}


def apply(state: Refined, delta: bytes) -> Refined:
    """Add to the state what `changes` gave."""
    starts, lengths, hashes, refs, *more = _unpacked(delta)
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    numbers = np.repeat(starts, lengths) + within
    enter(state.seen, numbers, hashes.copy())
    for states in more[:1]:
        state.reported.add(numbers[: len(states)], states)
    packed = [each.tobytes() for each in more[1:]]
    withdrawn = frozenset(refs[at : at + REF_BYTES].tobytes() for at in range(0, len(refs), REF_BYTES))
    state.go_on(
        Changed(withdrawn, lives.unpack(packed[0]), *waiting.unpack(packed[1])) if packed else Changed(withdrawn)
    )
    return state


def freeze(state: Refined) -> bytes:
    """Return the whole state, as what the empty one lacks."""
    numbers, hashes = listed(state.seen)
    changed = Changed(frozenset(state.withdrawn), state.lives, state.waiting)
    return changes(numbers, hashes, state.reported.of(numbers), changed)


def _unpacked(delta: bytes) -> list[Column]:
    return unpack(delta, ["<i8", "<i8", "<u4", "u1"], ["u1", "u1", "u1"])


def _octets(data: bytes) -> States:
    return np.frombuffer(data, np.uint8)
