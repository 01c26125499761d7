"""`tocsin node transfer accept`, `refuse` and `take`: what the node does that is offered a case by another one."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.options import DATA, FILES, JSON, NODE, OUT, compare, node_of, text_of, write_text
from pipeline.cli.words import counted, listed
from schemas.transfers import offered, reasons

if TYPE_CHECKING:
    from pipeline.node.node import Node


@click.command(epilog="Example: `tocsin node transfer accept offer.txt --out accepted.txt`.")
@click.argument("file", type=FILES)
@click.option("--key", metavar="HEX", help="The key by which the other node signs, as it has told you.")
@OUT
@NODE
@DATA
def accept(file: Path, key: str | None, out: Path, name: str | None, data: Path | None) -> None:
    """Accept a case that another node offers: make a key for it, and sign. It is not yours before you take it."""
    from pipeline.node import sent
    from pipeline.node.transfer import taking

    found, made = node_of(name, data), offered(note := text_of(file))
    compare(key, made.signer, "offer is signed by", made.sender, "changed")
    with sent.open_journal(found) as journal:
        record = taking.accept(found, journal, note)
    write_text(out, record.answer_note)
    click.echo(
        f"{made.sender} offers a case: {counted(made.incidents, 'incident')}, {counted(made.referrals, 'open referral')}."
    )
    if not key:
        click.echo(f"Make sure by another way that {made.sender} signs as {made.signer.hex()}.")
    click.echo(f"{out}: accepted. You sign as {found.public.hex()}: tell them by another way.")
    click.echo(f"There: tocsin node transfer answer {out.name}, then complete and release")


@click.command(epilog="Example: `tocsin node transfer refuse offer.txt --reason no_capacity --out refused.txt`.")
@click.argument("file", type=FILES)
@click.option("--reason", required=True, type=click.Choice(reasons()), help="Why.")
@OUT
@NODE
@DATA
def refuse(file: Path, reason: str, out: Path, name: str | None, data: Path | None) -> None:
    """Refuse a case that another node offers: it stays theirs."""
    from pipeline.node import sent
    from pipeline.node.told import say
    from pipeline.node.transfer import taking

    found, note = node_of(name, data), text_of(file)
    with sent.open_journal(found) as journal:
        record = taking.refuse(found, journal, note, reason)
    assert record.answer
    write_text(out, record.answer_note)
    click.echo(f"{out}: refused. {say(f'reason.{record.answer.verdict}', found.lang)}")
    click.echo(f"There: tocsin node transfer answer {out.name}")


@click.command(epilog="Example: `tocsin node transfer take case.txt`. Then `tocsin node sync`, and destroy the file.")
@click.argument("file", type=FILES)
@NODE
@JSON
@DATA
def take(file: Path, name: str | None, as_json: bool, data: Path | None) -> None:
    """Take a case that was given out to you: its incident is yours from now on, under a key of its own. Taken again, it adds nothing."""
    from pipeline.node import sent
    from pipeline.node.transfer import taking

    found, note = node_of(name, data), text_of(file)
    with sent.open_journal(found) as journal:
        done = taking.take(found, journal, note)
    if done.withdrawn:
        click.echo(
            f"The case of {done.sender} was forgotten here since, by event {done.withdrawn}; nothing was recorded."
        )
    elif done.recorded:
        click.echo(
            f"The case of {done.sender} is yours: {listed(done.incidents)}; {counted(len(done.recorded), 'event')} recorded."
        )
        click.echo("Now send it: tocsin node sync. Then destroy the file.")
    else:
        click.echo(f"The case of {done.sender} was taken before: {listed(done.incidents)}; nothing was recorded.")
    if as_json:
        end(found, **asdict(done))


def end(node: "Node", **words: Any) -> None:
    """End with one line of JSON."""
    click.echo(json.dumps({"node": node.code, **words}))
