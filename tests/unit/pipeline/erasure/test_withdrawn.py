"""Which events are about a withdrawn case, and which cases are: those that the log names, and those that a receipt does."""

import asyncio
import random

import numpy as np

from pipeline.erasure import looking, withdrawn
from pipeline.erasure.looking import Hit, keyed
from pipeline.erasure.withdrawn import Case, _sent
from schemas.columns import Blob
from schemas.rows import read
from schemas.wire import unframe
from streams.base import Records
from tests.unit.streams.raw import NODE, case, identity, incident, pattern, withdrawal


def following(patch, module, *batches):
    """Have a module read these batches of (key, value), an empty value being a tombstone, offsets from 0."""
    found, start = [], 0
    for batch in batches:
        keys, values = (Blob.of([each[at] for each in batch]) for at in (0, 1))
        offsets = np.arange(start, start + len(batch), dtype=np.int64)
        start += len(batch)
        found.append(Records("topic", 0, int(offsets[0]), start, offsets, np.zeros_like(offsets), values, keys))

    async def follow(broker, place, position):
        for records in found:
            yield records

    patch.setattr(module, "follow", follow)


def ids(*values):
    return [read(*unframe(value))["event_id"] for value in values]


def test_the_events_about_cases_are_those_that_comparing_each_with_each_gives():
    dice = random.Random(3)
    heads = [dice.randbytes(8) for _ in range(3)]
    known = [dice.choice(heads) + dice.randbytes(1) * 8 for _ in range(40)]
    rows = [(dice.choice(known), dice.randbytes(16)) for _ in range(500)]
    wanted = set(known[:7]) | {dice.choice(heads) + bytes(8)}
    refs, ids = (np.frombuffer(b"".join(row[k] for row in rows), np.uint8).reshape(-1, 16) for k in (0, 1))
    assert _sent(refs, ids, wanted) == {ref: {own for other, own in rows if other == ref} for ref in wanted}
    assert _sent(refs[:0], ids[:0], wanted) == {ref: set() for ref in wanted}
    assert _sent(refs, ids, ()) == {}


def test_a_case_that_a_receipt_names_is_withdrawn_whether_the_log_says_so_or_not(monkeypatch):
    log = [incident(1, 1), incident(2, 2), incident(3, 3), pattern(4), withdrawal(5, 1, [1]), incident(6, 2)]
    log += [incident(7, 3), withdrawal(8, 1, [1]), incident(9, 9)]
    records = [(b"", value) for value in log]
    following(monkeypatch, withdrawn, records[:4], records[4:])
    found = {one.ref: one for one in asyncio.run(withdrawn.withdrawn(None, NODE, [case(1), case(2), case(8)]))}
    assert found.keys() == {case(1), case(2), case(8)}
    [first, second, unknown] = [found[case(number)] for number in (1, 2, 8)]
    events = frozenset([identity(1), *ids(log[4], log[7])])
    assert first == Case(case(1), NODE, 5, 7, events, receipted=True, cause="consent")
    assert second == Case(case(2), NODE, 0, 5, frozenset([identity(2), identity(6)]), receipted=True)
    assert unknown == Case(case(8), NODE, 0, -1, frozenset(), receipted=True)


def test_the_first_withdrawal_of_a_case_says_why_it_was_forgotten(monkeypatch):
    unknown = withdrawal(7, 3, [3], schema=b"12345678")
    log = [incident(1, 1), incident(2, 2), incident(3, 3), withdrawal(4, 1, [1], "retention"), withdrawal(5, 2, [2])]
    log += [withdrawal(6, 2, [2], "retention"), unknown, withdrawal(8, 4, [4], "handed_over")]
    following(monkeypatch, withdrawn, [(b"", value) for value in log])
    found = {one.ref: one.cause for one in asyncio.run(withdrawn.withdrawn(None, NODE))}
    assert found == {case(1): "retention", case(2): "consent", case(3): "unspecified", case(4): "handed_over"}


def test_a_key_that_comes_after_its_tombstone_is_to_go(monkeypatch):
    mine, yours, other = bytes([1]) * 16, bytes([2]) * 16, bytes([3]) * 16
    following(
        monkeypatch, looking, [(mine, b"key"), (yours, b"key"), (mine, b""), (b"epoch:1", b"key")], [(mine, b"key")]
    )
    hits, buried = asyncio.run(keyed(None, "keys.N", {mine, yours, other}))
    epoch = b"epoch:1"
    assert hits == [Hit(mine, 0, mine), Hit(yours, 1, yours), Hit(epoch, 3, epoch), Hit(mine, 4, mine)]
    assert buried == {mine}
