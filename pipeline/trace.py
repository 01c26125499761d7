"""The whole story of one event, read back from the log, the ledgers and the tables; nothing is indexed beside them.

node and number → topic and offset → batch of refine → accepted or quarantined → batch of merge → hub and its links
→ file and Delta version. Each step is a dict; a step that is not reached is absent, and `ends` says why.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.log import Entry, read, topics
from schemas import seal
from schemas.errors import BadInput, Quarantines
from schemas.rows import read as read_row
from schemas.wire import unframe
from schemas.withdrawals import WITHDRAWN, cause

Step = dict[str, Any]
HUB = {
    *("IncidentShared", "RevisionShared", "ReferralShared", "VersionClosed", "IncidentRemoved", "PatternShared"),
    *("PatternLinked", "ProbableDuplicate", "AssessmentShared"),
}
PASSED_NOTHING_ON = "refine counted it and passed nothing on: the batch's counts say what became of its records"
ACCEPTED = {
    *("Envelope", "IncidentAccepted", "RevisionAccepted", "ReferralAccepted", "PatternAccepted", "AssessmentAccepted"),
}
TOO_LATE = "its incident had been withdrawn: it is told to nobody"
LINKS = ("linked_to", "probable_duplicates")
_Version = tuple[bytes, bytes | None]


@dataclass(frozen=True)
class _Named:
    """What an event is linked with: where that is told, and which versions of incidents are named there."""

    name: str
    other: bytes
    versions: set[_Version]


@dataclass(frozen=True)
class Tracer:
    """`kafka` is host:port; `secrets` are the regions' minting keys; `files` finds the file of (topic, event, offset)."""

    kafka: str
    secrets: Mapping[str, bytes]
    files: Callable[[str, str, int], Step | None]

    def story(self, event_id: bytes) -> Step:
        """Return the steps of one event.

        Raises BadInput where no topic of any node holds the event.
        """
        copies, forgotten = self._sent(event_id)
        if not copies:
            raise BadInput(
                f"No node has sent an event {event_id.hex()}; on the node, `tocsin node status` says what is still to be sent."
            )
        first, envelope = copies[0]
        story: Step = {
            "event_id": event_id.hex(),
            "node": {"code": envelope["node"], "sequence": envelope["sequence"], "kind": envelope["kind"]},
            "raw": [{"topic": e.topic, "partition": e.partition, "offset": e.offset} for e, _ in copies],
            "refine": self._batch("ledger.refine", first),
            **({"withdrawn": why} if (why := forgotten.get((first.topic, envelope["case_ref"]))) else {}),
        }
        if "batch" not in story["refine"]:
            return {**story, "ends": "refine has not read it yet: is `tocsin worker refine` running?"}
        return {**story, **self._after_refine(event_id, first)}

    def _sent(self, event_id: bytes) -> tuple[list[tuple[Entry, Step]], dict[tuple[str, bytes], Step]]:
        """Return where nodes have sent an event; and which event of each topic has a case forgotten, by its case, and why."""
        copies, forgotten = list[tuple[Entry, Step]](), dict[tuple[str, bytes], Step]()
        for entry in read(self.kafka, *topics(self.kafka, "raw.")):
            row = self._row(entry, {"Envelope"})
            if row and row["event_id"] == event_id:
                copies.append((entry, row))
            if row and row["kind"] == WITHDRAWN and row["case_ref"]:
                said = {"sequence": row["sequence"], "cause": cause(row["body_schema"], row["body"])}
                forgotten.setdefault((entry.topic, row["case_ref"]), said)
        return copies, forgotten

    def _with_id(self, event_id: bytes, *names: str) -> Iterator[tuple[Entry, Step]]:
        for entry in read(self.kafka, *names):
            row = self._row(entry, ACCEPTED)
            if row and row["event_id"] == event_id:
                yield entry, row

    def _row(self, entry: Entry, names: set[str]) -> Step | None:
        try:
            release, body = unframe(entry.value or b"")
            return read_row(release, body) | {"event": release.name} if release.name in names else None
        except Quarantines:
            return None

    def _batch(self, ledger: str, entry: Entry) -> Step:
        """Return the batch that an entry was in, as a ledger has it; else the base in which that batch went up."""
        lane, base = f"{entry.topic}-{entry.partition}", Step()
        for record in read(self.kafka, ledger):
            row = self._row(record, {"BatchCommitted", "BaseWritten"})
            if row is None or row["lane"] != lane or not row.get("start", 0) <= entry.offset < row["end"]:
                continue
            batch = {"lane": lane, "start": row.get("start", 0), "end": row["end"], "counts": row["counts"]}
            place = f"{ledger}[{record.partition}]@{record.offset}"
            if row["event"] == "BatchCommitted":
                return {"batch": batch, "ledger": place, "suite": row["suite"]}
            base = base or {"batch": batch, "ledger": place, "suite": "", "base": True}
        return base

    def _after_refine(self, event_id: bytes, raw: Entry) -> Step:
        for entry in read(self.kafka, "quarantine"):
            row = self._row(entry, {"Quarantined"})
            if row and (row["topic"], row["partition"], row["offset"]) == (raw.topic, raw.partition, raw.offset):
                return {"quarantined": {"offset": entry.offset, "reasons": row["reasons"]}, **self._filed(entry, row)}
        accepted = list(self._with_id(event_id, "accepted"))
        if not accepted:
            hubs = [hub for region in self.secrets if (hub := self._hub(region, event_id))]
            return {"hubs": hubs} if hubs else {"ends": PASSED_NOTHING_ON}
        places = [{"partition": e.partition, "offset": e.offset, "area": row.get("area")} for e, row in accepted]
        return {"accepted": places, "rules": "all passed", **self._after_merge(event_id, accepted)}

    def _after_merge(self, event_id: bytes, accepted: list[tuple[Entry, Step]]) -> Step:
        firsts = {entry.partition: entry for entry, _ in accepted}
        batches = [self._batch("ledger.merge", entry) for entry in firsts.values()]
        if not all(batches):
            return {"ends": "merge has not read it yet: is `tocsin worker merge` running?"}
        hubs = [self._hub(region, event_id) for region in self.secrets]
        found = [hub for hub in hubs if hub]
        if found:
            return {"merge": batches, "hubs": found}
        late = any(row["event"] == "AssessmentAccepted" for _, row in accepted)
        return {"merge": batches, "ends": TOO_LATE if late else "its area is in no region"}

    def _hub(self, region: str, event_id: bytes) -> Step | None:
        minted = seal.mint(self.secrets[region], event_id)
        topic = f"hub.{region}"
        mine: _Version = (minted, None)
        hub: Step = {"region": region, "id": minted.hex()}
        shared, named, closed = False, list[_Named](), set[_Version]()
        for entry in read(self.kafka, topic):
            row = self._row(entry, HUB)
            if row is None:
                continue
            named += _named(row, minted, mine)
            match row:
                case {"event": "RevisionShared" | "ReferralShared", "incident_id": i, "version_id": v} if v == minted:
                    shared, mine = True, (i, v)
                    hub |= {"incident": i.hex(), "topic": topic, "offset": entry.offset, **self._filed(entry, row)}
                    hub |= {"referral": row["referral_id"].hex()} if "referral_id" in row else {}
                case {"event": "AssessmentShared", "incident_id": i, "assessment_id": a} if a == minted:
                    shared, mine = True, (i, a)
                    hub |= {"incident": i.hex(), "verdict": row["verdict"]}
                    hub |= {"topic": topic, "offset": entry.offset, **self._filed(entry, row)}
                case {"event": "IncidentShared", "incident_id": i} | {"event": "PatternShared", "pattern_id": i} if (
                    i == minted
                ):
                    shared = True
                    hub |= {"topic": topic, "offset": entry.offset, **self._filed(entry, row)}
                case {"event": "VersionClosed", "incident_id": i, "version_id": v}:
                    closed.add((i, v))
                    if (i, v) == mine:
                        hub = self._closed(hub, entry, row)
                case {"event": "IncidentRemoved", "incident_id": i} if i == mine[0]:
                    hub["removed"] = {"offset": entry.offset}
        for name in LINKS:
            hub[name] = [each.other.hex() for each in named if each.name == name and not each.versions & closed]
        return _standing(hub) if shared or "removed" in hub else None

    def _closed(self, hub: Step, entry: Entry, row: Step) -> Step:
        """Return what a region has of a version that is closed: it has moved; what was said of a referral is gone."""
        ended = {"closed": {"offset": entry.offset, "on": str(row["ended_on"]), "ending": row["ending"]}}
        if "referral" not in hub:
            return hub | ended | self._filed(entry, row)
        kept = {name: value for name, value in hub.items() if name != "table"}
        return kept | ended | {"ends": "what was said of it later stands in its place"}

    def _filed(self, entry: Entry, row: Step) -> Step:
        filed = self.files(entry.topic, row["event"], entry.offset)
        return {"table": filed} if filed else {"ends": "not in a table yet: is `tocsin worker sink` running?"}


def _named(row: Step, minted: bytes, mine: _Version) -> Iterator[_Named]:
    """Yield what a link or a probable duplicate says of an event, which is a pattern `minted` or the version `mine`."""
    match row:
        case {"event": "PatternLinked", "incident_id": i, "pattern_id": p}:
            version = i, row.get("version_id")
            if minted == p or mine == version:
                yield _Named("linked_to", i if minted == p else p, {version})
        case {"event": "ProbableDuplicate", "first_id": a, "second_id": b}:
            first, second = (a, row.get("first_version")), (b, row.get("second_version"))
            if mine in (first, second):
                yield _Named("probable_duplicates", b if mine == first else a, {first, second})


def _standing(hub: Step) -> Step:
    """Return what a region has of an event: of one that was removed, neither a table nor links."""
    if "removed" not in hub:
        return hub
    return {name: hub[name] for name in ("region", "id", "topic", "offset", "removed") if name in hub}
