from datetime import date, timedelta
from string import Formatter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import lifecycle, retention, tables
from schemas.codes import LANGUAGES
from schemas.errors import BadInput
from schemas.released import latest
from schemas.retention import ALWAYS, CLASSES, UNDER_RULE, kept_through, read

DAYS = st.dates(date(1970, 1, 1), date(2200, 12, 31))
GOOD = "".join(
    f"{line}\n" for line in ["class,months,why", *(f"{name},{'' if name in ALWAYS else 12}," for name in CLASSES)]
)


@pytest.fixture
def rules(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "own.csv"
        path.write_bytes(text.encode(encoding))
        return read(path)

    return write


def test_by_default_what_was_verified_stays_and_what_did_not_occur_goes_after_a_year():
    months = read().months
    assert tuple(months) == CLASSES == (*UNDER_RULE, *ALWAYS)
    assert {name for name, kept in months.items() if kept is None} == {
        "verified_by_consent",
        "verified_public",
        *ALWAYS,
    }
    assert {name for name, kept in months.items() if kept == 12} == {
        "not_in_scope",
        "did_not_occur",
        "retracted",
        "refused",
    }
    assert {name for name, kept in months.items() if kept == 120} == {"unverified_by_consent", "unverified_public"}
    assert all(row["why"] for row in tables.read("retention"))


def test_each_state_that_is_not_shared_has_a_class_of_its_name():
    assert set(lifecycle.states()) - lifecycle.SHARED <= set(UNDER_RULE)
    basis = next(field for field in latest("Incident").schema["fields"] if field["name"] == "sharing_basis")
    assert basis["type"]["symbols"] == ["informed_consent", "public_information"]


def test_a_file_of_a_node_is_read_whatever_wrote_it(rules):
    assert rules(GOOD).months == dict.fromkeys(UNDER_RULE, 12) | dict.fromkeys(ALWAYS)
    assert rules(GOOD).source == "own.csv"
    again = rules(GOOD.replace("\n", "\r\n").replace("refused,12", " refused , 1200 ") + "\r\n,,\r\n", "utf-8-sig")
    assert again.months["refused"] == 1_200


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("retracted,12", "retracked,12", "line 8: no class is named 'retracked'; choose one of: verified_by_consent"),
        ("retracted,12", "refused,12", "line 9: refused has a rule already"),
        ("retracted,12,\n", "", "own.csv has no rule for retracted: each class needs a line"),
        ("retracted,12", "retracted,twelve", "line 8: months is a whole number from 1 to 1200"),
        ("retracted,12", "retracted,0", "months is a whole number"),
        ("retracted,12", "retracted,-1", "months is a whole number"),
        ("retracted,12", "retracted,1.5", "months is a whole number"),
        ("retracted,12", "retracted,1201", "months is a whole number"),
        ("retracted,12", "retracted,١٢", "months is a whole number"),
        ("no_case,", "no_case,12", "no_case is kept for ever"),
        ("not_opened,", "not_opened,12", "not_opened is kept for ever"),
        ("retracted,12,", "retracted,12,a,b", "line 8: 4 cells stand where there are 3 columns"),
        ("retracted,12,", "retracted", "line 8: 1 cells"),
        ("class,months,why", "class;months;why", "other columns than class, months, why"),
        ("class,months,why", "class,months", "other columns"),
        ("retracted,12,", 'retracted,12,"', "no line of a CSV file"),
        (GOOD, "", "other columns"),
    ],
)
def test_what_is_not_understood_is_refused_and_named(rules, old, new, words):
    assert GOOD.count(old) == 1
    with pytest.raises(BadInput, match=words):
        rules(GOOD.replace(old, new))


@pytest.mark.parametrize("name", ["nowhere.csv", ""])
def test_a_file_that_is_none_is_refused(tmp_path, name):
    with pytest.raises(BadInput, match="can't be read as text"):
        read(tmp_path / name)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "own.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="UnicodeDecodeError"):
        read(tmp_path / "own.csv")


@pytest.mark.parametrize(
    ("last", "months", "through"),
    [
        (date(2024, 2, 29), 12, date(2025, 2, 28)),
        (date(2024, 2, 29), 48, date(2028, 2, 29)),
        (date(2023, 2, 28), 12, date(2024, 2, 28)),
        (date(2024, 1, 31), 1, date(2024, 2, 29)),
        (date(2023, 1, 31), 1, date(2023, 2, 28)),
        (date(2023, 8, 31), 6, date(2024, 2, 29)),
        (date(2024, 12, 31), 1, date(2025, 1, 31)),
        (date(2024, 11, 30), 1, date(2024, 12, 30)),
        (date(2099, 12, 1), 1_200, date(2199, 12, 1)),
    ],
)
def test_a_month_ends_on_the_same_date_or_on_its_last_day(last, months, through):
    assert kept_through(last, months) == through


@settings(deadline=None)
@given(DAYS, st.integers(1, retention.LONGEST))
def test_a_case_is_kept_so_many_months_and_no_day_less_of_a_longer_rule_or_a_later_event(last, months):
    through = kept_through(last, months)
    assert (through.year - last.year) * 12 + through.month - last.month == months
    assert through.day == last.day or (through + timedelta(days=1)).day == 1
    assert kept_through(last, months + 1) > through
    assert kept_through(last + timedelta(days=1), months) >= through


def test_every_word_is_there_in_three_languages_with_the_same_places():
    rows = {row["code"]: row for row in tables.read("retention_words")}
    assert len(rows) == len(tables.read("retention_words"))
    assert rows.keys() >= {f"class.{name}" for name in CLASSES}
    assert not rows.keys() & {row["code"] for row in tables.read("fates")}
    for row in rows.values():
        assert all(row[lang] for lang in LANGUAGES)
        assert len({row[lang] for lang in LANGUAGES}) == len(LANGUAGES)
        assert len({frozenset(name for _, name, *_ in Formatter().parse(row[lang]) if name) for lang in LANGUAGES}) == 1
