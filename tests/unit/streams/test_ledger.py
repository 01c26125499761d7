"""The ledger's fold: which records of a lane are committed."""

from hypothesis import given, settings
from hypothesis import strategies as st

from streams import ledger
from streams.ledger import Block, Entry, Resolver

LANE, OTHER = "raw.A-0", "raw.B-0"


def written(lane, start, end, delta=b"d"):
    return ledger.write(lane, start, end, {"accepted": end - start}, "suite", delta)


def block(producer, offset, lane, start, end, **more):
    return Block(producer, offset + 1, records=((offset, lane.encode(), written(lane, start, end)),), **more)


def marker(producer, offset, kind):
    return Block(producer, offset + 1, marker=kind)


def resolved(blocks, lane=LANE):
    resolver = Resolver(lane)
    found = [(entry.start, entry.end) for one in blocks for entry in resolver.feed(one)]
    return found, resolver.unresolved


def test_a_record_reads_as_it_was_written():
    assert ledger.read(7, written(LANE, 10, 20, b"\x00delta")) == Entry(LANE, 7, 10, 20, {"accepted": 10}, b"\x00delta")


def test_a_record_counts_once_its_marker_is_read():
    assert resolved([block(1, 0, LANE, 0, 10)]) == ([], True)
    assert resolved([block(1, 0, LANE, 0, 10), marker(1, 1, "commit")]) == ([(0, 10)], False)


def test_an_aborted_record_never_counts():
    assert resolved([block(1, 0, LANE, 0, 10), marker(1, 1, "abort")]) == ([], False)


def test_another_lanes_open_transaction_is_nobodys_business():
    blocks = [block(9, 0, OTHER, 0, 5), block(1, 1, LANE, 0, 10), marker(1, 2, "commit")]
    assert resolved(blocks) == ([(0, 10)], False)


def test_another_producers_marker_decides_nothing():
    assert resolved([block(1, 0, LANE, 0, 10), marker(2, 1, "commit")]) == ([], True)
    assert resolved([block(1, 0, LANE, 0, 10), marker(2, 1, "abort"), marker(1, 2, "commit")]) == ([(0, 10)], False)


def test_a_marker_of_an_empty_transaction_is_harmless():
    assert resolved([marker(1, 0, "abort"), marker(1, 1, "commit")]) == ([], False)


def test_a_record_outside_of_transactions_counts_at_once():
    assert resolved([block(-1, 0, LANE, 0, 10, transactional=False)]) == ([(0, 10)], False)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([LANE, OTHER]), st.booleans()), max_size=30), st.randoms())
def test_any_interleaving_gives_each_lane_what_its_own_markers_say(batches, dice):
    """Each lane has its producer and one open transaction at a time; the log mixes the two lanes at will."""
    logs, expected = {LANE: [], OTHER: []}, {LANE: [], OTHER: []}
    for number, (lane, commits) in enumerate(batches):
        producer = 1 if lane == LANE else 2
        logs[lane] += [
            block(producer, 0, lane, number, number + 1),
            marker(producer, 0, "commit" if commits else "abort"),
        ]
        expected[lane] += [(number, number + 1)] if commits else []
    mixed = []
    while logs[LANE] or logs[OTHER]:
        mixed.append(logs[dice.choice([lane for lane in logs if logs[lane]])].pop(0))
    for lane, ranges in expected.items():
        assert resolved(mixed, lane) == (ranges, False)


def test_a_base_reads_as_it_was_written_in_parts(monkeypatch):
    monkeypatch.setattr(ledger, "PART_BYTES", 4)
    parts = list(ledger.write_base(LANE, 20, {"accepted": 20}, b"the state"))
    assert [ledger.read(at, part) for at, part in enumerate(parts)] == [
        Entry(LANE, at, 0, 20, {"accepted": 20}, some, at, 3) for at, some in enumerate((b"the ", b"stat", b"e"))
    ]
    assert [ledger.read(0, part).delta for part in ledger.write_base(LANE, 20, {}, b"")] == [b""]


def test_a_base_of_a_large_state_is_written_in_parts_as_long_as_they_may_be():
    state = bytes(2 * ledger.PART_BYTES + 1)
    parts = [ledger.read(0, part) for part in ledger.write_base(LANE, 20, {}, state)]
    assert [len(part.delta) for part in parts] == [ledger.PART_BYTES, ledger.PART_BYTES, 1]


def test_what_asks_for_bases_is_no_lanes_record():
    asked = Block(-1, 1, transactional=False, records=((0, ledger.ASK, b""),))
    assert resolved([asked, block(1, 1, LANE, 0, 10), marker(1, 2, "commit")]) == ([(0, 10)], False)


def test_a_lane_has_one_place_in_the_ledger():
    places = {ledger.place_of("refine", f"raw.N{i}-0") for i in range(200)}
    assert places == {("ledger.refine", partition) for partition in range(ledger.PARTITIONS)}
