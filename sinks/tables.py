"""The tables of the lake, derived from the Avro contracts: columns, order of rows, what may have statistics.

A nested record is flattened (`incident.country` → `country`), an id is hex text, a code is text, never a number.
Nothing here needs pyarrow.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

from schemas.errors import NotSetUp
from schemas.released import latest

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
    """One column: `field` is its path in a contract, `doc` the contract's sentence; the code `blank` is null here."""

    name: str
    field: str
    kind: Kind
    nullable: bool
    doc: str
    codes: tuple[str, ...] = ()
    blank: str = ""


@dataclass(frozen=True)
class Table:
    """One table: a row is one event of one of the `contracts`, of whichever release.

    Rows of a file are sorted by `order`, so that a file does not tell in which order they came. Only the columns in
    `statistics` may have minima and maxima: an id, a date, a place, a count or a party never has. A row whose column in
    `naming` names an incident goes with that incident, when it is no longer shared; the column in `versions` at the same
    place says which version of it, null for the one first reported: the row goes with that version, when it is closed.
    Without `versions` it stays whatever becomes of versions. Where there is a column `ended_on`, such a row stays and says so.
    """

    name: str
    contracts: tuple[str, ...]
    doc: str
    columns: tuple[Column, ...]
    order: tuple[str, ...]
    statistics: frozenset[str]
    naming: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()

    @property
    def ends(self) -> bool:
        """Whether a version that is closed stays here, with what ended it."""
        return any(column.name == "ended_on" for column in self.columns)


@dataclass(frozen=True)
class _Shape:
    contracts: tuple[str, ...]
    order: tuple[str, ...]
    statistics: frozenset[str] = frozenset()
    naming: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    doc: str = ""


CLOSURE = "VersionClosed"
"""The event of a hub that takes the rows of a version out, and moves it from `incidents` to `versions`."""

REMOVAL = "IncidentRemoved"
"""The event of a hub that is no row: it takes rows out of the tables that have a column `naming` an incident."""

REVISION = "RevisionShared"

_GUARDED = frozenset({"date_precision", "verification", "source_reliability", "sharing_basis", "sharing_scope"})

_SHAPES: Mapping[str, _Shape] = {
    "versions": _Shape(
        ("IncidentShared", REVISION, CLOSURE),
        ("incident_id", "version_id"),
        _GUARDED,
        ("incident_id",),
        ("version_id",),
        "A version of an incident that is not the current one: it was, or it conflicts with the one that is.",
    ),
    "incidents": _Shape(
        ("IncidentShared", REVISION),
        ("incident_id", "version_id"),
        _GUARDED,
        ("incident_id",),
        ("version_id",),
        "The current version of an incident that belongs to this region.",
    ),
    "referrals": _Shape(
        ("ReferralShared",),
        ("referral_id", "version_id"),
        frozenset(),
        ("incident_id",),
        ("version_id",),
        "A referral of a survivor to a service, as it was made or followed up last.",
    ),
    "assessments": _Shape(
        ("AssessmentShared",),
        ("incident_id", "assessment_id"),
        frozenset(),
        ("incident_id",),
        doc="What a node says, by sources of its own, of an incident that another node reported.",
    ),
    "patterns": _Shape(("PatternShared",), ("pattern_id",), frozenset({"scale", "verification"})),
    "duplicates": _Shape(
        ("ProbableDuplicate",),
        ("first_id", "second_id", "first_version", "second_version"),
        frozenset(),
        ("first_id", "second_id"),
        ("first_version", "second_version"),
    ),
    "links": _Shape(
        ("PatternLinked",),
        ("incident_id", "pattern_id", "version_id"),
        frozenset({"party_match"}),
        ("incident_id",),
        ("version_id",),
    ),
    "quarantine": _Shape(
        ("Quarantined",), ("event_id", "topic", "partition", "offset"), frozenset({"kind", "suite", "partition"})
    ),
}

HUB = ("versions", "incidents", "referrals", "assessments", "patterns", "duplicates", "links")
"""The tables of a region, in the order of commits: what moves is in `versions` before it is out of `incidents`, and what
a link names is there before the link."""

READING = HUB[::-1]
"""The order to read them in while a sink is at work: what a row names, or has moved to, is in a table that is read later."""

_ABSENT = frozenset({"current"})  # it says which table a row is in
_BLANK = {"step": "unspecified"}
_FIRST = " Null for the version first reported."
_OPEN = " Null while it conflicts with the current version."
_CONFLICT = Column(
    "conflict",
    "conflict",
    "flag",
    nullable=False,
    doc="Whether it never was the current version, but conflicted with it.",
)


@cache
def table(name: str) -> Table:
    """Return the table; KeyError for a name that is none."""
    shape = _SHAPES[name]
    doc = shape.doc or latest(shape.contracts[0]).schema["doc"]
    columns = tuple(_united(shape.contracts))
    known = shape.statistics | {*shape.order, *shape.naming, *shape.versions} <= {column.name for column in columns}
    assert known, f"{name}: a column named here is not in a contract"
    return Table(name, shape.contracts, doc, columns, shape.order, shape.statistics, shape.naming, shape.versions)


def _united(contracts: tuple[str, ...]) -> Iterator[Column]:
    """Yield the columns of the first contract, then what the others have besides, which may be null."""
    seen: set[str] = set()
    for contract in contracts:
        columns = list(_columns(latest(contract).schema, "", {}))
        names = {column.name for column in columns}
        assert len(names) == len(columns), f"two fields of {contract} flatten to one column"
        later = _OPEN if contract == CLOSURE else _FIRST
        for column in columns:
            if column.name not in seen | _ABSENT:
                yield _added(column, later) if seen else column
        seen |= names
    if CLOSURE in contracts:
        yield _CONFLICT


def _added(column: Column, sentence: str) -> Column:
    """Return a column that only some of a table's contracts have."""
    blank = _BLANK.get(column.name, "")
    codes = tuple(code for code in column.codes if code != blank)
    doc = column.doc.replace(blank, "null") if blank else column.doc
    return replace(column, nullable=True, doc=doc + sentence, codes=codes, blank=blank)


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
        f"`s3://tocsin/{place}` · a row is {_made_of(shown)}: {shown.doc}",
        f"Rows of a file are sorted by {', '.join(f'`{one}`' for one in shown.order)}.\n",
        "| column | type | meaning |",
        "|---|---|---|",
        *(_line(column) for column in shown.columns),
    ]
    return "\n".join(lines) + "\n"


def _made_of(shown: Table) -> str:
    """Return which events a row is made of."""
    rows = [f"`{name}`" for name in shown.contracts if name != CLOSURE]
    return f"one {' or '.join(rows)}" + (f" and its `{CLOSURE}`" if CLOSURE in shown.contracts else "")


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
So it is when a version is closed: its row leaves `incidents`, stands in `versions` with what ended it, and every link
and probable duplicate that names it goes.

There are no partition folders, no change feed, no deletion vectors, and no statistics on an id, a date, a place, a
count or a party, neither in a file nor in `_delta_log`.
"""
