"""The invariants, each a few questions to the book. A check that had nothing to look at is a violation too."""

import json
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from tests.chaos.oracle import versions
from tests.chaos.oracle.book import mint
from tests.chaos.oracle.expect import INCIDENT, PATTERN
from tests.chaos.oracle.finding import Book, Finding, count, rows_of, shown

# A sink with all tables at work holds a few connections for each; the system's usual limit is 1,024.
RSS_BYTES, DESCRIPTORS, GROWTH = 1_500_000_000, 400, 24
PROGRESS_SECONDS = 60.0


def outcome(book: Book, mints: dict[str, bytes]) -> Finding:
    """I1: each raw record has exactly one outcome, the one that the contract and the truth demand."""
    f = Finding(count(book, "raw"))
    f.rows("raw records that nobody sent", rows_of(book, "SELECT topic, offset FROM raw WHERE expected='unknown'"))
    missing = "SELECT topic, digest FROM t.events EXCEPT SELECT topic, digest FROM raw"
    f.rows("records that were sent and never arrived", rows_of(book, missing))
    f.rows("records that cannot be read", rows_of(book, "SELECT store, what FROM unreadable"))
    accepted = "SELECT event_id, '' FROM accepted WHERE kind='IncidentAccepted' UNION SELECT event_id, area FROM accepted WHERE kind='PatternAccepted'"
    wanted = (
        "SELECT event_id, '' FROM raw WHERE expected='accepted' AND kind=? UNION "
        "SELECT r.event_id, a.area FROM raw r JOIN t.areas a USING(event_id) WHERE r.expected='accepted' AND r.kind=?"
    )
    f.differ("accepted", rows_of(book, accepted), rows_of(book, wanted, INCIDENT, PATTERN))
    told = "SELECT part, event_id FROM accepted WHERE kind='IncidentWithdrawn'"
    named = (
        "SELECT e.part, w.event_id FROM withdrawals w JOIN raw r ON r.topic=w.topic AND r.offset=w.offset "
        "JOIN raw s ON s.topic=w.topic AND s.event_id=w.event_id AND s.first AND s.offset<w.offset "
        "JOIN ends e ON e.topic='accepted' WHERE r.expected='consent_withdrawn'"
    )
    f.differ("lanes told of a withdrawal", rows_of(book, told), rows_of(book, named))
    versions.accepted(book, f)
    _quarantined(book, f)
    _counted(book, f)
    f.notes = dict(rows_of(book, "SELECT expected, count(*) FROM raw GROUP BY 1"))
    f.notes["aborted records"] = rows_of(book, "SELECT coalesce(sum(number), 0) FROM aborted")[0][0]
    return f


def _quarantined(book: Book, f: Finding) -> None:
    found = {row[:3]: json.loads(row[3]) for row in rows_of(book, "SELECT topic, part, at, reasons FROM quarantine")}
    query = "SELECT topic, part, offset, reasons FROM raw WHERE reasons<>'[]'"
    wanted = {row[:3]: json.loads(row[3]) for row in rows_of(book, query)}
    f.differ("quarantine", found, wanted)
    for place in found.keys() & wanted.keys():
        if not found[place] or (wanted[place] != ["*"] and found[place] != wanted[place]):
            f.wrong.append(f"quarantine: reasons of {shown(place)} are {found[place]} and must be {wanted[place]}")


def _counted(book: Book, f: Finding) -> None:
    """The counts of each ledger range are those of the records in it."""
    names = {"forked": "quarantined"}
    by_lane: dict[str, dict[int, str]] = defaultdict(dict)
    for topic, part, offset, expected in rows_of(book, "SELECT topic, part, offset, expected FROM raw"):
        by_lane[f"{topic}-{part}"][offset] = names.get(expected, expected)
    ranges = rows_of(book, "SELECT lane, start, end, counts FROM ledger WHERE stage='refine'")
    for lane, start, end, counts in ranges:
        wanted = Counter(by_lane[lane][at] for at in range(start, end) if at in by_lane[lane])
        f.looked += 1
        if json.loads(counts) != dict(wanted):
            f.wrong.append(f"ledger of {lane}: {start} to {end} counts {counts} and holds {dict(wanted)}")


def hubs(book: Book, mints: dict[str, bytes]) -> Finding:
    """I1, further on: each hub holds each accepted incident, version and pattern of its region, each link, and no other."""
    f = Finding()
    kinds = {"incident": INCIDENT, "pattern": PATTERN}
    for region, secret in mints.items():
        for name, kind in kinds.items():
            found = rows_of(book, "SELECT a FROM hub WHERE region=? AND kind=?", region, name)
            wanted = rows_of(
                book,
                "SELECT mint(?, s.event_id) FROM t.shared s JOIN raw r USING(event_id) "
                "WHERE s.region=? AND r.expected='accepted' AND r.kind=?",
                secret,
                region,
                kind,
            )
            f.differ(f"hub.{region} {name}s", found, wanted)
        versions.shared(book, f, region, secret)
    _taken(book, f)
    f.notes = dict(rows_of(book, "SELECT kind, count(*) FROM hub GROUP BY 1"))
    kinds = {"revision": "no hub has a version", "closed": "no hub was told of a version's end"}
    versions.untried(f, {what: f.notes.get(kind, 0) for kind, what in kinds.items()})
    return f


def _taken(book: Book, f: Finding) -> None:
    """Each of merge's ledger ranges counts as many records as are committed in it: none that was aborted."""
    offsets: dict[str, list[int]] = defaultdict(list)
    for part, offset in rows_of(book, "SELECT part, offset FROM records WHERE topic='accepted' ORDER BY part, offset"):
        offsets[f"accepted-{part}"].append(offset)
    for lane, start, end, counts in rows_of(book, "SELECT lane, start, end, counts FROM ledger WHERE stage='merge'"):
        held = bisect_left(offsets[lane], end) - bisect_left(offsets[lane], start)
        f.looked += 1
        if sum(json.loads(counts).values()) != held:
            f.wrong.append(f"ledger of {lane}: {start} to {end} counts {counts} and holds {held} records")


def tables(book: Book, mints: dict[str, bytes]) -> Finding:
    """I1, to the end: the rows of each table are the records of its topic, but for what names what is removed or closed."""
    f = Finding()
    for region in mints:
        versions.stored(book, f, region)
        found = rows_of(book, "SELECT a FROM rows WHERE path=?", f"hub/{region}/patterns")
        told = rows_of(book, "SELECT a FROM hub WHERE region=? AND kind='pattern'", region)
        f.differ(f"table hub/{region}/patterns", found, [(a.hex(),) for (a,) in told])
    closed = rows_of(book, "SELECT count(*) FROM rows WHERE path LIKE 'hub/%/versions'")
    versions.untried(f, {"no table has a closed version": closed[0][0]})
    found = rows_of(book, "SELECT a, b FROM rows WHERE path='quarantine'")
    f.differ("table quarantine", found, [(t, str(at)) for t, at in rows_of(book, "SELECT topic, at FROM quarantine")])
    return f


def once(book: Book, mints: dict[str, bytes]) -> Finding:
    """I2: no event is twice in accepted, in a hub, in a table, in quarantine."""
    f = Finding(sum(count(book, table) for table in ("accepted", "hub", "rows", "quarantine")))
    for table, columns in {
        "accepted": (
            "kind, event_id, CASE WHEN kind='PatternAccepted' THEN area "
            "WHEN kind IN ('IncidentWithdrawn', 'VersionEnded') THEN part END"
        ),
        "hub": "region, kind, a, b, CASE kind WHEN 'removed' THEN offset END",
        "rows": "path, a, b",
        "quarantine": "topic, part, at",
    }.items():
        query = f"SELECT {columns}, count(*) FROM {table} GROUP BY {columns} HAVING count(*) > 1"
        f.rows(f"doubled in {table}", [tuple(row) for row in rows_of(book, query)])
    for region, secret in mints.items():
        f.rows(f"removals that nothing is left for in hub.{region}", versions.removed_again(book, region, secret))
    return f


def facts(book: Book, mints: dict[str, bytes]) -> Finding:
    """I3: the facts of what was accepted and shared are the generator's bytes, and a row says the same."""
    f = Finding()
    query = (
        "SELECT a.event_id, a.facts, e.facts FROM accepted a JOIN t.events e USING(event_id) WHERE a.facts IS NOT NULL"
    )
    f.looked = len(rows := rows_of(book, query))
    f.rows("other bytes in accepted", [event_id for event_id, found, wanted in rows if found != wanted])
    events = {
        event_id: (wanted, fields)
        for event_id, wanted, fields in rows_of(
            book, "SELECT event_id, facts, fields FROM t.events WHERE fields IS NOT NULL"
        )
    }
    for region, secret in mints.items():
        known = {mint(secret, event_id): value for event_id, value in events.items()}
        shared = rows_of(book, "SELECT a, facts FROM hub WHERE region=? AND kind IN ('incident', 'revision')", region)
        f.rows(f"other bytes in hub.{region}", [a for a, found in shared if a in known and known[a][0] != found])
        f.looked += len(shared)
        for name in ("incidents", "versions"):
            stored = rows_of(book, "SELECT a, fields FROM rows WHERE path=?", f"hub/{region}/{name}")
            wrong = [
                a for a, found in stored if (k := known.get(bytes.fromhex(a))) and json.loads(k[1]) != json.loads(found)
            ]
            f.rows(f"other values in hub/{region}/{name}", wrong)
            f.looked += len(stored)
    return f


def order(book: Book, mints: dict[str, bytes]) -> Finding:
    """I4: nothing of a case is accepted that arrived after its withdrawal; a case's reports keep their order.

    No version ends before it comes; else the order of versions within one transaction says nothing.
    """
    f = Finding()
    withdrawn = {}
    query = "SELECT topic, case_ref, min(offset) FROM raw WHERE kind='ConsentWithdrawn' AND first GROUP BY 1, 2"
    for topic, case, offset in rows_of(book, query):
        withdrawn[topic, case] = offset
    query = (
        "SELECT r.topic, r.case_ref, r.kind, a.part, coalesce(r.taken, r.offset), a.offset FROM accepted a JOIN raw r USING(event_id) "
        "WHERE r.first AND r.case_ref IS NOT NULL AND a.kind NOT IN ('IncidentWithdrawn', 'VersionEnded') "
        "ORDER BY a.part, a.offset"
    )
    latest: dict[Any, int] = {}
    for topic, case, kind, part, arrived, offset in rows_of(book, query):
        f.looked += 1
        if arrived > withdrawn.get((topic, case), arrived):
            f.wrong.append(f"accepted after the withdrawal of its case: {topic}@{arrived}")
        if kind == INCIDENT and arrived < latest.get((topic, case, part), -1):
            f.wrong.append(f"accepted out of order: {topic}@{arrived} at {part}@{offset}")
        if kind == INCIDENT:
            latest[topic, case, part] = arrived
    early = (
        "SELECT e.part, e.offset, e.event_id FROM accepted e JOIN accepted v USING(event_id, part) "
        "WHERE e.kind='VersionEnded' AND v.kind IN ('IncidentAccepted', 'RevisionAccepted', 'ReferralAccepted') AND e.offset<v.offset"
    )
    f.rows("ended before it came", rows_of(book, early))
    if not withdrawn:
        f.wrong.append("no consent was withdrawn in this run: nothing was tried")
    f.notes = {
        "withdrawals": len(withdrawn),
        "stopped": len(rows_of(book, "SELECT 1 FROM raw WHERE expected='withdrawn'")),
    }
    return f


def ledgers(book: Book, mints: dict[str, bytes]) -> Finding:
    """I5: the ranges of each lane abut, end where the group has committed, and leave no record out.

    A range from 0 on that ends where the lane stands is a base; what lies before one and does not begin at 0 was cut off.
    """
    f = Finding()
    ends: dict[tuple[str, str], int] = {}
    cut: set[tuple[str, str]] = set()
    for stage, lane, start, end, offset in rows_of(
        book, "SELECT stage, lane, start, end, offset FROM ledger ORDER BY stage, part, offset"
    ):
        f.looked += 1
        if start and (stage, lane) not in ends:
            cut.add((stage, lane))
            continue
        if (
            (start and start != ends[stage, lane])
            or (not start and end != ends.get((stage, lane), end))
            or end <= start
        ):
            f.wrong.append(f"ledger.{stage} {lane}: {start} to {end} (at {offset}) after {ends.get((stage, lane), 0)}")
        ends[stage, lane] = end
    f.wrong += [f"ledger.{stage} {lane}: it does not begin at 0, nor with a base" for stage, lane in cut - ends.keys()]
    committed = {(stage, lane): offset for stage, lane, offset in rows_of(book, "SELECT * FROM committed")}
    for place in sorted(ends.keys() | committed.keys()):
        if ends.get(place, 0) != committed.get(place):
            f.wrong.append(f"{place}: the ledger ends at {ends.get(place, 0)}, committed is {committed.get(place)}")
    last = {"refine": "SELECT topic, part, max(offset) FROM raw GROUP BY 1, 2"}
    last["merge"] = "SELECT topic, part, max(offset) FROM records WHERE topic='accepted' GROUP BY 1, 2"
    for stage in last.keys() & {stage for stage, _ in ends}:
        query = last[stage]
        for topic, part, offset in rows_of(book, query):
            if ends.get((stage, f"{topic}-{part}"), 0) <= offset:
                f.wrong.append(f"{stage} has not taken {topic}-{part}@{offset}")
    return f


def closed(book: Book, mints: dict[str, bytes]) -> Finding:
    """I6: no transaction is left open: on each partition the last stable offset is the high watermark."""
    f = Finding(count(book, "ends"))
    f.rows("partitions with an open transaction", rows_of(book, "SELECT * FROM ends WHERE stable<>high"))
    return f


def lake(book: Book, mints: dict[str, bytes]) -> Finding:
    """I7: the commits of each table abut and rise; each named file is there, once; others are counted as orphans."""
    f = Finding()
    reached: dict[Any, tuple[int, int]] = {}
    for path, version, topic, part, start, end, txn in rows_of(
        book, "SELECT path, version, topic, part, start, end, txn FROM commits ORDER BY path, version"
    ):
        f.looked += 1
        before, last = reached.get((path, topic, part), (0, 0))
        if start != before or end is None or end <= start or txn != end or txn <= last:
            f.wrong.append(f"{path} version {version}: {start} to {end} (application version {txn}) after {before}")
        reached[path, topic, part] = (end or 0, txn)
    missing = "SELECT path, file FROM named EXCEPT SELECT path, file FROM taken EXCEPT SELECT path, file FROM objects"
    f.rows("files that are named and not there", rows_of(book, missing))
    still = "SELECT path, file FROM taken INTERSECT SELECT path, file FROM objects"
    f.rows("files that were taken out and are still there", rows_of(book, still))
    f.rows(
        "files of another size",
        rows_of(book, "SELECT n.path, n.file FROM named n JOIN objects o USING(path, file) WHERE n.size<>o.size"),
    )
    f.rows("files named twice", rows_of(book, "SELECT path, file FROM named GROUP BY 1, 2 HAVING count(*)>1"))
    orphans = "SELECT path, file FROM objects EXCEPT SELECT path, file FROM named"
    f.notes = {"commits": f.looked, "files": count(book, "named"), "orphans": len(rows_of(book, orphans))}
    return f


def gaps(book: Book, mints: dict[str, bytes]) -> Finding:
    """I9: the gaps that the summary reports are the true ones."""
    numbers: dict[str, set[int]] = defaultdict(set)
    for topic, sequence in rows_of(book, "SELECT topic, sequence FROM raw WHERE sequence IS NOT NULL"):
        numbers[topic.removeprefix("raw.")].add(sequence)
    reported: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for node, first, last in rows_of(book, "SELECT node, first, last FROM reported ORDER BY 1, 2"):
        reported[node].append((first, last))
    counted = dict(rows_of(book, "SELECT node, count FROM missing"))
    f = Finding()
    for node, seen in numbers.items():
        true = _ranges(seen)
        count = sum(last - first + 1 for first, last in true)
        f.looked += count
        if reported[node] != true[:SHOWN] or counted.get(node, 0) != count:
            f.wrong.append(
                f"gaps of {node}: reported {counted.get(node, 0)}, {reported[node][:3]}; true {count}, {true[:3]}"
            )
    if not f.looked:
        f.wrong.append("no number was missing in this run: nothing was tried")
    return f


SHOWN = 20  # the summary names so many gaps of a node


def _ranges(seen: set[int]) -> list[tuple[int, int]]:
    found, expected = [], 1
    for number in sorted(seen):
        if number > expected:
            found.append((expected, number - 1))
        expected = number + 1
    return found


def receipted(book: Book, mints: dict[str, bytes]) -> Finding:
    """I14: every event that came before the end of a node's last receipt is in the tables of its regions."""
    f = Finding()
    for node, upto in rows_of(book, "SELECT node, max(upto) FROM receipts GROUP BY 1"):
        events = rows_of(
            book,
            "SELECT s.region, v.event_id FROM versions v JOIN t.shared s USING(event_id) "
            "WHERE v.topic=? AND v.offset<? AND v.accepted AND v.event_id NOT IN (SELECT event_id FROM gone)",
            f"raw.{node}",
            upto,
        )
        wanted = {(f"hub/{region}", mint(mints[region], event_id).hex()) for region, event_id in events}
        rows = rows_of(book, "SELECT path, a FROM rows WHERE path LIKE 'hub/%/incidents' OR path LIKE 'hub/%/versions'")
        found = {(path.rpartition("/")[0], a) for path, a in rows}
        f.looked += len(wanted)
        f.rows(f"events of {node} with a receipt that are in no table", sorted(wanted - found))
    return f


def bounded(book: Book, mints: dict[str, bytes]) -> Finding:
    """I15: memory and descriptors of the workers stay bounded."""
    f = Finding(count(book, "t.samples"))
    by_life: dict[Any, list[tuple[float, int, int]]] = defaultdict(list)
    for worker, pid, *rest in rows_of(book, "SELECT worker, pid, time, rss, descriptors FROM t.samples ORDER BY time"):
        by_life[worker, pid].append(tuple(rest))
    for (worker, pid), life in by_life.items():
        rss, open_files = max(one[1] for one in life), max(one[2] for one in life)
        if rss > RSS_BYTES or open_files > DESCRIPTORS:
            f.wrong.append(f"{worker} ({pid}) took {rss >> 20} MiB and {open_files} descriptors")
        third = len(life) // 3
        # What leaks never comes back, so the least of a third is looked at: bursts come and go.
        if third > 10 and min(o[2] for o in life[-third:]) > 1.3 * min(o[2] for o in life[third : 2 * third]) + GROWTH:
            f.wrong.append(f"{worker} ({pid}) opens ever more descriptors")
    f.notes = {
        "MiB at most": max((one[1] >> 20 for life in by_life.values() for one in life), default=0),
        "descriptors at most": max((one[2] for life in by_life.values() for one in life), default=0),
    }
    return f


def progress(book: Book, mints: dict[str, bytes]) -> Finding:
    """I16: every stage commits within 60 s after the last fault."""
    f = Finding()
    last = _meta(book, "last_fault")
    times = {stage: [] for stage in ("refine", "merge", "sink")}
    for stage, time in rows_of(book, "SELECT stage, time FROM ledger"):
        times[stage].append(time / 1000)
    times["sink"] = [time / 1000 for (time,) in rows_of(book, "SELECT time FROM commits")]
    for stage, found in times.items():
        after = [time - last for time in found if time > last]
        f.looked += len(after)
        if not after or min(after) > PROGRESS_SECONDS:
            f.wrong.append(
                f"{stage} committed {min(after):.0f} s after the last fault"
                if after
                else f"{stage} stays silent after the last fault"
            )
        else:
            f.notes[stage] = round(min(after), 1)
    return f


def onlooker(book: Book, mints: dict[str, bytes]) -> Finding:
    """I17: a reader of committed records that looked on during the faults saw what is there now, each once."""
    f = Finding(count(book, "t.seen"))
    twice = "SELECT topic, part, offset FROM t.seen GROUP BY 1, 2, 3 HAVING count(*)>1"
    f.rows("seen twice", rows_of(book, twice))
    now, then = "SELECT topic, part, offset, digest FROM records", "SELECT topic, part, offset, digest FROM t.seen"
    f.rows("seen and not there now", rows_of(book, f"{then} EXCEPT {now}"))
    f.rows("there now and not seen", rows_of(book, f"{now} EXCEPT {then}"))
    during = _meta(book, "seen_during")
    if not during:
        f.wrong.append("the reader saw nothing before the last fault: nothing was tried")
    f.notes = {"during the faults": during}
    return f


def _meta(book: Book, key: str) -> Any:
    found = rows_of(book, "SELECT value FROM t.meta WHERE key=?", key)
    return json.loads(found[0][0]) if found else 0


CHECKS: dict[str, Callable[[Book, dict[str, bytes]], Finding]] = {
    "I1": outcome,
    "I1 hub": hubs,
    "I1 table": tables,
    "I2": once,
    "I3": facts,
    "I4": order,
    "I5": ledgers,
    "I6": closed,
    "I7": lake,
    "I9": gaps,
    "I14": receipted,
    "I15": bounded,
    "I16": progress,
    "I17": onlooker,
}
MAY_BE_EMPTY = {"I14"}


def run(book: Book, mints: dict[str, bytes], names: Any = None) -> dict[str, Finding]:
    """Return what each check found; nothing to look at is wrong as well."""
    found = {name: check(book, mints) for name, check in CHECKS.items() if names is None or name in names}
    for name, finding in found.items():
        if not finding.looked and name not in MAY_BE_EMPTY and not finding.wrong:
            finding.wrong.append("there was nothing to look at")
    return found
