"""The stages themselves under the same faults: what comes out must be what one undisturbed batch gives."""

from functools import cache

import numpy as np

from schemas.columns import Blob
from streams.base import Records
from streams.merge import Merge
from streams.refine import Refine
from tests.simulation.world import World
from tests.unit.streams import accepted, raw
from tests.unit.streams.plain import Incident, Pattern

CASES = 24


class Given:
    """One partition's records: offsets with gaps, keys, values."""

    def __init__(self, values, chance):
        self.values, self.keys, self.offsets = values, [b"%d" % i for i in range(len(values))], []
        offset = 0
        for _ in values:
            self.offsets.append(offset)
            offset += 1 if chance.random() < 0.8 else 2

    @property
    def end(self):
        return self.offsets[-1] + 1

    def whole(self, place):
        offsets = np.array(self.offsets, np.int64)
        return Records(*place, 0, self.end, offsets, offsets, Blob.of(self.values), Blob.of(self.keys))


class Real(World):
    """A schedule over a stage of the product; its state is judged by what it puts out."""

    def make_inputs(self):
        return {place: Given(self.drawn(), self.chance) for place in self.places}

    def drawn(self):
        """Return records, some of them twice, in any order."""
        return self.chance.choices(pool(type(self)), k=self.chance.randrange(4, 14))

    def check_state(self, worker, tp, offset):
        """Leave it: a state of these stages is compared by what comes out of it."""

    def wanted(self):
        found = {}
        for place in self.places:
            stage = self.stage()
            _, outcome = stage.step(stage.empty("lane"), self.inputs[place].whole(place), self.side())
            for output in outcome.outputs:
                found.setdefault(output.topic, []).extend(output.values.item(i) for i in range(len(output.values)))
        return found


class Refining(Real):
    """refine over one node's records: repeats, forks, withdrawals, revisions, patterns, damage."""

    @staticmethod
    def stage():
        return Refine(raw.NODE, 4)

    def side(self):
        return keyring()

    def make_places(self):
        return [(f"raw.{raw.NODE}", 0)]


class Merging(Real):
    """merge over incidents and patterns of two areas, either side late."""

    @staticmethod
    def stage():
        return Merge(accepted.SECRETS)

    def make_places(self):
        return [("accepted", partition) for partition in self.chance.choice(((0,), (0, 1), (2, 3)))]


@cache
def keyring():
    return raw.keyring(range(1, CASES + 1))


@cache
def pool(kind):
    """Return records from which schedules draw."""
    if kind is Merging:
        incidents = [Incident(i, "ML01" if i % 3 else "ML02", 18_000 + i % 7, forms=2 + i % 3) for i in range(1, 20)]
        patterns = [Pattern(i, "ML01", 17_990, 18_000 + i % 9, forms=2) for i in range(40, 46)]
        return [accepted.value(row) for row in incidents + patterns]
    whole = [raw.incident(n) for n in range(1, 13)] + [raw.pattern(n) for n in range(13, 17)]
    odd = [raw.withdrawal(17, 3), raw.incident(18, 3), raw.incident(2, event_id=raw.identity(2, salt=9))]
    first, second = raw.amendment(20, 1, [1]), raw.amendment(21, 1, [1], {"women": 2})
    further = [first, second, raw.amendment(22, 1, [20, 21]), raw.verification(23, 4, [4]), raw.retraction(24, 5, [5])]
    further += [raw.amendment(25, 3, [3]), raw.verification(26, 4, [23], "did_not_occur", "technical", 2)]
    return [*whole, *odd, *further, whole[0][:-3], whole[5][:20], b"", raw.incident(19, facts={"women": 0})]
