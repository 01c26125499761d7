"""What the ledger of refine tells of the nodes, from its beginning or from bases on."""

import pytest

from pipeline.hub.completeness import fold
from pipeline.log import Entry
from schemas.errors import LedgerGap
from schemas.lock import lock
from streams import ledger
from tests.unit.streams.raw import NODE, amendment, incident, pattern
from tests.unit.streams.test_refine import STAGE, step

KEY, LANE = bytes(range(32)), f"raw.{NODE}-0"


@pytest.fixture
def written(monkeypatch):
    """A ledger: three batches, what asks for a base, the base in parts, and a batch more."""
    monkeypatch.setattr(ledger, "PART_BYTES", 100)
    state, values, at, counts = STAGE.empty(LANE), [], 0, {}
    for batch in ([incident(1), pattern(2)], [amendment(9, 1, [8])], [pattern(2), pattern(5)], None, [pattern(6)]):
        if batch is None:
            base = lock(KEY, STAGE.freeze(STAGE.shed(state)))
            values += [(ledger.ASK, None), *((LANE.encode(), one) for one in ledger.write_base(LANE, at, counts, base))]
            continue
        state, outcome = step(state, batch, at)
        counts = {name: counts.get(name, 0) + outcome.counts.get(name, 0) for name in {*counts, *outcome.counts}}
        one = ledger.write(LANE, at, at + len(batch), outcome.counts, "", lock(KEY, outcome.delta))
        values, at = [*values, (LANE.encode(), one)], at + len(batch)
    return [Entry("ledger.refine", 0, offset, 0, *each) for offset, each in enumerate(values)]


def test_bases_say_the_same_as_what_was_deleted_before_them(written):
    batches = [each for each in written if each.key != ledger.ASK and not ledger.read(0, each.value).base]
    assert len(batches) == 4
    (whole,) = fold(batches, KEY)
    assert (whole.highest, whole.missing, whole.counts.total()) == (9, [(3, 4), (7, 8)], 6)
    assert [(one.event, one.needs) for one in whole.waiting] == [(9, (8,))]
    assert whole.counts["repeated"] == 1
    for first in range(5):
        assert fold(written[first:], KEY) == [whole]


def test_what_begins_behind_its_base_stops_and_says_what_to_do(written):
    assert len(written) > 6
    for first in (5, len(written) - 1):
        with pytest.raises(LedgerGap, match="does not begin at 0"):
            fold(written[first:], KEY)
