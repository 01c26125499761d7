"""What a lane of refine remembers of its node, in bytes and back.

That are the numbers seen, the cases withdrawn, how reports were verified when they came, and the lives of the incidents
that were revised.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from streams import lives
from streams.completeness import listed
from streams.dedupe import Hashes, Longs, Seen, enter, fresh
from streams.lives import Life
from streams.reported import Reported, States
from streams.state import pack, unpack

REF_BYTES = 16
NO_LIVES: Mapping[bytes, Life] = {}


@dataclass
class Refined:
    """`seen` are the node's numbers, `withdrawn` the case references whose consent was taken back.

    `reported` says how reports were verified when they came, `lives` has the incidents that were revised.
    """

    seen: Seen = field(default_factory=fresh)
    withdrawn: set[bytes] = field(default_factory=set)
    reported: Reported = field(default_factory=Reported)
    lives: dict[bytes, Life] = field(default_factory=dict)

    def go_on(self, withdrawn: set[bytes], changed: Mapping[bytes, Life]) -> None:
        """Enter cases that were withdrawn and lives that changed; of a withdrawn case no life is kept."""
        self.withdrawn |= withdrawn
        self.lives.update(changed)
        if withdrawn:
            self.lives = {key: life for key, life in self.lives.items() if life.case not in self.withdrawn}


def changes(
    sequences: Longs,
    hashes: Hashes,
    withdrawn: set[bytes],
    states: States,
    changed: Mapping[bytes, Life] = NO_LIVES,
) -> bytes:
    """Return what a batch adds: numbers int64[n], their hashes uint32[n] and states uint8[n], case references, lives.

    Numbers that follow one another take 4 bytes each, a gap 16; a state is left out where all are pending.
    """
    order = np.argsort(sequences, kind="stable")
    numbers = sequences[order]
    starts = np.flatnonzero(np.diff(numbers, prepend=-1) != 1)
    lengths = np.diff(starts, append=len(numbers))
    refs = np.frombuffer(b"".join(sorted(withdrawn)), np.uint8)
    columns = [numbers[starts].astype("<i8"), lengths.astype("<i8"), hashes[order].astype("<u4"), refs]
    if states.any() or changed:
        columns += [states[order] if states.any() else states[:0]]
        columns += [np.frombuffer(lives.pack(changed), np.uint8)] if changed else []
    return pack(columns)


def apply(state: Refined, delta: bytes) -> Refined:
    """Add to the state what `changes` gave."""
    starts, lengths, hashes, refs, *more = unpack(delta, ["<i8", "<i8", "<u4", "u1"], ["u1", "u1"])
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    numbers = np.repeat(starts, lengths) + within
    enter(state.seen, numbers, hashes.copy())
    for states in more[:1]:
        state.reported.add(numbers[: len(states)], states)
    withdrawn = {refs[at : at + REF_BYTES].tobytes() for at in range(0, len(refs), REF_BYTES)}
    state.go_on(withdrawn, {key: life for packed in more[1:] for key, life in lives.unpack(packed.tobytes()).items()})
    return state


def freeze(state: Refined) -> bytes:
    """Return the whole state, as what the empty one lacks."""
    numbers, hashes = listed(state.seen)
    return changes(numbers, hashes, state.withdrawn, state.reported.of(numbers), state.lives)
