"""Which events are about a withdrawn case: those with its whole reference, also where others begin alike."""

import random

import numpy as np

from pipeline.erasure.withdrawn import _sent


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
