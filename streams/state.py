"""A stage's state in bytes: columns one after another, so that a snapshot is the delta of everything.

Layout before compression: number of columns (uint32), then each column's length in bytes (uint64), then the
columns, all little endian; then Zstandard level 1, which takes coded columns to a third.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import cramjam
import numpy as np
from numpy.typing import NDArray

from schemas.errors import Stops

Column = NDArray[Any]
Record: TypeAlias = Any  # one row of a structured column


class StateUnreadable(Stops):
    """A delta or snapshot is not what a stage of this version wrote."""

    exit_code = 70


def pack(columns: Sequence[Column]) -> bytes:
    """Return `columns` (one dimension each, little endian) as bytes; equal columns give equal bytes."""
    parts = [np.ascontiguousarray(column).view(np.uint8).reshape(-1) for column in columns]
    head = np.array([len(parts)], "<u4").tobytes() + np.array([len(part) for part in parts], "<u8").tobytes()
    return bytes(cramjam.zstd.compress(b"".join([head, *(part.tobytes() for part in parts)]), level=1))


def unpack(packed: bytes, dtypes: Sequence[str], more: Sequence[str] = ()) -> list[Column]:
    """Return the columns of `packed`, one for each of `dtypes` and for as many of `more` as were packed; views of one buffer."""
    try:
        data = bytes(cramjam.zstd.decompress(packed))
        count = int(np.frombuffer(data, "<u4", 1)[0])
        sizes = np.frombuffer(data, "<u8", count, 4).astype(np.int64)
        starts = 4 + 8 * count + np.concatenate(([0], np.cumsum(sizes)))
        dtypes = [*dtypes, *more[: max(count - len(dtypes), 0)]]
        _fits(count, len(dtypes), int(starts[-1]) - len(data))
        return [
            np.frombuffer(data, dtype, size // np.dtype(dtype).itemsize, start)
            for dtype, size, start in zip(dtypes, sizes.tolist(), starts.tolist(), strict=False)
        ]
    except (cramjam.DecompressionError, ValueError, IndexError) as error:
        raise StateUnreadable(
            "A stage's saved state cannot be read. Delete the snapshot in the data folder and start the worker again; "
            f"if it stops again, the ledger was written by another version: start that version ({error})."
        ) from error


def _fits(count: int, wanted: int, excess: int) -> None:
    if count != wanted or excess:
        raise ValueError(f"{count} columns where {wanted} belong, {excess} bytes too many")


def cells(table: Column, count: int) -> Column:
    """Return `table` with room for at least `count` rows, doubled so that growth costs little; new rows are zero."""
    if count <= len(table):
        return table
    wider = np.zeros((max(count, 2 * len(table)), *table.shape[1:]), table.dtype)
    wider[: len(table)] = table
    return wider


def grown(table: Column, count: int) -> Column:
    """Return `table`, which nobody else may hold, with room for `count` rows: made longer in place, by a sixteenth or more.

    The allocator moves pages instead of copying them, so a long table costs no second one while it grows.
    """
    if count > len(table):
        table.resize((max(count, len(table) + len(table) // 16 + 1024), *table.shape[1:]), refcheck=False)
    return table
