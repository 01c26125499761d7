"""What a lane of refine remembers of its node, in bytes and back: the numbers seen and the cases withdrawn."""

from dataclasses import dataclass, field

import numpy as np

from streams.completeness import listed
from streams.dedupe import Hashes, Longs, Seen, enter, fresh
from streams.state import pack, unpack

REF_BYTES = 16


@dataclass
class Refined:
    """`seen` are the node's numbers, `withdrawn` the case references whose consent was taken back."""

    seen: Seen = field(default_factory=fresh)
    withdrawn: set[bytes] = field(default_factory=set)


def changes(sequences: Longs, hashes: Hashes, withdrawn: set[bytes]) -> bytes:
    """Return what a batch adds: numbers int64[n] with their hashes uint32[n], case references.

    Numbers that follow one another take 4 bytes each, a gap 16.
    """
    order = np.argsort(sequences, kind="stable")
    numbers = sequences[order]
    starts = np.flatnonzero(np.diff(numbers, prepend=-1) != 1)
    lengths = np.diff(starts, append=len(numbers))
    refs = np.frombuffer(b"".join(sorted(withdrawn)), np.uint8)
    return pack([numbers[starts].astype("<i8"), lengths.astype("<i8"), hashes[order].astype("<u4"), refs])


def apply(state: Refined, delta: bytes) -> Refined:
    """Add to the state what `changes` gave."""
    starts, lengths, hashes, refs = unpack(delta, ["<i8", "<i8", "<u4", "u1"])
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    enter(state.seen, np.repeat(starts, lengths) + within, hashes.copy())
    state.withdrawn |= {refs[at : at + REF_BYTES].tobytes() for at in range(0, len(refs), REF_BYTES)}
    return state


def freeze(state: Refined) -> bytes:
    """Return the whole state, as what the empty one lacks."""
    return changes(*listed(state.seen), state.withdrawn)
