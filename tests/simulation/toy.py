"""A stage that costs nothing and notices everything: it copies each key once, and what it copies depends on its state."""

import numpy as np

from schemas.columns import Blob
from streams.base import Outcome, Output

PARTITIONS = 2
ONE = {p: np.full(1, p, np.int32) for p in range(PARTITIONS)}


class Seen:
    """How many records a lane has seen, and which keys, in their order; `shed` is how often it was numbered anew."""

    __slots__ = ("count", "keys", "shed")

    def __init__(self, count=0, keys=(), shed=0):
        self.count, self.keys, self.shed = count, dict.fromkeys(keys), shed

    def __eq__(self, other):
        return (self.count, list(self.keys)) == (other.count, list(other.keys))

    __hash__ = None

    def __repr__(self):
        return f"{self.count} seen, {b' '.join(self.keys).decode()}"


class Copy:
    """`sim.copied` gets the first record of each key, `sim.refused` the ones that begin with `!`, on which it fails."""

    name = "sim"
    topics = ("sim.copied", "sim.refused")

    def empty(self, lane):
        return Seen()

    def step(self, state, records, side):
        state.count += len(records)  # in place, before it may fail
        kept, keys = [], []
        for i in range(len(records)):
            key, value = records.keys.item(i), records.values.item(i)
            if value.startswith(b"!"):
                raise ValueError("poison")
            if key not in state.keys:
                state.keys[key] = None
                kept.append(value)
                keys.append(key)
        return state, self._outcome("sim.copied", state, len(records), keys, kept, keys)

    def refuse(self, state, records, error):
        state.count += len(records)
        return state, self._outcome(
            "sim.refused", state, len(records), [records.keys.item(0)], [records.values.item(0)], []
        )

    def _outcome(self, topic, state, count, keys, values, new):
        delta = b" ".join([b"%d" % state.shed, b"%d" % count, *new])
        if not values:
            return Outcome((), {"seen": count}, delta, "toy")
        partitions = np.array([key[-1] % PARTITIONS for key in keys], np.int32)
        return Outcome((Output(topic, partitions, Blob.of(keys), Blob.of(values)),), {"seen": count}, delta, "toy")

    def restore(self, state, delta):
        shed, count, *keys = delta.split(b" ")
        assert int(shed) == state.shed, "a delta fits the state that it was made of alone"
        return Seen(state.count + int(count), [*state.keys, *keys], state.shed)

    def shed(self, state):
        return Seen(state.count, state.keys, state.shed + 1)

    def freeze(self, state):
        return b" ".join([b"%d" % state.shed, b"%d" % state.count, *state.keys])

    def thaw(self, frozen):
        shed, count, *keys = frozen.split(b" ")
        return Seen(int(count), keys, int(shed))


class Input:
    """One partition's records, and what must become of them.

    `offsets`, `keys`, `values` of n records; offsets have gaps as transaction markers leave them.
    """

    def __init__(self, place, chance, size):
        self.place, self.offsets, self.keys, self.values = place, [], [], []
        self.states, self.copied, self.refused = [Seen()], [], []
        lane, offset = f"{place[0]}-{place[1]}", 0
        for _ in range(size):
            offset += 1 if chance.random() < 0.8 else 2
            key = b"k%d" % chance.randrange(2 * size)
            mark = b"!" if chance.random() < 0.02 else b""
            self.add(offset - 1, key, mark + f"{lane}:{offset - 1}".encode())

    def add(self, offset, key, value):
        before, fails = self.states[-1], value.startswith(b"!")
        self.offsets.append(offset)
        self.keys.append(key)
        self.values.append(value)
        self.states.append(Seen(before.count + 1, before.keys if fails else [*before.keys, key]))
        if fails:
            self.refused.append(value)
        elif key not in before.keys:
            self.copied.append(value)

    @property
    def end(self):
        return self.offsets[-1] + 1
