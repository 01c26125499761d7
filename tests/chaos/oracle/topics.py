"""The topics, read at both isolation levels by kafka-python, into the book."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient

from tests.chaos.oracle.avro import Frames, Malformed
from tests.chaos.oracle.book import digest, plain

STAGES = ("refine", "merge")
SECONDS = 120


def consumer(kafka: str, level: str) -> Any:
    return KafkaConsumer(
        bootstrap_servers=kafka,
        isolation_level=level,
        enable_auto_commit=False,
        max_poll_records=20_000,
        fetch_max_bytes=32 << 20,
        max_partition_fetch_bytes=16 << 20,
        reconnect_backoff_max_ms=1_000,
    )


def read(kafka: str, topic: str, level: str = "read_committed") -> Iterator[Any]:
    """Yield a topic's records up to where it ends now."""
    client = consumer(kafka, level)
    try:
        places = [TopicPartition(topic, p) for p in sorted(client.partitions_for_topic(topic) or ())]
        client.assign(places)
        ends = client.end_offsets(places)
        client.seek_to_beginning(*places)
        idle = 0
        while any(client.position(place) < ends[place] for place in places):
            found = client.poll(timeout_ms=1000)
            idle = 0 if found else idle + 1
            if idle > SECONDS:
                raise TimeoutError(f"{topic} does not end: {level} stays before {ends}")
            for records in found.values():
                yield from records
    finally:
        client.close()


def gather(book: sqlite3.Connection, kafka: str, frames: Frames) -> None:
    """Read everything."""
    client = consumer(kafka, "read_committed")
    names = sorted(name for name in client.topics() if not name.startswith("__"))
    client.close()
    for name in names:
        family = name.partition(".")[0]
        if family in TAKE:
            _topic(book, kafka, name, frames, TAKE[family])
    _ends(book, kafka, names)
    _committed(book, kafka)
    book.commit()


def _topic(book: sqlite3.Connection, kafka: str, name: str, frames: Frames, take: Any) -> None:
    """Read the committed records in full, and count those that only a reader of uncommitted records sees."""
    seen: Counter[int] = Counter()
    for record in read(kafka, name):
        seen[record.partition] += 1
        try:
            take(book, frames, record)
        except Malformed as error:
            book.execute("INSERT INTO unreadable VALUES(?,?)", (name, f"{record.partition}@{record.offset}: {error}"))
    everything = Counter(record.partition for record in read(kafka, name, "read_uncommitted"))
    for part, count in everything.items():
        book.execute("INSERT INTO aborted VALUES(?,?,?)", (name, part, count - seen[part]))


def _record(book: sqlite3.Connection, record: Any) -> None:
    row = (record.topic, record.partition, record.offset, digest(record.value or b""))
    book.execute("INSERT INTO records VALUES(?,?,?,?)", row)


def _raw(book: sqlite3.Connection, frames: Frames, record: Any) -> None:
    value = record.value or b""
    try:
        _, e = frames.decode(value)
    except Malformed:
        e = {"node": None, "event_id": None, "sequence": None, "kind": None, "case_ref": None}
    place = (record.topic, record.partition, record.offset, digest(value))
    book.execute(
        "INSERT INTO raw VALUES(?,?,?,?,?,?,?,?,?,NULL,NULL,NULL,NULL)",
        (*place, e["node"], e["event_id"], e["sequence"], e["kind"], e["case_ref"]),
    )
    if e["kind"] == "ConsentWithdrawn":
        named = frames.decode(b"\xc3\x01" + e["body_schema"] + e["body"])[1]["incidents"]
        rows = [(record.topic, record.offset, named[at : at + 16]) for at in range(0, len(named), 16)]
        book.executemany("INSERT INTO withdrawals VALUES(?,?,?)", rows)


FACTS = {
    "IncidentAccepted": "@incident",
    "RevisionAccepted": "@incident",
    "PatternAccepted": "@pattern",
    "ReferralAccepted": "@referral",
    "AssessmentAccepted": "@assessment",
}


def _accepted(book: sqlite3.Connection, frames: Frames, record: Any) -> None:
    _record(book, record)
    name, e = frames.decode(record.value)
    facts = FACTS.get(name)
    row = (record.partition, record.offset, name, e["event_id"], e["node"], e.get("sequence"), e.get("area"))
    found = digest(e[facts]) if facts else None
    more = None
    if name == "RevisionAccepted":
        more = plain(incident=e["incident_id"].hex(), current=e["current"], **_change(e))
    elif name == "ReferralAccepted":
        more = plain(incident=e["incident_id"].hex(), referral=e["referral_id"].hex(), **e["referral"])
    elif name == "VersionEnded":
        more = plain(ending=e["ending"], ended_at=e["ended_at"])
    book.execute("INSERT INTO accepted VALUES(?,?,?,?,?,?,?,?,?,?)", (*row, e.get("case_ref"), found, more))


def _change(e: dict[str, Any]) -> dict[str, Any]:
    """Return what made a version, as `accepted` and a hub say it."""
    step = None if e["step"] == "unspecified" else e["step"]
    return {"change": e["change"], "step": step, "verified_on": e["verified_on"], "late": e["late_verification"]}


def _quarantine(book: sqlite3.Connection, frames: Frames, record: Any) -> None:
    _, e = frames.decode(record.value)
    row = (record.offset, e["topic"], e["partition"], e["offset"], e["event_id"], json.dumps(sorted(e["reasons"])))
    book.execute("INSERT INTO quarantine VALUES(?,?,?,?,?,?)", row)


# By contract: what it is called here; whose ids it has, with those of their versions; its facts.
HUB: dict[str, tuple[str, tuple[tuple[str, str], ...], str]] = {
    "IncidentShared": ("incident", (("incident_id", ""),), "@incident"),
    "RevisionShared": ("revision", (("incident_id", "version_id"),), "@incident"),
    "ReferralShared": ("referral", (("referral_id", "version_id"),), ""),
    "AssessmentShared": ("assessment", (("assessment_id", ""),), ""),
    "VersionClosed": ("closed", (("incident_id", "version_id"),), ""),
    "PatternShared": ("pattern", (("pattern_id", ""),), "@pattern"),
    "PatternLinked": ("link", (("incident_id", "version_id"), ("pattern_id", "")), ""),
    "ProbableDuplicate": ("duplicate", (("first_id", "first_version"), ("second_id", "second_version")), ""),
    "IncidentRemoved": ("removed", (("incident_id", ""),), ""),
}


def _hub(book: sqlite3.Connection, frames: Frames, record: Any) -> None:
    _record(book, record)
    name, e = frames.decode(record.value)
    kind, named, facts = HUB[name]
    a, b = (*(e.get(version) or e[incident] for incident, version in named), b"")[:2]
    whose = b"".join(e[incident] for incident, _ in named if incident != "pattern_id")
    more = None
    if name == "RevisionShared":
        more = plain(current=e["current"], **_change(e))
    elif name == "ReferralShared":
        said = ("service", "consented", "outcome", "referred_in", "followed_up_in")
        more = plain(incident=e["incident_id"].hex(), **{each: e[each] for each in said})
    elif name == "AssessmentShared":
        said = ("number", "verdict", "source", "reliability", "credibility", "grounds", "assessed_in")
        more = plain(incident=e["incident_id"].hex(), **{each: e[each] for each in said})
    elif name == "VersionClosed":
        more = plain(ending=e["ending"], ended_on=e["ended_on"])
    row = (record.topic.partition(".")[2], record.offset, kind, a, b, whose, digest(e[facts]) if facts else None, more)
    book.execute("INSERT INTO hub VALUES(?,?,?,?,?,?,?,?)", row)


def _ledger(book: sqlite3.Connection, frames: Frames, record: Any) -> None:
    """Enter a batch, or the last part of a base, as the range from 0 on; what asks for bases has no value."""
    name, e = frames.decode(record.value) if record.value else ("", {})
    if not name or (name == "BaseWritten" and e["part"] + 1 < e["parts"]):
        return
    row = (record.topic.partition(".")[2], record.partition, record.offset, e["lane"], e.get("start", 0), e["end"])
    book.execute("INSERT INTO ledger VALUES(?,?,?,?,?,?,?,?)", (*row, json.dumps(e["counts"]), record.timestamp))


def _receipts(book: sqlite3.Connection, frames: Frames, record: Any) -> None:
    _, e = frames.decode(record.value)
    book.execute("INSERT INTO receipts VALUES(?,?)", (e["node"], e["end"]))


TAKE = {
    "raw": _raw,
    "accepted": _accepted,
    "quarantine": _quarantine,
    "hub": _hub,
    "ledger": _ledger,
    "receipts": _receipts,
}


def _ends(book: sqlite3.Connection, kafka: str, names: list[str]) -> None:
    stable, high = consumer(kafka, "read_committed"), consumer(kafka, "read_uncommitted")
    try:
        for name in names:
            places = [TopicPartition(name, part) for part in sorted(high.partitions_for_topic(name) or ())]
            lso, hw = stable.end_offsets(places), high.end_offsets(places)
            rows = [(name, place.partition, lso[place], hw[place]) for place in places]
            book.executemany("INSERT INTO ends VALUES(?,?,?,?)", rows)
    finally:
        stable.close()
        high.close()


def _committed(book: sqlite3.Connection, kafka: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    try:
        for stage in STAGES:
            group = f"tocsin.{stage}"
            found = admin.list_group_offsets(group)
            for place, meta in found.get(group, found).items():
                row = (stage, f"{place.topic}-{place.partition}", meta.offset)
                book.execute("INSERT INTO committed VALUES(?,?,?)", row)
    finally:
        admin.close()
