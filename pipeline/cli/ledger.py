"""`tocsin ledger`: what the ledger of refine says of events that have come and could not be followed yet."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from pipeline.settings import data_folder


@click.group()
def ledger() -> None:
    """See what refine remembers."""


@ledger.command(epilog="Examples: `tocsin ledger waiting`; `tocsin ledger waiting --json | jq '.waiting[].needs'`.")
@click.option("--data", type=click.Path(path_type=Path), help="The data folder that `tocsin up` made.")
@click.option("--json", "as_line", is_flag=True, help="Print one line of JSON.")
def waiting(data: Path | None, as_line: bool) -> None:
    """Name the events that wait, and for which events of their node.

    What amends, verifies, shares further, retracts or refers, and comes before what it follows, waits for it; that
    releases it, and nothing else does. Exit status: 0, whether any waits or none.
    """
    from pipeline.hub.completeness import fold
    from pipeline.keyrings import endpoint, ledger_key
    from pipeline.log import read

    home = data_folder(data)
    nodes = fold(read(endpoint(home, "kafka"), "ledger.refine"), ledger_key(home))
    found = [{"node": node.node, **asdict(each)} for node in nodes for each in node.waiting]
    if as_line:
        click.echo(json.dumps({"waiting": found}))
        return
    for one in found:
        needs = ", ".join(map(str, one["needs"]))
        click.echo(
            f"{one['node']}: event {one['event']} waits for {needs}: `tocsin node sync --again` on the node sends it."
        )
    if not found:
        click.echo("No event waits.")
