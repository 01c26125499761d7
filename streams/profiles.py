"""Profiles of incidents: what a link or a probable duplicate asks of the facts beside place and time, each once.

Few of them are many incidents': forms, party and counts repeat, so that an incident holds a number of 4 bytes.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from schemas.jit import inlined, kernel
from streams.names import Ints
from streams.state import Column, Record, cells

Briefs = NDArray[np.uint16]
FORM_BITS = 10
PROFILE = np.dtype(
    {
        "names": ["party", "category", "forms", "counts"],
        "formats": ["<i4", "<u2", "<u2", ("<u2", (5,))],
    }
)


@dataclass
class Profiles:
    """`rows` PROFILE[n], of which `count` are in use; `slots` int32[2^k] holds their numbers, one-based, 0 is free."""

    rows: Column = field(default_factory=lambda: np.zeros(64, PROFILE))
    slots: Ints = field(default_factory=lambda: np.zeros(128, np.int32))
    count: int = 0


@inlined
def _slot(slots: Ints, rows: Column, one: Record) -> int:
    """Return where a profile's number is, or belongs."""
    h = (
        np.uint64(one.party) * np.uint64(0x9E3779B97F4A7C15)
        ^ np.uint64(one.category)
        ^ np.uint64(one.forms) << np.uint64(8)
    )
    for k in range(5):
        h = (h ^ np.uint64(one.counts[k])) * np.uint64(0xD6E8FEB86659FD93)
        h ^= h >> np.uint64(32)
    at = np.int64(h & np.uint64(len(slots) - 1))
    while slots[at]:
        known = rows[slots[at] - 1]
        same = known.party == one.party and known.category == one.category and known.forms == one.forms
        for k in range(5):
            same = same and known.counts[k] == one.counts[k]
        if same:
            break
        at = (at + 1) & (len(slots) - 1)
    return int(at)


@kernel
def _number(fresh: Column, first: int, rows: Column, count: int, slots: Ints, out: Column) -> tuple[int, int]:
    """Give numbers to profiles from `first` on; return how far it came before the table was full, and the new count."""
    for i in range(first, len(fresh)):
        at = _slot(slots, rows, fresh[i])
        if slots[at] == 0:
            if count == len(rows):
                return i, count
            rows[count] = fresh[i]
            count += 1
            slots[at] = count
        out[i] = slots[at] - 1
    return len(fresh), count


@kernel
def _reindex(slots: Ints, rows: Column, count: int) -> None:
    for i in range(count):
        slots[_slot(slots, rows, rows[i])] = i + 1


def number(profiles: Profiles, fresh: Column) -> Column:
    """Return the number of each profile, uint32[k] for PROFILE[k]; new ones are added."""
    out, at = np.empty(len(fresh), np.uint32), 0
    while True:
        at, profiles.count = _number(fresh, at, profiles.rows, profiles.count, profiles.slots, out)
        if at == len(fresh):
            return out
        profiles.rows = cells(profiles.rows, profiles.count + 1)
        profiles.slots = np.zeros(2 * len(profiles.rows), np.int32)
        _reindex(profiles.slots, profiles.rows, profiles.count)


def briefs(rows: Column) -> Briefs:
    """Return profiles or patterns in brief, uint16[k]: two that share no form bit, or have other parties, are no pair.

    The low `FORM_BITS` bits are forms, folded together where there are more; above them a named party modulo 63, plus one.
    """
    forms, folded = rows["forms"].astype(np.uint16) >> 1, np.zeros(len(rows), np.uint16)
    for shift in range(0, 16, FORM_BITS):
        folded |= (forms >> shift) & ((1 << FORM_BITS) - 1)
    parties = np.where(rows["party"] >= 0, rows["party"] % 63 + 1, 0).astype(np.uint16)
    return np.asarray(folded | parties << FORM_BITS, np.uint16)
