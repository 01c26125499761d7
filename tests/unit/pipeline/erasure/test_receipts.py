"""Receipts of erasure: what a hub has signed is believed, by tocsin and by a program without it, and nothing else."""

import random
import runpy
from datetime import date
from pathlib import Path

import pytest

from pipeline.erasure.receipts import Receipt, Shelf, read, split
from pipeline.hub.trees import Signer
from schemas import notes, signing
from schemas.errors import BadInput

CHECKER = Path(__file__).parents[4] / "docs" / "check_receipts.py"
CASE, OTHER = bytes(range(16)), bytes(range(1, 17))
STORES = ["accepted", "hub.sahel", "keys.MONUSCO", "tables of sahel", "volumes"]
HUB, STRANGER = (Signer(name, signing.new_signer()[1]) for name in ("tocsin.hub.1", "tocsin.hub.2"))


@pytest.fixture
def shelf(tmp_path):
    made = Shelf(tmp_path / "erased")
    made.add([Receipt(CASE, store, date(2026, 11, 27)) for store in STORES[:3]], HUB)
    made.add([Receipt(CASE, store, date(2026, 11, 28)) for store in STORES[3:]], HUB)
    return made


@pytest.fixture(scope="module")
def checker():
    return runpy.run_path(str(CHECKER))


def test_what_was_signed_is_read_by_both(shelf, checker):
    mine = {store: one.day for store, one in shelf.of(CASE, HUB.key).items()}
    theirs = checker["check"](CASE.hex(), str(HUB.key), shelf.text(CASE))
    assert mine == theirs == {s: date(2026, 11, 27 if s in STORES[:3] else 28) for s in STORES}


def test_a_receipt_names_nothing_but_case_store_and_day(shelf):
    first = split(shelf.text(CASE))[0]
    assert first.splitlines()[:4] == [
        "tocsin erasure/v1",
        f"case {CASE.hex()}",
        "store accepted",
        "erased on 2026-11-27",
    ]
    assert len(first.splitlines()) == 6


def forgeries(text, dice):
    """Yield a thousand files that the hub has not signed as they are: bits, signers, cases, stores, days, order of parts."""
    known = split(text)
    for _ in range(700):
        data = bytearray(text.encode())
        at = dice.randrange(len(data))
        data[at] ^= 1 << dice.randrange(8)
        yield bytes(data)
    for _ in range(100):
        note = dice.choice(known)
        yield note.replace(f"store {read(note, HUB.key).store}", f"store hub.{dice.randrange(10**9)}").encode()
    for _ in range(100):
        body = str(Receipt(CASE, f"hub.{dice.randrange(10**9)}", date(2026, 1, 1)))
        yield f"{body}\n{notes.signature(body, HUB.name, STRANGER.seed)}".encode()
    for _ in range(50):
        body = str(Receipt(OTHER, dice.choice(STORES), date(2026, 1, 1)))
        yield f"{body}\n{notes.signature(body, HUB.name, HUB.seed)}".encode()
    for _ in range(50):
        one, two = dice.sample(known, 2)
        yield (one.partition("\n\n")[0] + "\n\n" + two.partition("\n\n")[2]).encode()


def test_of_a_thousand_forgeries_both_refuse_all(shelf, checker, tmp_path, capsys):
    text, path, tried = shelf.text(CASE), tmp_path / "forged.txt", 0
    for forged in forgeries(text, random.Random(7)):
        tried += 1
        path.write_bytes(forged)
        assert checker["main"](CASE.hex(), str(HUB.key), str(path)) == 1, forged
        (tmp_path / "erased" / f"{CASE.hex()}.txt").write_bytes(forged)
        with pytest.raises(BadInput):
            shelf.of(CASE, HUB.key)
    assert tried == 1000
    assert capsys.readouterr().out.count("refused: ") == 1000


def test_a_receipt_of_another_case_is_not_taken_for_this_one(shelf, checker):
    with pytest.raises(ValueError, match="another case"):
        checker["check"](OTHER.hex(), str(HUB.key), shelf.text(CASE))


def test_a_receipt_that_comes_twice_is_refused(shelf, checker):
    first = split(shelf.text(CASE))[0]
    with pytest.raises(ValueError, match="signed twice"):
        checker["check"](CASE.hex(), str(HUB.key), f"{first}\n{first}")


def test_who_has_not_signed_is_named(shelf, checker, tmp_path, capsys):
    path = tmp_path / "receipts.txt"
    path.write_text(shelf.text(CASE), encoding="utf-8")
    assert checker["main"](CASE.hex(), str(HUB.key), str(path), *STORES) == 0
    assert checker["main"](CASE.hex(), str(HUB.key), str(path), "hub.libya-neighbours") == 1
    assert "hub.libya-neighbours has not signed" in capsys.readouterr().out


def test_the_checker_needs_nothing_of_tocsin_and_is_short():
    lines = CHECKER.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 80
    words = [line.split()[1].partition(".")[0] for line in lines if line.startswith(("import ", "from "))]
    assert not set(words) & {"schemas", "quality", "streams", "sinks", "infra", "pipeline", "tests"}


def test_receipts_that_were_kept_elsewhere_name_the_cases_again(shelf, tmp_path):
    shelf.add([Receipt(OTHER, "keys.UNMISS", date(2026, 11, 28))], HUB)
    restored = Shelf(tmp_path / "restored")
    assert restored.forgotten(HUB.key) == {}
    assert restored.take(f"{shelf.text(CASE)}{shelf.text(OTHER)}", HUB.key, HUB) == [CASE, OTHER]
    assert restored.forgotten(HUB.key) == {CASE: "MONUSCO", OTHER: "UNMISS"}
    assert list(restored.of(CASE, HUB.key)) == ["keys.MONUSCO"]


def test_a_case_whose_key_nobody_has_signed_for_is_not_taken_for_forgotten(shelf, tmp_path):
    shelf.add([Receipt(OTHER, "accepted", date(2026, 11, 28))], HUB)
    restored = Shelf(tmp_path / "restored")
    assert shelf.forgotten(HUB.key) == {CASE: "MONUSCO"}
    assert restored.take(shelf.text(OTHER), HUB.key, HUB) == []
    assert restored.forgotten(HUB.key) == {}


def test_of_a_thousand_forgeries_none_names_a_case_again(shelf, tmp_path):
    text, restored, refused = shelf.text(CASE), Shelf(tmp_path / "restored"), 0
    for forged in forgeries(text, random.Random(11)):
        try:
            taken = restored.take(forged.decode("utf-8", "replace"), HUB.key, HUB)
        except BadInput:
            refused += 1
            continue
        assert CASE not in taken, forged  # what is whole was signed for the other case
    assert refused >= 950
    assert CASE not in restored.forgotten(HUB.key)
    for nothing in ("", "\n", f"more\n{text}", text.replace("tocsin erasure", "tocsin erasures")):
        with pytest.raises(BadInput):
            restored.take(nothing, HUB.key, HUB)


def test_what_came_again_is_signed_anew_and_stays_forgotten(shelf):
    shelf.void(CASE, HUB.key)
    assert list(shelf.of(CASE, HUB.key)) == ["keys.MONUSCO"]
    shelf.add([Receipt(CASE, "volumes", date(2026, 11, 30))], HUB)
    assert {store: one.day.day for store, one in shelf.of(CASE, HUB.key).items()} == {"keys.MONUSCO": 27, "volumes": 30}


def test_receipts_of_the_key_that_the_hub_had_before_are_taken_where_it_is_told(shelf, tmp_path):
    restored = Shelf(tmp_path / "restored")
    with pytest.raises(BadInput, match="not signed by"):
        restored.take(shelf.text(CASE), STRANGER.key, STRANGER)
    assert restored.take(shelf.text(CASE), HUB.key, STRANGER) == [CASE]
    assert restored.forgotten(STRANGER.key) == {CASE: "MONUSCO"}
