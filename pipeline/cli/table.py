"""`tocsin table`: a region's incidents as they stood at the end of a day, as safe counts or as a file of rows.

By what is known now, or by what was known at a moment; unverified reports with how far they can be relied on that day.
"""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click

from pipeline.cli.confidence import CONFIDENCE, EXPLAIN, scale, show, told
from pipeline.hub.moment import Moment
from pipeline.settings import data_folder
from schemas.errors import BadInput

SUFFIXES = (".parquet", ".csv")


@click.group()
def table() -> None:
    """See a region's table as it stood at the end of a day."""


@table.command(
    epilog="Examples: `tocsin table incidents --region sahel --as-of 2024-06-30`; add `--known-at 2024-07-01` or `--known-at "
    "2024-07-01T09:30Z` for what was known of that day by then, `--explain` for how confidence is computed, and "
    "`--out rows.parquet` for the rows. "
    "Exit status: 0 done, 65 to 78 an error."
)
@click.option("--region", required=True, help="Code of the region.")
@click.option(
    "--as-of", "day", metavar="DATE", help="The day, YYYY-MM-DD [default: that of --known-at, else today, UTC]."
)
@click.option(
    "--known-at", "known", metavar="MOMENT", help="By what had come by then: DATE, its end, or DATETHH:MM[:SS]Z, UTC."
)
@click.option("--data", type=click.Path(path_type=Path), help="The data folder that `tocsin up` made.")
@click.option("--json", "as_line", is_flag=True, help="Print one line of JSON, with every cell.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the rows to FILE.parquet or FILE.csv.")
@CONFIDENCE
@EXPLAIN
def incidents(
    *,
    region: str,
    day: str | None,
    known: str | None,
    data: Path | None,
    as_line: bool,
    out: Path | None,
    scale_file: Path | None,
    explain: bool,
) -> None:
    """Count the incidents that stood at the end of a day, each as its version of that day; no cell is below 5.

    Verified and unverified incidents stand apart. Tables of two days side by side tell more than each of them: publish
    one. The file of --out holds rows that stand for people: it is for analysts under a sharing agreement.

    With --known-at they are made again from the log as it was at that moment, which takes as long as a replay. What was
    withdrawn since is in no answer.

    How far unverified reports can be relied on that day is their confidence: it fades with age.
    """
    from pipeline.cli.regions import chosen
    from pipeline.hub import asof
    from pipeline.stores import open_store
    from quality.confidence import with_confidence

    now = datetime.now(UTC)
    moment = Moment.of(known, now) if known is not None else None
    until, target = _day(day, now.date(), moment), _target(out)
    chosen(region)
    home = data_folder(data)
    fading = scale(scale_file, home)
    found = _known(home, region, moment, until) if moment else asof.rows(open_store(home), region, until)
    frame = with_confidence(found, fading, until)
    page: dict[str, Any] = {"region": region, "as_of": until.isoformat(), "known_at": moment and moment.text}
    page["confidence"] = told(fading, until)
    if target:
        from pipeline.files import replace

        replace(target, asof.file(frame, target.suffix))
        page |= {"out": str(target), "rows": asof.shown(frame.height)}
    else:
        page["counts"] = asof.counts(frame, region)
    click.echo(json.dumps(page, ensure_ascii=False)) if as_line else _show(page, explain=explain)


def _known(home: Path, region: str, moment: Moment, day: date) -> Any:
    from pipeline.hub.known import Log
    from pipeline.keyrings import PrivateKeys, endpoint, region_keys
    from pipeline.node.progress import progress
    from streams import warm

    log = Log(endpoint(home, "kafka"), PrivateKeys(home), region_keys(home, "mint"))
    warm.warm()
    with progress("Reading the log", log.size()) as advance:
        return log.rows(region, moment, day, advance)


def _day(text: str | None, today: date, moment: Moment | None) -> date:
    """Return the day that was given, else that of the moment, else today; BadInput for none and for one to come."""
    try:
        day = date.fromisoformat(text) if text is not None else moment.day if moment else today
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


def _show(page: dict[str, Any], *, explain: bool) -> None:
    from rich.console import Console

    from pipeline.cli.hub import counts

    when = f"as of {page['as_of']}" + (f", as known by {page['known_at']}" if page["known_at"] else "")
    if "out" in page:
        number = "fewer than 5" if page["rows"] is None else f"{page['rows']:,}"
        click.echo(f"{page['out']}: {number} incidents of {page['region']} {when}.")
    elif page["counts"]:
        Console(highlight=False).print(counts(page, f" {when}"))
    else:
        click.echo(f"{page['region']}, {when}: fewer than 5 incidents in each state of verification.")
    if page.get("counts") or explain:
        show(page["confidence"], explain=explain)
