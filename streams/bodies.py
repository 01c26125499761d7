"""Bodies of a batch: opened with the case's key, decoded, and judged by the rules; what is left is accepted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal, TypeAlias

import numpy as np

from quality.compiled import refused
from schemas.columns import Blob, Columns, compile, decode  # noqa: A004
from schemas.keyring import Keyring
from schemas.released import Release
from schemas.unseal import open_batch
from streams.envelopes import Envelopes
from streams.frames import versions
from streams.names import Longs, Octets

Sort = Literal["incident", "pattern"]
REPORTED = ("IncidentReported",)
EPOCH, DAY = date(1970, 1, 1), 86_400_000


@dataclass(frozen=True, eq=False)
class Judged:
    """Accepted bodies of one release: `rows` int64[k] of `columns`, and the `records` int64[k] of the batch they are."""

    release: Release
    columns: Columns
    rows: Longs
    records: Longs


# Bodies of records that are wanted: (envelopes, their records and columns of one version, wanted records int64[k], keys)
# to (records that opened int64[j], data, where in it their bodies lie int64[j, 2]); the others are refused.
Opener: TypeAlias = Callable[[Envelopes, tuple[Longs, Columns], Longs, Keyring], tuple[Longs, Octets, Longs]]


def day(columns: Columns, row: int, name: str) -> date:
    """Return a date of one body, or the day of a time."""
    unit = DAY if columns.column(name).kind == "timestamp" else 1
    return EPOCH + timedelta(days=int(columns.ints(name)[row]) // unit)


def incidents(
    found: Envelopes, wanted: Longs, keyring: Keyring, opened: Opener, contracts: Sequence[str] = REPORTED
) -> list[Judged]:
    """Return the accepted incidents of the records `wanted`; reasons of the others go to `found`."""
    judged: list[Judged] = []
    for records, columns in _decoded(found, wanted, keyring, opened, contracts, ("incident",)):
        judged.append(_of_release(found, "incident", columns, records))
    return judged


def read(
    found: Envelopes, wanted: Longs, keyring: Keyring, opened: Opener, contracts: Sequence[str]
) -> list[tuple[Longs, Columns]]:
    """Return the records `wanted` that can be read, int64[k], with their bodies, which hold nothing to judge."""
    bodies = _decoded(found, wanted, keyring, opened, contracts, ())
    for records, columns in bodies:
        _unreadable(found, records, columns)
    return bodies


def _decoded(
    found: Envelopes,
    wanted: Longs,
    keyring: Keyring,
    opened: Opener,
    contracts: Sequence[str],
    copied: tuple[str, ...],
) -> list[tuple[Longs, Columns]]:
    """Return the bodies that open, by release of the contracts; of each the nested records `copied` are kept whole."""
    bodies = []
    for group in found.groups:
        records, data, spans = opened(found, group, wanted[np.isin(wanted, group[0])], keyring)
        bodies += _by_release(found, records, data, spans, contracts, copied)
    return bodies


def sealed(
    found: Envelopes, group: tuple[Longs, Columns], records: Longs, keyring: Keyring
) -> tuple[Longs, Octets, Longs]:
    """Open sealed bodies, each under the key of its case; see `Opener`."""
    keys = keyring.find_in(found.data, found.case[records])
    found.refuse(records[keys < 0], "seal.no_key")
    records, keys = records[keys >= 0], keys[keys >= 0]
    bodies, good = open_batch(group[1], np.searchsorted(group[0], records), keyring, keys)
    found.refuse(records[~good], "seal.broken")
    return records[good], bodies.data, _spans(bodies)[good]


def patterns(found: Envelopes, wanted: Longs) -> list[Judged]:
    """Return the accepted patterns of the records `wanted`; reasons of the others go to `found`."""
    bodies = plain(found, wanted, ("PatternObserved",), ("pattern",))
    return [_of_release(found, "pattern", columns, records) for records, columns in bodies]


def plain(
    found: Envelopes, wanted: Longs, contracts: Sequence[str], copied: tuple[str, ...]
) -> list[tuple[Longs, Columns]]:
    """Return the bodies in clear of the records `wanted`, by release of the contracts; of each the nested records `copied` are kept whole."""
    return _by_release(found, wanted, found.data, found.body[wanted], contracts, copied)


def _spans(blob: Blob) -> Longs:
    return np.stack([blob.starts, blob.ends], axis=1)


def _by_release(
    found: Envelopes,
    records: Longs,
    data: Octets,
    spans: Longs,
    contracts: Sequence[str],
    copied: tuple[str, ...],
) -> list[tuple[Longs, Columns]]:
    bodies = []
    for release in (each for name in contracts for each in versions(name)):
        chosen = found.schema[records] == release.id
        if chosen.any():
            layout = compile(release, copied)
            bodies.append((records[chosen], decode(layout, data, spans[chosen, 0], spans[chosen, 1])))
    return bodies


def _unreadable(found: Envelopes, records: Longs, columns: Columns) -> None:
    for row in np.flatnonzero(columns.status).tolist():
        found.add(int(records[row]), [columns.reason(row)])


def _of_release(found: Envelopes, sort: Sort, columns: Columns, records: Longs) -> Judged:
    """Judge bodies by their release, int64[k] `records` of the batch."""
    _unreadable(found, records, columns)
    broken, codes = refused(sort, columns)
    for row, reasons in zip(broken.tolist(), codes, strict=True):
        found.add(int(records[row]), reasons)
    rows = np.flatnonzero(~found.refused[records])
    return Judged(columns.layout.release, columns, rows, records[rows])
