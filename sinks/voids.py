"""What a batch makes void: incidents that are no longer shared, and versions that are closed. Pure over Arrow tables.

A row is named by its incident and its version, null for the version first reported: rows of one incident come over
several lanes, in either order, so neither its incident nor the order of events would do.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sinks import parquet
from sinks.decoding import Decoded
from sinks.sought import short
from sinks.tables import CLOSURE, REMOVAL, Table

_CLOSED = pa.schema([("key", pa.string()), ("ended_on", pa.date32()), ("ending", pa.string()), ("offset", pa.int64())])


@dataclass(frozen=True)
class Voids:
    """`gone`: ids of incidents; `closed`: key, ended_on, ending and offset, of each version the first event."""

    gone: pa.Array
    closed: pa.Table

    @classmethod
    def of(cls, found: Decoded) -> "Voids":
        """Return what a batch makes void."""
        gone = [part.columns.arrow("incident_id") for part in found.get(REMOVAL, ())]
        return cls(pa.concat_arrays(gone) if gone else pa.array([], pa.string()), _closed(found))

    def __bool__(self) -> bool:
        """Return whether there is any."""
        return len(self.gone) > 0 or self.closed.num_rows > 0

    @property
    def ids(self) -> NDArray[np.uint64]:
        """Return the incidents, as `sinks.sought` keeps them: a key begins with the incident's id."""
        return short(self.gone, self.closed["key"])

    def since(self, offset: int) -> "Voids":
        """Return it with only those closures that stand at this offset or after it."""
        return replace(self, closed=self.closed.filter(pc.greater_equal(self.closed["offset"], offset)))

    def but(self, *tables: pa.Table | None) -> "Voids":
        """Return it without the closures of the versions that are rows of these tables."""
        closed = self.closed
        for each in tables:
            if each is not None and closed.num_rows:
                closed = closed.filter(pc.invert(pc.is_in(closed["key"], value_set=_key(each).combine_chunks())))
        return replace(self, closed=closed)


@dataclass(frozen=True)
class Rest:
    """What stays of a file, and the rows of versions that were closed."""

    content: pa.Table
    closed: pa.Table


def left(table: Table, content: pa.Table, voids: Voids) -> pa.Table:
    """Return the rows that nothing makes void; where versions end, those that were open say what ended them."""
    if not voids or not table.naming:
        return content
    content = content.filter(pc.invert(_any(_gone(table, content, voids))))
    if not voids.closed.num_rows:
        return content
    return _ended(content, voids) if table.ends else content.filter(pc.invert(_any(_named(table, content, voids))))


def names(table: Table, data: bytes) -> pa.Table:
    """Return of a file's rows only which incidents and versions they name, and whether those have ended."""
    more = ("ended_on",) if table.ends else ()
    return parquet.read(table, data, (*table.naming, *table.versions, *more))


def rest(table: Table, data: bytes, names: pa.Table, voids: Voids) -> Rest | None:
    """Return what becomes of a file that has these `names`; None where nothing does."""
    if not pc.any(_touched(table, names, voids)).as_py():
        return None
    content = parquet.read(table, data)
    return Rest(left(table, content, voids), content.filter(_any(_named(table, content, voids))))


def moved(table: Table, content: pa.Table | None, voids: Voids) -> pa.Table | None:
    """Return those of the rows of `incidents` whose version is closed, as rows of the `table` in which versions end."""
    if content is None or not voids.closed.num_rows:
        return None
    content = content.filter(pc.is_in(_key(content), value_set=_keys(voids)))
    number = content.num_rows
    schema = parquet.schema_of(table)
    added = {"conflict": pa.array(np.zeros(number, np.bool_))}
    columns = [
        content[field.name]
        if field.name in content.column_names
        else added.get(field.name, pa.nulls(number, field.type))
        for field in schema
    ]
    return left(table, pa.Table.from_arrays(columns, schema=schema), voids)


def _closed(found: Decoded) -> pa.Table:
    parts = [
        pa.Table.from_arrays(
            [_joined(each.columns.arrow("incident_id"), each.columns.arrow("version_id"))]
            + [each.columns.arrow(name).cast(_CLOSED.field(name).type) for name in ("ended_on", "ending")]
            + [pa.array(each.offsets)],
            schema=_CLOSED,
        )
        for each in found.get(CLOSURE, ())
    ]
    if not parts:
        return _CLOSED.empty_table()
    ordered = pa.concat_tables(parts).sort_by("offset")
    firsts = {key: row for row, key in reversed(list(enumerate(ordered["key"].to_pylist())))}
    return ordered.take(pa.array(sorted(firsts.values()))).combine_chunks()


def _ended(content: pa.Table, voids: Voids) -> pa.Table:
    """Return the rows with what ended them, where they are open and their version is closed."""
    at = pc.index_in(_key(content), value_set=_keys(voids))
    was_open = pc.is_null(content["ended_on"])
    for name in ("ended_on", "ending"):
        ends = pc.take(voids.closed[name], at)
        at_name = content.schema.get_field_index(name)
        content = content.set_column(at_name, content.schema.field(name), pc.if_else(was_open, ends, content[name]))
    return content


def _touched(table: Table, names: pa.Table, voids: Voids) -> Any:
    closed = _any(_named(table, names, voids))
    if table.ends:
        closed = pc.and_(closed, pc.is_null(names["ended_on"]))
    return pc.or_(closed, _any(_gone(table, names, voids)))


def _any(flags: Iterator[Any]) -> Any:
    return reduce(pc.or_, flags)


def _gone(table: Table, content: pa.Table, voids: Voids) -> Iterator[Any]:
    """Yield for each column that names an incident whether that one is gone."""
    for column in table.naming:
        yield pc.is_in(content[column], value_set=voids.gone)


def _named(table: Table, content: pa.Table, voids: Voids) -> Iterator[Any]:
    """Yield for each column that names an incident whether that version of it is closed; of no version is none."""
    if not table.versions:
        yield pa.array(np.zeros(len(content), np.bool_))
        return
    for column, version in zip(table.naming, table.versions, strict=True):
        yield pc.is_in(_joined(content[column], content[version]), value_set=_keys(voids))


def _keys(voids: Voids) -> pa.Array:
    return voids.closed["key"].combine_chunks()


def _key(content: pa.Table) -> Any:
    return _joined(content["incident_id"], content["version_id"])


def _joined(incident: Any, version: Any) -> Any:
    return pc.binary_join_element_wise(incident, pc.fill_null(version, ""), "/")
