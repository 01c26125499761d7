"""The records of `keys.<node>`: an epoch's key for one region, and each case's key under the epoch's key.

They are written to the journal's `keys.log`, safe on the disk before the event that needs them, and sent before it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from schemas import seal
from schemas.released import latest
from schemas.rows import read, write
from schemas.wire import single_object, unframe

EPOCH = b"epoch:"


@dataclass(frozen=True)
class Case:
    """A case that can be opened: its reference and its key."""

    ref: bytes
    key: bytes = field(repr=False)


def of_epoch(epoch: int, region: str, public: bytes, secret: bytes) -> tuple[bytes, bytes]:
    """Return key and value of an EpochKey record: the epoch's secret, sealed for the region."""
    release = latest("EpochKey")
    value = {"epoch": epoch, "region": region, "sealed": seal.seal_epoch(public, secret)}
    return EPOCH + b"%d" % epoch, single_object(release, write(release, value))


def of_case(epoch: int, secret: bytes, case: Case) -> tuple[bytes, bytes]:
    """Return key and value of a CaseKey record: the case's key, wrapped under the epoch's."""
    release = latest("CaseKey")
    value = {"epoch": epoch, "wrapped": seal.wrap(secret, case.ref, case.key)}
    return case.ref, single_object(release, write(release, value))


def opened(case_ref: bytes, value: bytes, secret_of: Callable[[int], bytes]) -> Case:
    """Return the case of a CaseKey record; `secret_of` gives an epoch's secret. Quarantines where it does not open."""
    record = read(*unframe(value))
    return Case(case_ref, seal.unwrap(secret_of(record["epoch"]), case_ref, record["wrapped"]))


def tombstone(case_ref: bytes) -> tuple[bytes, bytes]:
    """Return key and value of the record that forgets a case: a value of nothing."""
    return case_ref, b""


def end_of_epoch(epoch: int) -> tuple[bytes, bytes]:
    """Return key and value of the record that forgets an epoch, and every case whose key is wrapped under it still."""
    return EPOCH + b"%d" % epoch, b""
