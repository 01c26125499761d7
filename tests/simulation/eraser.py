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
        end = needed(judge.entries_of(log), self.asked[place])
        if end is not None:
            world.say("deletes", *place, end)
            world.count("ledger cut")
            log.delete(end)
            del self.asked[place]


def needed(entries, asked):
    """Return the first offset that is needed, None where a lane has no base after what asked for it."""
    bases = {}
    for offset, row in entries:
        if bases.setdefault(row["lane"], -1) < 0 and row.get("part") == 0 and offset > asked:
            bases[row["lane"]] = offset
    return min(bases.values()) if bases and min(bases.values()) >= 0 else None
