import pytest

from schemas.confidence import CLASSES, CREDIBILITY, RELIABILITY, REPORT, default, parse
from schemas.errors import BadInput
from schemas.events import load
from schemas.tables import FOLDER

TEXT = (FOLDER / "confidence.toml").read_text()
LINE_B = "B = [0.875, 0.75, 0.625, 0.5, 0.375, 0.625]"
LINE_F = "F = [0.75, 0.625, 0.5, 0.375, 0.25, 0.5]"


def test_the_default_has_a_base_for_each_code_of_the_contract():
    fields = {field["name"]: field["type"] for field in load("Incident")["fields"]}
    assert list(RELIABILITY) == fields["source_reliability"]["symbols"] == list(default().base)
    assert all(len(line) == len(CREDIBILITY) for line in default().base.values())
    assert set(default().half_lives) == set(CLASSES)


def test_the_default_is_the_mean_of_evenly_spaced_codes_and_a_half_where_nothing_can_be_judged():
    steps = dict(zip("ABCDEF", (1, 0.75, 0.5, 0.25, 0, 0.5), strict=True))
    credible = dict(zip(CREDIBILITY, steps.values(), strict=True))
    stated = {(code, number): default().base[code][number - 1] for code in RELIABILITY for number in CREDIBILITY}
    assert stated == {(code, number): (steps[code] + credible[number]) / 2 for code, number in stated}
    assert stated["F", 6] == 0.5


def test_a_hub_states_its_own():
    own = parse(TEXT.replace("= 365", "= 90").replace(LINE_F, "F = [0, 0, 0, 0, 0, 0.1]"), "own.toml")
    assert own.half_lives == {REPORT: 90.0}
    assert own.base == default().base | {"F": (0, 0, 0, 0, 0, 0.1)}


@pytest.mark.parametrize(
    ("replaced", "by", "says"),
    [
        ("[base]", "[base", "is no TOML"),
        ("[base]", "[bases]", "[half_life_days] and [base], and nothing else"),
        ("[half_life_days]", "colour = 1\n[half_life_days]", "[half_life_days] and [base], and nothing else"),
        ("[half_life_days]\nunverified_report = 365", "half_life_days = 365", "[half_life_days] and [base]"),
        ("unverified_report = 365", "", "has to name unverified_report"),
        ("unverified_report = 365", "unverified_report = 365\nrumour = 9", "has to name unverified_report"),
        *(
            ("= 365", f"= {days}", "the half-life of unverified_report has to be a number of days from 1 to 36,525")
            for days in ("0", "-1", "nan", "inf", "true", '"365"', "36526", "1" + "0" * 400, "2024-01-01")
        ),
        (LINE_F, "", "has to have the lines A to F"),
        (LINE_F, LINE_F + "\nG = [0, 0, 0, 0, 0, 0]", "has to have the lines A to F"),
        *(
            (LINE_B, f"B = {line}", "line B of base has to be 6 numbers from 0 to 1")
            for line in ("0.5", "[]", "[0, 0, 0, 0, 0]", "[1.1, 1, 1, 1, 1, 1]", "[0, 0, 0, 0, 0, -0.1]")
        ),
        (LINE_B, "B = [0.5, 0.5, 0.5, 0.5, 0.5, nan]", "line B of base has to be 6 numbers"),
        (LINE_B, "B = [0.5, 0.5, 0.5, 0.5, 0.5, true]", "line B of base has to be 6 numbers"),
        (LINE_B, "B = [0.75, 0.8, 0.5, 0.5, 0.5, 0.5]", "line B of base may not rise from credibility 1 to 5"),
        (LINE_B, "B = [0.9, 0.9, 0.8, 0.5, 0.4, 0.6]", "line B of base may nowhere be above line A"),
        (LINE_B, "B = [0.8, 0.7, 0.6, 0.4, 0.3, 0.8]", "line B of base may nowhere be above line A"),
        (LINE_B, "B = [0.7, 0.6, 0.5, 0.3, 0.2, 0.6]", "line C of base may nowhere be above line B"),
    ],
)
def test_what_is_no_scale_is_one_sentence_that_says_where_to_look(replaced, by, says):
    assert TEXT.count(replaced) == 1
    with pytest.raises(BadInput) as refused:
        parse(TEXT.replace(replaced, by), "own.toml")
    said = str(refused.value)
    assert said.startswith("own.toml")
    assert says in said
    assert said.endswith("docs/reading-tables.md shows.")
    assert "\n" not in said


def test_a_line_may_be_flat_and_lines_may_be_equal():
    flat = "".join(f"{code} = [1, 1, 1, 1, 1, 0]\n" for code in RELIABILITY)
    assert parse(f"[half_life_days]\nunverified_report = 0.5e2\n[base]\n{flat}", "own.toml").base["E"] == (1,) * 5 + (
        0,
    )
