"""What the records of one node's `keys.<node>` say, folded: which cases can be opened, and which are forgotten.

The topic is compacted, so only the last record of each key counts, and reading all of it again gives the same keyring as
following it live. A tombstone on a case forgets the case; a tombstone on an epoch forgets every case whose key was not
wrapped anew. Nothing here is ever written to a disk.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise

import numpy as np

from schemas import rows, seal
from schemas.columns import Blob, compile, decode, matrix  # noqa: A004
from schemas.errors import Quarantines
from schemas.keyring import REF, Keyring, Numbers, Octets
from schemas.released import latest
from schemas.unseal import KEY, TAG, Bools, unwrap_batch, wrap_batch
from schemas.wire import single_object_prefix, unframe

EPOCH = b"epoch:"
EPOCH_DIGITS = 9

Refused = list[tuple[bytes, str]]


class NodeKeys:
    """One node's keys as a region's worker sees them; `privates`: region's code to its private keys (32 bytes each).

    It is asked again at each epoch's key, and any of a region's keys may open it: two while a region renews its own.

    A case's key is held once: in clear in the keyring, or wrapped where its epoch's key does not open it now. The wrapped
    form of one in clear can be made again, byte for byte, should its epoch be forgotten or change.
    """

    def __init__(self, privates: Mapping[str, Sequence[bytes]], keyring: Keyring | None = None) -> None:
        self.keyring = Keyring() if keyring is None else keyring
        self._privates = privates
        self._epochs: dict[int, bytes] = {}
        self._waiting = Keyring(KEY + TAG)

    def __len__(self) -> int:
        """Return the number of cases that can be opened."""
        return len(self.keyring)

    def read(self, keys: Blob, values: Blob) -> Refused:
        """Fold n records in their order, an empty value being a tombstone; return key and reason of each that is refused.

        Reasons: `keys.malformed`, `keys.other_region`, `seal.broken`, and those of the decoder. A refused record takes
        the key of its case away, as it does for whoever reads the compacted topic from its start.
        """
        refused: Refused = []
        named = _begin_with(keys, EPOCH)
        touched = self._read_epochs([(keys.item(i), values.item(i)) for i in np.flatnonzero(named).tolist()], refused)
        for epoch, before in touched.items():
            self._close(epoch, before)
            self._open(epoch, refused)
        self._read_cases(keys, values, np.flatnonzero(~named), refused)
        return refused

    def _read_epochs(self, records: list[tuple[bytes, bytes]], refused: Refused) -> dict[int, bytes | None]:
        """Take or forget epoch keys; return the epochs that changed, with the key that each had before."""
        before = dict(self._epochs)
        for key, value in records:
            digits = key.removeprefix(EPOCH)
            if not (digits.isdigit() and len(digits) <= EPOCH_DIGITS):
                refused.append((key, "keys.malformed"))
                continue
            self._epochs.pop(int(digits), None)
            try:
                if value:
                    self._epochs[int(digits)] = self._epoch_key(int(digits), value)
            except Quarantines as error:
                refused.append((key, error.reason))
        touched = (epoch for epoch in {*before, *self._epochs} if before.get(epoch) != self._epochs.get(epoch))
        return {epoch: before.get(epoch) for epoch in touched}

    def _epoch_key(self, number: int, value: bytes) -> bytes:
        """Return the epoch's key of 32 bytes. Errors: Quarantines."""
        release, body = unframe(value)
        if release.name != "EpochKey":
            raise Quarantines("keys.malformed")
        record = rows.read(release, body)
        if record["epoch"] != number:
            raise Quarantines("keys.malformed")
        if record["region"] not in self._privates:
            raise Quarantines("keys.other_region")
        for private in self._privates[record["region"]]:
            with suppress(seal.SealBroken):
                return seal.open_epoch(private, record["sealed"])
        raise seal.SealBroken

    def _read_cases(self, keys: Blob, values: Blob, chosen: Numbers, refused: Refused) -> None:
        """Take or forget cases' keys."""
        prefix = single_object_prefix(latest("CaseKey"))
        sized = (keys.ends - keys.starts)[chosen] == REF
        framed = chosen[sized & _begin_with(values, prefix)[chosen]]
        columns = decode(
            compile(latest("CaseKey")), values.data, values.starts[framed] + len(prefix), values.ends[framed]
        )
        good = framed[columns.status == 0]
        bad = np.flatnonzero(columns.status).tolist()
        codes = dict(zip(framed[bad].tolist(), map(columns.reason, bad), strict=True))
        other = np.ones(len(keys), np.bool_)
        other[good] = False
        for row in chosen[other[chosen]].tolist():
            if len(value := values.item(row)):
                refused.append((keys.item(row), codes.get(row) or _why(value)))
        given = np.flatnonzero(columns.status == 0)
        refs, wrapped = matrix(keys.data, keys.starts[good], REF), columns.spans("wrapped")[given, 0]
        epochs, sealed = columns.ints("epoch")[given], matrix(columns.data, wrapped, KEY + TAG)
        for first, end, gone in _in_order(good, chosen[sized & other[chosen]]):
            self._take(refs[first:end], sealed[first:end], epochs[first:end], refused)
            for row in gone:
                self._waiting.drop(keys.item(row))
                self.keyring.drop(keys.item(row))

    def _take(self, refs: Octets, wrapped: Octets, epochs: Numbers, refused: Refused) -> None:
        """Hold keys in the order in which they came: of a case that comes twice the last one counts."""
        if not len(refs):
            return
        keys, good = np.zeros((len(refs), KEY), np.uint8), np.zeros(len(refs), np.bool_)
        for epoch in set(epochs.tolist()) & self._epochs.keys():
            rows = np.flatnonzero(epochs == epoch)
            keys[rows], good[rows] = self._unwrap(epoch, refs[rows], wrapped[rows], refused)
        turns = np.flatnonzero((np.diff(epochs) != 0) | (np.diff(good) != 0)) + 1
        for first, end in pairwise([0, *turns.tolist(), len(refs)]):
            epoch, some = int(epochs[first]), refs[first:end]
            if good[first]:
                self.keyring.put(some, keys[first:end], epoch)
                _forget(self._waiting, some)
            else:
                self._waiting.put(some, wrapped[first:end], epoch)
                _forget(self.keyring, some)

    def _close(self, epoch: int, key: bytes | None) -> None:
        """Have the cases of an epoch, whose key it had until now, wait for another one."""
        rows = self.keyring.under(epoch)
        if key is not None and len(rows):
            refs = self.keyring.refs[rows]
            self._waiting.put(refs, wrap_batch(key, refs, self.keyring.keys[rows]), epoch)
        self.keyring.drop_rows(rows)

    def _open(self, epoch: int, refused: Refused) -> None:
        """Open the cases that waited for an epoch's key; the rest waits on, and cannot be opened."""
        if epoch not in self._epochs:
            return
        rows = self._waiting.under(epoch)
        refs = self._waiting.refs[rows]
        keys, good = self._unwrap(epoch, refs, self._waiting.keys[rows], refused)
        self._waiting.drop_rows(rows[good])
        self.keyring.put(refs[good], keys[good], epoch)

    def _unwrap(self, epoch: int, refs: Octets, wrapped: Octets, refused: Refused) -> tuple[Octets, Bools]:
        """Return keys uint8[n, 32] and good bool[n] under the epoch's key, which is held; add those that do not open."""
        keys, good = unwrap_batch(self._epochs[epoch], refs, wrapped)
        refused += [(ref.tobytes(), "seal.broken") for ref in refs[~good]]
        return keys, good


def _forget(keyring: Keyring, refs: Octets) -> None:
    """Drop those of the references that are held."""
    found = keyring.find(refs)
    keyring.drop_rows(np.unique(found[found >= 0]))


def _in_order(good: Numbers, gone: Numbers) -> Iterator[tuple[int, int, list[int]]]:
    """Yield (first, end, rows): of the good rows the next to put, then the rows to drop that come right after them."""
    places = np.searchsorted(good, gone)
    first = 0
    for end in np.unique(places).tolist():
        yield first, end, gone[places == end].tolist()
        first = end
    yield first, len(good), []


def _begin_with(blob: Blob, prefix: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Return bool[n]: which items begin with the prefix."""
    long = np.flatnonzero(blob.ends - blob.starts >= len(prefix))
    found = np.zeros(len(blob), np.bool_)
    found[long] = (matrix(blob.data, blob.starts[long], len(prefix)) == np.frombuffer(prefix, np.uint8)).all(axis=1)
    return found


def _why(value: bytes) -> str:
    """Return why a record is no case's key."""
    try:
        unframe(value)
    except Quarantines as error:
        return error.reason
    return "keys.malformed"


__all__ = ["NodeKeys"]
