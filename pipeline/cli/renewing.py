"""`tocsin node renew`: a node begins a new epoch of keys, so that old backups of them open nothing any more."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from pipeline.cli.options import DATA, JSON, NODE
from pipeline.cli.words import counted
from pipeline.settings import default_data


@click.command(
    epilog="Examples: `tocsin node renew --node MONUSCO`; `tocsin node renew --region-key public.key`. Then `tocsin node sync`."
)
@click.option("--region-key", type=click.Path(path_type=Path), help="The hub's public key [default: DATA/regions/…].")
@NODE
@JSON
@DATA
def renew(*, region_key: Path | None, name: str | None, as_json: bool, data: Path | None) -> None:
    """Begin a new epoch of keys: wrap every case anew, destroy the key of the epoch before. Works without a network.

    Do it after a withdrawal, so that no backup of the keys from before it opens the case, and where the hub has renewed its
    public key. A command that was killed is run again: each case can be opened all the time.
    """
    from pipeline.node import node as nodes
    from pipeline.node import renewing, sent
    from pipeline.node.progress import progress

    data = data or default_data()
    found = nodes.find(name, data)
    public = nodes.region_public(data, found.region, region_key)
    title = f"Renewing the keys of {found.code}"
    with sent.open_journal(found) as journal, progress(title, renewing.count(journal)) as advance:
        done = renewing.renew(found, journal, public, advance)
    ended = ", ".join(map(str, done.ended)) or "none"
    click.echo(f"{done.node}: epoch {done.epoch} begun, {counted(done.cases, 'case')} wrapped anew; ended: {ended}.")
    for epoch, count in done.kept.items():
        click.echo(
            f"Epoch {epoch} goes on: {count:,} of its cases do not open in this folder. A backup of it from before a withdrawal "
            "still opens what it holds."
        )
    click.echo("Now send it: tocsin node sync")
    if as_json:
        click.echo(json.dumps(asdict(done)))
