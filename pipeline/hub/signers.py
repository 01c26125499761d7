"""Who signs for a node: its own key, and after a handover the key that the handover names, from the next number on."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from schemas import rows
from schemas.chain import MARK, Head
from schemas.errors import Quarantines
from schemas.limits import NUMBERS
from schemas.released import by_id
from streams.envelopes import HANDOVER, Envelopes


@dataclass(frozen=True)
class Handover:
    """Event `sequence` gave the node to the mission `successor`: `signer` signs from the next one on.

    `receives` is the key for which the hub seals cases' keys; `deed` the SHA-256 of what both have signed; `mark` that of the event.
    """

    sequence: int
    successor: str
    signer: bytes
    receives: bytes
    deed: bytes
    mark: bytes


@dataclass(frozen=True)
class Term:
    """The numbers `first` to `last`, for which `signer` signs."""

    first: int
    last: int
    signer: bytes

    def has(self, head: Head) -> bool:
        """Return whether a head is this signer's, about these numbers."""
        return head.signer == self.signer and self.first <= head.first and head.sequence <= self.last


def claims(found: Envelopes, leaves: Sequence[bytes]) -> Iterator[Handover]:
    """Yield what the records of a log, with these hashes, say of handovers; nothing says yet that the node has signed it.

    Of records with one number the first counts, here as in refine.
    """
    own = np.flatnonzero(found.good & found.home)
    first = own[np.unique(found.sequence[own], return_index=True)[1]]
    for row in first[(found.kind[first] == HANDOVER) & (found.schema[first] > 0)].tolist():
        start, end = found.body[row].tolist()
        try:
            said = rows.read(by_id(int(found.schema[row])), found.data[start:end].tobytes())
            told = (said["successor"], said["signer"], said["receives"], said["deed"])
        except (Quarantines, KeyError):
            continue
        yield Handover(int(found.sequence[row]), *told, leaves[row][:MARK])


def settled(pin: bytes, heads: Iterable[Head], claimed: Iterable[Handover]) -> list[Handover]:
    """Return the handovers that hold, in order: each is signed for by who could sign then; the first of them is `pin`."""
    known, waiting, found = list(heads), sorted(claimed, key=lambda one: one.sequence), list[Handover]()
    while waiting:
        signer, after = (found[-1].signer, found[-1].sequence) if found else (pin, 0)
        mine = [head for head in known if head.signer == signer and head.first > after]
        held = next((one for one in waiting if one.sequence > after and any(_signs(head, one) for head in mine)), None)
        if held is None:
            return found
        found.append(held)
        waiting = [one for one in waiting if one.sequence > held.sequence]
    return found


def terms(pin: bytes, handovers: Sequence[Handover]) -> list[Term]:
    """Return who signs for which numbers, in order."""
    firsts = [1, *(one.sequence + 1 for one in handovers)]
    lasts = [*(one.sequence for one in handovers), NUMBERS]
    signers = [pin, *(one.signer for one in handovers)]
    return [Term(*each) for each in zip(firsts, lasts, signers, strict=True)]


def _signs(head: Head, one: Handover) -> bool:
    return head.first <= one.sequence <= head.sequence and head.mark(one.sequence) == one.mark
