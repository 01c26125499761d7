"""What must hold of every schedule, from the broker's logs alone: no code of the lanes is asked."""

import struct

from aiokafka.record.memory_records import MemoryRecords

from streams import ledger
from tests.decode import plain
from tests.simulation.group import NAME

LEDGER = plain.contracts("schemas")


def look(world):
    """Return what a read-committed reader sees now: by place, the last stable offset and its batches' offsets."""
    return {place: (log.stable, [one.base for one in log.committed()]) for place, log in [*world.cluster.logs.items()]}


def records_of(raw):
    """Yield (offset, key, value) of one record batch."""
    memory = MemoryRecords(raw)
    while memory.has_next():
        yield from ((one.offset, one.key, one.value) for one in memory.next_batch())


def committed(world, topic):
    """Return (key, value) of what is committed in a topic."""
    return [
        (key, value)
        for place, log in sorted(world.cluster.logs.items())
        if place[0] == topic
        for one in log.committed()
        for _, key, value in records_of(one.raw)
    ]


def final(world):
    """Add what is wrong at the end to the world's violations."""
    for check in (_copies, _ledgers, _readers, _stable):
        world.result.violations += check(world)


def _copies(world):
    """Each record has its one outcome."""
    found = {}
    for topic, _ in world.cluster.logs:
        if topic not in found and not topic.startswith("ledger."):
            found[topic] = sorted(value for _, value in committed(world, topic))
    wanted = {topic: sorted(values) for topic, values in world.wanted().items()}
    for topic in {**wanted, **found}:
        one, other = wanted.get(topic, []), found.get(topic, [])
        if one != other:
            yield f"{topic}: lost {_difference(one, other)}, doubled or invented {_difference(other, one)}"


def _difference(one, other):
    other = list(other)
    return [each for each in one if each not in other or other.remove(each)]


def _ledgers(world):
    """The ranges of each lane abut and end where the group's offset is, and what was not deleted tells its whole state."""
    name = f"ledger.{world.stage().name}"
    for place in world.places:
        lane, following = f"{place[0]}-{place[1]}", 0
        log = world.cluster.logs[name, ledger.place_of(world.stage().name, lane)[1]]
        entries = [one for one in entries_of(log) if one[1]["lane"] == lane]
        for _, row in entries:
            if "part" not in row:
                if row["start"] != following or row["end"] <= row["start"]:
                    yield f"the ledger of {lane} has {row['start']} to {row['end']} after {following}"
                following = row["end"]
            elif row["end"] != following:
                yield f"the ledger of {lane} has a base up to {row['end']} after {following}"
        if following != world.cluster.offsets.get((NAME, place)):
            yield f"the ledger of {lane} ends at {following}, the group's offset is otherwise"
        yield from _kept(
            lane, following, len(world.inputs[place].values), [row for at, row in entries if at >= log.start]
        )


def _kept(lane, end, count, rows):
    """What is left begins at 0 or has a base, and the counts of all batches are in it."""
    parts, counted, at = [], 0, 0
    for row in rows:
        if "part" in row:
            parts = [*parts, row] if row["part"] == len(parts) else []
            if len(parts) == row["parts"]:
                at, counted, parts = row["end"], sum(row["counts"].values()), []
        elif row["start"] == at:
            at, counted = row["end"], counted + sum(row["counts"].values())
    if at != end:
        yield f"what is left of the ledger of {lane} tells its state up to {at}, not {end}"
    if rows and (counted != count):
        yield f"what is left of the ledger of {lane} counts {counted} records, not {count}"


def entries_of(log, bound=None):
    """Yield offset and values of the committed records of a ledger, those apart that ask for bases."""
    for one in log.committed(bound):
        for offset, key, value in records_of(one.raw):
            if key != ledger.ASK:
                number, body = plain.body_of(value)
                if number not in _READERS:
                    _READERS[number] = plain.reader(LEDGER[number][2])
                yield offset, _READERS[number](body)


_READERS = {}


def _readers(world):
    """What a reader saw during the storm is the beginning of what there is."""
    for seen in world.seen:
        for place, (bound, bases) in seen.items():
            if bases != [one.base for one in world.cluster.logs[place].committed(bound)]:
                yield f"a reader of {place} saw up to {bound} what is not there"


def _stable(world):
    """No transaction is open."""
    for place, log in world.cluster.logs.items():
        if log.stable != log.end:
            yield f"a transaction is open in {place}"


assert struct.calcsize(">q") == 8
