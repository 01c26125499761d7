from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli.revisions import _value as typed
from pipeline.node import facts
from quality import lists
from schemas.errors import BadInput
from schemas.tables import read
from tests.unit.pipeline.node.test_record import INCIDENT


def codes(name):
    return st.sampled_from(sorted(lists.codes(name)))


FORMS = st.lists(codes("Form"), unique=True)
PARTIES = st.sampled_from([row["name"] for row in read("parties")])
VALUES = {
    "occurred_on": st.dates(),
    "date_precision": codes("DatePrecision"),
    "admin1": st.none() | st.just("CD61"),
    "forms": FORMS,
    "women": st.integers(0, 999_999_999),
    "party": st.none() | PARTIES,
    "un_eyewitness": st.booleans(),
    "setting": codes("Setting"),
}


@given(st.data(), st.sampled_from(sorted(VALUES)))
def test_a_value_as_it_is_said_is_the_value_that_is_read(data, name):
    value = data.draw(VALUES[name])
    found = facts.value(name, typed(value))
    assert found == (sorted(value, key=facts._types()["forms"]["items"]["symbols"].index) if name == "forms" else value)


@pytest.mark.parametrize(
    ("setting", "name", "value"),
    [
        ("forms=sexual_slavery, rape", "forms", ["rape", "sexual_slavery"]),
        ("nexus=", "nexus", []),
        ("party=", "party", None),
        ("admin1= CD61 ", "admin1", "CD61"),
        ("occurred_on=2022-03-31", "occurred_on", date(2022, 3, 31)),
        ("women=3", "women", 3),
    ],
)
def test_what_is_typed_is_a_value_of_the_contract(setting, name, value):
    assert facts.assigned([setting]) == {name: value}


def test_a_party_brings_its_kind_unless_that_is_said():
    found = facts.assigned(["party=M23"])
    assert found == {"party": "March 23 Movement", "party_category": "armed_group"}
    assert facts.assigned(["party=M23", "party_category=other"])["party_category"] == "other"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["women"], "FIELD=VALUE"),
        (["place=x"], "choose one of: occurred_on"),
        (["women=1", "women=2"], "set twice"),
        (["women=-1"], "whole number"),
        (["women=many"], "whole number"),
        (["women="], "whole number"),
        (["women=9999999999"], "whole number"),
        (["country="], "empty"),
        (["forms=rape,robbery"], "unspecified, rape"),
        (["setting=House"], "unknown, home"),
        (["setting="], "unknown, home"),
        (["occurred_on=31.3.2022"], "2022-03-31"),
        (["occurred_on=20220331"], "2022-03-31"),
        (["occurred_on="], "2022-03-31"),
        (["party=The Synthetic Front"], r"parties\.csv"),
        (["party=3R, Anti-Balaka"], r"parties\.csv"),
        (["party=Unidentified Armed Actor"], r"parties\.csv"),
        *(([f"{name}=1"], f"{name} is moved by `tocsin node verify` only") for name in facts.OF_VERIFICATION),
    ],
)  # fmt: skip
def test_what_cannot_be_set_is_said_with_what_can(settings, said):
    with pytest.raises(BadInput, match=said):
        facts.assigned(settings)


@pytest.mark.parametrize(("word", "value"), [("yes", True), ("True", True), ("no", False), ("false", False)])
def test_yes_and_no(word, value):
    assert facts.value("un_eyewitness", word) is value
    with pytest.raises(BadInput, match="one of: yes"):
        facts.value("un_eyewitness", f"{word}!")


def test_what_differs_is_named_in_the_order_of_the_contract():
    assert facts.changed(INCIDENT, {**INCIDENT, "women": 2, "admin1": None, "country": "COD"}) == ["admin1", "women"]
