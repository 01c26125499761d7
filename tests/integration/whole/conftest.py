"""One small run for all tests that look at what came out of it."""

import random
import string
from datetime import date

import pytest

from pipeline.keyrings import region_keys
from pipeline.node import node as nodes
from pipeline.node.journal import Journal
from pipeline.node.record import Recorder
from pipeline.node.sync import sync
from tests.integration.whole.rig import REGION, Whole

# No digits: the rules refuse what looks like a telephone number.
TAG = "Planted " + "".join(random.choices(string.ascii_lowercase, k=24))

INCIDENT = {
    "occurred_on": date(2024, 5, 6),
    "date_precision": "day",
    "country": "COD",
    "admin1": None,
    "forms": ["rape"],
    "women": 1,
    "girls": 0,
    "men": 0,
    "boys": 0,
    "unknown": 0,
    "deaths": 0,
    "party_category": "armed_group",
    "party": TAG,
    "setting": "unknown",
    "tactic": "not_assessed",
    "nexus": [],
    "verification": "report_pending_verification",
    "primary_sources": 0,
    "secondary_sources": 1,
    "un_eyewitness": False,
    "source_kind": "civil_society",
    "source_reliability": "F",
    "information_credibility": 6,
    "sharing_basis": "informed_consent",
    "sharing_scope": "hub",
}


PATTERN = {
    "period_start": date(2024, 5, 1),
    "period_end": date(2024, 5, 31),
    "areas": ["COD"],
    "forms": ["rape"],
    "party_category": "armed_group",
    "party": None,
    "scale": "repeated",
    "prevalence": None,
    "reporting_sources": 1,
    "silent_sources": 0,
    "tactic": "not_assessed",
    "nexus": [],
    "verification": "report_pending_verification",
    "source_kind": "mission_monitoring",
}


def record(run, code, count):
    """Record like incidents at a node; return the ids of their events."""
    with Journal(run.reporters[code].journal) as journal, Recorder(run.reporters[code], journal) as recorder:
        return [recorder.record("IncidentReported", {"incident": INCIDENT}) for _ in range(count)]


@pytest.fixture(scope="package")
def small(tmp_path_factory):
    """Ten good incidents, one that the rules refuse, one pattern; all are sent, twice, and taken to the tables."""
    whole = Whole(tmp_path_factory.mktemp("sealed"), ["SYN-1"])
    try:
        public = region_keys(whole.data, "public")[REGION]
        whole.node = nodes.create(whole.data / "nodes" / "SYN-1", "SYN-1", REGION, public)
        journal = Journal(whole.node.journal)
        with Recorder(whole.node, journal) as recorder:
            for _ in range(10):
                whole.incident = recorder.record("IncidentReported", {"incident": INCIDENT})
            whole.refused = recorder.record("IncidentReported", {"incident": INCIDENT | {"women": 0}})
            whole.pattern = recorder.record("PatternObserved", {"pattern": PATTERN})
        journal.close()
        sync(whole.node, whole.kafka)
        sync(whole.node, whole.kafka, again=True)
        for stage in ("refine", "merge", "sink"):
            whole.worker(stage, "1", "--until-idle", "2").wait(120)
        yield whole
    finally:
        whole.down()
