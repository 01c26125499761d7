from random import Random

import polars as pl
import pytest

from pipeline.hub.assessed import assessed

STATES = ("report_pending_verification", "verified")


def incidents(*rows):
    return pl.DataFrame(rows, schema=["incident_id", "node", "verification"], orient="row")


def assessments(*rows):
    return pl.DataFrame(
        rows,
        schema={"incident_id": pl.String, "node": pl.String, "number": pl.Int32, "verdict": pl.String},
        orient="row",
    )


def counted(rows, said):
    return assessed(incidents(*rows), assessments(*said))


SIX = [(f"i{number}", "A", "verified") for number in range(6)]


def test_none_is_counted_where_nothing_was_said():
    assert counted(SIX, []) == {}
    assert assessed(incidents(*SIX).clear(), assessments()) == {}


def test_each_incident_counts_once_and_verified_and_unverified_stand_apart():
    rows = [*SIX, *((f"u{number}", "A", STATES[0]) for number in range(5))]
    said = [(row[0], node, 1, "corroborated") for row in rows for node in ("B", "C")]
    said += [("u0", "D", 1, "disputed"), ("gone", "B", 1, "disputed")]
    assert counted(rows, said) == {
        STATES[0]: {"corroborated": None, "disputed": 0, "corroborated_and_disputed": None},
        "verified": {"corroborated": 6, "disputed": 0, "corroborated_and_disputed": 0},
    }


def test_the_last_of_each_node_counts_unless_it_is_taken_back():
    said = [(row[0], "B", 1, "corroborated") for row in SIX] + [(row[0], "B", 2, "disputed") for row in SIX]
    assert counted(SIX, said)["verified"] == {"corroborated": 0, "disputed": 6, "corroborated_and_disputed": 0}
    said += [(row[0], "C", 9, "corroborated") for row in SIX]
    assert counted(SIX, said)["verified"] == {"corroborated": 0, "disputed": 0, "corroborated_and_disputed": 6}
    said += [(row[0], "B", 3, "taken_back") for row in SIX]
    assert counted(SIX, said)["verified"] == {"corroborated": 6, "disputed": 0, "corroborated_and_disputed": 0}
    assert counted(SIX, [(row[0], "C", 10, "taken_back") for row in SIX]) == {}


def test_the_node_that_reported_an_incident_never_counts():
    said = [(row[0], "A", 1, "corroborated") for row in SIX]
    assert counted(SIX, said) == {}
    assert counted(SIX, [*said, *((row[0], "B", 1, "disputed") for row in SIX)])["verified"]["disputed"] == 6


@pytest.mark.parametrize("seed", range(20))
def test_it_is_what_a_plain_count_says_in_any_order(seed):
    chance = Random(seed)
    rows = [(f"i{number}", chance.choice("ABC"), chance.choice(STATES)) for number in range(60)]
    said, numbers = [], {}
    for _ in range(400):
        key = f"i{chance.randrange(70)}", chance.choice("ABCD")
        numbers[key] = numbers.get(key, 0) + 1
        said.append((*key, numbers[key], chance.choice(("corroborated", "disputed", "taken_back"))))
    last = {(of, node): verdict for of, node, _, verdict in said}
    expected = {}
    for of, reporter, state in rows:
        found = {last.get((of, node)) for node in "ABCD" if node != reporter} - {None, "taken_back"}
        if found:
            name = found.pop() if len(found) == 1 else "corroborated_and_disputed"
            counts = expected.setdefault(
                state, dict.fromkeys(("corroborated", "disputed", "corroborated_and_disputed"), 0)
            )
            counts[name] += 1
    shown = {
        state: {how: n if n == 0 or n >= 5 else None for how, n in each.items()} for state, each in expected.items()
    }
    chance.shuffle(said)
    assert counted(rows, said) == shown
