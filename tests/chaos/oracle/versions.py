"""The part of I1 that is about incidents and their versions: accepted, told to end, shared, closed, removed, stored."""

import json
from collections import Counter
from typing import Any

from tests.chaos.oracle import assessments, referrals
from tests.chaos.oracle.book import mint, plain
from tests.chaos.oracle.expect import REVISIONS, UNKNOWN
from tests.chaos.oracle.finding import Book, Finding, rows_of

DAY = 86_400_000
UNSAID = {"change": None, "step": None, "verified_on": None, "late": None}  # of the version first reported


def accepted(book: Book, f: Finding) -> None:
    """Each version that regions are to have is in `accepted`; each partition is told of each that ends, and of no other."""
    found = rows_of(book, "SELECT event_id, area, more FROM accepted WHERE kind='RevisionAccepted'")
    query = (
        "SELECT v.event_id, a.area, v.incident, v.current, v.more FROM versions v JOIN t.areas a USING(event_id) "
        "WHERE v.accepted AND v.event_id<>v.incident"
    )
    wanted = [
        (event_id, area, plain(incident=incident.hex(), current=bool(current), **json.loads(more)))
        for event_id, area, incident, current, more in rows_of(book, query)
    ]
    f.differ("accepted versions", found, wanted)
    told = rows_of(book, "SELECT part, event_id, more FROM accepted WHERE kind='VersionEnded'")
    query = "SELECT e.part, v.event_id, v.ending, v.ended_at FROM ended v JOIN ends e ON e.topic='accepted'"
    ended = [(part, event_id, plain(ending=ending, ended_at=at)) for part, event_id, ending, at in rows_of(book, query)]
    f.differ("lanes told of a version's end", told, ended)
    referrals.accepted(book, f)
    assessments.accepted(book, f)
    _tried(book, f, wanted, ended)


def _tried(book: Book, f: Finding, wanted: list[Any], ended: list[Any]) -> None:
    """Say what no revision of this run has tried."""
    marks = ",".join("?" * len(REVISIONS))
    reasons = Counter(
        reason
        for (listed,) in rows_of(book, f"SELECT reasons FROM raw WHERE kind IN ({marks})", *REVISIONS)
        for reason in json.loads(listed or "[]")
    )
    conflicts = sum(not json.loads(more)["current"] for _, _, more in wanted)
    tried = {
        "no incident was revised": len(wanted),
        "no version came to its end": len(ended),
        "no version was in conflict": conflicts,
        "no revision named what was never sent": reasons[UNKNOWN],
    }
    untried(f, tried)


def untried(f: Finding, tried: dict[str, int]) -> None:
    """Say what has not been tried: each of `tried` that was there no time at all."""
    f.wrong += [f"{what} in this run: nothing was tried" for what, count in tried.items() if not count]


def shared(book: Book, f: Finding, region: str, secret: bytes) -> None:
    """A hub has the versions of its region, their ends, the links of those that spoke, and removals; nothing else."""
    query = (
        "SELECT v.event_id, v.incident, v.current, v.more, e.ending, e.ended_at, g.event_id FROM versions v "
        "JOIN t.shared s USING(event_id) LEFT JOIN ended e USING(event_id) LEFT JOIN gone g USING(event_id) "
        "WHERE v.accepted AND s.region=?"
    )
    names: dict[bytes, tuple[bytes, bytes]] = {}  # of what may be linked: by event, what it and its incident are called
    revisions, closed, standing, left = [], {}, set(), set()
    for event_id, incident, current, more, ending, at, gone in rows_of(book, query, region):
        name, whose = mint(secret, event_id), mint(secret, incident)
        if current:
            names[event_id] = (name, whose)
        if event_id != incident:
            revisions.append((name, whose, plain(current=bool(current), **json.loads(more))))
        if ending:
            closed[name, whose, plain(ending=ending, ended_on=at // DAY)] = gone is not None
        if gone is None and not ending:
            standing.add(name)
        if gone is not None:
            left.add(whose)
    replaced, more_left = referrals.shared(book, f, region, secret)
    closed, left = closed | replaced, left | more_left | assessments.shared(book, f, region, secret)
    found = _hub(book, region, "a, whose, more", "revision")
    f.differ(f"hub.{region} versions", found, revisions)
    _closed(f, region, _hub(book, region, "a, whose, more", "closed"), closed)
    _linked(book, f, region, names, standing, secret)
    f.differ(f"hub.{region} removals", [a for (a,) in _hub(book, region, "a", "removed")], left)


def _hub(book: Book, region: str, columns: str, kind: str) -> list[Any]:
    return rows_of(book, f"SELECT {columns} FROM hub WHERE region=? AND kind=?", region, kind)


def _closed(f: Finding, region: str, found: list[Any], closed: dict[Any, bool]) -> None:
    """Whether a version was closed before it was removed is a matter of time."""
    there = [each for each in found if not closed.get(each, False)]
    f.differ(f"hub.{region} closed versions", there, [each for each, gone in closed.items() if not gone])


def _linked(
    book: Book, f: Finding, region: str, names: dict[bytes, tuple[bytes, bytes]], standing: set[bytes], secret: bytes
) -> None:
    """Whether an incident met a pattern before it was removed or closed is a matter of time; a conflict meets none."""
    query = (
        "SELECT l.incident, l.pattern FROM t.links l JOIN raw p ON p.event_id=l.pattern AND p.expected='accepted' "
        "WHERE l.region=?"
    )
    every = {
        (names[incident][0], mint(secret, pattern), names[incident][1])
        for incident, pattern in rows_of(book, query, region)
        if incident in names
    }
    found = set(_hub(book, region, "a, b, whose", "link"))
    wanted = [link for link in every if link[0] in standing]
    f.differ(f"hub.{region} links", [link for link in found if link[0] in standing], wanted)
    f.rows(f"hub.{region} links of nothing", sorted(found - every))
    whose = dict(names.values())
    pairs = _hub(book, region, "a, b, whose", "duplicate")
    strange = [pair for pair in pairs if whose.get(pair[0], b"") + whose.get(pair[1], b"") != pair[2]]
    f.rows(f"hub.{region} probable duplicates of nothing", strange)
    f.rows(f"hub.{region} incidents like themselves", [pair for pair in pairs if pair[2][:16] == pair[2][16:]])


def removed_again(book: Book, region: str, secret: bytes) -> list[Any]:
    """Return the incidents that a hub is told to remove more often than they have versions there that were taken back.

    Each version that a lane lets go of may say it: two lanes know nothing of each other, nor do two batches of one. So may
    the lane that has assessments of it.
    """
    query = "SELECT g.incident, count(*) FROM gone g JOIN t.shared s USING(event_id) WHERE s.region=? GROUP BY 1"
    allowed = {mint(secret, incident): count for incident, count in rows_of(book, query, region)}
    counts = Counter(a for (a,) in _hub(book, region, "a", "removed"))
    assessed = rows_of(book, "SELECT DISTINCT name FROM t.assessments WHERE region=?", region)
    allowed = {**allowed, **{name: max(1, allowed.get(name, 0)) + (name in allowed) for (name,) in assessed}}
    return [(a, count) for a, count in counts.items() if count > max(1, allowed.get(a, 1))]


def stored(book: Book, f: Finding, region: str) -> None:
    """The rows of a region's tables are the records of its topic, but for what names what is removed or closed."""
    left = {a for (a,) in _hub(book, region, "a", "removed")}
    closed = {a: json.loads(more) for a, more in _hub(book, region, "a, more", "closed")}
    referrals.stored(book, f, region, left, set(closed))
    assessments.stored(book, f, region, left)
    wanted: dict[str, set[Any]] = {"incidents": set(), "versions": set()}
    for a, whose, more in [
        *_hub(book, region, "a, whose, more", "incident"),
        *_hub(book, region, "a, whose, more", "revision"),
    ]:
        if whose in left:
            continue
        said = json.loads(more) if more else {"current": True, **UNSAID}
        current = said.pop("current")
        ends = {"conflict": not current, **closed.get(a, {"ending": None, "ended_on": None})}
        if current and a not in closed:
            wanted["incidents"].add((a.hex(), whose.hex(), plain(**said)))
        else:
            wanted["versions"].add((a.hex(), whose.hex(), plain(**said, **ends)))
    for name, rows in wanted.items():
        found = rows_of(book, "SELECT a, whose, more FROM rows WHERE path=?", f"hub/{region}/{name}")
        f.differ(f"table hub/{region}/{name}", found, rows)
    for name, kind in {"links": "link", "duplicates": "duplicate"}.items():
        told = _hub(book, region, "a, b, whose", kind)
        rows = {
            (a.hex(), b.hex(), whose.hex())
            for a, b, whose in told
            if not {whose[:16], whose[16:]} & left and not {a, b} & closed.keys()
        }
        f.differ(
            f"table hub/{region}/{name}",
            rows_of(book, "SELECT a, b, whose FROM rows WHERE path=?", f"hub/{region}/{name}"),
            rows,
        )
