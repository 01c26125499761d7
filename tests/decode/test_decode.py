import pytest

from tests.decode import compare, mutate, plain
from tests.decode.run import many

RECORDS = 100_000


@pytest.mark.timeout(300)
def test_three_readers_agree_on_damaged_records():
    told, happened, peak = many(RECORDS, seed=20261124, processes=2)
    assert not told
    assert happened["records"] == RECORDS
    assert happened["accepted"] > RECORDS // 8
    assert peak < 1 << 30
    reasons = {
        "block count",
        "boolean",
        "date",
        "duplicate item",
        "enum index",
        "length",
        "outside 32 bits",
        "too long",
    }
    reasons |= {"outside 64 bits", "too many items", "trailing bytes", "truncated", "union branch", "utf-8"}
    reasons |= {"varint not canonical", "varint too long"}
    assert {name for name in reasons if happened[name] < 10} == set()


@pytest.mark.parametrize("number", compare.CONTRACTS)
def test_what_is_made_from_a_schema_is_valid(number):
    bodies = mutate.corpus(compare.CONTRACTS[number][2], 60, seed=number)
    assert all(compare.read_plain(number, body)[0] is not compare.REFUSED for body in bodies)


def test_a_seed_gives_the_same_damage_again():
    bodies = mutate.corpus(compare.CONTRACTS[1][2], 20, seed=1)
    first, second, other = (mutate.mutated(bodies, 500, seed)[0].tobytes() for seed in (5, 5, 6))
    assert first == second != other


def test_a_reader_that_differs_is_noticed(monkeypatch):
    real = plain.reader(compare.CONTRACTS[4][2])
    monkeypatch.setattr(compare, "reader_of", lambda number: lambda body: {**real(body), "scope": "all"})
    told, _ = compare.check(4, 500, seed=1)
    assert any("scope is" in one for one in told)


def test_a_reader_that_takes_too_much_is_noticed(monkeypatch):
    monkeypatch.setattr(compare, "reader_of", lambda number: plain.reader(compare.CONTRACTS[number][2], strict=False))
    told, _ = compare.check(1, 500, seed=1)
    assert any("differ in accepting" in one for one in told)
