import json

import pytest

from schemas import events


def write(root, version, schema):
    folder = root / "avro" / f"v{version}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{schema['name']}.avsc").write_text(json.dumps(schema))


def record(name, *fields):
    return {
        "type": "record",
        "name": name,
        "fields": [{"name": f"f{i}", "type": kind} for i, kind in enumerate(fields)],
    }


def references(node, defined, wrong):
    if isinstance(node, list):
        for branch in node:
            references(branch, defined, wrong)
    elif isinstance(node, str):
        if node not in events.PRIMITIVES | defined:
            wrong.append(node)
    else:
        defined |= {node["name"]} if "name" in node else set()
        for inner in [node[key] for key in ("items", "values") if key in node] + [
            field["type"] for field in node.get("fields", ())
        ]:
            references(inner, defined, wrong)


@pytest.mark.parametrize("name", events.NAMES)
def test_a_loaded_contract_defines_every_type_before_it_names_it(name):
    wrong = []
    references(events.load(name), set(), wrong)
    assert not wrong
    assert events.load(name)["name"] == name


def test_a_loaded_contract_is_the_callers_own():
    events.load("Incident")["fields"].clear()
    assert events.load("Incident")["fields"]


def test_a_type_of_another_file_is_defined_once_and_named_after_that(tmp_path):
    write(tmp_path, 1, {"type": "fixed", "name": "Id", "size": 2})
    write(tmp_path, 1, record("Pair", "Id", {"type": "array", "items": "Id"}))
    fields = events.load("Pair", root=tmp_path)["fields"]
    assert [field["type"] for field in fields] == [
        {"type": "fixed", "name": "Id", "size": 2},
        {"type": "array", "items": "Id"},
    ]


def test_two_definitions_of_one_name_must_be_alike(tmp_path):
    write(tmp_path, 1, {"type": "fixed", "name": "Id", "size": 2})
    write(tmp_path, 1, record("Pair", "Id", {"type": "fixed", "name": "Id", "size": 3}))
    with pytest.raises(ValueError, match="Id is defined twice"):
        events.load("Pair", root=tmp_path)


def test_a_version_takes_the_newest_definition_that_is_not_newer(tmp_path):
    write(tmp_path, 1, {"type": "fixed", "name": "Id", "size": 1})
    write(tmp_path, 1, record("Outer", "Id"))
    write(tmp_path, 3, {"type": "fixed", "name": "Id", "size": 3})
    sizes = [events.load("Outer", version, tmp_path)["fields"][0]["type"]["size"] for version in (1, 2, 3)]
    assert sizes == [1, 1, 3]


def test_an_unknown_contract_is_named():
    with pytest.raises(LookupError, match="no contract 'Nonsense'"):
        events.load("Nonsense")
