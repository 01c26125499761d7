"""The part of I1 that is about assessments: accepted in the first lane, shared with the region that each names, stored."""

import json
from datetime import date, timedelta
from typing import Any

from tests.chaos.oracle.book import mint, plain
from tests.chaos.oracle.finding import Book, Finding, rows_of

EPOCH = date(1970, 1, 1)


def accepted(book: Book, f: Finding) -> None:
    """Each assessment that the rules allow is in the first partition of `accepted`, and no other."""
    found = rows_of(book, "SELECT event_id, part FROM accepted WHERE kind='AssessmentAccepted'")
    query = "SELECT a.event_id, 0 FROM t.assessments a JOIN raw r USING(event_id) WHERE r.expected='accepted'"
    f.differ("accepted assessments", found, rows_of(book, query))


def shared(book: Book, f: Finding, region: str, secret: bytes) -> set[bytes]:
    """A hub has the assessments that name it, but those that came after their incident's withdrawal; return the incidents that left."""
    query = (
        "SELECT a.event_id, a.name, a.more FROM t.assessments a JOIN raw r USING(event_id) "
        "WHERE r.expected='accepted' AND a.region=?"
    )
    every = {(mint(secret, event_id), _told(name, more)) for event_id, name, more in rows_of(book, query, region)}
    found = set(_shared(book, region))
    gone = withdrawn(book, secret)
    f.rows(f"hub.{region} assessments of nobody", sorted(found - every))
    f.differ(f"hub.{region} assessments", *({one for one in some if _of(one) not in gone} for some in (found, every)))
    f.rows(
        f"hub.{region} assessments that came after their incident's withdrawal",
        sorted(_late(book, region, secret, found)),
    )
    return {_of(one) for one in found} & gone


def _late(book: Book, region: str, secret: bytes, found: set[Any]) -> set[bytes]:
    """Return those of a hub's assessments that stand in the first lane behind the withdrawal of their incident."""
    query = "SELECT event_id, min(offset) FROM accepted WHERE kind='IncidentWithdrawn' AND part=0 GROUP BY 1"
    since = {mint(secret, event_id): at for event_id, at in rows_of(book, query)}
    query = (
        "SELECT s.event_id, a.name, s.offset FROM accepted s JOIN t.assessments a USING(event_id) "
        "WHERE s.kind='AssessmentAccepted' AND a.region=?"
    )
    late = {mint(secret, event_id) for event_id, name, at in rows_of(book, query, region) if since.get(name, at) < at}
    return late & {a for a, _ in found}


def withdrawn(book: Book, secret: bytes) -> set[bytes]:
    """Return all that a withdrawal has named which counts, as a region would call it."""
    query = (
        "SELECT w.event_id FROM withdrawals w JOIN raw r ON r.topic=w.topic AND r.offset=w.offset "
        "JOIN raw s ON s.topic=w.topic AND s.event_id=w.event_id AND s.first AND s.offset<w.offset "
        "WHERE r.expected='consent_withdrawn'"
    )
    return {mint(secret, event_id) for (event_id,) in rows_of(book, query)}


def stored(book: Book, f: Finding, region: str, left: set[bytes]) -> None:
    """The rows of a region's assessments are what its topic says of them, but for what is removed."""
    wanted = [(one[0].hex(), one[1]) for one in _shared(book, region) if _of(one) not in left]
    found = rows_of(book, "SELECT a, more FROM rows WHERE path=?", f"hub/{region}/assessments")
    f.differ(f"table hub/{region}/assessments", found, wanted)


def _shared(book: Book, region: str) -> list[Any]:
    return rows_of(book, "SELECT a, more FROM hub WHERE region=? AND kind='assessment'", region)


def _of(one: tuple[bytes, str]) -> bytes:
    return bytes.fromhex(json.loads(one[1])["incident"])


def _told(name: bytes, more: str) -> str:
    said = json.loads(more)
    month = ((EPOCH + timedelta(days=said.pop("day"))).replace(day=1) - EPOCH).days
    return plain(incident=name.hex(), assessed_in=month, **said)
