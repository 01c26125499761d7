"""The tables of the lake, derived from the Avro contracts: columns, order of rows, what may have statistics.

A nested record is flattened (`incident.country` → `country`), an id is hex text, a code is text, never a number.
Nothing here needs pyarrow.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from schemas.errors import NotSetUp
from schemas.events import load

Kind = Literal["id", "text", "integer", "long", "flag", "date", "time", "texts"]

NOTE = "<!-- rendered by `make generated`; do not edit: change the contract in schemas/avro or sinks/tables.py -->\n"

# What a reader sees; `time` is in UTC microseconds.
WORDS: Mapping[Kind, str] = {
    "id": "TEXT (32 hex digits)",
    "text": "TEXT",
    "integer": "INT",
    "long": "BIGINT",
    "flag": "BOOLEAN",
    "date": "DATE",
    "time": "TIMESTAMP (UTC, microseconds)",
    "texts": "LIST of TEXT",
}

KINDS: Mapping[str, Kind] = {
    "string": "text",
    "enum": "text",
    "fixed": "id",
    "boolean": "flag",
    "int": "integer",
    "long": "long",
    "date": "date",
    "timestamp-millis": "time",
    "array": "texts",
}


@dataclass(frozen=True)
class Column:
    """One column: `field` is its path in the contract, `doc` the contract's sentence."""

    name: str
    field: str
    kind: Kind
    nullable: bool
    doc: str
    codes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """One table: a row is one event of `contract`.

    Rows of a file are sorted by `order`, so that a file does not tell in which order they came. Only the columns in
    `statistics` may have minima and maxima: an id, a date, a place, a count or a party never has. A row whose column in
    `naming` names an incident goes with that incident, when it is no longer shared.
    """

    name: str
    contract: str
    doc: str
    columns: tuple[Column, ...]
    order: tuple[str, ...]
    statistics: frozenset[str]
    naming: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Shape:
    contract: str
    order: tuple[str, ...]
    statistics: frozenset[str]
    naming: tuple[str, ...] = ()


_SHAPES: Mapping[str, _Shape] = {
    "incidents": _Shape(
        "IncidentShared",
        ("incident_id",),
        frozenset({"date_precision", "verification", "source_reliability", "sharing_basis", "sharing_scope"}),
        ("incident_id",),
    ),
    "patterns": _Shape("PatternShared", ("pattern_id",), frozenset({"scale", "verification"})),
    "links": _Shape("PatternLinked", ("incident_id", "pattern_id"), frozenset({"party_match"}), ("incident_id",)),
    "duplicates": _Shape("ProbableDuplicate", ("first_id", "second_id"), frozenset(), ("first_id", "second_id")),
    "quarantine": _Shape(
        "Quarantined", ("event_id", "topic", "partition", "offset"), frozenset({"kind", "suite", "partition"})
    ),
}

REMOVAL = "IncidentRemoved"
"""The event of a hub that is no row: it takes rows out of the tables that have a column `naming` an incident."""

HUB = ("incidents", "patterns", "duplicates", "links")
"""The tables of a region, in the order of commits: what a link names is there before the link."""


@cache
def table(name: str) -> Table:
    """Return the table; KeyError for a name that is none."""
    shape = _SHAPES[name]
    schema = load(shape.contract)
    columns = tuple(_columns(schema, "", {}))
    names = [column.name for column in columns]
    assert len(set(names)) == len(names), f"two fields of {shape.contract} flatten to one column"
    known = shape.statistics | set(shape.order) | set(shape.naming) <= set(names)
    assert known, f"{name}: a column named here is not in the contract"
    return Table(name, shape.contract, schema["doc"], columns, shape.order, shape.statistics, shape.naming)


def of_topic(topic: str) -> dict[str, Table]:
    """Return the tables that a topic's events go to, by their path in the bucket, in the order of commits."""
    if topic == "quarantine":
        return {"quarantine": table("quarantine")}
    family, _, region = topic.partition(".")
    if family != "hub" or not region:
        raise NotSetUp(f"no table is made from the topic {topic!r}; give `hub.<region>` or `quarantine`")
    return {f"hub/{region}/{name}": table(name) for name in HUB}


def _columns(record: dict[str, Any], path: str, named: dict[str, Any]) -> Iterator[Column]:
    for field in record["fields"]:
        kind, schema, nullable = _kind(field["type"], named)
        if kind == "record":
            yield from _columns(schema, f"{path}{field['name']}.", named)
            continue
        codes = schema.get("items", schema) if isinstance(schema, dict) else {}
        symbols = tuple(codes.get("symbols", ())) if isinstance(codes, dict) else ()
        yield Column(field["name"], path + field["name"], KINDS[kind], nullable, field.get("doc", ""), symbols)


def _kind(schema: Any, named: dict[str, Any]) -> tuple[str, Any, bool]:
    """Return the kind, the definition with names resolved, and whether it may be null."""
    if isinstance(schema, list):
        (branch,) = [one for one in schema if one != "null"]
        kind, definition, _ = _kind(branch, named)
        return kind, definition, True
    if isinstance(schema, str):
        return _kind(named[schema], named) if schema in named else (schema, schema, False)
    if "name" in schema:
        named[schema["name"]] = schema
    if schema["type"] == "array":
        _, items, _ = _kind(schema["items"], named)
        return "array", {"items": items}, False
    return schema.get("logicalType", schema["type"]), schema, False


def render() -> str:
    """Return `docs/reference/tables.md`."""
    parts = [NOTE, _HEAD]
    for name in (*HUB, "quarantine"):
        parts.append(_section(table(name)))
    return "".join(parts)


def _section(shown: Table) -> str:
    place = "quarantine" if shown.name == "quarantine" else f"hub/<region>/{shown.name}"
    lines = [
        f"\n## {shown.name}\n",
        f"`s3://tocsin/{place}` · a row is one `{shown.contract}`: {shown.doc}",
        f"Rows of a file are sorted by {', '.join(f'`{one}`' for one in shown.order)}.\n",
        "| column | type | meaning |",
        "|---|---|---|",
        *(_line(column) for column in shown.columns),
    ]
    return "\n".join(lines) + "\n"


def _line(column: Column) -> str:
    kind = WORDS[column.kind] + ("" if column.nullable else " NOT NULL")
    codes = f" One of {', '.join(f'`{code}`' for code in column.codes)}." if column.codes else ""
    return f"| `{column.name}` | {kind} | {column.doc}{codes} |"


_HEAD = """# Tables

Delta tables (reader version 1, writer version 2) of zstd Parquet files, one set for each region and one quarantine.
Any reader of Delta or Parquet opens them without tocsin. Codes are text; dates are DATE; ids are minted for the region.

A file is named `part-<partition>-<start>-<end>.parquet`: it holds every row of the table whose event has an offset in
`[start, end)` of that partition. Each commit states its range (`tocsin` in `commitInfo`); the ranges of a table's
commits abut, which proves that none is missing and none is there twice. A file that no commit names is what a crashed
attempt left; it is no part of the table, and the next worker deletes it.

When an incident is no longer shared, because its consent was withdrawn, the commit that says so takes the files with its
rows out and names others without them, `part-<partition>-<start>-<end>-<upto>.parquet`, where `upto` is the end of that
commit's range. The old files are deleted at once: an older version of the table cannot be read any more.

There are no partition folders, no change feed, no deletion vectors, and no statistics on an id, a date, a place, a
count or a party, neither in a file nor in `_delta_log`.
"""
