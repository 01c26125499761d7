import subprocess
import sys

import pytest

from schemas.errors import NotSetUp
from schemas.released import latest
from sinks.tables import HUB, NOTE, of_topic, render, table

ALL = (*HUB, "quarantine")
NEVER = {
    "incident_id",
    "pattern_id",
    "first_id",
    "second_id",
    "first_version",
    "second_version",
    "version_id",
    "verified_on",
    "ended_on",
    "ending",
    "change",
    "step",
    "late_verification",
    "conflict",
    "event_id",
    "node",
    "sequence",
    "offset",
    "topic",
    "recorded_on",
    "occurred_on",
    "period_start",
    "period_end",
    "area",
    "areas",
    "country",
    "admin1",
    "forms",
    "women",
    "girls",
    "men",
    "boys",
    "unknown",
    "deaths",
    "party",
    "party_category",
    "setting",
    "nexus",
    "reasons",
    "days_outside",
    "score",
    "primary_sources",
    "secondary_sources",
    "reporting_sources",
    "silent_sources",
}


def leaves(schema, path=""):
    for field in schema["fields"]:
        kind = field["type"]
        if isinstance(kind, dict) and kind["type"] == "record":
            yield from leaves(kind, f"{path}{field['name']}.")
        else:
            yield path + field["name"], field["doc"], isinstance(kind, list)


@pytest.mark.parametrize("name", ALL)
def test_every_field_of_the_first_contract_is_a_column_with_its_sentence(name):
    fields = list(leaves(latest(table(name).contracts[0]).schema))
    assert [(one.field, one.doc, one.nullable) for one in table(name).columns][: len(fields)] == fields


@pytest.mark.parametrize("name", ["incidents", "versions"])
def test_what_only_a_further_version_has_stands_at_the_end_and_may_be_null(name):
    first = len(list(leaves(latest("IncidentShared").schema)))
    more = {one.name: one for one in table(name).columns[first:]}
    names = ["version_id", "change", "step", "verified_on", "late_verification"]
    assert list(more) == names + (["ended_on", "ending", "conflict"] if name == "versions" else [])
    assert [one.name for one in more.values() if not one.nullable] == (["conflict"] if name == "versions" else [])
    assert more["step"].codes == ("focal_point", "technical", "task_force")
    assert more["step"].doc.startswith("Step of verification; null where this is no verification. Null for")
    assert "current" not in more


def test_a_table_names_the_version_of_each_incident_that_it_names():
    for name in ALL:
        assert len(table(name).versions) == (0 if name == "assessments" else len(table(name).naming))
    assert [name for name in ALL if table(name).ends] == ["versions"]


@pytest.mark.parametrize("name", ALL)
def test_a_column_is_named_by_the_last_part_of_its_field(name):
    assert [one.name for one in table(name).columns] == [one.field.split(".")[-1] for one in table(name).columns]


def test_kinds_follow_the_contract():
    kinds = {one.name: one.kind for name in ALL for one in table(name).columns}
    expected = {
        "incident_id": "id",
        "pattern_id": "id",
        "second_id": "id",
        "event_id": "id",
        "recorded_on": "date",
        "forms": "texts",
        "areas": "texts",
        "nexus": "texts",
        "reasons": "texts",
        "women": "integer",
        "sequence": "long",
        "un_eyewitness": "flag",
        "party": "text",
        "verification": "text",
    }
    assert {name: kinds[name] for name in expected} == expected


@pytest.mark.parametrize("name", ALL)
def test_nothing_that_could_identify_somebody_may_have_statistics(name):
    names = {one.name for one in table(name).columns}
    assert not table(name).statistics & NEVER
    assert table(name).statistics <= names
    assert set(table(name).order) <= names


def test_the_list_of_what_never_has_statistics_names_real_columns():
    assert {one.name for name in ALL for one in table(name).columns} >= NEVER


def test_a_topic_has_its_tables_and_a_link_is_committed_after_what_it_names():
    paths = of_topic("hub.lake-chad")
    assert set(paths) == {f"hub/lake-chad/{name}" for name in HUB}
    names = [one.name for one in paths.values()]
    assert names.index("versions") < names.index("incidents") < names.index("duplicates") < names.index("links")
    assert names.index("patterns") < names.index("links")
    assert list(of_topic("quarantine")) == ["quarantine"]


@pytest.mark.parametrize("topic", ["hub", "hub.", "accepted", "raw.MONUSCO", "quarantine.x", ""])
def test_another_topic_has_no_table(topic):
    with pytest.raises(NotSetUp, match="give `hub"):
        of_topic(topic)


def test_the_page_names_every_table_column_type_and_code():
    page = render()
    assert page.startswith(NOTE)
    assert "do not edit" in page.splitlines()[0]
    for name in ALL:
        section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
        for column in table(name).columns:
            (line,) = [one for one in section.splitlines() if one.startswith(f"| `{column.name}` |")]
            assert column.doc in line
            assert all(f"`{code}`" in line for code in column.codes)
            assert ("NOT NULL" in line) != column.nullable


def test_the_tables_are_known_without_pyarrow():
    program = "import sys, sinks.tables; sinks.tables.render(); print('pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
