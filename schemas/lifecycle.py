"""How an incident goes on: which versions one takes the place of, how its verification may move, who may take a step.

A node asks before it records, refine before it accepts: both by what stands here.
"""

from collections.abc import Iterable
from functools import cache
from typing import TypeAlias

from schemas.events import symbols
from schemas.tables import read

ID = 16
ENTRY = ID + 8
PENDING = "report_pending_verification"
SHARED = frozenset({PENDING, "verified"})
"""The states of verification in which regions have a version; in another one it ends, and nothing comes in its place."""

Chain: TypeAlias = tuple[tuple[str, bytes], ...]
"""The steps that were taken one upon the other, each with the digest of its verifier."""


def entries(replaces: bytes) -> list[tuple[bytes, int]]:
    """Return id and number of each version that `replaces` names. ValueError where it is no whole number of entries."""
    if len(replaces) % ENTRY:
        raise ValueError(f"{len(replaces)} bytes are no whole number of entries of {ENTRY}")
    found = (replaces[at : at + ENTRY] for at in range(0, len(replaces), ENTRY))
    return [(entry[:ID], int.from_bytes(entry[ID:], "big")) for entry in found]


def replaces(versions: Iterable[tuple[bytes, int]]) -> bytes:
    """Return the bytes that name versions by id (16 bytes) and number: what `entries` reads."""
    return b"".join(event_id + number.to_bytes(ENTRY - ID, "big") for event_id, number in versions)


@cache
def allowed_moves() -> frozenset[tuple[str, str]]:
    """Return the moves (from, to) of the state of verification; one to the same state is a further step."""
    return frozenset((row["from"], row["to"]) for row in read("moves"))


@cache
def states() -> tuple[str, ...]:
    """Return the states of verification."""
    return symbols("Incident", "verification")


@cache
def steps() -> tuple[str, ...]:
    """Return the steps of verification in their order."""
    return symbols("IncidentVerified", "step")


@cache
def reasons() -> tuple[str, ...]:
    """Return the reasons for which an incident is retracted; a withdrawn consent is none of them."""
    return symbols("IncidentRetracted", "reason")


def chain(before: Chain, move: tuple[str, str], taken: tuple[str, bytes]) -> Chain:
    """Return the chain after a verification: `before` is that of the version it follows, `taken` step and verifier.

    A move from another state to pending begins anew and is no step itself. After an amendment the chain is empty.
    """
    return () if _anew(move) else (*before, taken)


def refusal(before: Chain, move: tuple[str, str], taken: tuple[str, bytes]) -> str:
    """Return why a verification can't follow, "" where it can: its reason as in schemas/codes/reasons.csv.

    Steps go up, each by another person than those before.
    """
    step, verifier = taken
    if move not in allowed_moves():
        return "revision.move_not_allowed"
    if step not in steps():
        return "revision.step"
    if _anew(move) or not before:
        return ""
    if steps().index(step) <= steps().index(before[-1][0]):
        return "revision.step"
    return "revision.same_verifier" if verifier in {who for _, who in before} else ""


def _anew(move: tuple[str, str]) -> bool:
    return move[1] == PENDING != move[0]


__all__ = [
    "ID",
    "PENDING",
    "SHARED",
    "Chain",
    "allowed_moves",
    "chain",
    "entries",
    "reasons",
    "refusal",
    "replaces",
    "states",
    "steps",
]
