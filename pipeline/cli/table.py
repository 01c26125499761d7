"""`tocsin table`: a region's incidents as they stood at the end of a day, as safe counts or as a file of rows."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click

from pipeline.settings import data_folder
from schemas.errors import BadInput

SUFFIXES = (".parquet", ".csv")


@click.group()
def table() -> None:
    """See a region's table as it stood at the end of a day."""


@table.command(
    epilog="Examples: `tocsin table incidents --region sahel --as-of 2024-06-30`; add `--out rows.parquet` for the rows. "
    "Exit status: 0 done, 65 to 78 an error."
)
@click.option("--region", required=True, help="Code of the region.")
@click.option("--as-of", "day", metavar="DATE", help="The day, YYYY-MM-DD [default: today, UTC].")
@click.option("--data", type=click.Path(path_type=Path), help="The data folder that `tocsin up` made.")
@click.option("--json", "as_line", is_flag=True, help="Print one line of JSON, with every cell.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the rows to FILE.parquet or FILE.csv.")
def incidents(*, region: str, day: str | None, data: Path | None, as_line: bool, out: Path | None) -> None:
    """Count the incidents that stood at the end of a day, each as its version of that day; no cell is below 5.

    Verified and unverified incidents stand apart. Tables of two days side by side tell more than each of them: publish
    one. The file of --out holds rows that stand for people: it is for analysts under a sharing agreement.
    """
    from pipeline.cli.regions import chosen
    from pipeline.hub import asof
    from pipeline.stores import open_store

    until, target = _day(day), _target(out)
    chosen(region)
    frame = asof.rows(open_store(data_folder(data)), region, until)
    page: dict[str, Any] = {"region": region, "as_of": until.isoformat()}
    if target:
        from pipeline.files import replace

        replace(target, asof.file(frame, target.suffix))
        page |= {"out": str(target), "rows": asof.shown(frame.height)}
    else:
        from quality.disclosure import THRESHOLD, safe_table

        page["counts"] = safe_table(frame, ("verification",), THRESHOLD, region).to_dicts()
    click.echo(json.dumps(page, ensure_ascii=False)) if as_line else _show(page)


def _day(text: str | None) -> date:
    """Return the day that was given, else today; BadInput for none and for one to come."""
    today = datetime.now(UTC).date()
    try:
        day = date.fromisoformat(text) if text is not None else today
    except ValueError as error:
        raise BadInput(f"{text!r} is no date; write it as YYYY-MM-DD, for example {today}.") from error
    if day > today:
        raise BadInput(f"{day} lies in the future; give today, {today}, or a day before.")
    return day


def _target(out: Path | None) -> Path | None:
    """Return where the rows go; BadInput where no such file can be written."""
    if out is None:
        return None
    target = out.expanduser().resolve()
    if target.suffix not in SUFFIXES:
        raise BadInput(f"{out} is neither a .parquet nor a .csv file; give --out a name that ends so.")
    if not target.parent.is_dir() or target.is_dir():
        raise BadInput(f"{out} cannot be written: give a file in a folder that is there.")
    return target


def _show(page: dict[str, Any]) -> None:
    from rich.console import Console

    from pipeline.cli.hub import counts

    if "out" in page:
        number = "fewer than 5" if page["rows"] is None else f"{page['rows']:,}"
        click.echo(f"{page['out']}: {number} incidents of {page['region']} as of {page['as_of']}.")
    elif page["counts"]:
        Console(highlight=False).print(counts(page, f" as of {page['as_of']}"))
    else:
        click.echo(f"{page['region']}, as of {page['as_of']}: fewer than 5 incidents in each state of verification.")
