"""`tocsin audit`: the tables against the rules, by Great Expectations; heavy packages are imported when it runs."""

from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.settings import data_folder
from sinks.tables import READING

if TYPE_CHECKING:
    import polars as pl

    from quality.audit import Checked
    from sinks.store import Store

COLOURS = {"passed": "green", "failed": "red", "empty": "yellow", "missing": "yellow"}


@click.command(epilog="Example: `tocsin audit lake-chad --json`. Exit status: 0 all passed, 1 not, 65 to 78 an error.")
@click.argument("region", required=False)
@click.option("--data", type=click.Path(path_type=Path), help="The data folder that `tocsin up` made.")
@click.option("--json", "as_line", is_flag=True, help="Print one line of JSON.")
@click.option(
    "--docs", "folder", type=click.Path(path_type=Path), help="Folder for the pages; DATA/audit/docs if none."
)
@click.option("--allow-empty", is_flag=True, help="A table without rows is no failure, as long as one has some.")
@click.pass_context
def audit(
    context: click.Context,
    *,
    region: str | None,
    data: Path | None,
    as_line: bool,
    folder: Path | None,
    allow_empty: bool,
) -> None:
    """Check the tables of REGION, or of all regions and quarantine; write pages that open offline.

    Only counts and codes are printed and written, never a value of a table.
    """
    from rich.console import Console

    home = data_folder(data)
    target = (folder or home / "audit" / "docs").expanduser().resolve()
    console = Console()
    waiting = nullcontext() if as_line or not console.is_terminal else console.status("auditing the tables …")
    paths = _paths(region)
    with waiting:
        from pipeline.stores import open_store
        from quality import audit as audits

        store = open_store(home)

        checked = audits.audit({path: _table(store, path) for path in _there(store, paths)}, target)
        good = audits.passed(checked, allow_empty=allow_empty)
    if as_line:
        click.echo(audits.as_json(checked, allow_empty=allow_empty, folder=target))
    else:
        _show(console, checked, good, target)
    context.exit(0 if good else 1)


def _paths(region: str | None) -> list[str]:
    """Return the tables to look at; BadInput for a region that is none."""
    from pipeline.cli.regions import chosen

    return [f"hub/{code}/{kind}" for code in chosen(region) for kind in READING] + ([] if region else ["quarantine"])


def _there(store: "Store", paths: list[str]) -> list[str]:
    """Return the paths if any table is there; NotSetUp if none, Unreachable where the store does not answer."""
    from schemas.errors import NotSetUp

    roots = {path.partition("/")[0] for path in paths}
    if not any("/_delta_log/" in name for root in sorted(roots) for name in store.list(f"{root}/")):
        raise NotSetUp("There is no table in the object store yet: run `tocsin worker sink`, then audit again.")
    return paths


def _table(store: "Store", path: str) -> "pl.DataFrame | None":
    """Return a table as it is now; None where there is none."""
    import polars as pl
    from deltalake.exceptions import DeltaError, TableNotFoundError

    from schemas.errors import Unreachable

    try:
        return pl.scan_delta(store.uri(path), storage_options=store.delta_options()).collect()
    except TableNotFoundError:
        return None
    except (DeltaError, OSError) as error:
        raise Unreachable(f"The table {path} could not be read: run `tocsin status`, then audit again.") from error


def _show(console: Any, checked: "Iterable[Checked]", good: bool, folder: Path) -> None:
    """Print what became of each table, what is broken, and where the pages are."""
    from rich.table import Table

    from quality.audit import shown_rows

    shown = Table("table", "rows", "checks", "result", "warnings", box=None, pad_edge=False)
    shown.columns[1].justify = shown.columns[2].justify = "right"
    for each in checked:
        colour = COLOURS[each.status]
        result = f"[{colour}]{each.status}[/{colour}]"
        rows = shown_rows(each)
        count = "fewer than 5" if rows is None else f"{rows:,}"
        shown.add_row(each.table, count, str(each.expectations), result, str(len(each.warned) or ""))
    console.print(shown)
    for each in checked:
        for codes, word in ((each.broken, "broken"), (each.warned, "warning")):
            for code in codes:
                console.print(f"{word}  {each.table}  {code}  {_sentence(code)}", highlight=False, markup=False)
    console.print(f"\n{'All passed.' if good else 'Not passed.'} Pages: {folder / 'index.html'}", highlight=False)


def _sentence(code: str) -> str:
    """Return what a rule says; nothing for a code of the tables' shape, which says itself."""
    from quality.rules import RULES

    return next((rule.en for rule in RULES if rule.code == code), "")


__all__ = ["audit"]
