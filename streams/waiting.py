"""Revisions that came before a version that they follow: kept as they came, until it comes too. Nothing forces them."""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MOST = 1_000
"""How many of a node may wait at a time; what comes then is refused."""


@dataclass(frozen=True)
class Waits:
    """An event of a case that waits at `offset` of its topic, as it came: `value`.

    `needs` are the events that it follows, by id and number at the node.
    """

    offset: int
    number: int
    event_id: bytes
    case: bytes
    needs: tuple[tuple[bytes, int], ...]
    value: bytes


def pack(waiting: Iterable[Waits], released: Iterable[int]) -> bytes:
    """Return what waits from now on, and the offsets that wait no longer, in bytes; equal ones give equal bytes."""
    some = [_plain(each) for each in sorted(waiting, key=lambda each: each.offset)]
    return json.dumps({"waiting": some, "released": sorted(released)}).encode()


def unpack(packed: bytes) -> tuple[dict[int, Waits], list[int]]:
    """Return what `pack` wrote, what waits by its offset."""
    plain = json.loads(packed)
    return {each["offset"]: _waits(each) for each in plain["waiting"]}, plain["released"]


def _plain(one: Waits) -> dict[str, Any]:
    return {
        "offset": one.offset,
        "number": one.number,
        "event_id": one.event_id.hex(),
        "case": one.case.hex(),
        "needs": [[event_id.hex(), number] for event_id, number in one.needs],
        "value": b64encode(one.value).decode(),
    }


def _waits(plain: Mapping[str, Any]) -> Waits:
    needs = tuple((bytes.fromhex(event_id), number) for event_id, number in plain["needs"])
    event_id, case = (bytes.fromhex(plain[name]) for name in ("event_id", "case"))
    return Waits(plain["offset"], plain["number"], event_id, case, needs, b64decode(plain["value"]))
