"""Incidents in sorted runs: what is held, whatever the batches, and what is known again."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import Stops
from streams import profiles, runs
from streams.profiles import PROFILE, Profiles
from streams.runs import Runs

# (id, area, day, span, reporter): few values of each, so that ids come again, alike and with other facts.
ROW = st.tuples(
    st.integers(0, 30), st.integers(0, 2), st.integers(0, 3), st.sampled_from([0, 6, 9, 365]), st.integers(0, 2)
)
BATCHES = st.lists(st.lists(ROW, max_size=12), max_size=12)


def enter(held, batch):
    """Enter a batch of rows; return which were new."""
    runs.compact(held)
    columns = np.array(batch, np.int64).reshape(-1, 5).T
    ids = np.stack([columns[0] * 7, columns[0]], axis=1).astype(np.uint64)
    keys = runs.keys_of(columns[1], columns[2], columns[2] + columns[3], columns[4], columns[4])
    kept = runs.admit(held, ids, keys)
    some = ids[kept], keys[kept], columns[0][kept].astype(np.uint32), columns[1][kept].astype(np.uint16)
    runs.append(held, *some)
    return kept.tolist()


def listed(held):
    """Return what is held: (id, key, code, brief)."""
    some = (held.ids[:, 1], held.keys, held.codes, held.briefs)
    return [tuple(int(column[i]) for column in some) for i in range(held.count)]


@settings(deadline=None, max_examples=100)
@given(BATCHES)
def test_an_id_is_new_once_in_each_area_and_runs_stay_sorted(batches):
    held, seen = Runs(), set()
    for batch in batches:
        expected = []
        for row in batch:
            expected.append(row[:2] not in seen)
            seen.add(row[:2])
        assert enter(held, batch) == expected
        assert all((np.diff(held.keys[a:b]) >= 0).all() for a, b in zip(held.starts, held.starts[1:], strict=False))
    assert Counter((code, brief) for _, _, code, brief in listed(held)) == Counter(seen)
    assert np.count_nonzero(held.marks) == len(seen)


@settings(deadline=None, max_examples=60)
@given(BATCHES, st.integers(0, 12))
def test_cutting_takes_a_batch_back_and_loading_brings_all_again(batches, at):
    held = Runs()
    for batch in batches[:at]:
        enter(held, batch)
    runs.compact(held)
    before, count = listed(held), held.count
    for batch in batches[at : at + 1]:
        enter(held, batch)
        runs.cut(held, count)
    assert listed(held) == before
    again = Runs()
    tables = (table[:count] for table in (held.ids, held.keys, held.codes, held.briefs))
    runs.load(again, *tables, np.diff(held.starts).tolist())
    assert (listed(again), again.starts) == (before, held.starts)
    for batch in batches[:at]:
        assert not any(enter(again, batch))


def test_many_batches_leave_few_runs_each_much_longer_than_the_next():
    held = Runs()
    for number in range(500):
        enter(held, [(1_000 * number + i, i % 3, i % 5, 0, 0) for i in range(20)])
    runs.compact(held)
    sizes = np.diff(held.starts)
    assert sizes.sum() == held.count == 10_000
    assert len(sizes) <= 5
    assert (sizes[:-1] > runs.RATIO * sizes[1:]).all()


def test_a_key_gives_back_its_parts_and_sorts_by_them():
    rows = [
        (area, day, span, node)
        for area in (0, 4_095)
        for day in (-719_162, 0, 2_932_896)
        for span in (0, 365)
        for node in (0, 8_191)
    ]
    area, day, span, node = np.array(rows, np.int64).T
    keys = runs.keys_of(area, day, day + span, node, node % 32)
    assert (keys >= 0).all()
    assert (keys >> runs.AREA).tolist() == area.tolist()
    assert ((keys >> runs.DAY & runs.LAST_DAY) + runs.ORIGIN).tolist() == day.tolist()
    assert (keys & 511).tolist() == span.tolist()
    vague = np.searchsorted(runs.LONGEST, span)
    assert np.argsort(keys).tolist() == sorted(range(len(rows)), key=lambda i: (area[i], vague[i], day[i], node[i]))


@pytest.mark.parametrize(("area", "node"), [(4_096, 0), (0, 8_192)])
def test_more_areas_or_nodes_than_a_key_has_room_for_stop_with_advice(area, node):
    one = np.array([0])
    with pytest.raises(Stops, match="more partitions"):
        runs.keys_of(np.array([area]), one, one, np.array([node]), one)


FACTS = st.tuples(
    st.integers(-1, 70),
    st.integers(0, 3),
    st.integers(0, 0xFFFE),
    st.lists(st.integers(0, 65_535), min_size=5, max_size=5),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(FACTS, max_size=80), st.integers(1, 9))
def test_a_profile_has_one_number_and_its_number_brings_it_back(rows, size):
    rows = [(party, category, forms, tuple(counts)) for party, category, forms, counts in rows]
    table, found = Profiles(), []
    for at in range(0, len(rows), size):
        found += profiles.number(table, np.array(rows[at : at + size], PROFILE)).tolist()
    known = list(dict.fromkeys(rows))
    assert found == [known.index(row) for row in rows]
    assert [(*row.tolist()[:3], tuple(row["counts"].tolist())) for row in table.rows[: table.count]] == known


@given(st.lists(FACTS, min_size=2, max_size=2))
def test_briefs_never_hide_a_pair(rows):
    one, other = rows
    briefs = profiles.briefs(np.array([(p, c, f & ~1, tuple(n)) for p, c, f, n in rows], PROFILE)).tolist()
    parties = [brief >> profiles.FORM_BITS for brief in briefs]
    if one[2] & other[2] & ~1:
        assert briefs[0] & briefs[1] & ((1 << profiles.FORM_BITS) - 1)
    if -1 in (one[0], other[0]) or one[0] == other[0]:
        assert 0 in parties or parties[0] == parties[1]
