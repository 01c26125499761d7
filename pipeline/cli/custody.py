"""`tocsin hub entrust`: the hub gives a node's new team the keys of cases whose survivors have consented anew."""

import time
from pathlib import Path

import click

from pipeline.cli.options import DATA, FILES, OUT, agreed, text_of, write_text
from pipeline.cli.words import counted
from pipeline.settings import data_folder
from schemas.errors import BadInput


@click.command(
    epilog="Example: `tocsin hub entrust MONUSCO request.txt --out keys.txt`. Give the file back to the node."
)
@click.argument("node")
@click.argument("file", type=FILES)
@click.option("--key", metavar="HEX", help="The key by which the new team signs, as it has told you by another way.")
@click.option("--yes", is_flag=True, help="Do not ask whether the key is theirs.")
@OUT
@DATA
def entrust(node: str, file: Path, key: str | None, yes: bool, out: Path, data: Path | None) -> None:
    """Give the new team of NODE the keys of the cases that it asks for, sealed for it alone.

    The request must be signed by who signs for the node now, and the node's log be whole up to its handover. Compare the
    new team's key by another way: who had only stolen the key of the team before could have handed the node to himself.
    """
    from pipeline.cli.proofs import online
    from pipeline.hub import entrusting
    from pipeline.hub.casekeys import case_keys
    from pipeline.keyrings import PrivateKeys, endpoint
    from pipeline.log import read
    from pipeline.node import lines

    home = data_folder(data)
    kafka = endpoint(home, "kafka")
    request = text_of(file)
    (found,), keys = online(home, (node,), own=True)
    keyring = case_keys(read(kafka, f"keys.{node}"), PrivateKeys(home))
    answer = entrusting.entrust(found.evidence(found.pin, keys), request, keyring)
    who = f"{answer.to.successor}, who signs as {answer.to.signer.hex()} since event {answer.to.sequence}"
    if key and key.lower() != answer.to.signer.hex():
        raise BadInput(f"The node is {who}'s: no key was given. Ask the new team for its key.")
    if not key and not yes:
        asked = f"Give the keys of {counted(answer.given, 'case')} to {who}? Make sure that this is their key"
        agreed(asked, "key", "given")
    write_text(out, answer.text)
    given = {"node": node, "successor": answer.to.successor, "given": answer.given}
    lines.append(home / "entrusted.jsonl", {"at": int(time.time()), **given})
    gone = f"; withdrawn, or not come: {answer.gone:,}" if answer.gone else ""
    click.echo(f"{out}: the keys of {counted(answer.given, 'case')}, sealed for {who}{gone}.")
    click.echo(f"At the node: tocsin node handover take {out.name}")
