"""The table of topics is whole, and a table that is not is refused with a sentence."""

import pytest

from infra.table import BadTable, every, expand, parse, table
from schemas.places import missions, regions

GOOD = """
["raw.{node}"]
meaning = "m"
partitions = 1
key = "k"
framing = "Confluent"
owner = "node"
events = ["Envelope"]
written_by = ["node"]
read_by = ["refine"]
config = { "cleanup.policy" = "delete", "retention.ms" = "-1", "max.message.bytes" = "8388608" }
"""


def families():
    return {topic.name: topic for topic in table()}


def test_the_families_are_those_of_the_design():
    assert list(families()) == [
        "raw.{node}", "keys.{node}", "heads.{node}", "accepted", "hub.{region}", "quarantine", "ledger.refine", "ledger.merge",
        "receipts.{node}", "fates.{node}",
    ]  # fmt: skip


def test_partitions_are_those_that_order_and_sharing_need():
    assert {name: topic.partitions for name, topic in families().items() if topic.partitions > 1} == {
        "accepted": 4, "ledger.refine": 4, "ledger.merge": 4,
    }  # fmt: skip


def test_what_is_the_truth_is_kept_for_ever():
    for name in ("raw.{node}", "heads.{node}", "hub.{region}", "quarantine", "ledger.refine", "ledger.merge"):
        assert families()[name].config["retention.ms"] == "-1"


def test_keys_are_compacted_so_that_a_tombstone_forgets_within_seconds():
    config = families()["keys.{node}"].config
    assert config["cleanup.policy"] == "compact"
    assert config["min.cleanable.dirty.ratio"] == "0.01"
    for name in ("segment.ms", "max.compaction.lag.ms", "delete.retention.ms"):
        assert 0 < int(config[name]) <= 5000


def test_both_sides_of_the_join_are_in_one_log():
    both = ("IncidentAccepted", "RevisionAccepted", "ReferralAccepted", "AssessmentAccepted", "PatternAccepted")
    assert families()["accepted"].events == (*both, "VersionEnded", "IncidentWithdrawn")


def test_expansion_names_one_topic_for_each_node_and_region():
    names = [topic.name for topic in expand(["A", "B"], ["x"])]
    assert names == [
        "raw.A", "raw.B", "keys.A", "keys.B", "heads.A", "heads.B", "accepted", "hub.x", "quarantine", "ledger.refine",
        "ledger.merge", "receipts.A", "receipts.B", "fates.A", "fates.B",
    ]  # fmt: skip


def test_every_mission_and_region_has_its_topics():
    names = [topic.name for topic in every()]
    assert len(names) == len(set(names)) == 5 * len(missions()) + len(regions()) + 4


@pytest.mark.parametrize("code", ["", "a b", "é", "x/y", "n" * 300])
def test_a_code_that_no_topic_can_carry_is_refused(code):
    if code == "":
        assert expand([], [])
        return
    with pytest.raises(BadTable, match="No topic can be named"):
        expand([code], [])


def test_the_example_is_good():
    assert [topic.name for topic in parse(GOOD)] == ["raw.{node}"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("partitions = 1", "partitions = 0", "one partition or more"),
        ("partitions = 1", 'partitions = "1"', "one partition or more"),
        ("partitions = 1", "", "as the others are"),
        ('key = "k"', 'key = "k"\nextra = 1', "as the others are"),
        ('["Envelope"]', '["Nothing"]', "needs a contract"),
        ('["Envelope"]', "[]", "needs a contract"),
        ('"Confluent"', '"JSON"', "framing is one of"),
        ('["refine"]', '["nobody"]', "writers, readers"),
        ('owner = "node"', 'owner = "refine"', "owner"),
        ('"-1"', "-1", "settings are texts"),
        ('"cleanup.policy" = "delete", ', "", "cleanup.policy"),
        ('"retention.ms" = "-1", ', "", "retention.ms"),
        ("{node}", "{mission}", "its name is"),
        ("raw.", "Raw.", "its name is"),
        ("[", "", "is no TOML"),
    ],
)
def test_a_table_that_is_not_whole_is_refused(old, new, says):
    with pytest.raises(BadTable, match=says):
        parse(GOOD.replace(old, new, 1))


def test_a_node_that_is_no_mission_has_its_topics_once():
    names = [topic.name for topic in every(["EXTRA-1", "MONUSCO"])]
    assert "raw.EXTRA-1" in names
    assert names.count("raw.MONUSCO") == 1
