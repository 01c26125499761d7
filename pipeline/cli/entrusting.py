"""`tocsin node handover ask` and `take`: cases are entrusted to a node's new team, one by one; between them is `tocsin hub entrust`."""

import json
from dataclasses import asdict
from datetime import date
from pathlib import Path

import click

from pipeline.cli.options import DATA, FILES, JSON, NODE, OUT, node_of, text_of, write_text
from pipeline.cli.revisions import NUMBER, Day
from pipeline.cli.words import counted, listed


@click.command(
    epilog="Examples: `tocsin node handover ask --event 12 --event 40 --on 2026-03-31 --out request.txt`. Give it to your hub."
)
@click.option(
    "--event", "events", multiple=True, required=True, type=NUMBER, help="The case of this event; may be repeated."
)
@click.option("--on", type=Day(), help="Day on which the survivors consented [default: today, UTC].")
@OUT
@NODE
@DATA
def ask(events: tuple[int, ...], on: date | None, out: Path, name: str | None, data: Path | None) -> None:
    """Ask the hub for the keys of cases whose survivors have consented that you go on with them."""
    from pipeline.node.handover import entrusting
    from pipeline.node.journal import Reader
    from pipeline.node.progress import progress

    found = node_of(name, data)
    reader = Reader(found.journal)
    with progress(f"Looking through {found.code}", reader.mark.last) as advance:
        note = entrusting.ask(found, reader, events, on, lambda _: advance(1))
    write_text(out, note)
    click.echo(
        f"{out}: asks for {counted(len(set(events)), 'case')}. At the hub: tocsin hub entrust {found.code} {out.name} --out FILE"
    )


@click.command(epilog="Example: `tocsin node handover take keys.txt`. Then `tocsin node sync`, and destroy the file.")
@click.argument("file", type=FILES)
@NODE
@JSON
@DATA
def take(file: Path, name: str | None, as_json: bool, data: Path | None) -> None:
    """Take in the keys that the hub has sealed for you: each case opens from now on, and its survivor's consent is recorded."""
    from pipeline.node import sent
    from pipeline.node.handover import entrusting
    from pipeline.node.progress import progress

    found, text = node_of(name, data), text_of(file)
    with (
        sent.open_journal(found) as journal,
        progress(f"Looking through {found.code}", journal.last) as advance,
    ):
        done = entrusting.take(found, journal, text, lambda _: advance(1))
    click.echo(
        f"{found.code}: {counted(len(done.cases), 'case')} entrusted to you ({listed(done.cases)}); before: {len(done.before):,}."
    )
    if done.gone:
        click.echo(
            f"  nothing is left of {len(done.gone):,}: withdrawn, retracted, or never received ({listed(done.gone)})"
        )
    for number, why in done.refused.items():
        click.echo(f"  the case of event {number} was not taken: {why}")
    click.echo("Now send it: tocsin node sync. Then destroy the file.")
    if as_json:
        click.echo(json.dumps({"node": found.code, **asdict(done)}))
