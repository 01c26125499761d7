import csv
from collections import Counter
from datetime import date
from pathlib import Path
from typing import ClassVar

import pytest

from pipeline.node.importers import table as tables
from pipeline.node.importers.base import Reject, Row, read
from pipeline.node.importers.svac import SOURCES, Svac
from tests.conformance.importer import ImporterCase

FILE = Path(__file__).parents[4] / "schemas" / "data" / "svac.csv"
# Correlates of War / Gleditsch-Ward numbers of the monitored countries: a second way to say where, independent of names.
GWNO = {432, 471, 475, 436, 439, 435, 483, 482, 490, 500, 501, 516, 517, 520, 522, 530, 531, 620, 625, 626, 645, 775}


class TestSvac(ImporterCase):
    importer = Svac()
    good: ClassVar = {
        **dict.fromkeys(Svac.columns, "0"),
        "year": "2013",
        "actor": "LRA",
        "actor_type": "3",
        "location": "Uganda",
        "form": "1, 7",
        "state_prev": "1",
        "ai_prev": "0",
        "hrw_prev": "NA",
    }
    facts: ClassVar = {
        "period_start": date(2013, 1, 1),
        "period_end": date(2013, 12, 31),
        "areas": ["UGA"],
        "forms": ["rape", "sexual_torture"],
        "party_category": "armed_group",
        "prevalence": 1,
        "reporting_sources": 1,
        "silent_sources": 1,
        "verification": "report_pending_verification",
        "source_kind": "academic_dataset",
    }
    bad: ClassVar = {
        "svac.no_prevalence": {"state_prev": "0"},
        "svac.not_read": dict.fromkeys(SOURCES, "NA"),
        "svac.prevalence": {"ai_prev": "4"},
        "place.not_monitored": {"location": "Chile"},
        "place.unknown_country": {"location": "Nowhere"},
        "date.year": {"year": "13"},
        "form.unknown": {"form": "9"},
        "party.not_listed": {"actor": "Nobody of this name"},
        "perpetrator.unknown_kind": {"actor_type": "9"},
        "cell.too_long": {"actor": "x" * 1_001},
    }

    @pytest.mark.parametrize(
        ("cells", "facts"),
        [
            (
                {"state_prev": "NA", "ai_prev": "NA", "hrw_prev": "3"},
                {"prevalence": 3, "reporting_sources": 1, "silent_sources": 0},
            ),
            (
                {"state_prev": "2", "ai_prev": "3", "hrw_prev": "0"},
                {"prevalence": 3, "reporting_sources": 2, "silent_sources": 1},
            ),
            ({"location": "Eritrea, Ethiopia"}, {"areas": ["ERI", "ETH"]}),
            ({"location": "Iraq, Kuwait"}, {"areas": ["IRQ"]}),
            ({"location": "Myanmar (Burma)"}, {"areas": ["MMR"]}),
            ({"form": "1, 2 , 7"}, {"forms": ["rape", "sexual_slavery", "sexual_torture"]}),
            ({"form": "1, 2, 5,"}, {"forms": ["rape", "sexual_slavery", "forced_sterilization_abortion"]}),
            ({"form": "NA"}, {"forms": ["unspecified"]}),
        ],
    )
    def test_what_cells_mean(self, tmp_path, cells, facts):
        [row] = self.rows(tmp_path, cells)
        assert {name: row.facts[name] for name in facts} == facts


def plain_count():
    """Count the file's rows by what must become of them, from its numbers alone."""
    found = Counter()
    with FILE.open(newline="") as file:
        for row in csv.DictReader(file):
            levels = [int(row[name]) for name in SOURCES if row[name] != "NA"]
            if not GWNO & {int(row[f"gwnoloc{n}"]) for n in ("", "2", "3", "4")}:
                found["place.not_monitored"] += 1
            elif not levels:
                found["svac.not_read"] += 1
            else:
                found["accepted" if max(levels) else "svac.no_prevalence"] += 1
    return found


def test_the_real_file_agrees_with_a_count_by_other_columns():
    rows = list(read(Svac(), tables.load(FILE)))
    found = Counter("accepted" if isinstance(row, Row) else row.reasons[0] for row in rows)
    assert found == plain_count()
    assert found == {"accepted": 405, "svac.no_prevalence": 2598, "place.not_monitored": 90, "svac.not_read": 10}
    assert len({row.identity for row in rows if isinstance(row, Row)}) == 405
    assert all(len(row.reasons) == 1 for row in rows if isinstance(row, Reject))
