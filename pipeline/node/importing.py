"""A file enters the node: each row becomes an event, was one already, or is refused with its reasons."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from pipeline.node.importers.base import Importer, Reject, Row, fits, read
from pipeline.node.importers.insecurity_insight import InsecurityInsight
from pipeline.node.importers.svac import Svac
from pipeline.node.importers.table import Table
from pipeline.node.node import Node
from pipeline.node.record import NotRecorded, Recorder, now, today
from schemas.codes import reasons
from schemas.codes import sentence as sentence_of_code
from schemas.errors import BadInput, Quarantines
from schemas.released import latest
from schemas.rows import write

FORMATS: dict[str, Importer] = {importer.name: importer for importer in (Svac(), InsecurityInsight())}


@dataclass
class Report:
    """What became of the rows: rows = accepted + already + the sum of rejected."""

    rows: int = 0
    accepted: int = 0
    already: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    rejects: list[Reject] = field(default_factory=list)


def detect(table: Table, name: str | None = None) -> Importer:
    """Return the importer of that name, or the one whose columns the file has; BadInput where there is none."""
    known = ", ".join(FORMATS)
    if name is not None:
        if name not in FORMATS:
            raise BadInput(f"No format is named {name!r}; choose one of: {known}.")
        return FORMATS[name]
    for importer in FORMATS.values():
        if fits(importer, table):
            return importer
    raise BadInput(
        f"{table.path.name} has the columns of no known format; name its format by --as "
        f"({known}) to learn which column is missing."
    )


def run(
    importer: Importer,
    table: Table,
    recorder: Recorder | None,
    part: tuple[int, int] = (1, 1),
    step: Callable[[], None] = lambda: None,
) -> Report:
    """Read the file's rows, or of every `part[1]` rows the `part[0]`-th; record them unless `recorder` is None.

    A row that was refused is told and not kept in the node: corrected, it is a new row.
    """
    report = Report()
    accept = partial(_accept, report, *_memory(recorder))
    for found in _part(read(importer, table), part):
        report.rows += 1
        refused = found if isinstance(found, Reject) else accept(found)
        if refused:
            report.rejected[refused.reasons[0]] += 1
            report.rejects.append(refused)
        step()
    if recorder:
        recorder.flush()
    return report


def sentence(code: str, lang: str) -> str:
    """Return what a reason tells the person; a code of the importers or of a rule."""
    if code in reasons():
        return sentence_of_code(code, lang)
    from quality.rules import sentence as sentence_of_rule

    return sentence_of_rule(code, lang)


def sentence_or_code(code: str, lang: str) -> str:
    """Return what a reason of the hub tells the person; the code alone where a newer hub gave one that is not known here."""
    try:
        return sentence(code, lang)
    except KeyError:
        return code


def not_recorded(code: str, lang: str) -> NotRecorded:
    """Return the refusal of what a person wants to record, with the reason's sentence."""
    return NotRecorded(code, f"Nothing was recorded: {sentence(code, lang)}")


def broken(record: Literal["incident", "pattern"], facts: Mapping[str, Any]) -> list[str]:
    """Return the codes of the rules that refuse the facts of an incident or a pattern recorded today."""
    from quality.one import broken

    return broken(record, {**facts, "recorded_on": today()}, "refuse")


def _part(rows: Iterator[Row | Reject], part: tuple[int, int]) -> Iterator[Row | Reject]:
    which, of = part
    return (row for row in rows if row.source.number % of == which % of)


def _memory(recorder: Recorder | None) -> tuple[Callable[[Row], bytes], set[bytes], Callable[[Row, bytes], object]]:
    """Return digest, digests that are known, and what to do with a good row: record it, or in a dry run only encode it."""
    if recorder is None:
        return (
            partial(_digest, os.urandom(32)),
            set(),
            lambda row, _: write(latest(row.kind), {"recorded_at": now(), **_body(row)}),
        )
    known = set(recorder.journal.digests)
    return (
        digests(recorder.node),
        known,
        lambda row, digest: recorder.record(row.kind, _body(row), digest),
    )


def _accept(
    report: Report, digest_of: Callable[[Row], bytes], known: set[bytes], keep: Callable[[Row, bytes], object], row: Row
) -> Reject | None:
    """Take one row; return it as a reject where a rule or the contract refuses it."""
    digest = digest_of(row)
    if digest in known:
        report.already += 1
        return None
    if against := broken(row.record, row.facts):
        return Reject(row.source, tuple(against))
    try:
        keep(row, digest)
    except Quarantines as refused:
        return Reject(row.source, (refused.reason,))
    known.add(digest)
    report.accepted += 1
    return None


def _body(row: Row) -> dict[str, object]:
    return {row.record: row.facts}


def digests(node: Node) -> Callable[[Row], bytes]:
    """Return what gives a row's digest, by which the node's journal knows it."""
    return partial(_digest, node.secret("digest"))


def _digest(key: bytes, row: Row) -> bytes:
    """Return what the journal knows a row by: keyed, so that it says nothing to who has no key."""
    return hashlib.blake2b(row.identity, digest_size=16, key=key).digest()
