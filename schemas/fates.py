"""What became of a node's events, number by number, in pages that the hub signs: both sides write and read them here.

A page tells of up to 1,000 numbers: 1 to 1,000, 1,001 to 2,000 …; numbers whose fate is alike are one run. It is signed
with Ed25519 (RFC 8032) over all its bytes, behind its contract's name; the hub's own name and key are in it. A file of
pages is the records as they are, each after its length (4 bytes, little endian).
"""

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from schemas import notes, rows, signed
from schemas.errors import BadInput, Quarantines
from schemas.limits import NODE, NUMBERS
from schemas.signing import public_of
from schemas.wire import unframe

PAGE = 1_000
FATES = ("accepted", "replaced", "in_conflict", "refused", "waiting", "withdrawn", "missing")
KINDS = (
    *(
        "",
        "report",
        "pattern",
        "amendment",
        "verification",
        "retraction",
        "consent",
        "referral",
        "follow_up",
        "withdrawal",
        "corroboration",
        "dispute",
        "taking_back",
    ),
    "other",
)
NUMBERED = ("replaced", "in_conflict", "waiting")  # whose details are numbers of events
REGION = re.compile(r"([a-z][a-z-]*)(?::([1-9][0-9]{0,8}))?(\?)?")
NUMBER = re.compile(r"[1-9][0-9]{0,12}")
LENGTH = struct.Struct("<I")


class BadFates(Quarantines):
    """No page of fates, or its signature is not the hub's; reasons `fates.malformed`, `fates.signature`."""


@dataclass(frozen=True)
class Region:
    """A region that has an event: to how many patterns it is linked there, and whether it is a probable duplicate."""

    code: str
    patterns: int = 0
    duplicate: bool = False

    def __str__(self) -> str:
        """Return it as the contract has it: `great-lakes:3?`."""
        return f"{self.code}{f':{self.patterns}' if self.patterns else ''}{'?' if self.duplicate else ''}"


@dataclass(frozen=True)
class Fate:
    """What became of one number: `fate` is one of FATES, `kind` one of KINDS.

    `details` are the reasons of what was refused, the numbers that a waiting event waits for, or the number that speaks for
    the incident of a version that was replaced or is in conflict. `forked`: another event came with the same number.
    """

    fate: str
    kind: str = ""
    details: tuple[str, ...] = ()
    regions: tuple[Region, ...] = ()
    forked: bool = False


MISSING = Fate("missing")


@dataclass(frozen=True)
class Page:
    """A page: `fates` are those of the numbers from `first` on, as of all before offset `end` of the node's topic.

    `given_at` is UTC milliseconds, `hub` the key under whose name it is signed.
    """

    node: str
    hub: notes.Key
    end: int
    given_at: int
    first: int
    fates: tuple[Fate, ...]

    @property
    def last(self) -> int:
        """Return the last number that it tells of."""
        return self.first + len(self.fates) - 1

    @property
    def order(self) -> tuple[int, int]:
        """Return what is larger in the newer of two pages."""
        return self.end, self.given_at

    def sign(self, seed: bytes) -> bytes:
        """Return the record of the page for `fates.<node>`; `seed` is the secret one of its hub."""
        assert public_of(seed) == self.hub.public, "a page is signed by the hub that it names"
        return signed.write("FatesGiven", _row(self), seed)


def read_page(record: bytes) -> Page:
    """Return the page in a record of `fates.<node>`, signed by the hub that it names. Errors: BadFates."""
    try:
        release, body = unframe(record)
        row = rows.read(release, body) if release.name == "FatesGiven" else None
        page = _page(row) if row else None
    except (Quarantines, ValueError) as error:
        raise BadFates("fates.malformed", f"a record is no page of fates ({type(error).__name__})") from error
    if row is None or page is None:
        raise BadFates("fates.malformed", "a record is no page of fates")
    if not signed.good(release, body, row["signer"]):
        raise BadFates("fates.signature", f"the page of number {page.first} is not signed by the key that it names")
    return page


def runs(fates: Sequence[Fate], first: int = 1) -> Iterator[tuple[int, int, Fate]]:
    """Yield the first number, the last number and the fate of each run of numbers whose fate is alike."""
    for fate, alike in groupby(fates):
        last = first + sum(1 for _ in alike) - 1
        yield first, last, fate
        first = last + 1


def pack(records: Iterable[bytes]) -> bytes:
    """Return pages as a file holds them."""
    return b"".join(LENGTH.pack(len(record)) + record for record in records)


def unpack(data: bytes) -> list[bytes]:
    """Return the records in a file of pages, unread. BadInput where it is none or its end is missing."""
    at, found = 0, []
    while at < len(data):
        length = LENGTH.unpack_from(data, at)[0] if at + LENGTH.size <= len(data) else len(data)
        at += LENGTH.size + length
        if at > len(data):
            raise BadInput("The file holds no pages of fates, or is cut off; ask the hub for `tocsin hub fates --out`.")
        found.append(data[at - length : at])
    return found


def _row(page: Page) -> dict[str, Any]:
    found = list(runs([_told(fate) for fate in page.fates], page.first))
    return {
        "node": page.node,
        "hub": page.hub.name,
        "signer": page.hub.public,
        "end": page.end,
        "given_at": page.given_at,
        "first": page.first,
        "last": page.last,
        "lasts": [last for _, last, _ in found],
        "fates": [fate.fate for _, _, fate in found],
        "kinds": [fate.kind for _, _, fate in found],
        "details": [" ".join(fate.details) for _, _, fate in found],
        "regions": [" ".join(map(str, fate.regions)) for _, _, fate in found],
        "forked": [page.first + at for at, fate in enumerate(page.fates) if fate.forked],
    }


def _told(fate: Fate) -> Fate:
    """Return a fate without what a page tells beside its runs."""
    return Fate(fate.fate, fate.kind, fate.details, fate.regions)


def _page(row: dict[str, Any]) -> Page:
    """Return the page that a row tells of; ValueError where the row contradicts itself."""
    first, lasts, forked = row["first"], row["lasts"], set(row["forked"])
    columns = [row[name] for name in ("fates", "kinds", "details", "regions")]
    alike = [_fate(*told) for told in zip(*columns, strict=True)]
    starts = [first, *(last + 1 for last in lasts)]
    whole = all(start <= last for start, last in zip(starts, lasts, strict=False)) and starts[-1] == row["last"] + 1
    if (
        len(lasts) != len(alike)
        or not whole
        or first % PAGE != 1
        or not 1 <= first <= row["last"] < min(first + PAGE, NUMBERS)
    ):
        raise ValueError("the runs do not make a page")
    if not forked <= set(range(first, row["last"] + 1)) or row["end"] < 0 or not NODE.fullmatch(row["node"]):
        raise ValueError("the page tells of what is not in it")
    if not notes.NAME.fullmatch(row["hub"]):
        raise ValueError("no hub has this name")
    told = [
        fate for start, last, fate in zip(starts, lasts, alike, strict=False) for fate in [fate] * (last - start + 1)
    ]
    hub = notes.Key(row["hub"], notes.ED25519, row["signer"])
    fates = tuple(_forked(fate) if first + at in forked else fate for at, fate in enumerate(told))
    return Page(row["node"], hub, row["end"], row["given_at"], first, fates)


def _fate(fate: str, kind: str, details: str, regions: str) -> Fate:
    found = [REGION.fullmatch(word) for word in regions.split()]
    words = tuple(details.split())
    numbers = fate not in NUMBERED or all(NUMBER.fullmatch(word) for word in words)
    if fate not in FATES or kind not in KINDS or None in found or not numbers:
        raise ValueError("no such fate")
    return Fate(fate, kind, words, tuple(Region(one[1], int(one[2] or 0), bool(one[3])) for one in found if one))


def _forked(fate: Fate) -> Fate:
    return Fate(fate.fate, fate.kind, fate.details, fate.regions, forked=True)
