"""What must hold of every schedule, from the broker's logs alone: no code of the lanes is asked."""

import struct

from aiokafka.record.memory_records import MemoryRecords

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
    """The ranges of each lane abut and end where the group's offset is."""
    ranges = {}
    for key, value in committed(world, f"ledger.{world.stage().name}"):
        number, body = plain.body_of(value)
        if number not in _READERS:
            _READERS[number] = plain.reader(LEDGER[number][2])
        row = _READERS[number](body)
        ranges.setdefault(key.decode(), []).append((row["start"], row["end"]))
    for place in world.places:
        name, following = f"{place[0]}-{place[1]}", 0
        for start, end in ranges.get(name, []):
            if start != following or end <= start:
                yield f"the ledger of {name} has {start} to {end} after {following}"
            following = end
        if following != world.cluster.offsets.get((NAME, place)):
            yield f"the ledger of {name} ends at {following}, the group's offset is otherwise"


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
