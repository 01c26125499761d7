"""The hub's memory of one node's case keys: open addressing over case references, for whole batches.

One keyring a node: a node can't replace another node's key. What is dropped is overwritten with zeros at once. A keyring
is not for two threads: a row that `find` gave is good until the next `put`, `drop` or `drop_epoch`.
"""

import secrets
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from schemas.jit import allocating, kernel
from schemas.memory import copy

Octets = NDArray[np.uint8]
Numbers = NDArray[np.int64]
Words = NDArray[np.uint64]
Slots = NDArray[np.int32]

REF = 16
KEY = 32
EMPTY = -1
DROPPED = -2
SMALLEST = 64


@intrinsic
def _word(context, address):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202, ARG001
    """Read the 8 bytes at an address as one number."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        return builder.load(builder.inttoptr(args[0], context.get_value_type(types.uint64).as_pointer()), align=1)

    return types.uint64(types.uint64), generate


@kernel
def _slot(slots: Slots, refs: Octets, mix: Words, data: Octets, at: int) -> Any:
    """Return (slot where the reference at data[at:] is, or -1; the slot where it may be put)."""
    low, high = _word(np.uint64(data.ctypes.data + at)), _word(np.uint64(data.ctypes.data + at + 8))
    mixed = low * mix[0] + high * mix[1] + (low ^ high) * mix[2]
    last = len(slots) - 1
    slot, free = np.int64(mixed >> np.uint64(32)) & last, np.int64(-1)
    while slots[slot] != EMPTY:
        row = np.int64(slots[slot])
        if row == DROPPED:
            free = slot if free < 0 else free
        else:
            held = np.uint64(refs.ctypes.data + row * REF)
            if _word(held) == low and _word(held + np.uint64(8)) == high:
                return slot, slot
        slot = (slot + 1) & last
    return np.int64(-1), slot if free < 0 else free


@allocating
def _put(
    slots: Slots,
    refs: Octets,
    keys: Octets,
    epochs: Numbers,
    rows: int,
    mix: Words,
    new: Octets,
    new_keys: Octets,
    new_epochs: Numbers,
) -> Any:
    """Put row after row, a later one over an earlier; return how many rows are used now and how many slots were taken."""
    taken, width = 0, keys.shape[1]
    flat, flat_keys = new.reshape(-1), new_keys.reshape(-1)
    held, held_keys = refs.reshape(-1), keys.reshape(-1)
    for index in range(len(new)):
        found, free = _slot(slots, refs, mix, flat, index * REF)
        if found >= 0:
            row = int(slots[found])
        else:
            row = rows
            rows += 1
            taken += slots[free] == EMPTY
            slots[free] = row
            copy(held, row * REF, flat, index * REF, REF)
        copy(held_keys, row * width, flat_keys, index * width, width)
        epochs[row] = new_epochs[index]
    return rows, taken


@kernel
def _drop(slots: Slots, refs: Octets, keys: Octets, epochs: Numbers, mix: Words, gone: Numbers) -> None:
    """Forget the rows `gone`: what they held is overwritten with zeros."""
    flat = refs.reshape(-1)
    for row in gone:
        slot, _ = _slot(slots, refs, mix, flat, row * REF)
        slots[slot] = DROPPED
        keys[row], refs[row], epochs[row] = 0, 0, DROPPED


@kernel
def _find(slots: Slots, refs: Octets, mix: Words, data: Octets, spans: Numbers, out: Numbers) -> None:
    for index in range(len(spans)):
        out[index] = -1
        if spans[index, 1] - spans[index, 0] == REF:
            found, _ = _slot(slots, refs, mix, data, spans[index, 0])
            if found >= 0:
                out[index] = slots[found]


def frozen(array: Octets) -> Octets:
    """Return a contiguous read-only view: one specialisation of each kernel, whoever owns the buffer."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


class Keyring:
    """Case reference (16 bytes) to key, with the epoch under which the key came.

    Row by row, of which not all are held: `refs` uint8[m, 16], `keys` uint8[m, width], `epochs` int64[m].
    """

    def __init__(self, width: int = KEY) -> None:
        self._mix = np.frombuffer(secrets.token_bytes(24), np.uint64) | np.uint64(1)
        self._rows = self._taken = 0
        self._width = width
        self._allocate(SMALLEST)

    def _allocate(self, capacity: int) -> None:
        """Make room for so many rows, a power of two; each has two slots, so that at most half of them are taken."""
        self._slots = np.full(2 * capacity, EMPTY, np.int32)
        self.refs = np.zeros((capacity, REF), np.uint8)
        self.epochs = np.full(capacity, DROPPED, np.int64)
        self.keys = np.zeros((capacity, self._width), np.uint8)

    def __len__(self) -> int:
        """Return the number of keys that are held."""
        return int((self.epochs[: self._rows] != DROPPED).sum())

    def put(self, case_refs: Octets, keys: Octets, epochs: int | Numbers = 0) -> None:
        """Hold keys uint8[n, width] for case references uint8[n, 16]; the last of equal references stays.

        `epochs` ≥ 0: int64[n], or one for all.
        """
        if case_refs.shape != (len(case_refs), REF) or keys.shape != (len(case_refs), self._width):
            raise ValueError(f"case references uint8[n, 16] and as many keys uint8[n, {self._width}] are needed")
        self._make_room(len(case_refs))
        self._insert(case_refs, keys, np.broadcast_to(np.asarray(epochs, np.int64), len(case_refs)))

    def find(self, refs: Octets) -> Numbers:
        """Return int64[n]: the row of each reference uint8[n, 16] in `keys`, -1 where it is not held."""
        starts = np.arange(len(refs), dtype=np.int64) * REF
        return self.find_in(refs.reshape(-1), np.stack([starts, starts + REF], axis=1))

    def find_in(self, data: Octets, spans: Numbers) -> Numbers:
        """Return int64[n] as `find` does, for references that lie at spans int64[n, 2] of `data` (empty span: -1)."""
        out = np.empty(len(spans), np.int64)
        _find(self._slots, self.refs, self._mix, frozen(data), np.ascontiguousarray(spans, np.int64), out)
        return out

    def under(self, epoch: int) -> Numbers:
        """Return int64[k]: the rows whose key came under this epoch."""
        return np.flatnonzero(self.epochs[: self._rows] == epoch)

    def drop(self, case_ref: bytes) -> bool:
        """Forget one case: its key is overwritten. Return whether it was held."""
        return self.drop_rows(self.find(np.frombuffer(case_ref, np.uint8)[None])) == 1

    def drop_epoch(self, epoch: int) -> int:
        """Forget every case whose key came under this epoch; return how many."""
        return self.drop_rows(self.under(epoch))

    def drop_rows(self, rows: Numbers) -> int:
        """Forget the rows int64[k] that `find` gave, each at most once; -1 stands for none. Return how many."""
        gone = rows[rows >= 0]
        _drop(self._slots, self.refs, self.keys, self.epochs, self._mix, gone)
        return len(gone)

    def _insert(self, refs: Octets, keys: Octets, epochs: Numbers) -> None:
        state = (self._slots, self.refs, self.keys, self.epochs, self._rows, self._mix)
        self._rows, taken = _put(*state, frozen(refs), frozen(keys), np.array(epochs))
        self._taken += taken

    def _make_room(self, more: int) -> None:
        """Keep rows within the capacity and slots at most half taken; what was moved is overwritten where it was."""
        if self._rows + more <= len(self.keys) and 2 * (self._taken + more) <= len(self._slots):
            return
        held = np.flatnonzero(self.epochs[: self._rows] != DROPPED)
        refs, keys, epochs, old = self.refs[held], self.keys[held], self.epochs[held], self.keys
        self._rows = self._taken = 0
        self._allocate(1 << (3 * (len(held) + more) // 2).bit_length())
        self._insert(refs, keys, epochs)
        old[:] = 0
        keys[:] = 0


def warm() -> None:
    """Load or compile every kernel here, before the first batch is waited for."""
    keyring = Keyring()
    keyring.put(np.zeros((1, REF), np.uint8), np.zeros((1, KEY), np.uint8))
    keyring.find(np.zeros((1, REF), np.uint8))
    keyring.drop(bytes(REF))


__all__ = ["Keyring", "frozen", "warm"]
