"""The pages of reference are what their sources render, and nothing is left out of them."""

import re

import pytest

from pipeline import generated
from pipeline.cli.app import cli
from quality.rules import RULES
from schemas.released import releases
from sinks.tables import HUB, table
from tests.docs.pages import ROOT

REFERENCE = ROOT / "docs" / "reference"


def page(name):
    return (REFERENCE / name).read_text()


def section(text, heading):
    (found,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return found


def test_every_rendered_file_is_what_its_source_says():
    texts = generated.rendered()
    assert generated.stale(texts) == []
    assert {path.name for path in REFERENCE.iterdir()} == {
        path.rpartition("/")[2] for path in texts if path.startswith("docs/reference/")
    }


@pytest.mark.parametrize("path", ["docs/reference/commands.md", "docs/reference/tables.md"])
def test_an_edited_page_is_noticed(path):
    texts = generated.rendered()
    assert generated.stale(texts | {path: texts[path] + "one line more\n"}) == [path]


def test_every_command_has_its_heading_and_all_its_options():
    text = page("commands.md")
    for path, command in generated.walk(cli, "tocsin"):
        shown = section(text, path)
        for parameter in command.params:
            options = [option for option in parameter.opts if option.startswith("--")]
            assert all(option in shown for option in options), (path, parameter.name)
        assert (command.help or "").split("\n")[0].split(".")[0][:40] in " ".join(shown.split()), path


def test_every_rule_is_there():
    text = page("rules.md")
    assert {rule.code for rule in RULES if f"`{rule.code}`" not in text} == set()


@pytest.mark.parametrize("name", [*HUB, "quarantine"])
def test_every_column_of_a_table_is_there(name):
    shown = section(page("tables.md"), name)
    assert {column.name for column in table(name).columns if f"| `{column.name}` |" not in shown} == set()


def test_every_field_of_a_contract_is_there():
    text = page("contracts.md")
    for release in releases():
        shown = section(text, f"{release.id} · {release.name} v{release.version}")
        assert release.fingerprint[::-1].hex() in shown
        assert {field["name"] for field in release.schema["fields"] if f"| `{field['name']}` |" not in shown} == set()
