"""`tocsin hub renew`: a region's key pair is renewed, so that what old backups hold sealed for it opens nothing any more."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.options import agreed
from pipeline.cli.proofs import known_nodes
from pipeline.settings import data_folder
from schemas.errors import Stops

if TYPE_CHECKING:
    from pipeline.hub.renewing import Pair, Waiting

WAITS = 75


class NotRenewed(Stops):
    """The disk refused; what was there before can be read as before."""

    exit_code = 74


@click.command(
    epilog="Examples: `tocsin hub renew --region sahel`, and again when the nodes have sent. Exit status: 0 the former private "
    "keys are destroyed; 75 nodes have to renew first; 65 an argument that can't be used, 69 Kafka does not answer, 74 the disk "
    "refuses, 78 something has to be run before."
)
@click.option("--region", "named", multiple=True, help="Only this region [default: what was begun, else each].")
@click.option(
    "--instead-of",
    "absent",
    multiple=True,
    metavar="NODE",
    help="Seal the epochs of this node here: it is closed, lost, or does not open them, and sends nothing meanwhile.",
)
@click.option("--yes", is_flag=True, help="Do not ask before a new pair is made.")
@click.option("--data", type=click.Path(path_type=Path), help="The data folder that `tocsin up` made.")
@click.option("--json", "as_line", is_flag=True, help="Print one line of JSON.")
@click.pass_context
def renew(
    context: click.Context,
    *,
    named: tuple[str, ...],
    absent: tuple[str, ...],
    yes: bool,
    data: Path | None,
    as_line: bool,
) -> None:
    """Renew the key pair of a region: the first run makes it, a later one destroys the former private key.

    In between, each node of the region gets the new public.key and runs `tocsin node renew` with it. Workers may run
    all the time, and know both private keys. A command that was killed is run again.
    """
    from infra.files import alone
    from pipeline.keyrings import endpoint, region_keys

    home = data_folder(data)
    kafka = endpoint(home, "kafka")
    region_keys(home, "private")
    absent = tuple(known_nodes(home, kafka, absent)) if absent else ()
    with alone(
        home / "regions" / "lock", lambda: click.echo("another `tocsin hub renew` is at work; waiting", err=True)
    ):
        try:
            pairs = _begun(home, named, yes)
            rows = [_row(pair, kafka, absent) for pair in pairs]
        except OSError as error:
            raise NotRenewed(
                f"The disk refused to write in {home / 'regions'} ({error.strerror}); free some space and run this again."
            ) from error
    if as_line:
        click.echo(json.dumps({"regions": rows}))
    else:
        _show(rows)
    context.exit(WAITS if any(row["waiting"] for row in rows) else 0)


def _begun(home: Path, named: tuple[str, ...], yes: bool) -> "list[Pair]":
    """Return the regions whose renewal is under way, after it was begun where it was not."""
    from pipeline.cli.regions import chosen
    from pipeline.hub.renewing import Pair

    codes = [code for name in named for code in chosen(name)] or chosen(None)
    pairs = [Pair(code, home / "regions" / code) for code in dict.fromkeys(codes)]
    begun = [pair for pair in pairs if pair.under_way]
    if begun and not named and not any(pair.interrupted for pair in begun):
        return begun
    if new := [pair.region for pair in pairs if not pair.under_way]:
        if not yes:
            agreed(
                f"Make a new key pair for {', '.join(new)}? Every node there has to renew, too", "renewal", "renewed"
            )
        for pair in pairs:
            pair.set_aside()
    for pair in pairs:
        pair.renew()
    return pairs


def _row(pair: "Pair", kafka: str, absent: tuple[str, ...]) -> dict[str, Any]:
    """Return what a region waits for, by node; where that is nothing, its former key is destroyed."""
    waiting = _looked(pair, kafka)
    if absent:
        instead = [one for one in waiting if one.node in absent]
        pair.seal(kafka, instead)
        waiting = _looked(pair, kafka) if instead else waiting
    nodes: dict[str, list[int]] = {}
    for one in waiting:
        nodes.setdefault(one.node, []).append(one.epoch)
    if not nodes:
        pair.end()
    return {"region": pair.region, "public": str(pair.folder / "public.key"), "waiting": nodes}


def _looked(pair: "Pair", kafka: str) -> "list[Waiting]":
    """Return what is sealed for the former key still, with a progress bar."""
    from pipeline.log import ends
    from pipeline.node.progress import progress

    with progress(f"Reading the keys of {pair.region}", sum(ends(kafka, "keys.").values())) as advance:
        return pair.waiting(kafka, advance)


def _show(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if not row["waiting"]:
            click.echo(f"{row['region']}: renewed; the former private key is destroyed. Destroy its backups, too.")
            continue
        nodes = ", ".join(f"{node} (epoch {', '.join(map(str, epochs))})" for node, epochs in row["waiting"].items())
        click.echo(f"{row['region']}: there is a new pair; the former private key is kept for {nodes}.")
        click.echo(
            f"  Give them {row['public']}: `tocsin node renew --region-key public.key`, then `tocsin node sync`."
        )
        click.echo(f"  Then run this again: `tocsin hub renew --region {row['region']}`.")
