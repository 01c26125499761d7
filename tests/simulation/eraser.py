"""Who asks for bases and deletes what lies before them, as `tocsin forget run` does; it may die between the two, and come late."""

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from streams import ledger
from tests.simulation import judge


def asking():
    """Return the record batch that asks for bases, outside of any transaction."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 10)
    builder.append(0, 0, ledger.ASK, None, [])
    return bytes(builder.build())


class Eraser:
    """`asked` has by partition of the ledger the offset of what asked for bases and was not answered yet."""

    def __init__(self, world):
        self.world, self.asked = world, {}

    def turn(self, calm=False):
        """Ask in a partition, or delete there what lies before the bases that have come since; in calm only end what was begun."""
        world, chance = self.world, self.world.chance
        places = [*self.asked] if calm else [each for each in world.cluster.logs if each[0].startswith("ledger.")]
        if not places:
            return
        place = chance.choice(places)
        log = world.cluster.logs[place]
        if place not in self.asked or chance.random() < 0.2:
            world.say("asks", *place)
            world.count("base asked")
            offset = log.put(asking(), -1, 1, "data")
            self.asked.setdefault(place, offset)
            return
        bases = {}
        for offset, row in judge.entries_of(log):
            bases.setdefault(row["lane"], -1)
            if row.get("part") == 0 and offset > self.asked[place]:
                bases[row["lane"]] = offset
        if bases and min(bases.values()) >= 0:
            world.say("deletes", *place, min(bases.values()))
            world.count("ledger cut")
            log.delete(min(bases.values()))
            del self.asked[place]
