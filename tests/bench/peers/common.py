"""What the peers share, so that only the engine differs: fastavro's decoder, the rules as plain Python, the start mark.

Nothing of tocsin is imported: contracts and places come in `BENCH_JOB`, a JSON file.
"""

import io
import json
import os
import time
from datetime import date, timedelta
from pathlib import Path

from fastavro import parse_schema, schemaless_reader

JOB = json.loads(Path(os.environ["BENCH_JOB"]).read_text())
KAFKA, RUN, TOPICS = JOB["kafka"], JOB["run"], JOB["topics"]
AREAS = JOB["areas"]  # country of each area
COUNTRIES = frozenset(AREAS.values())
ENVELOPE, INCIDENT, PATTERN = (
    parse_schema(JOB["schemas"][n]) for n in ("Envelope", "IncidentReported", "PatternObserved")
)
PREFIX = bytes.fromhex(JOB["prefix"])
EARLIEST = date(1946, 1, 1)
PERSONS = ("women", "girls", "men", "boys", "unknown")
FIRST_OF = {
    "week": lambda d: d.weekday() == 0,
    "month": lambda d: d.day == 1,
    "quarter": lambda d: d.day == 1 and d.month in (1, 4, 7, 10),
    "year": lambda d: d.day == 1 and d.month == 1,
}


def decode(value):
    """Return the envelope with its body read, or None."""
    if value is None or value[:10] != PREFIX:
        return None
    try:
        found = schemaless_reader(io.BytesIO(value[10:]), ENVELOPE)
        schema = INCIDENT if found["kind"] == "IncidentReported" else PATTERN
        found["body"] = schemaless_reader(io.BytesIO(found["body"]), schema)
    except Exception:
        return None
    return found


def broken(event):
    """Return the rule that an incident breaks, or None; a pattern of the corpus breaks none."""
    if event["kind"] != "IncidentReported":
        return None
    x, recorded = event["body"]["incident"], event["body"]["recorded_at"].date()
    counts = [x[name] for name in PERSONS]
    checks = (
        ("country_not_monitored", x["country"] in COUNTRIES),
        ("admin1_unknown", x["admin1"] is None or x["admin1"] in AREAS),
        ("admin1_of_other_country", AREAS.get(x["admin1"], x["country"]) == x["country"]),
        ("before_1946", x["occurred_on"] >= EARLIEST),
        ("after_recording", x["occurred_on"] <= recorded + timedelta(days=1)),
        ("not_first", FIRST_OF.get(x["date_precision"], bool)(x["occurred_on"])),
        ("persons_out_of_range", all(0 <= count <= 5000 for count in counts)),
        ("persons_none", sum(counts) >= 1),
        ("deaths_out_of_range", 0 <= x["deaths"] <= 5000),
        ("forms_missing", bool(x["forms"])),
        ("verified_without_primary_source", x["verification"] != "verified" or x["primary_sources"] >= 1),
        ("sources_out_of_range", 0 <= x["primary_sources"] <= 5000 and 0 <= x["secondary_sources"] <= 5000),
        ("credibility_out_of_range", 1 <= x["information_credibility"] <= 6),
        (
            "service_data_without_consent",
            x["source_kind"] != "service_provider" or x["sharing_basis"] == "informed_consent",
        ),
    )
    return next((f"incident.{name}" for name, well in checks if not well), None)


def area(event):
    """Return the key under which an event goes on."""
    if event["kind"] != "IncidentReported":
        return event["body"]["pattern"]["areas"][0].encode()
    x = event["body"]["incident"]
    return (x["admin1"] or x["country"]).encode()


_marked = []


def mark():
    """Write down, once, when the first record was handed over."""
    if not _marked:
        _marked.append(time.time())
        Path(f"{os.environ['BENCH_MARK']}.{os.getpid()}").write_text(repr(_marked[0]))
