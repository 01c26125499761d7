"""Receipts of one node as a fold: what may be said, and that any cut of the work says the same."""

import random
from dataclasses import replace

import numpy as np
import pytest

from pipeline.receipts.book import AFTER_REFINE, Batch, Book, Refusal
from schemas import rows
from schemas.errors import LedgerGap
from schemas.limits import ITEMS
from schemas.released import latest
from streams.refine import Refine
from streams.refined import Changed, changes


def batch(start, numbers, repeated=0, quarantined=0):
    """A batch of new numbers and repeats; offsets are one for each record."""
    counts = {"accepted": len(numbers) - quarantined, "repeated": repeated, "quarantined": quarantined}
    states = np.zeros(len(numbers), np.uint8)
    delta = changes(np.array(numbers, np.int64), np.ones(len(numbers), np.uint32), states, Changed())
    return Batch(start, start + len(numbers) + repeated, counts, delta)


def book(end=0):
    return Book("MONUSCO", Refine("MONUSCO", partitions=1), end)


def given(of, until):
    found = list(of.give(until))
    for row in found:
        rows.write(latest("ReceiptGiven"), row)
    return found


def test_a_receipt_says_through_which_number_all_is_there_and_what_is_missing():
    one = book()
    one.add(batch(0, [1, 2, 5], repeated=1, quarantined=1))
    one.refuse(Refusal(1, 2, ("incident.persons_none",)))
    (row,) = given(one, 4)
    assert (row["start"], row["end"], row["through"], row["highest"], row["missing_count"]) == (0, 4, 5, 5, 2)
    assert (row["missing_first"], row["missing_last"]) == ([3], [4])
    assert row["counts"] == {"accepted": 2, "repeated": 1, "quarantined": 1}
    assert (row["refused_offsets"], row["refused_numbers"]) == ([1], [2])
    assert row["refused_reasons"] == ["incident.persons_none"]


def test_nothing_is_said_of_a_batch_that_is_not_in_the_tables():
    one = book()
    one.add(batch(0, [1, 2]))
    one.add(batch(2, [3, 4]))
    one.refuse(Refusal(2, 3, ("seal.broken",)))
    assert [(row["end"], row["through"], row["refused_numbers"]) for row in given(one, 3)] == [(2, 2, [])]
    assert [(row["end"], row["through"], row["refused_numbers"]) for row in given(one, 4)] == [(4, 4, [3])]
    assert not one.waits


def test_a_base_says_nothing_new_to_who_knows_it_and_all_to_who_begins_with_it():
    parts = [batch(0, [1, 2]), batch(2, [4], repeated=1)]
    base = replace(batch(0, [1, 2, 4], repeated=1), end=4)
    one, other = book(end=2), book(end=2)
    for each in (*parts, base, batch(4, [5])):
        one.add(each)
    for each in (base, batch(4, [5])):
        other.add(each)
    for each in (one, other):
        each.refuse(Refusal(2, 4, ("seal.broken",)))
    assert given(one, 4) == given(other, 4) != []
    assert given(one, 5) == given(other, 5) != []


def test_a_batch_that_does_not_abut_stops_and_says_what_to_do():
    one = book()
    one.add(batch(0, [1]))
    with pytest.raises(LedgerGap, match=r"tocsin tap ledger\.refine"):
        one.add(batch(3, [2]))


def test_more_refusals_than_a_receipt_can_name_are_named_in_several():
    one, count = book(), 2 * ITEMS + 7
    one.add(batch(0, list(range(1, count + 1)), quarantined=count))
    for offset in range(count):
        one.refuse(Refusal(offset, offset + 1, ("seal.no_key",)))
    found = given(one, count)
    assert [row["end"] for row in found] == [ITEMS, 2 * ITEMS, count]
    assert [number for row in found for number in row["refused_numbers"]] == list(range(1, count + 1))


def test_more_gaps_than_a_receipt_can_name_end_what_it_goes_through():
    one = book()
    numbers = list(range(1, 2 * ITEMS + 10, 2))
    one.add(batch(0, numbers))
    (row,) = given(one, len(numbers))
    assert (len(row["missing_first"]), row["highest"]) == (ITEMS, numbers[-1])
    assert row["through"] == 2 * ITEMS + 1  # the next number is missing and is not named
    assert row["missing_count"] == (numbers[-1] - 1) // 2


def test_what_merge_refused_is_named_with_its_number_once():
    one = book()
    one.add(batch(0, [1, 2]))
    one.refuse(Refusal(AFTER_REFINE, 2, ("stage.failed",)))
    one.refuse(Refusal(AFTER_REFINE, 3, ("stage.failed",)))  # of a batch that comes later
    assert [row["refused_numbers"] for row in given(one, 2)] == [[2]]
    one.add(batch(2, [3]))
    assert [row["refused_numbers"] for row in given(one, 3)] == [[3]]
    again = book(end=2)
    again.add(batch(0, [1, 2]))
    again.add(batch(2, [3]))
    for number in (2, 3):
        again.refuse(Refusal(AFTER_REFINE, number, ("stage.failed",)))
    again.begin()
    assert [row["refused_numbers"] for row in given(again, 3)] == [[3]]


@pytest.mark.parametrize("seed", range(20))
def test_a_worker_that_begins_anew_after_any_receipt_says_what_another_would_have(seed):
    rng = random.Random(seed)
    batches, refusals, at = [], [], 0
    for _ in range(12):
        numbers = [at + 1 + n for n in range(rng.randrange(1, 6))]
        batches.append(batch(at, numbers, quarantined=1))
        refusals.append(Refusal(at, numbers[0], ("seal.broken",)))
        at = batches[-1].end
    whole = book()
    for each in batches:
        whole.add(each)
    for each in refusals:
        whole.refuse(each)
    expected = given(whole, at)
    end, found = 0, []
    while end < at:
        begun = book(end)
        for each in batches:
            begun.add(each)
        for each in refusals:
            begun.refuse(each)
        begun.begin()
        some = given(begun, at)[: rng.randrange(1, 5)]  # killed after so many
        found += some
        end = some[-1]["end"]
    assert found == expected
