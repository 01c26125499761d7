import json
import re
from collections import Counter
from datetime import date
from pathlib import Path
from typing import ClassVar

import pytest

from pipeline.node.importers import table as tables
from pipeline.node.importers.base import Row, read
from pipeline.node.importers.insecurity_insight import InsecurityInsight
from tests.conformance.importer import ImporterCase, as_json

FILE = Path(__file__).parents[4] / "schemas" / "data" / "crsv_incidents_2020-2022.json"
MONITORED = set(re.findall("...", "NGANERTCDCMRMLIBFAMRTSOMETHKENSSDSDNDJIERIUGACODCAFRWABDILBYIRQMMR"))
SEX, AGE, NUMBER = "survivor or victim sex", "adult or minor", "number of reported victims"
DEATHS = "reported deaths following the sexual violence"


class TestInsecurityInsight(ImporterCase):
    importer = InsecurityInsight()
    good: ClassVar = {
        "sind event id": "999000001",
        "date": "2021-05-03",
        "country iso": "COD",
        "admin 1": "Ituri",
        "location where sexual violence was committed": "Victims Home",
        "reported perpetrator": "NSA",
        "reported perpetrator name": "Unidentified Armed Actor",
        SEX: "Female",
        AGE: "Adult, ",
        "type of sv": "Rape, SexualAssault",
        "sv context": "CRSV",
        NUMBER: "3",
        DEATHS: "",
    }
    facts: ClassVar = {
        "occurred_on": date(2021, 5, 3),
        "date_precision": "day",
        "country": "COD",
        "admin1": "CD54",
        "forms": ["rape", "sexual_assault"],
        "women": 3,
        "unknown": 0,
        "deaths": 0,
        "party_category": "armed_group",
        "party": None,
        "setting": "home",
        "verification": "report_pending_verification",
        "source_kind": "public_report",
        "sharing_basis": "public_information",
    }
    bad: ClassVar = {
        "place.not_monitored": {"country iso": "CHL", "sv context": "Other", "date": "never"},
        "place.unknown_country": {"country iso": "XXX"},
        "context.security_personnel": {"sv context": "SV by security personnel", "admin 1": "Nowhere"},
        "context.safeguarding": {"sv context": "Safeguarding"},
        "context.missing": {"sv context": ""},
        "context.unknown": {"sv context": "War"},
        "place.unknown_admin1": {"admin 1": "West Sudan State"},
        "form.outside_definition": {"type of sv": "SexualHarassment"},
        "form.not_stated": {"type of sv": ""},
        "persons.missing": {NUMBER: ""},
        "persons.number": {NUMBER: "several"},
        "deaths.number": {DEATHS: "-1"},
        "date.day": {"date": "2021-02-30"},
        "setting.unknown": {"location where sexual violence was committed": "=cmd()"},
        "party.not_listed": {"reported perpetrator name": "@Nobody of this name"},
        "perpetrator.unknown_kind": {"reported perpetrator": "Ghost"},
        "cell.too_long": {"admin 1": "x" * 1_001},
    }

    @pytest.mark.parametrize(
        ("sex", "age", "who"),
        [
            ("Female", "Adult, ", "women"),
            ("Female", "Minor, ", "girls"),
            ("Male", "Adult, Adult, ", "men"),
            ("Male", "Minor", "boys"),
            ("Female, Male", "Adult, ", "unknown"),
            ("Female", "Minor, Adult, ", "unknown"),
            ("ProbablyFemale", "Adult, ", "unknown"),
            ("Female", "Unspecified, ", "unknown"),
            ("", "", "unknown"),
        ],
    )
    def test_persons_are_counted_once_and_never_guessed(self, tmp_path, sex, age, who):
        [row] = self.rows(tmp_path, {SEX: sex, AGE: age})
        counts = {name: row.facts[name] for name in ("women", "girls", "men", "boys", "unknown")}
        assert counts == dict.fromkeys(counts, 0) | {who: 3}

    @pytest.mark.parametrize("name", ["", "No Information"])
    def test_an_unknown_area_is_taken_at_country_precision(self, tmp_path, name):
        [row] = self.rows(tmp_path, {"admin 1": name})
        assert row.facts["admin1"] is None

    def test_neither_description_nor_coordinates_are_read(self, tmp_path):
        secret = {"Event Description": "a narrative", "Latitude": "1.5", "Longitude": "29.5", "Geo Precision": "x"}
        [row] = self.read(as_json(tmp_path / "in.json", [{**self.good, **secret}]))
        [plain] = self.read(as_json(tmp_path / "plain.json", [self.good]))
        assert (row.facts, row.identity) == (plain.facts, plain.identity)
        assert not {"event description", "latitude", "longitude"} & set(self.importer.columns)


def test_the_real_file_is_accepted_or_refused_by_named_reasons():
    content = json.loads(FILE.read_text())
    ours = [row for row in content if row["Country ISO"] in MONITORED]
    contexts = Counter(row["SV Context"] for row in ours)
    rows = list(read(InsecurityInsight(), tables.load(FILE)))
    found = Counter("accepted" if isinstance(row, Row) else row.reasons[0] for row in rows)
    assert sum(found.values()) == len(content) == 908
    assert found["place.not_monitored"] == 908 - len(ours) == 288
    assert contexts["CRSV"] == 464
    assert found["context.security_personnel"] == contexts["SV by security personnel"]
    assert sum(n for reason, n in found.items() if reason.startswith("context.")) == len(ours) - 464
    assert found["accepted"] + found["place.unknown_admin1"] + found["form.outside_definition"] == 464
    assert (found["accepted"], found["place.unknown_admin1"], found["form.outside_definition"]) == (461, 2, 1)


def test_persons_and_deaths_of_the_real_file_add_up():
    content = {str(row["SIND Event ID"]): row for row in json.loads(FILE.read_text())}
    taken = [row for row in read(InsecurityInsight(), tables.load(FILE)) if isinstance(row, Row)]
    sources = [content[row.source.cells["sind event id"]] for row in taken]
    persons = sum(row.facts[name] for row in taken for name in ("women", "girls", "men", "boys", "unknown"))
    assert persons == sum(int(row["Number of Reported Victims"]) for row in sources)
    assert sum(row.facts["deaths"] for row in taken) == sum(
        int(row["Reported Deaths Following the Sexual Violence"] or 0) for row in sources
    )


@pytest.mark.parametrize(("english", "pcode", "count"), [("North Kivu", "CD61", 69), ("South Kivu", "CD62", 28)])
def test_the_kivus_are_found(tmp_path, english, pcode, count):
    """All rows of the province, whatever their context: as conflict-related ones they would have a place."""
    rows = [row | {"SV Context": "CRSV"} for row in json.loads(FILE.read_text()) if row["Admin 1"] == english]
    found = list(read(InsecurityInsight(), tables.load(as_json(tmp_path / "in.json", rows))))
    placed = [row for row in found if isinstance(row, Row) and row.facts["admin1"] == pcode]
    unplaced = [row for row in found if not isinstance(row, Row) and row.reasons[0].startswith("place.")]
    assert (len(rows), unplaced) == (count, [])
    assert len(placed) >= count - sum(not isinstance(row, Row) for row in found)
