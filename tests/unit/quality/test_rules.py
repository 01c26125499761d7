import subprocess
import sys
from datetime import date

import pytest

from quality import rules
from quality.one import broken
from quality.rule import Rule
from schemas import events
from tests.unit.quality.rows import GOOD, RECORDED

# Each rule by a row that breaks it and no other: what a good row must be changed by.
EXAMPLES = {
    "incident.country_not_monitored": {"country": "FRA", "admin1": None},
    "incident.admin1_unknown": {"admin1": "CD99"},
    "incident.admin1_of_other_country": {"country": "CAF"},
    "incident.before_1946": {"occurred_on": date(1945, 12, 31)},
    "incident.after_recording": {"occurred_on": date(2024, 6, 17)},
    "incident.week_not_monday": {"date_precision": "week"},
    "incident.month_not_first": {"date_precision": "month"},
    "incident.quarter_not_first": {"date_precision": "quarter", "occurred_on": date(2024, 3, 1)},
    "incident.year_not_first": {"date_precision": "year", "occurred_on": date(2024, 4, 1)},
    "incident.persons_out_of_range": {"men": -1, "women": 2},
    "incident.persons_none": {"women": 0},
    "incident.persons_unusually_many": {"unknown": 500},
    "incident.deaths_out_of_range": {"deaths": -1},
    "incident.deaths_more_than_persons": {"deaths": 2},
    "incident.forms_missing": {"forms": []},
    "incident.forms_repeated": {"forms": ["rape", "rape"]},
    "incident.forms_unspecified": {"forms": ["unspecified"]},
    "incident.pregnancy_without_women": {"forms": ["forced_pregnancy"], "women": 0, "men": 1},
    "incident.nexus_repeated": {"nexus": ["trafficking", "trafficking"]},
    "incident.codes_unknown": {"setting": "market"},
    "incident.party_length": {"party": "x" * 201},
    "incident.party_contact": {"party": "call 079 123 45 67"},
    "incident.party_without_category": {"party_category": "unknown"},
    "incident.verified_without_primary_source": {"verification": "verified"},
    "incident.verification_not_to_share": {"verification": "did_not_occur"},
    "incident.eyewitness_without_source": {"un_eyewitness": True},
    "incident.sources_out_of_range": {"secondary_sources": 5001},
    "incident.credibility_out_of_range": {"information_credibility": 0},
    "incident.service_data_without_consent": {"source_kind": "service_provider"},
    "incident.consent_for_public": {"sharing_basis": "informed_consent"},
    "pattern.period_reversed": {"period_start": date(2024, 1, 1)},
    "pattern.period_too_long": {"period_start": date(2018, 12, 26)},
    "pattern.before_1946": {"period_start": date(1945, 12, 31), "period_end": date(1946, 1, 1)},
    "pattern.after_recording": None,  # a period that starts too late also ends too late
    "pattern.ends_after_recording": {"period_end": date(2024, 6, 17)},
    "pattern.areas_missing": {"areas": []},
    "pattern.areas_unknown": {"areas": ["CD61", "XX99"]},
    "pattern.areas_repeated": {"areas": ["CD61", "CD61"]},
    "pattern.forms_missing": {"forms": []},
    "pattern.forms_repeated": {"forms": ["rape", "rape"]},
    "pattern.forms_unspecified": {"forms": ["unspecified"]},
    "pattern.nexus_repeated": {"nexus": ["displacement", "displacement"]},
    "pattern.codes_unknown": {"scale": "huge"},
    "pattern.party_length": {"party": ""},
    "pattern.party_contact": {"party": "name@example.org"},
    "pattern.party_without_category": {"party_category": "unknown"},
    "pattern.prevalence_out_of_range": {"prevalence": 4},
    "pattern.sources_out_of_range": {"silent_sources": -1, "reporting_sources": 2},
    "pattern.prevalence_without_source": {"reporting_sources": 0, "silent_sources": 1},
    "pattern.source_of_prevalence_zero": {"prevalence": 0},
    "pattern.no_source_read": {"prevalence": None, "reporting_sources": 0},
    "pattern.scale_without_source": {
        "scale": "widespread",
        "prevalence": None,
        "reporting_sources": 0,
        "silent_sources": 1,
    },
    "pattern.verified_without_source": {
        "verification": "verified",
        "prevalence": None,
        "reporting_sources": 0,
        "silent_sources": 1,
    },
}
# What may be and must not be taken for wrong.
FINE = [
    ("incident", {"admin1": None, "party": None}),
    ("incident", {"occurred_on": date(2024, 6, 16)}),
    ("incident", {"date_precision": "week", "occurred_on": date(2024, 3, 4)}),
    ("incident", {"date_precision": "quarter", "occurred_on": date(2024, 4, 1)}),
    ("incident", {"date_precision": "year", "occurred_on": date(2024, 1, 1)}),
    ("incident", {"women": 0, "men": 1}),
    ("incident", {"verification": "verified", "primary_sources": 1}),
    ("incident", {"source_kind": "service_provider", "sharing_basis": "informed_consent", "sharing_scope": "hub"}),
    ("incident", {"party": "M23, 2nd brigade 1998"}),
    ("pattern", {"prevalence": None, "party": None}),
    ("pattern", {"prevalence": 0, "reporting_sources": 0, "silent_sources": 3, "forms": ["unspecified"]}),
    ("pattern", {"period_start": date(2023, 12, 31)}),
]


def test_there_are_at_least_twenty_rules_each_with_its_own_code():
    assert len(rules.RULES) >= 20
    assert len({rule.code for rule in rules.RULES}) == len(rules.RULES)
    assert set(EXAMPLES) == {rule.code for rule in rules.RULES}


@pytest.mark.parametrize("applies", ["incident", "pattern"])
def test_a_good_row_breaks_nothing(applies):
    assert broken(applies, GOOD[applies]) == []


@pytest.mark.parametrize("code", [code for code, change in EXAMPLES.items() if change])
def test_each_rule_is_broken_by_its_example_and_alone(code):
    applies = code.partition(".")[0]
    assert broken(applies, GOOD[applies] | EXAMPLES[code]) == [code]


def test_a_pattern_that_starts_after_its_recording():
    late = GOOD["pattern"] | {"period_start": date(2024, 6, 17), "period_end": date(2024, 7, 1)}
    assert broken("pattern", late) == ["pattern.after_recording", "pattern.ends_after_recording"]
    assert broken("pattern", late, "refuse") == ["pattern.after_recording"]


@pytest.mark.parametrize(("applies", "change"), FINE)
def test_what_may_be(applies, change):
    assert broken(applies, GOOD[applies] | change) == []


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.code)
def test_each_rule_says_what_to_do_in_three_languages(rule: Rule):
    assert rule.severity in ("refuse", "warn")
    assert rule.code.startswith(f"{rule.applies}.")
    assert len({rule.en, rule.fr, rule.ar}) == 3
    assert all(sentence.endswith(".") and ":" in sentence for sentence in (rule.en, rule.fr, rule.ar))
    assert any("\u0600" <= letter <= "\u06ff" for letter in rule.ar)
    assert not any("\u0600" <= letter <= "\u06ff" for letter in rule.en + rule.fr)
    assert [rules.sentence(rule.code, lang) for lang in ("en", "fr", "ar")] == [rule.en, rule.fr, rule.ar]


@pytest.mark.parametrize(("applies", "record"), [("incident", "Incident"), ("pattern", "Pattern")])
def test_rules_name_fields_of_the_contract(applies, record):
    contract = {field["name"] for field in events.load(record)["fields"]}
    assert set(rules.fields(applies)) <= contract | {"recorded_on"}
    assert contract | {"recorded_on"} == set(GOOD[applies])


def test_the_page_holds_every_rule_and_sentence():
    page = rules.render()
    assert all(text in page for rule in rules.RULES for text in (f"`{rule.code}`", rule.en, rule.fr, rule.ar))


def test_the_suite_is_named_by_what_decides(monkeypatch):
    assert rules._digest() == rules.SUITE
    monkeypatch.setattr(rules, "RULES", rules.RULES[1:])
    assert rules._digest() != rules.SUITE


def test_a_node_can_run_the_rules_without_heavy_packages():
    heavy = ["numpy", "polars", "pyarrow", "pandas", "great_expectations", "numba", "avro"]
    program = "import sys; from quality.one import broken; broken('incident', {}); "
    program += f"print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_recorded_is_the_day_of_the_examples():
    assert GOOD["incident"]["recorded_on"] == RECORDED
