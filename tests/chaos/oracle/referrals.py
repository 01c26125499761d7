"""The part of I1 that is about referrals: accepted, shared by the month, replaced when they are followed up, stored."""

import json
from datetime import date, timedelta
from typing import Any

from tests.chaos.oracle.book import mint, plain
from tests.chaos.oracle.finding import Book, Finding, rows_of

EPOCH = date(1970, 1, 1)
DAY = 86_400_000
CODED = ("service", "consented", "outcome")


def accepted(book: Book, f: Finding) -> None:
    """Each referral and follow-up that is allowed is in `accepted`, in its area, and no other."""
    found = rows_of(book, "SELECT event_id, area, more FROM accepted WHERE kind='ReferralAccepted'")
    wanted = []
    for event_id, incident, referral, more in rows_of(book, "SELECT event_id, incident, referral, more FROM referred"):
        said = json.loads(more)
        area = said.pop("area")
        wanted.append((event_id, area, plain(incident=incident.hex(), referral=referral.hex(), **said)))
    f.differ("accepted referrals", found, wanted)
    if not wanted:
        f.wrong.append("no referral was accepted in this run: nothing was tried")


def shared(book: Book, f: Finding, region: str, secret: bytes) -> tuple[dict[Any, bool], set[bytes]]:
    """A hub has the referrals of its region; return which are closed, whether they are removed too, and whose incidents left."""
    query = (
        "SELECT v.event_id, v.incident, v.referral, v.more, e.ending, e.ended_at, g.event_id FROM referred v "
        "JOIN t.shared s USING(event_id) LEFT JOIN ended e USING(event_id) LEFT JOIN gone g USING(event_id) "
        "WHERE s.region=?"
    )
    wanted, closed, left = [], {}, set()
    for event_id, incident, referral, more, ending, at, gone in rows_of(book, query, region):
        name, whose, of = (mint(secret, each) for each in (event_id, incident, referral))
        said = json.loads(more)
        months = {"referred_in": _month(said["referred_on"]), "followed_up_in": _month(said["followed_up_on"])}
        wanted.append((name, of, plain(incident=whose.hex(), **{each: said[each] for each in CODED}, **months)))
        if ending:
            closed[name, whose, plain(ending=ending, ended_on=at // DAY)] = gone is not None
        if gone is not None:
            left.add(whose)
    found = rows_of(book, "SELECT a, whose, more FROM hub WHERE region=? AND kind='referral'", region)
    f.differ(f"hub.{region} referrals", found, wanted)
    return closed, left


def stored(book: Book, f: Finding, region: str, left: set[bytes], closed: set[bytes]) -> None:
    """The rows of a region's referrals are what its topic says of them, but for what is closed or removed."""
    told = rows_of(book, "SELECT a, whose, more FROM hub WHERE region=? AND kind='referral'", region)
    wanted = [
        (a.hex(), whose.hex(), more)
        for a, whose, more in told
        if a not in closed and bytes.fromhex(json.loads(more)["incident"]) not in left
    ]
    found = rows_of(book, "SELECT a, whose, more FROM rows WHERE path=?", f"hub/{region}/referrals")
    f.differ(f"table hub/{region}/referrals", found, wanted)


def _month(day: int | None) -> int | None:
    """Return the first day of the month of a day since 1970."""
    return None if day is None else ((EPOCH + timedelta(days=day)).replace(day=1) - EPOCH).days
