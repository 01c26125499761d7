"""The audit: Great Expectations over whole tables, counts only, never a value; its pages open offline.

What counts as passed is stricter than what Great Expectations calls success: a table without rows, a suite without
expectations, an expectation that was not evaluated and a page that was not built are failures of their own. A broken
`warn` rule is told and fails nothing. Great Expectations is imported by the functions that need it.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from quality import docs, shape
from quality.disclosure import safe_count
from quality.rules import SUITE
from quality.suite import Expected, build
from schemas.errors import Stops

TELLING = frozenset(
    {"incidents", "versions", "referrals", "assessments", "links", "duplicates"}
)  # tables whose number of rows tells of incidents

NOT_ALWAYS = frozenset(
    {"versions", "referrals", "assessments"}
)  # tables that are empty as long as nothing was amended, nobody referred, nothing assessed

Status = Literal["passed", "failed", "empty", "missing"]
Tables = Mapping[str, pl.DataFrame | None]


class AuditBroken(Stops):
    """Great Expectations did not evaluate what it was asked to: nothing may be concluded."""

    exit_code = 70


@dataclass(frozen=True)
class Checked:
    """What became of one table: rows, expectations evaluated, codes of what is broken and of what is warned of."""

    table: str
    rows: int
    expectations: int
    status: Status
    broken: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()


def audit(tables: Tables, folder: Path | None = None) -> tuple[Checked, ...]:
    """Check tables by their path (`hub/<region>/<kind>`, `quarantine`); None is a table that is not there.

    With a folder, the pages are written there, in the place of those before. AuditBroken, docs.NotOffline and BadInput
    leave the folder as it was.
    """
    if folder:
        docs.refuse_foreign(folder)
    with _context() as context:
        checked = tuple(_check(context, path, frame, _others(path, tables)) for path, frame in tables.items())
        if folder:
            _write(context, folder)
    return checked


def passed(checked: tuple[Checked, ...], *, allow_empty: bool = False) -> bool:
    """Return whether the audit passed: no table failed, at least one has rows, and none is empty unless allowed."""
    bearable = all(
        each.status == "passed" or (each.status != "failed" and _may_lack(each, allow_empty)) for each in checked
    )
    return bearable and any(each.status == "passed" for each in checked)


def _may_lack(checked: Checked, allow_empty: bool) -> bool:
    return allow_empty or checked.table.rpartition("/")[2] in NOT_ALWAYS


def shown_rows(checked: Checked) -> int | None:
    """Return the number of rows, or None where it would tell of fewer incidents than may be shown."""
    tells = checked.table.rpartition("/")[2] in TELLING
    return safe_count(checked.rows) if tells else checked.rows


def as_json(checked: tuple[Checked, ...], *, allow_empty: bool, folder: Path | None) -> str:
    """Return the audit as one line of JSON; a number of rows is null where it would tell of fewer than 5 incidents."""
    whole = {
        "passed": passed(checked, allow_empty=allow_empty),
        "suite": SUITE,
        "tables": [asdict(each) | {"rows": shown_rows(each)} for each in checked],
        "docs": str(folder / "index.html") if folder else None,
    }
    return json.dumps(whole, ensure_ascii=False)


def _others(path: str, tables: Tables) -> shape.Others:
    """Return the tables of the same region by their kind."""
    place = path.rpartition("/")[0]
    found = {other.rpartition("/")[2]: frame for other, frame in tables.items() if other.rpartition("/")[0] == place}
    return {kind: frame for kind, frame in found.items() if frame is not None}


def _check(context: Any, path: str, frame: pl.DataFrame | None, others: shape.Others) -> Checked:
    """Check one table."""
    kind = path.rpartition("/")[2]
    if frame is None:
        return Checked(path, 0, 0, "missing")
    if lacking := shape.absent(kind, frame):
        return Checked(path, frame.height, 0, "failed", tuple(f"table.no_column_{name}" for name in lacking))
    if frame.is_empty():
        return Checked(path, 0, 0, "empty")
    seen = shape.looked_at(kind, frame, others)
    if len(seen) != frame.height:
        raise AuditBroken(f"{path} has {frame.height} rows, but {len(seen)} would be looked at; nothing was concluded.")
    counts, codes = {}, {}
    for severity in ("refuse", "warn"):
        asked = tuple(each for each in shape.expectations(kind) if each.severity == severity)
        counts[severity], codes[severity] = _validate(context, path.replace("/", "-"), severity, asked, seen)
    status: Status = "failed" if codes["refuse"] or not counts["refuse"] else "passed"
    return Checked(path, frame.height, sum(counts.values()), status, codes["refuse"], codes["warn"])


def _validate(
    context: Any, name: str, severity: str, asked: tuple[Expected, ...], seen: Any
) -> tuple[int, tuple[str, ...]]:
    """Run one suite over one table; return the number of expectations evaluated and the codes that are broken."""
    import great_expectations as gx

    if not asked:
        return 0, ()
    name = name if severity == "refuse" else f"{name}-warnings"
    suite = context.suites.add(build(name, asked))
    batch = context.data_sources.get("tables").add_dataframe_asset(name).add_batch_definition_whole_dataframe("whole")
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
    point = gx.Checkpoint(name=name, validation_definitions=[definition], actions=[], result_format="BOOLEAN_ONLY")
    named = gx.RunIdentifier(run_name="audit")
    outcome = context.checkpoints.add(point).run(batch_parameters={"dataframe": seen}, run_id=named)
    (result,) = outcome.run_results.values()
    return _read(name, asked, result)


def _read(name: str, asked: tuple[Expected, ...], result: Any) -> tuple[int, tuple[str, ...]]:
    """Return count and broken codes of one validation; AuditBroken where an expectation was not evaluated."""
    evaluated = result.statistics["evaluated_expectations"]
    if evaluated != len(asked) or len(result.results) != len(asked):
        raise AuditBroken(f"{name}: {len(asked)} expectations, {evaluated} evaluated; nothing was concluded.")
    codes: dict[str, None] = {}
    for each in result.results:
        if (each.exception_info or {}).get("raised_exception", True):
            raise AuditBroken(
                f"{name}: {each.expectation_config.type} could not be evaluated, so nothing was concluded; "
                "compare the table's columns with docs/reference/tables.md."
            )
        if not each.success:
            codes.update(dict.fromkeys(each.expectation_config.meta["rules"]))
    return evaluated, tuple(codes)


@contextmanager
def _context() -> Iterator[Any]:
    """Yield a context of Great Expectations that keeps everything in memory and tells nobody."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.enable_analytics(enable=False)
    context.variables.progress_bars = {"globally": False}
    context.data_sources.add_pandas("tables")
    yield context


def _write(context: Any, folder: Path) -> None:
    """Build the pages beside their place, make them local, then put them there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".audit-") as draft:
        site = Path(draft) / "site"
        for known in list(context.get_site_names()):
            context.delete_data_docs_site(known)
        context.add_data_docs_site("audit", _site(site))
        context.build_data_docs()
        pages, wanted = docs.localise(site), 2 * len(list(context.suites.all())) + 1
        if pages != wanted:
            raise AuditBroken(f"{wanted} pages were to be built, {pages} were; the pages before stay as they are.")
        docs.publish(site, folder)


def _site(site: Path) -> dict[str, Any]:
    return {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(site)},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }


__all__ = ["AuditBroken", "Checked", "as_json", "audit", "passed"]
