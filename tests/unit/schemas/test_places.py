import csv
import json
import re
import subprocess
import sys
from collections import Counter
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import gazetteer, places, tables

DATA = Path(places.__file__).parent / "data"
ARABIC = re.compile(r"[\u0600-\u06ff]")
PCODES = [row for row in tables.read("pcodes") if row["level"] == "1"]
ALIASES = tables.read("place_aliases")
# What adds nothing to a name, in the languages of the nodes.
WORDS = [
    "{} State",
    "{} Region",
    "{} Province",
    "{} County",
    "State of {}",
    "Région de {}",
    "Province du {}",
    "ولاية {}",
]


def refusal(country, name):
    with pytest.raises(places.UnknownPlace) as caught:
        places.resolve_admin1(country, name)
    return caught.value.reason


def resolved(country, name):
    try:
        return places.resolve_admin1(country, name)
    except places.UnknownPlace as error:
        return error.reason


def incidents():
    return json.loads((DATA / "crsv_incidents_2020-2022.json").read_text())


def test_twenty_two_countries_are_monitored_and_every_country_of_the_world_is_known():
    assert len(places.monitored_countries()) == 22
    assert len(tables.read("countries")) == 249
    assert "UKR" not in places.monitored_countries()
    assert gazetteer.resolve_country("Ukraine") == "UKR"


def test_a_country_is_found_by_code_and_by_its_name_in_three_languages():
    for row in tables.read("countries"):
        for column in ("iso3", "en", "fr", "ar"):
            assert gazetteer.resolve_country(row[column]) == row["iso3"]


def test_a_monitored_country_has_a_name_in_three_languages():
    for iso3 in places.monitored_countries():
        assert gazetteer.country_name(iso3, "en")
        assert gazetteer.country_name(iso3, "fr")
        assert ARABIC.search(gazetteer.country_name(iso3, "ar"))


@pytest.mark.parametrize(
    ("name", "iso3"), [("DRC", "COD"), ("RDC", "COD"), ("CAR", "CAF"), ("Myanmar (Burma)", "MMR"), ("السودان", "SDN")]
)
def test_other_names_of_countries_are_known(name, iso3):
    assert gazetteer.resolve_country(name) == iso3


def test_what_is_no_country_is_refused():
    with pytest.raises(places.UnknownPlace, match="ISO 3166-1") as caught:
        gazetteer.resolve_country("Atlantis")
    assert caught.value.reason == "place.unknown_country"


def test_every_first_level_name_and_code_resolves_to_its_own_code():
    assert len({row["pcode"] for row in PCODES}) == len(PCODES) == 345
    for row in PCODES:
        assert places.resolve_admin1(row["country"], row["name"]) == row["pcode"]
        assert places.resolve_admin1(row["country"], row["pcode"]) == row["pcode"]


def test_every_alias_resolves_to_what_its_line_says():
    for row in ALIASES:
        expected = None if row["pcode"] == row["country"] else row["pcode"]
        assert places.resolve_admin1(row["country"], row["alias"]) == expected, row


def test_every_alias_points_to_a_first_level_area_of_its_country_and_says_where_it_is_from():
    known = {row["pcode"]: row["country"] for row in PCODES} | {iso3: iso3 for iso3 in places.monitored_countries()}
    for row in ALIASES:
        assert known[row["pcode"]] == row["country"], row
        assert row["source"], row
        assert row["note"] or row["pcode"] != row["country"], row


@given(st.sampled_from(PCODES), st.sampled_from(WORDS), st.sampled_from([str.upper, str.lower, str.title]))
def test_case_and_one_administrative_word_do_not_matter(row, pattern, case):
    assert places.resolve_admin1(row["country"], case(pattern.format(row["name"]))) == row["pcode"]


@pytest.mark.parametrize(
    ("country", "name", "pcode"),
    [
        ("COD", "North Kivu", "CD61"),
        ("COD", "nord kivu", "CD61"),
        ("COD", "South Kivu", "CD62"),
        ("ETH", "Amhara Region", "ET03"),
        ("ETH", "Tigré", "ET01"),
        ("ETH", "Afar National Regional State", "ET02"),
        ("SDN", "North Darfur State", "SD02"),
        ("SDN", "État du Darfour du Nord", "SD02"),
        ("SDN", "ولاية شمال دارفور", "SD02"),
        ("SSD", "Central Equatoria", "SS01"),
        ("SSD", "ولاية الوحده", "SS06"),
        ("CAF", "Ombella–M’Poko", "CF11"),
        ("CAF", "OUHAM-PENDÉ", "CF31"),
        ("CMR", "Région de l’Extrême-Nord", "CM004"),
        ("CMR", "Far North", "CM004"),
        ("TCD", "N’Djaména", "TD18"),
        ("NGA", "Niger State", "NG027"),
        ("KEN", "Murang’a County", "KE021"),
        ("LBY", "طرابلس", "LY02"),
        ("IRQ", "Nineveh Governorate", "IQG15"),
    ],
)
def test_names_in_the_nodes_languages_resolve(country, name, pcode):
    assert places.resolve_admin1(country, name) == pcode


@pytest.mark.parametrize("name", [None, "", "  ", "No Information", "no information", "NA", "n/a", "Inconnu"])
def test_nothing_stated_is_the_country(name):
    assert places.resolve_admin1("SDN", name) is None


@pytest.mark.parametrize(("country", "name"), [("MMR", "Shan State"), ("COD", "Katanga"), ("SOM", "Puntland")])
def test_a_name_that_covers_several_areas_is_the_country(country, name):
    assert places.resolve_admin1(country, name) is None


@pytest.mark.parametrize(
    ("country", "name"),
    [
        ("SDN", "West Sudan State"),
        ("SDN", "North Darfour State"),
        ("SDN", "SD02x"),
        ("SDN", "CD61"),
        ("COD", "North Darfur"),
        ("SSD", "North Darfur"),
        ("ETH", "Eastern"),
        ("UKR", "Kyiv"),
        ("COD", "Kivu"),
        ("NGA", "State"),
    ],
)
def test_a_name_that_is_no_place_of_the_country_is_refused_never_guessed(country, name):
    assert refusal(country, name) == "place.unknown_admin1"


def test_the_refusal_says_what_to_do_and_does_not_repeat_the_cell():
    with pytest.raises(places.UnknownPlace, match=r"pcodes\.csv") as caught:
        places.resolve_admin1("SDN", "Aisha, behind the well")
    assert "Aisha" not in str(caught.value)


def test_a_second_level_name_is_the_area_that_contains_it_if_only_one_does():
    assert places.resolve_admin1("UGA", "Hoima District") == "UG4"
    assert places.resolve_admin1("SDN", "Al Fasher") == "SD02"
    parents = {}
    for row in tables.read("pcodes"):
        if row["country"] == "NGA" and row["level"] == "2":
            parents.setdefault(row["name"], set()).add(row["parent"])
    first_level = {row["name"] for row in PCODES}
    ambiguous = [name for name, found in parents.items() if len(found) > 1 and name not in first_level]
    assert ambiguous
    for name in ambiguous:
        assert refusal("NGA", name) == "place.unknown_admin1"


@given(st.text(max_size=40))
@settings(max_examples=200)
def test_any_text_gives_a_code_of_the_country_or_none_or_the_refusal(name):
    assert resolved("COD", name) in {"place.unknown_admin1", None, *places.areas_of("COD")}


@given(st.text(max_size=40))
def test_folding_twice_is_folding_once(name):
    assert gazetteer.fold(gazetteer.fold(name)) == gazetteer.fold(name)


def test_all_real_rows_but_two_resolve():
    rows = [r for r in incidents() if r["SV Context"] == "CRSV" and r["Country ISO"] in places.monitored_countries()]
    outcome = Counter(resolved(row["Country ISO"], row["Admin 1"]) for row in rows)
    assert (len(rows), outcome.pop(None), outcome.pop("place.unknown_admin1")) == (464, 5, 2)
    assert outcome.keys() <= {row["pcode"] for row in PCODES}


def test_the_rows_of_north_and_south_kivu_resolve():
    counts = Counter(
        places.resolve_admin1("COD", row["Admin 1"])
        for row in incidents()
        if row["Country ISO"] == "COD" and row["Admin 1"] in {"North Kivu", "South Kivu"}
    )
    assert counts == {"CD61": 69, "CD62": 28}


def test_every_location_of_the_real_patterns_is_a_country():
    with (DATA / "svac.csv").open(encoding="utf-8-sig", newline="") as file:
        names = {name.strip() for row in csv.DictReader(file) for name in row["location"].split(",")}
    assert len({gazetteer.resolve_country(name) for name in names}) >= 16


def test_each_monitored_area_is_in_a_region_and_no_other_area_is():
    areas = [area for country in places.monitored_countries() for area in places.areas_of(country)]
    assert len(areas) == 22 + 345
    assert all(places.region_codes_of(area) for area in areas)
    assert {area for region in places.regions() for area in region.areas} == set(areas)
    assert places.region_codes_of("UKR") == places.region_codes_of("") == ()


def test_regions_have_codes_and_three_names():
    codes = [region.code for region in places.regions()]
    assert codes == ["lake-chad", "sahel", "horn-of-africa", "great-lakes", "libya-neighbours", "other-situations"]
    for region in places.regions():
        assert region.name_en
        assert region.name_fr
        assert ARABIC.search(region.name_ar)
        assert len(set(region.areas)) == len(region.areas) > 0


def test_the_lake_chad_basin_is_the_eight_areas_of_the_commissions_strategy():
    lake = next(region for region in places.regions() if region.code == "lake-chad")
    names = {row["name"] for row in PCODES if row["pcode"] in lake.areas}
    assert names == {"Borno", "Yobe", "Adamawa", "Diffa", "Lac", "Hadjer-Lamis", "Extreme-Nord", "Nord"}
    assert len(lake.areas) == 8


@pytest.mark.parametrize(
    ("area", "regions"),
    [
        ("TD07", ("lake-chad", "sahel", "libya-neighbours")),
        ("TD01", ("sahel", "libya-neighbours")),
        ("NG008", ("lake-chad",)),
        ("NG025", ("other-situations",)),
        ("NGA", ("other-situations",)),
        ("SSD", ("horn-of-africa", "great-lakes")),
        ("SD02", ("horn-of-africa", "libya-neighbours")),
        ("CD61", ("great-lakes",)),
        ("LBY", ("libya-neighbours",)),
        ("IRQ", ("other-situations",)),
        ("MMR012", ("other-situations",)),
    ],
)
def test_an_area_is_in_the_regions_of_the_list(area, regions):
    assert places.region_codes_of(area) == regions


def test_areas_of_a_country_are_itself_and_its_first_level():
    assert set(places.areas_of("RWA")) == {"RWA", "RW1", "RW2", "RW3", "RW4", "RW5"}
    assert places.areas_of("RW1") == ("RW1",)
    assert places.areas_of("UKR") == ()


def test_country_of_an_area():
    assert places.country_of("CD61") == "COD"
    assert places.country_of("COD") == "COD"
    assert places.country_of("XX99") is None


def test_validity_dates_are_kept():
    assert all(date.fromisoformat(row["valid_from"]) for row in tables.read("pcodes"))


def test_missions_cover_every_monitored_country_and_hand_over_to_one_that_exists():
    missions = {mission.code: mission for mission in places.missions()}
    today = date(2026, 1, 1)
    living = [m for m in missions.values() if m.until is None or m.until >= today]
    assert {country for m in living for country in m.countries} == places.monitored_countries()
    for mission in missions.values():
        assert mission.kind in {"peacekeeping", "special_political", "liaison", "country_team"}
        assert set(mission.countries) <= places.monitored_countries()
        assert mission.since is None or mission.until is None or mission.since < mission.until
        assert (mission.successor is None) == (mission.until is None)
        assert mission.successor is None or missions[mission.successor].countries == mission.countries


def test_places_need_nothing_heavy():
    code = (
        "import sys, schemas.places as p; p.regions(); p.resolve_admin1('COD', 'North Kivu');"
        "print([m for m in ('numpy', 'numba', 'pyarrow', 'polars') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
