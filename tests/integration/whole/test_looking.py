"""`tocsin hub summary`, `why` and `tap` on a small run: what a person is told is what happened."""

import json
from datetime import UTC, datetime

import pytest

from schemas import seal
from schemas.tables import FOLDER
from tests.integration.whole.conftest import TAG
from tests.integration.whole.rig import REGION, tocsin

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def why(run, event_id):
    return json.loads(tocsin(run, "why", event_id.hex(), "--json"))


def test_the_summary_says_that_all_has_arrived(small):
    page = json.loads(tocsin(small, "hub", "summary", REGION, "--json"))
    assert page["complete"]
    node = page["nodes"][0]
    assert (node["node"], node["highest"], node["missing_count"]) == ("SYN-1", 12, 0)
    assert page["records"] == {"accepted": 11, "repeated": 12, "quarantined": 1}
    assert page["quarantined"] == {"incident.persons_none": 1}


def test_the_summary_counts_the_region_without_a_small_cell(small):
    region = json.loads(tocsin(small, "hub", "summary", REGION, "--json"))["regions"][0]
    assert region["incidents"] == {"report_pending_verification": 10}
    assert (region["patterns"], region["links"], region["linked_incidents"]) == (1, 10, 10)
    assert sum(cell["count"] for cell in region["counts"]) == 10
    assert all(cell["count"] >= 5 for cell in region["counts"])


def test_the_summary_is_readable(small):
    page = tocsin(small, "hub", "summary", REGION)
    assert page.startswith("Complete: no number is missing from 1 node")
    assert "incident.persons_none" in page


def test_the_summary_says_how_far_unverified_reports_can_be_relied_on_today(small, tmp_path):
    slow, fast = tmp_path / "slow.toml", tmp_path / "fast.toml"
    text = (FOLDER / "confidence.toml").read_text()
    slow.write_text(text.replace("= 365", "= 36525"))
    fast.write_text(text.replace("= 365", "= 1"))
    before = today()
    for scale, confidence in ((slow, 0.4), (fast, 0)):
        page = json.loads(tocsin(small, "hub", "summary", REGION, "--json", "--confidence", str(scale)))
        assert {cell["confidence"] for cell in page["regions"][0]["counts"]} == {confidence}
        assert before <= page["confidence"]["as_of"] <= today()
    said = tocsin(small, "hub", "summary", REGION, "--explain")
    assert "confidence = base(reliability, credibility) * 2^(-age / half_life)" in said
    assert "can't be read as text" in tocsin(small, "hub", "summary", "--confidence", str(tmp_path / "none"), code=65)


def today():
    return datetime.now(UTC).date().isoformat()


def test_why_tells_the_whole_story_of_an_incident(small):
    story = why(small, small.incident)
    assert story["node"] == {"code": "SYN-1", "sequence": 10, "kind": "IncidentReported"}
    assert [place["offset"] for place in story["raw"]] == [9, 21]
    assert story["refine"]["batch"]["lane"] == "raw.SYN-1-0"
    assert story["rules"] == "all passed"
    (hub,) = story["hubs"]
    assert (hub["region"], hub["id"]) == (REGION, seal.mint(small.secrets[REGION], small.incident).hex())
    assert hub["linked_to"] == [seal.mint(small.secrets[REGION], small.pattern).hex()]
    file = hub["table"]["file"].rpartition(f"hub/{REGION}/incidents/")[2]
    assert file in {path.name for path in small.files(f"hub/{REGION}/incidents")}


def test_why_tells_why_an_incident_was_refused(small):
    story = why(small, small.refused)
    assert story["quarantined"]["reasons"] == ["incident.persons_none"]
    assert "/quarantine/part-" in story["table"]["file"]
    assert "hubs" not in story


def test_why_of_a_pattern_names_its_hub(small):
    assert [hub["region"] for hub in why(small, small.pattern)["hubs"]] == [REGION]


def test_why_never_shows_a_fact(small):
    assert TAG not in tocsin(small, "why", small.incident.hex())


@pytest.mark.parametrize(
    ("given", "sentence"), [("zz", "is not an event's id"), ("0" * 32, "No node has sent an event")]
)
def test_why_of_a_wrong_id_says_what_to_do(small, given, sentence):
    assert sentence in tocsin(small, "why", given, code=65)


def test_tap_keeps_what_is_sealed_sealed(small):
    lines = [json.loads(line) for line in tocsin(small, "tap", "raw.SYN-1", "--json").splitlines()]
    assert len(lines) == 24
    assert {line["event"] for line in lines} == {"Envelope"}
    assert all(line["body"].startswith("sealed, ") for line in lines if line["kind"] == "IncidentReported")
    assert lines[11]["body"]["pattern"]["areas"] == ["COD"]


def test_tap_shows_no_key(small):
    lines = [json.loads(line) for line in tocsin(small, "tap", "keys.SYN-1", "--json").splitlines()]
    assert {line["event"] for line in lines} == {"EpochKey", "CaseKey"}
    assert all(line.get("wrapped", line.get("sealed", "")).endswith(" bytes") for line in lines)


def test_tap_of_the_last_ones(small):
    lines = tocsin(small, "tap", "raw.SYN-1", "--last", "2", "--json").splitlines()
    assert [json.loads(line)["offset"] for line in lines] == [22, 23]


def test_tap_of_no_topic_names_those_there_are(small):
    assert "raw.SYN-1" in tocsin(small, "tap", "raw.NOBODY", code=65)


@pytest.mark.parametrize("command", [["hub", "summary"], ["audit"]])
def test_a_region_that_there_is_not_is_one_sentence(small, command):
    assert "'nowhere' is no region; give one of lake-chad" in tocsin(small, *command, "nowhere", code=65)
