"""`tocsin hub fates`: tell each node what became of every number that it has sent."""

import json
from pathlib import Path
from typing import Any

import click

from pipeline.cli.options import table_of
from pipeline.cli.proofs import DATA, HUB, JSON, known_nodes
from pipeline.settings import data_folder
from schemas.errors import BadInput
from schemas.fates import FATES


@click.command(
    epilog="Examples: `tocsin hub fates`; `tocsin hub fates --send`; `tocsin hub fates MONUSCO --out monusco.fates`. "
    "On the node, `tocsin node sync` or `tocsin node fates --import FILE` reads it. Exit status: 0; 65 a node that is not "
    "known or a file that can't be written, 69 Kafka does not answer, 78 something has to be run before."
)
@click.argument("nodes", nargs=-1)
@click.option("--send", "sending", is_flag=True, help="Put the pages that say something new on the nodes' topics.")
@click.option(
    "--out",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write one node's pages, and what was decided about its cases, to this file, NAME.fates, to be carried to it.",
)
@DATA
@JSON
def fates(*, nodes: tuple[str, ...], sending: bool, file: Path | None, data: Path | None, as_line: bool) -> None:
    """Say what became of each number that NODES (or all) have sent; with --send, tell them.

    Each number that refine has committed has one fate: accepted, replaced or in conflict (accepted, and another version
    speaks for its incident), refused, waiting, withdrawn, missing. Nodes get pages of 1,000 numbers that the hub signs, with
    reasons, regions and links; of other nodes' events nothing is in them. Only counts are printed.
    """
    from pipeline.hub.telling import check_topics, send, write
    from pipeline.hub.trees import signer
    from pipeline.keyrings import endpoint

    if file and len(nodes) != 1:
        raise BadInput("A file holds the fates of one node: name it, as in `tocsin hub fates MONUSCO --out FILE`.")
    home = data_folder(data)
    kafka = endpoint(home, "kafka")
    known = known_nodes(home, kafka, nodes)
    if sending:
        check_topics(kafka, known)
    by = signer(home / "proof", None, HUB)
    told = _told(home, kafka, known, by)
    if sending:
        send(kafka, told)
    if file:
        write(file, [*told[0].records.values(), *told[0].decisions])
    rows = [_line(one, sending) for one in told]
    if as_line:
        click.echo(json.dumps({"key": str(by.key), "nodes": rows}))
    else:
        _show(rows, by.key, sending, file)


def _told(home: Path, kafka: str, nodes: dict[str, int], by: Any) -> list[Any]:
    from pipeline.hub.telling import Teller
    from pipeline.keyrings import ledger_key, region_keys
    from pipeline.log import ends
    from pipeline.node.progress import progress

    total = sum(ends(kafka, "hub.").values()) + sum(ends(kafka, "quarantine").values()) + sum(nodes.values())
    with progress("Reading what became of it", total) as advance:
        teller = Teller(kafka, ledger_key(home), region_keys(home, "mint"), advance)
        return [teller.tell(node, by) for node in nodes]


def _line(told: Any, sending: bool) -> dict[str, Any]:
    return {
        "node": told.node,
        "end": told.end,
        "highest": told.highest,
        "fates": {name: told.counts.get(name, 0) for name in FATES},
        "pages": len(told.records),
        "changed": len(told.changed),
        "sent": len(told.changed) if sending else 0,
    }


def _show(rows: list[dict[str, Any]], key: Any, sending: bool, file: Path | None) -> None:
    from rich.console import Console

    if not rows:
        click.echo("Nothing has come yet: `tocsin node sync` sends, `tocsin worker refine` receives.")
        return
    names = [name.replace("_", " ") for name in FATES]
    table = table_of("Fates", "node", "numbers", *names, "pages", "sent" if sending else "to send")
    for row in rows:
        numbers = f"1–{row['highest']}" if row["highest"] else "–"
        cells = [str(count) for count in (*row["fates"].values(), row["pages"], row["changed"])]
        table.add_row(row["node"], numbers, *cells)
    Console(highlight=False).print(table)
    click.echo(f"Signed by {key}")
    if file:
        click.echo(f"{file}: carry it to the node, then there `tocsin node fates --import FILE`.")
