"""Columns for Arrow: what Polars, Parquet and the rules read.

string and enum → string; fixed → its bytes in hexadecimal, string; bytes and raw records → binary; symbols and strings
→ list<string>; date → date32; timestamp → timestamp[ms, UTC]; int → int32; long → int64; boolean → bool.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas import kernels
from schemas.columns import Columns, offsets_of


def column(columns: Columns, name: str) -> pa.Array:
    """Return the column `name`, null where the field is null or the row is refused."""
    found = columns.column(name)
    mask = None if found.null < 0 and not columns.status.any() else ~columns.valid(name)
    return _MAKERS[found.kind](columns, name, mask)


def strings(data: NDArray[np.uint8], spans: NDArray[np.int64], kind: Any, mask: NDArray[np.bool_] | None) -> pa.Array:
    """Return a string or binary array of copies of the spans int64[n, 2]; `mask` bool[n] is True for null."""
    offsets = offsets_of(spans[:, 1] - spans[:, 0])
    large = offsets[-1] >= 1 << 31
    out = np.empty(offsets[-1], np.uint8)
    kernels.gather(data, np.ascontiguousarray(spans), offsets, out)
    return _of_buffers(kind if not large else _LARGE[kind], offsets, out, mask)


_LARGE = {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()}


def _of_buffers(
    kind: Any, offsets: NDArray[np.int64], out: NDArray[np.uint8], mask: NDArray[np.bool_] | None
) -> pa.Array:
    wide = kind in _LARGE.values()
    ends = offsets if wide else offsets.astype(np.int32)
    bits = None if mask is None else pa.py_buffer(np.packbits(~mask, bitorder="little"))
    return pa.Array.from_buffers(kind, len(offsets) - 1, [bits, pa.py_buffer(ends), pa.py_buffer(out)])


def _number(kind: Any, width: type) -> Callable[[Columns, str, Any], pa.Array]:
    def make(columns: Columns, name: str, mask: NDArray[np.bool_] | None) -> pa.Array:
        return pa.array(columns.ints(name).astype(width, copy=False), mask=mask).cast(kind)

    return make


def _octets(kind: Any) -> Callable[[Columns, str, Any], pa.Array]:
    return lambda columns, name, mask: strings(columns.data, columns.spans(name), kind, mask)


def _enum(columns: Columns, name: str, mask: NDArray[np.bool_] | None) -> pa.Array:
    indexes = pa.array(columns.ints(name).astype(np.int32), mask=mask)
    return pa.DictionaryArray.from_arrays(indexes, list(columns.symbols(name))).dictionary_decode()


def _fixed(columns: Columns, name: str, mask: NDArray[np.bool_] | None) -> pa.Array:
    spans = columns.spans(name)
    offsets = offsets_of(2 * (spans[:, 1] - spans[:, 0]))
    out = np.empty(offsets[-1], np.uint8)
    kernels.hexes(columns.data, np.ascontiguousarray(spans), offsets, out)
    return _of_buffers(pa.string(), offsets, out, mask)


def _symbols(columns: Columns, name: str, mask: NDArray[np.bool_] | None) -> pa.Array:
    masks = columns.ints(name)
    offsets = offsets_of(np.bitwise_count(masks))
    out = np.empty(offsets[-1], np.int32)
    kernels.unmask(masks, offsets, out)
    items = pa.DictionaryArray.from_arrays(pa.array(out), list(columns.symbols(name))).dictionary_decode()
    return _list(offsets, items, mask)


def _strings(columns: Columns, name: str, mask: NDArray[np.bool_] | None) -> pa.Array:
    offsets, spans = columns.lists(name)
    return _list(offsets, strings(columns.data, spans, pa.string(), None), mask)


def _list(offsets: NDArray[np.int64], items: pa.Array, mask: NDArray[np.bool_] | None) -> pa.Array:
    ends = pa.array(offsets.astype(np.int32))
    return pa.ListArray.from_arrays(ends, items, mask=None if mask is None else pa.array(mask))


_MAKERS: dict[str, Callable[[Columns, str, Any], pa.Array]] = {
    "int": _number(pa.int32(), np.int32),
    "long": _number(pa.int64(), np.int64),
    "date": _number(pa.date32(), np.int32),
    "timestamp": _number(pa.timestamp("ms", "UTC"), np.int64),
    "boolean": _number(pa.bool_(), np.bool_),
    "enum": _enum,
    "symbols": _symbols,
    "strings": _strings,
    "string": _octets(pa.string()),
    "bytes": _octets(pa.binary()),
    "record": _octets(pa.binary()),
    "fixed": _fixed,
}
