import json
import re
import shutil

import pytest

from schemas import evolution
from schemas.events import ROOT
from schemas.released import Release, read, releases


@pytest.fixture
def root(tmp_path):
    """A copy of the contracts, to be broken."""
    shutil.copytree(ROOT / "avro", tmp_path / "avro")
    shutil.copy(ROOT / "released.csv", tmp_path / "released.csv")
    return tmp_path


def change(root, name, edit, version=2):
    """Write the next version of a contract; return its path."""
    schema = json.loads((root / "avro" / "v1" / f"{name}.avsc").read_text())
    edit(schema)
    path = root / "avro" / f"v{version}" / f"{name}.avsc"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(schema))
    return path


def release(root, name, version):
    """Append a contract to the csv of the copy."""
    csv = root / "released.csv"
    line = evolution.line(name, version, len(read(root)) + 1, root)
    csv.write_text(csv.read_text() + line + "\n")


def field(schema, name):
    return next(one for one in schema["fields"] if one["name"] == name)


def add(schema, **one):
    schema["fields"].append(one)


def test_the_contracts_of_this_repository_are_as_released_and_readable_for_good():
    assert evolution.check() == []


def test_a_field_with_a_default_may_come_and_a_symbol_may_go(root):
    change(root, "EpochKey", lambda schema: add(schema, name="note", type=["null", "string"], default=None))
    release(root, "EpochKey", 2)
    change(root, "IncidentRetracted", lambda schema: field(schema, "reason")["type"]["symbols"].remove("security"))
    release(root, "IncidentRetracted", 2)
    assert evolution.check(root) == []


BREAKING = {
    "a field without a default comes": (
        "EpochKey",
        lambda schema: add(schema, name="note", type="string"),
        "new cannot read old",
    ),
    "a field without a default goes": (
        "EpochKey",
        lambda schema: schema["fields"].pop(),
        "old cannot read new",
    ),
    "a number grows": (
        "EpochKey",
        lambda schema: field(schema, "epoch").update(type="long"),
        "old cannot read new at .*: type_mismatch",
    ),
    "a fixed grows": (
        "CaseKey",
        lambda schema: field(schema, "wrapped")["type"].update(size=64),
        "fixed_size_mismatch",
    ),
    "an enum without a default loses a symbol": (
        "PatternLinked",
        lambda schema: (
            without := field(schema, "party_match")["type"],
            without.pop("default"),
            without["symbols"].pop(),
        ),
        "missing_enum_symbols",
    ),
    "a name changes": ("EpochKey", lambda schema: schema.update(name="Key"), "name_mismatch"),
    # The avro package's checker lets the next three pass.
    "a namespace changes": ("EpochKey", lambda schema: schema.update(namespace="other"), "moved from namespace tocsin"),
    "a time becomes a number": (
        "IncidentReported",
        lambda schema: (field(schema, "recorded_at").update(type="long"), add(schema, name="x", type="int", default=1)),
        "recorded_at had the logical type 'timestamp-millis'",
    ),
    "a default is no bytes": (
        "EpochKey",
        lambda schema: add(schema, name="note", type="bytes", default="\u0100"),
        "the default of note is no bytes",
    ),
    "a default is no value": (
        "EpochKey",
        lambda schema: add(schema, name="note", type=["null", "string"], default=""),
        "the default of note is no null",
    ),
    "a type that no lane reads": (
        "EpochKey",
        lambda schema: add(schema, name="note", type="float", default=1.0),
        "float is no type that a contract of ours may use",
    ),
}


@pytest.mark.parametrize(("name", "edit", "told"), BREAKING.values(), ids=BREAKING)
def test_a_breaking_change_is_found(root, name, edit, told):
    change(root, name, edit)
    release(root, name, 2)
    found = "\n".join(evolution.check(root))
    assert name in found
    assert re.search(told, found), found


def test_each_version_is_held_against_every_one_before(root):
    # v2 takes a string with a default away, v3 brings it back as a number: each step alone is compatible.
    def with_note(kind, default):
        return lambda schema: add(schema, name="note", type=kind, default=default)

    for version, edit in (
        (2, with_note("string", "")),
        (3, lambda schema: add(schema, name="x", type="int", default=0)),
    ):
        change(root, "EpochKey", edit, version)
        release(root, "EpochKey", version)
    assert evolution.check(root) == []
    change(root, "EpochKey", with_note("int", 0), 4)
    release(root, "EpochKey", 4)
    found = evolution.check(root)
    assert found
    assert all(problem.startswith("EpochKey v4 against v2:") for problem in found)


def test_an_edited_release_is_found_even_where_only_a_comment_changed(root):
    change(root, "EpochKey", lambda schema: schema.update(doc="other"), version=1)
    assert evolution.check(root) == [
        "EpochKey v1 was edited after its release; restore the file and write the change as v2"
    ]


def test_an_edited_nested_contract_is_found_in_all_that_hold_it(root):
    change(root, "Incident", lambda schema: field(schema, "women").update(type="long"), version=1)
    found = evolution.check(root)
    edited = {problem.split()[0] for problem in found if "was edited" in problem}
    further = {"IncidentAmended", "IncidentVerified", "ConsentGiven", "RevisionAccepted", "RevisionShared"}
    assert edited == {"Incident", "IncidentReported", "IncidentAccepted", "IncidentShared", *further}


def test_a_contract_that_is_not_released_brings_its_line(root):
    change(root, "EpochKey", lambda schema: add(schema, name="note", type="int", default=0))
    (problem,) = evolution.check(root)
    number = len(releases()) + 1
    assert problem.startswith(f"EpochKey v2 is not released; append to released.csv: {number},EpochKey,2,")
    with (root / "released.csv").open("a") as file:
        file.write(problem.partition("released.csv: ")[2] + "\n")
    assert evolution.check(root) == []


def test_a_release_without_effect_is_refused(root):
    change(root, "EpochKey", lambda schema: schema.update(doc="other"))
    release(root, "EpochKey", 2)
    assert evolution.check(root) == ["EpochKey v2 resolves as EpochKey v1 does; it needs no release"]


def test_a_lost_file_is_found(root):
    (root / "avro" / "v1" / "EpochKey.avsc").unlink()
    (problem,) = evolution.check(root)
    assert problem.startswith("a released contract has lost its file: no contract 'EpochKey'")


def test_a_moved_line_is_found(root):
    head, first, second, *rest = (root / "released.csv").read_text().splitlines()
    (root / "released.csv").write_text("\n".join([head, second, first, *rest]) + "\n")
    assert len([problem for problem in evolution.check(root) if "never moved" in problem]) == 2


def test_two_releases_say_why_they_do_not_fit():
    def made(kind):
        schema = {"type": "record", "name": "One", "fields": [{"name": "value", "type": kind}]}
        return Release(1, "One", 1, bytes(8), schema)

    assert evolution.breaks(made("int"), made("int")) == []
    assert len(evolution.breaks(made("int"), made("string"))) == 2
