"""`tocsin node fates`: what became of every number that this node has sent, as its hub tells."""

import json
from pathlib import Path
from typing import Any

import click

from pipeline.cli.options import DATA, JSON, NODE, node_of
from schemas.errors import BadInput
from schemas.fates import FATES


@click.command(
    epilog="Examples: `tocsin node fates`; `tocsin node fates --number 412`; `tocsin node fates --refused`; "
    "`tocsin node fates --import monusco.fates --hub tocsin.hub.1a2b3c4d+5e6f7a8b+AZ…`. Exit status: 0, also where a page was "
    "not taken; 65 a number that was never recorded, or a file that holds no pages."
)
@click.option("--number", type=click.IntRange(1), help="Tell of this event only, in a sentence.")
@click.option("--refused", is_flag=True, help="Name each event that the hub refused, and why.")
@click.option("--waiting", is_flag=True, help="Name each event that waits at the hub, and for which.")
@click.option(
    "--import",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="First take in what `tocsin hub fates --out` wrote; needs no network.",
)
@click.option("--hub", metavar="KEY", help="Trust this hub's key, and no other [default: as first seen].")
@NODE
@JSON
@DATA
def fates(
    *,
    number: int | None,
    refused: bool,
    waiting: bool,
    file: Path | None,
    hub: str | None,
    name: str | None,
    as_json: bool,
    data: Path | None,
) -> None:
    """Say what became of each number that was sent: one fate each, as of the last `sync` or file.

    Accepted, replaced or in conflict (accepted, and another version speaks for its incident), refused, waiting, consent
    withdrawn, not received; or not known yet. The hub signs what it tells. A key that is seen for the first time is kept, and
    compared from then on.
    """
    from pipeline.node import deciding
    from pipeline.node import fates as kept
    from pipeline.node.told import overview

    of = node_of(name, data)
    if hub:
        kept.trust(of, hub)
    if file:
        say_taken(kept.import_file(of, file), of.lang)
        say_decided(deciding.record(of), of.lang)
    found = overview(of)
    if number is not None and number > len(found.fates):
        raise BadInput(f"{of.code} has recorded {len(found.fates)} events, so none has the number {number}.")
    chosen = _chosen(found, number, refused, waiting)
    _show(found, chosen, number is not None or refused or waiting, of.lang)
    if as_json:
        click.echo(json.dumps(_line(found, chosen)))


def say_taken(taken: Any, lang: str) -> None:
    """Say how many pages were taken, if any, and why others were not."""
    from pipeline.node.told import not_taken, say

    if taken.pages:
        click.echo(say("say.taken", lang, count=taken.pages))
    for sentence in not_taken(taken.refused, lang):
        click.echo(f"tocsin: {sentence}", err=True)


def say_decided(decided: Any, lang: str) -> None:
    """Say what came of each decision of the hub."""
    from pipeline.node.told import of_decision

    for one in decided:
        click.echo(of_decision(one, lang), err=not one.event)


def _chosen(found: Any, number: int | None, refused: bool, waiting: bool) -> list[Any]:
    """Return the runs that were asked for."""
    if number is not None:
        return [(number, number, found.fates[number - 1])]
    only = [name for name, asked in (("refused", refused), ("waiting", waiting)) if asked]
    return sorted((run for name in only or [""] for run in found.runs(name)), key=lambda run: run[0])


def _show(found: Any, chosen: list[Any], each: bool, lang: str) -> None:
    """Print the chosen numbers as sentences, or all by their fates."""
    from pipeline.node.told import say, sentence

    if each:
        for first, last, fate in chosen:
            for number in range(first, last + 1):
                click.echo(sentence(number, fate, lang))
        if not chosen:
            click.echo(say("say.none", lang))
        return
    if not found.hub:
        click.echo(say("say.nothing", lang, node=found.node))
    else:
        known = sum(found.counts.get(name, 0) for name in FATES)
        click.echo(say("say.title", lang, node=found.node, known=known, sent=found.sent, hub=found.hub))
    for name, count in found.counts.items():
        click.echo(f"  {count:>9,}  {say(f'fate.{name}', lang)}")
    for name, count in (("say.events_linked", found.linked), ("say.events_duplicate", found.duplicates)):
        if count:
            click.echo(f"  {count:>9,}  {say(name, lang)}")


def _line(found: Any, chosen: list[Any]) -> dict[str, Any]:
    from pipeline.node.told import line

    return {
        "node": found.node,
        "hub": found.hub,
        "sent": found.sent,
        "counts": found.counts,
        "linked": found.linked,
        "duplicates": found.duplicates,
        "fates": [line(*run) for run in chosen],
    }
