import csv
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import codes, events, gazetteer, limits, places, tables

ROOT = Path(codes.__file__).resolve().parents[1]
DATA = Path(codes.__file__).parent / "data"
ARABIC = re.compile(r"[\u0600-\u06ff]")
# Reasons as the sources write them; a name of a file is none.
WRITTEN = re.compile(
    r'"((?:avro|frame|envelope|seal|keys|place|form|party|perpetrator|setting|context|svac|date|persons|deaths|row|cell|stage|revision)'
    r'\.[a-z0-9_]+)"'
)
FILES = (".log", ".json", ".key", ".csv")


def symbols(name):
    def walk(node):
        if isinstance(node, list):
            for branch in node:
                yield from walk(branch)
        elif isinstance(node, dict):
            if node.get("type") == "enum" and node["name"] == name:
                yield from node["symbols"]
            for value in node.values():
                yield from walk(value)

    return list(walk(events.load("Incident")))


def refusal(call, *arguments):
    with pytest.raises(codes.UnknownCode) as caught:
        call(*arguments)
    assert str(caught.value) == codes.sentence(caught.value.reason, "en")
    return caught.value.reason


def conflict_related():
    rows = json.loads((DATA / "crsv_incidents_2020-2022.json").read_text())
    return [r for r in rows if r["SV Context"] == "CRSV" and r["Country ISO"] in places.monitored_countries()]


def patterns():
    with (DATA / "svac.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


# Three languages


@pytest.mark.parametrize("row", tables.read("reasons"), ids=lambda row: row["code"])
def test_a_reason_has_a_sentence_in_three_languages(row):
    assert {row["en"], row["fr"], row["ar"]}.isdisjoint({""})
    assert len({row["en"], row["fr"], row["ar"]}) == 3
    assert ARABIC.search(row["ar"])
    assert not ARABIC.search(row["en"] + row["fr"])
    assert all(sentence.endswith(".") for sentence in (row["en"], row["fr"], row["ar"]))


@pytest.mark.parametrize("row", tables.read("forms"), ids=lambda row: row["code"])
def test_a_form_has_a_name_in_three_languages(row):
    for language in codes.LANGUAGES:
        assert codes.form_name(row["code"], language)
    assert ARABIC.search(codes.form_name(row["code"], "ar"))
    assert codes.form_name(row["code"], "fr") != codes.form_name(row["code"], "ar")


def test_no_code_is_listed_twice():
    for name, column in [("reasons", "code"), ("forms", "code"), ("parties", "name"), ("not_parties", "name")]:
        rows = tables.read(name)
        assert len({row[column] for row in rows}) == len(rows)


def test_every_reason_that_the_sources_give_has_a_sentence():
    given_reasons = {reason for reason in limits.REASONS if reason}
    for folder in ("schemas", "streams", "pipeline"):
        for path in (ROOT / folder).rglob("*.py"):
            given_reasons |= {reason for reason in WRITTEN.findall(path.read_text()) if not reason.endswith(FILES)}
    given_reasons |= {
        row["reason"] for name in ("form_names", "contexts") for row in tables.read(name) if row["reason"]
    }
    assert given_reasons - set(codes.reasons()) == set()


# The lists and the contract


def test_the_lists_use_the_contracts_own_words():
    forms, categories, settings = symbols("Form"), symbols("PartyCategory"), symbols("Setting")
    assert [row["code"] for row in tables.read("forms")] == forms
    assert {row["form"] for row in tables.read("form_names")} <= {*forms, ""}
    assert {row["category"] for row in tables.read("perpetrators")} <= set(categories)
    assert {row["category"] for row in tables.read("parties")} <= set(categories)
    assert {row["category"] for row in tables.read("not_parties")} <= {*categories, ""}
    assert {row["setting"] for row in tables.read("settings")} <= set(settings)


def test_every_form_of_svac_is_where_the_codebook_says():
    expected = {row["svac"]: row["code"] for row in tables.read("forms") if row["svac"]}
    assert len(expected) == 7
    for number, form in expected.items():
        assert codes.forms_of("svac", number) == (form,)


def test_a_word_is_taken_or_refused_and_says_why():
    for row in tables.read("form_names"):
        assert bool(row["form"]) != bool(row["reason"])
        assert row["why"]
    for name in ("not_parties", "contexts"):
        assert all(row["why"] for row in tables.read(name))


# Forms


@pytest.mark.parametrize(
    ("scheme", "cell", "forms"),
    [
        ("svac", "1, 2, 5,", ("rape", "sexual_slavery", "forced_sterilization_abortion")),
        ("svac", "1, 2 , 7", ("rape", "sexual_slavery", "sexual_torture")),
        ("svac", "NA", ("unspecified",)),
        ("insecurity_insight", "Rape", ("rape",)),
        ("insecurity_insight", "AttemptedSexualAssault, Rape", ("sexual_assault", "rape")),
        ("insecurity_insight", "SexualAssault, UnwantedSexualTouching", ("sexual_assault",)),
        ("insecurity_insight", "SexualHarassment, Rape", ("rape",)),
        ("insecurity_insight", "StrippedNaked/TornClothes", ("other_comparable",)),
        ("gbvims", "Sexual Assault", ("sexual_assault",)),
    ],
)
def test_forms_of_a_cell(scheme, cell, forms):
    assert codes.forms_of(scheme, cell) == forms


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("SexualHarassment", "form.outside_definition"),
        ("ThreatOfSexualViolence, SexualHarassment", "form.outside_definition"),
        ("Burglary", "form.unknown"),
        ("Rape, Burglary", "form.unknown"),
        ("", "form.not_stated"),
        (" , ", "form.not_stated"),
        ("NotAnswered", "form.not_stated"),
    ],
)
def test_a_cell_without_an_act_is_refused(cell, reason):
    assert refusal(codes.forms_of, "insecurity_insight", cell) == reason


@given(st.lists(st.sampled_from([r["name"] for r in tables.read("form_names") if r["scheme"] == "svac"]), min_size=1))
def test_forms_come_once_and_in_order(names):
    forms = codes.forms_of("svac", ", ".join(names))
    assert len(set(forms)) == len(forms)
    assert forms == tuple(dict.fromkeys(codes.forms_of("svac", name)[0] for name in names))


# Parties


@pytest.mark.parametrize(
    ("name", "party", "category"),
    [
        ("M23", "March 23 Movement", "armed_group"),
        ("MARCH 23 MOVEMENT", "March 23 Movement", "armed_group"),
        ("Tigray People's Liberation Front", "Tigray People’s Liberation Front", "armed_group"),
        ("TPLF", "Tigray People’s Liberation Front", "armed_group"),
        ("SPLM/A In Opposition", "SPLM/A-IO", "armed_group"),
        ("Macedonia, FYR", "Government of North Macedonia", "national_army"),
        ("Militia, Sudanese Armed Forces", "Sudanese Armed Forces", "national_army"),
        ("Unidentified Armed Actor", None, "armed_group"),
        ("Health worker", None, "other"),
        ("Private security", None, "other"),
        ("Refugees/IDPs", None, "other"),
        ("No Information", None, None),
        ("", None, None),
        ("Eritrean Defence Forces, Ethiopian National Defense Forces", None, "national_army"),
        ("3R, Anti-Balaka", None, "armed_group"),
        ("Central African Armed Forces, Coalition of Patriots for Change", None, "other"),
        ("Clan, Militia", None, "other"),
    ],
)
def test_party_of_a_name(name, party, category):
    assert codes.party(name) == (party, category)


@pytest.mark.parametrize("name", ["The Synthetic Front", "M23, The Synthetic Front", "Boko"])
def test_a_party_that_is_not_listed_is_refused_never_guessed(name):
    assert refusal(codes.party, name) == "party.not_listed"


def test_every_alias_means_one_party():
    owner = {}
    for row in tables.read("parties"):
        for name in {gazetteer.fold(n) for n in (row["name"], *filter(None, row["aliases"].split(" | ")))}:
            assert owner.setdefault(name, row["name"]) == row["name"]
            assert codes.party(name)[0] == row["name"]
    assert owner.keys().isdisjoint(gazetteer.fold(row["name"]) for row in tables.read("not_parties"))


def test_names_that_are_not_merged():
    apart = [
        ("Boko Haram", "Islamic State West Africa Province"),
        ("Janjaweed", "Rapid Support Forces"),
        ("FDLR", "ALiR (Army for the Liberation of Rwanda)"),
        ("OLF", "Oromo Liberation Army"),
        ("LRA", "Lord's Army"),
        ("Ethiopia", "Ethiopian National Defense Forces"),
    ]
    for one, other in apart:
        assert codes.party(one)[0] != codes.party(other)[0]


def test_countries_of_a_party_are_monitored_ones_and_some_cross_borders():
    countries = {row["name"]: row["countries"].split() for row in tables.read("parties")}
    assert {iso3 for found in countries.values() for iso3 in found} <= places.monitored_countries()
    for name in ("Boko Haram", "Wagner Group", "Imbonerakure (Burundi)", "South Sudan People's Defence Force"):
        assert len(countries[name]) > 1


def test_svac_names_with_one_actor_id_are_one_party():
    names = {}
    for row in patterns():
        names.setdefault(row["actorid_new"], set()).add(codes.party(row["actor"])[0])
    assert all(len(found) == 1 and None not in found for found in names.values())


# Kinds of perpetrator and of setting


@pytest.mark.parametrize(
    ("scheme", "kind", "name", "category"),
    [
        ("svac", "1", "Ethiopia", "national_army"),
        ("svac", "2", "France", "international_forces"),
        ("svac", "3", "LRA", "armed_group"),
        ("svac", "6", "Lord's Resistance Army (LRA)", "paramilitary_forces"),
        ("insecurity_insight", "NSA", "Unidentified Armed Actor", "armed_group"),
        ("insecurity_insight", "Foreign Forces - Military", "Eritrean Defence Forces", "international_forces"),
        ("insecurity_insight", "Other", "Ethiopian National Defense Forces", "national_army"),
        ("insecurity_insight", "NSA", "Imbonerakure (Burundi)", "paramilitary_forces"),
        ("insecurity_insight", "Other", "Fulani herdsmen", "other"),
        ("insecurity_insight", "Police", "", "police_forces"),
        ("insecurity_insight", "Other", "", "unknown"),
        ("insecurity_insight", "", "", "unknown"),
        ("mrm", "security_forces", "", "security_forces"),
    ],
)
def test_kind_of_perpetrator(scheme, kind, name, category):
    assert codes.perpetrator(scheme, kind, name) == category


def test_a_kind_of_perpetrator_that_is_not_listed_is_refused():
    assert refusal(codes.perpetrator, "svac", "9") == "perpetrator.unknown_kind"


def test_kind_of_setting():
    assert codes.setting("insecurity_insight", "Victims Home") == "home"
    assert codes.setting("insecurity_insight", "No Information") == "unknown"
    assert codes.setting("insecurity_insight", "") == "unknown"
    assert refusal(codes.setting, "insecurity_insight", "On the moon") == "setting.unknown"


# The real files


def test_all_real_incidents_but_one_have_a_form_and_all_have_a_known_perpetrator_and_setting():
    outcome = Counter()
    for row in conflict_related():
        codes.party(row["Reported Perpetrator Name"])
        codes.perpetrator("insecurity_insight", row["Reported Perpetrator"], row["Reported Perpetrator Name"])
        codes.setting("insecurity_insight", row["Location Where Sexual Violence Was Committed"])
        try:
            codes.forms_of("insecurity_insight", row["Type of SV"])
            outcome["taken"] += 1
        except codes.UnknownCode as error:
            outcome[error.reason] += 1
    assert outcome == {"taken": 463, "form.outside_definition": 1}


def test_all_real_patterns_have_forms_and_a_category():
    categories = Counter()
    for row in patterns():
        assert codes.forms_of("svac", row["form"])
        categories[codes.perpetrator("svac", row["actor_type"], row["actor"])] += 1
    assert sum(categories.values()) == 3103
    assert categories.keys() == {"armed_group", "international_forces", "national_army", "paramilitary_forces"}


def test_the_real_data_holds_no_narrative_and_no_coordinate():
    rows = json.loads((DATA / "crsv_incidents_2020-2022.json").read_text())
    assert len(rows) == 908
    assert {row[column] for row in rows for column in ("Event Description", "Latitude", "Longitude")} == {""}
