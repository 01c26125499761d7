"""`tocsin hub`: what a regional hub knows, as tables for people or one line of JSON."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from pipeline.cli.confidence import CONFIDENCE, EXPLAIN, scale, show, told
from pipeline.cli.custody import entrust
from pipeline.cli.decisions import verify
from pipeline.cli.fates import fates
from pipeline.cli.options import table_of
from pipeline.cli.proofs import bundle, checkpoint, cosigned
from pipeline.cli.regionkeys import renew
from pipeline.cli.words import counted
from pipeline.settings import data_folder

SHOWN = 12  # rows of the table of counts that are printed; --json has all


@click.group()
def hub() -> None:
    """See what a regional hub knows."""


for command in (checkpoint, cosigned, bundle, fates, verify, entrust, renew):
    hub.add_command(command)


@hub.command(
    epilog="Examples: `tocsin hub summary`; `tocsin hub summary sahel --json | jq .complete`; "
    "`tocsin hub summary sahel --explain` for how confidence is computed."
)
@click.argument("region", required=False)
@click.option("--data", type=click.Path(path_type=Path), help="The data folder that `tocsin up` made.")
@click.option("--json", "as_line", is_flag=True, help="Print one line of JSON, with every row.")
@CONFIDENCE
@EXPLAIN
def summary(*, region: str | None, data: Path | None, as_line: bool, scale_file: Path | None, explain: bool) -> None:
    """Say whether all has arrived, what became of it, and what the tables of REGION (or of all) hold.

    No count of incidents below 5 is shown: times and places are rolled up until each cell is safe. How far unverified
    reports can be relied on today is their confidence: it fades with age.
    """
    from pipeline.cli.regions import chosen
    from pipeline.hub.summary import summary as build
    from pipeline.keyrings import endpoint, ledger_key
    from pipeline.stores import open_store

    home = data_folder(data)
    fading, today = scale(scale_file, home), datetime.now(UTC).date()
    page = build(endpoint(home, "kafka"), open_store(home), ledger_key(home), chosen(region), fading, today)
    page["confidence"] = told(fading, today)
    if as_line:
        click.echo(json.dumps(page, ensure_ascii=False))
    else:
        _show(page, explain=explain)


def _show(page: dict[str, Any], *, explain: bool) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    console.print(_first_line(page))
    console.print(_nodes(page["nodes"]))
    if handed := [node["node"] for node in page["nodes"] if node["counts"].get("handed_over")]:
        named = ", ".join(f"{node} was handed over" for node in handed)
        console.print(f"{named}: `tocsin verify` says to whom, and who signs since then.")
    if page["quarantined"]:
        console.print(_reasons(page["quarantined"]))
    console.print(_regions(page["regions"]))
    if any(region["referrals"] for region in page["regions"]):
        console.print(_referrals(page["regions"]))
    if any(region["assessed"] for region in page["regions"]):
        console.print(_assessed(page["regions"]))
    for region in page["regions"]:
        if region["counts"]:
            console.print(counts(region))
    if explain or any(region["counts"] for region in page["regions"]):
        show(page["confidence"], explain=explain)


def _first_line(page: dict[str, Any]) -> str:
    if not page["nodes"]:
        return "Nothing has arrived yet: `tocsin node sync` sends, `tocsin worker refine` receives."
    if page["complete"]:
        return f"Complete: no number is missing from {counted(len(page['nodes']), 'node')}."
    gaps = ", ".join(
        f"{node['node']}: {', '.join(_range(*each) for each in node['missing'])}"
        for node in page["nodes"]
        if node["missing"]
    )
    return f"Not complete. Missing numbers: {gaps}. `tocsin node sync --again` on the node sends them again."


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}–{last}"


def _nodes(nodes: list[dict[str, Any]]) -> Any:
    names = ("accepted", "revised", "repeated", "quarantined")
    table = table_of("Nodes", "node", "numbers", "missing", *names, "waiting", "receipted through")
    for node in nodes:
        counts = node["counts"]
        numbers = f"1–{node['highest']}" if node["highest"] else "–"
        cells = [str(counts.get(name, 0)) for name in names] + [str(len(node["waiting"]))]
        table.add_row(node["node"], numbers, str(node["missing_count"]), *cells, str(node["receipted_through"]))
    return table


def _reasons(reasons: dict[str, int]) -> Any:
    table = table_of("Quarantine, by reason", "reason", "records")
    for reason, count in reasons.items():
        table.add_row(reason, str(count))
    return table


def _regions(regions: list[dict[str, Any]]) -> Any:
    table = table_of(
        "Regions",
        "region",
        "unverified incidents",
        "verified",
        "revised",
        "in conflict",
        "patterns",
        "links",
        "probable duplicates",
        "cross-border",
    )
    for region in regions:
        states = region["incidents"]
        incidents = (_few(states.get(state, 0)) for state in ("report_pending_verification", "verified"))
        revised = (_few(region[name]) for name in ("revised", "in_conflict"))
        numbers = (_few(region[name]) for name in ("links", "probable_duplicates"))
        cells = (*incidents, *revised, str(region["patterns"]), *numbers, str(len(region["cross_border"])))
        table.add_row(region["region"], *cells)
    return table


def _referrals(regions: list[dict[str, Any]]) -> Any:
    """Return the table of referrals that survivors agreed to, by service."""
    table = table_of("Referrals, by service", "region", "service", "referrals")
    for region in regions:
        for service, number in region["referrals"].items():
            table.add_row(region["region"], service, _few(number))
    return table


def _assessed(regions: list[dict[str, Any]]) -> Any:
    """Return the table of incidents that other nodes have assessed, each in one column; unverified and verified apart."""
    columns = ("corroborated", "disputed", "corroborated_and_disputed")
    names = ("corroborated only", "disputed only", "both")
    table = table_of("Incidents assessed by other nodes", "region", "state", *names)
    for region in regions:
        for state, numbers in region["assessed"].items():
            shown = "verified" if state == "verified" else "unverified"
            table.add_row(region["region"], shown, *(_few(numbers[name]) for name in columns))
    return table


def _few(number: int | None) -> str:
    return "fewer than 5" if number is None else str(number)


def counts(region: dict[str, Any], when: str = "") -> Any:
    """Return the table of a region's safe counts, the largest cells first, with the confidence in unverified ones."""
    rows = sorted(region["counts"], key=lambda row: -row["count"])
    more = f", the largest {SHOWN} of {len(rows)} cells" if len(rows) > SHOWN else ""
    title = f"{region['region']}: incidents{when} (rounded to 5){more}"
    table = table_of(title, "period", "area", "state", "incidents", "confidence")
    for row in rows[:SHOWN]:
        others = " (others)" if row["rest"] else ""
        state = "verified" if row["verification"] == "verified" else "unverified"
        confidence = "–" if row["confidence"] is None else f"{row['confidence']:g}"
        table.add_row(f"{row['period']}{others}", row["area"], state, str(row["count"]), confidence)
    return table
