"""What a survivor's case says is in clear nowhere before the hub: a planted tag is looked for in every byte."""

import pytest

from pipeline.log import read, topics
from tests.integration.whole.conftest import TAG
from tests.integration.whole.rig import REGION
from tests.lying import contents

SECRET_TOPICS = ("raw.", "keys.", "quarantine", "ledger.")

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def holding(*folders):
    """Return the files below that hold the tag's bytes."""
    found = {path: TAG.encode() in data for folder in folders for path, data in contents(folder)}
    assert found
    return [path for path, held in found.items() if held]


def test_no_file_of_the_sealed_topics_holds_the_tag(small):
    log = next((small.data / "kafka").glob("**/meta.properties")).parent
    for prefix in SECRET_TOPICS:
        assert holding(*log.glob(f"{prefix}*")) == [], prefix


def test_no_record_of_the_sealed_topics_holds_the_tag(small):
    """The same after decompression: what a file compresses, a reader sees."""
    names = [name for name in topics(small.kafka) if name.startswith(SECRET_TOPICS)]
    entries = list(read(small.kafka, *names))
    assert {entry.topic for entry in entries} >= {
        "raw.SYN-1",
        "keys.SYN-1",
        "quarantine",
        "ledger.refine",
        "ledger.merge",
    }
    assert not [entry for entry in entries if TAG.encode() in entry.key + (entry.value or b"")]


def test_no_file_of_the_node_holds_the_tag(small):
    assert holding(small.node.journal.parent) == []


def test_no_local_state_or_log_of_a_worker_holds_the_tag(small):
    held = [path.relative_to(small.data).parts[0] for path in holding(small.data)]
    assert [name for name in held if not name.startswith(("kafka", "s3"))] == []


def test_the_hub_has_it(small):
    """The positive control: the tag was there to be found, and the same search finds it where it may be."""
    assert small.table(f"hub/{REGION}/incidents")["party"].to_list() == [TAG] * 10
    accepted = [entry for entry in read(small.kafka, "accepted") if TAG.encode() in (entry.value or b"")]
    assert len(accepted) == 10


def test_the_refused_incident_is_in_quarantine_without_its_contents(small):
    reasons = small.table("quarantine")["reasons"].to_list()
    assert reasons == [["incident.persons_none"]]
