"""`tocsin node retention`: which cases were kept as long as the rule of their class says; with --apply they are forgotten."""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.options import DATA, JSON, NODE, agreed, node_of
from pipeline.cli.revisions import Day
from pipeline.cli.words import SHOWN, these
from schemas.errors import BadInput

if TYPE_CHECKING:
    from pipeline.node.node import Node
    from pipeline.node.retention import Part, Plan
    from pipeline.node.withdrawing import Withdrawn


@click.command(
    epilog="Examples: `tocsin node retention`; `tocsin node retention --on 2030-01-01 --json`; "
    "`tocsin node retention --rules rules.csv --apply`. Then `tocsin node sync`. Exit status: 0, also where nothing goes; "
    "65 rules or options that can't be used."
)
@click.option(
    "--rules",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The rules [default: retention.csv of the node's folder, else schemas/codes/retention.csv].",
)
@click.option("--on", type=Day(), help="Look as of this day [default: today, UTC].")
@click.option("--apply", "applies", is_flag=True, help="Forget what goes; without it nothing is changed.")
@click.option("--yes", is_flag=True, help="Do not ask: it cannot be taken back.")
@NODE
@JSON
@DATA
def retention(
    *,
    file: Path | None,
    on: date | None,
    applies: bool,
    yes: bool,
    name: str | None,
    as_json: bool,
    data: Path | None,
) -> None:
    """Say which cases were kept as long as the rule of their class says; with --apply, forget them.

    Each case has one class. Months count from the last event that was recorded of it; a case with a referral that is open
    is held. To forget destroys the case's key here and has the hub take out all that was shared, as `tocsin node withdraw`
    does. Cases are named by the numbers of their first events.
    """
    from pipeline.node import retention as keeping
    from pipeline.node import sent
    from pipeline.node.journal import Reader
    from pipeline.node.record import today

    if applies and on:
        raise BadInput("Nothing was forgotten: --apply acts as of today, and --on only looks.")
    found = node_of(name, data)
    rules, day, done = keeping.rules(found, file), on or today(), list["Withdrawn"]()
    with sent.open_journal(found) if applies else nullcontext(Reader(found.journal)) as reader:
        plan = keeping.plan(found, reader, rules, day)
        _show(plan, found.lang)
        if applies:
            done = _forget(found, reader, plan, yes)
    _end(plan, done, found.lang, applies)
    if as_json:
        click.echo(json.dumps({**_line(plan), "forgotten": [asdict(one) for one in done]}))


def _forget(node: "Node", journal: Any, plan: "Plan", yes: bool) -> list["Withdrawn"]:
    """Forget what goes, if anything does, after the person has agreed."""
    from pipeline.node import retention as keeping
    from pipeline.node.progress import progress

    if plan.goes and not yes:
        what = these(len(plan.goes), "case")
        asked = f"As of {plan.on}: destroy the key of {what} and have all that was shared taken out? It cannot be taken back"
        agreed(asked, "case that is forgotten", "forgotten")
    with progress(f"Forgetting in {node.code}", journal.last) as advance:
        return keeping.forget(node, journal, plan, advance)


def _show(plan: "Plan", lang: str) -> None:
    from rich.console import Console
    from rich.table import Table

    from pipeline.node.told import say

    click.echo(say("keep.title", lang, node=plan.node, on=plan.on, rules=plan.rules))
    table = Table(box=None, pad_edge=False)
    for column in ("class", "rule", "stay", "go", "held", "next"):
        justify: Any = "right" if column in ("stay", "go", "held") else "left"
        table.add_column(say(f"keep.{column}", lang), justify=justify)
    for part in plan.parts:
        table.add_row(*_cells(part, lang))
    Console(highlight=False).print(table)
    for part in plan.parts:
        if part.goes:
            numbers = ", ".join(map(str, part.goes[:SHOWN])) + (" …" if len(part.goes) > SHOWN else "")
            click.echo(say("keep.first", lang, name=say(f"class.{part.name}", lang), numbers=numbers))
    for held in (each for part in plan.parts for each in part.held):
        if held.referrals:
            click.echo(say("keep.held_why", lang, event=held.event, referrals=", ".join(map(str, held.referrals))))
        if held.offered:
            click.echo(say("keep.held_offered", lang, event=held.event, node=held.offered))
    for number in plan.unfinished:
        click.echo(say("keep.unfinished", lang, event=number))
    for number in plan.withdraw_again:
        click.echo(say("keep.withdraw_again", lang, event=number))
    if plan.before:
        click.echo(say("keep.before", lang, count=plan.before))


def _cells(part: "Part", lang: str) -> Iterator[str]:
    from pipeline.node.told import say

    yield say(f"class.{part.name}", lang)
    yield say("keep.months", lang, months=part.months) if part.months else say("keep.for_ever", lang)
    yield from (f"{count:,}" for count in (part.stay, len(part.goes), len(part.held)))
    yield str(part.next_on or "–")


def _end(plan: "Plan", done: list["Withdrawn"], lang: str, applied: bool) -> None:
    """Say what was done, or what would be."""
    from pipeline.node.told import say

    for one in sorted(done, key=lambda one: one.number):
        click.echo(say("keep.forgotten", lang, event=one.event, number=one.number))
    if not plan.goes:
        click.echo(say("keep.nothing_goes", lang))
    elif applied:
        click.echo(say("keep.sync", lang))
    else:
        click.echo(say("keep.nothing_changed", lang))


def _line(plan: "Plan") -> dict[str, Any]:
    """Return a plan as plain values."""
    parts = [{**asdict(part), "next_on": str(part.next_on) if part.next_on else None} for part in plan.parts]
    return {**asdict(plan), "on": str(plan.on), "parts": parts}
