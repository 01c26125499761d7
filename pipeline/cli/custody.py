"""`tocsin hub entrust`: the hub gives a node's new team the keys of cases whose survivors have consented anew."""

from pathlib import Path

import click

from pipeline.cli.options import DATA, FILES, OUT, text_of, write_text
from pipeline.settings import data_folder


@click.command(
    epilog="Example: `tocsin hub entrust MONUSCO request.txt --out keys.txt`. Give the file back to the node."
)
@click.argument("node")
@click.argument("file", type=FILES)
@OUT
@DATA
def entrust(node: str, file: Path, out: Path, data: Path | None) -> None:
    """Give the new team of NODE the keys of the cases that it asks for, sealed for it alone.

    The request must be signed by who signs for the node now, and the node's log be whole up to its handover.
    """
    from pipeline.cli.proofs import gathered, known_nodes
    from pipeline.hub import entrusting
    from pipeline.hub.casekeys import case_keys
    from pipeline.keyrings import PrivateKeys, endpoint
    from pipeline.log import read

    home = data_folder(data)
    kafka = endpoint(home, "kafka")
    request = text_of(file)
    (found,) = gathered(home, kafka, known_nodes(home, kafka, (node,)))
    keyring = case_keys(read(kafka, f"keys.{node}"), PrivateKeys(home))
    answer = entrusting.entrust(found.evidence(found.pin, ()), request, keyring)
    write_text(out, answer.text)
    gone = f"; {answer.gone:,} are withdrawn, or have not come" if answer.gone else ""
    click.echo(f"{out}: the keys of {answer.given:,} cases, sealed for who signs for {node} now{gone}.")
    click.echo(f"At the node: tocsin node handover take {out.name}")
