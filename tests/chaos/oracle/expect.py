"""What must become of each raw record: the contract in a few lines, folded over the log in its order."""

import json
import sqlite3
from typing import Any

INCIDENT, PATTERN, WITHDRAWAL = "IncidentReported", "PatternObserved", "ConsentWithdrawn"


# Incidents that were accepted and whose withdrawal counts: it names them, and came after them from the same node.
GONE = """
INSERT OR IGNORE INTO gone
SELECT w.event_id FROM withdrawals w JOIN raw r ON r.topic=w.topic AND r.offset=w.offset AND r.expected='consent_withdrawn'
  JOIN raw i ON i.topic=w.topic AND i.event_id=w.event_id AND i.expected='accepted' AND i.offset<w.offset
WHERE i.kind=?"""


def fold(book: sqlite3.Connection) -> None:
    """Write the expected outcome beside each raw record, and whether it is the first that brought its event."""
    known = {
        (topic, digest): json.loads(refused)
        for topic, digest, refused in book.execute("SELECT topic, digest, refused FROM t.events")
    }
    lanes: dict[str, dict[str, Any]] = {}
    out = []
    query = (
        "SELECT topic, part, offset, digest, event_id, sequence, kind, case_ref FROM raw ORDER BY topic, part, offset"
    )
    for topic, part, offset, digest, event_id, sequence, kind, case in book.execute(query):
        lane = lanes.setdefault(topic, {"numbers": {}, "done": set(), "withdrawn": set()})
        refused = known.get((topic, digest))
        outcome = "unknown" if refused is None else _outcome(lane, refused, event_id, sequence, kind, case)
        out.append((outcome, outcome not in ("repeated", "forked", "unknown"), topic, part, offset))
    book.executemany("UPDATE raw SET expected=?, first=? WHERE topic=? AND part=? AND offset=?", out)
    book.execute(GONE, (INCIDENT,))
    book.commit()


def _outcome(lane: dict[str, Any], refused: list[str], event_id: Any, sequence: Any, kind: Any, case: Any) -> str:
    if event_id is None:
        return "quarantined"
    before = lane["numbers"].setdefault(sequence, event_id)
    if before != event_id:
        return "forked"
    if event_id in lane["done"]:
        return "repeated"
    lane["done"].add(event_id)
    if kind == WITHDRAWAL:
        lane["withdrawn"].add(case)
        return "consent_withdrawn"
    if kind == INCIDENT and case in lane["withdrawn"]:
        return "withdrawn"
    return "quarantined" if refused else "accepted"
