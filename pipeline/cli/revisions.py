"""`tocsin node amend`, `verify`, `grant`, `retract` and `case`: an incident goes on after its report."""

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import click

from pipeline.cli.options import DATA, JSON, NODE, agreed, asked, node_of
from schemas.consent import scopes
from schemas.errors import BadInput
from schemas.lifecycle import reasons, states, steps

NUMBER = click.IntRange(1)
SEEN = click.option(
    "--seen",
    multiple=True,
    type=NUMBER,
    help="Replace only this version, the one that you had before you [default: all newest].",
)
DOES = {
    "amended": "amends",
    "verified": "verifies",
    "consent_given": "records consent to share",
    "retracted": "retracts",
}


class Day(click.ParamType):
    """A day written as 2022-03-31."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Return the day."""
        from pipeline.node.facts import day

        try:
            return value if isinstance(value, date) else day(value)
        except BadInput as error:
            self.fail(str(error), param, ctx)


def named(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what names one incident, the node and the data folder."""
    for add in (
        DATA,
        JSON,
        NODE,
        click.option("--event", type=NUMBER, help="The incident that this event reported or changed."),
        click.option("--row", type=NUMBER, help="The incident of this row of FILE, from 1."),
        click.argument("file", required=False, type=click.Path(path_type=Path)),
    ):
        command = add(command)
    return command


@click.command(
    epilog="Examples: `tocsin node amend --event 12 --set forms=rape,sexual_slavery --set admin1=CD61`; "
    "`tocsin node amend cases.csv --row 3 --set party=`. Then `tocsin node sync`."
)
@named
@click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="A field's value; lists by comma.")
@SEEN
def amend(settings: tuple[str, ...], seen: tuple[int, ...], as_json: bool, **which: Any) -> None:
    """Correct or complete an incident that was reported: it gets a further version.

    Fields are those of schemas/avro/v1/Incident.avsc; those of verification are moved by `tocsin node verify` only, and an
    audience by consent is made wider by `tocsin node grant` only. Where two versions are in conflict, this ends the
    conflict: what is not set stays as the newer of them has it.
    """
    from pipeline.node import facts, revising

    changes = facts.assigned(settings)
    _revise(which, as_json, lambda node, journal, number: revising.amend(node, journal, number, changes, seen))


@click.command(
    epilog="Example: `tocsin node verify --event 12 --state verified --step technical --by 'A. Name' --primary 1`. "
    "Then `tocsin node sync`."
)
@named
@click.option("--state", required=True, type=click.Choice(states()), help="The state that it has from now on.")
@click.option("--step", required=True, type=click.Choice(steps()), help="Which step this is; steps go up.")
@click.option("--by", metavar="WHO", help="Who examined it; only a keyed digest is kept [default: you are asked].")
@click.option("--on", type=Day(), help="Day of the decision [default: today, UTC].")
@click.option("--primary", type=click.IntRange(0), help="Number of primary sources [default: as it is].")
@click.option("--secondary", type=click.IntRange(0), help="Number of secondary sources [default: as it is].")
@click.option("--eyewitness/--no-eyewitness", default=None, help="United Nations staff saw it [default: as it is].")
@SEEN
def verify(
    *,
    state: str,
    step: str,
    by: str | None,
    on: date | None,
    primary: int | None,
    secondary: int | None,
    eyewitness: bool | None,
    seen: tuple[int, ...],
    as_json: bool,
    **which: Any,
) -> None:
    """Say what a person who examined an incident has decided: its state moves, or a further step confirms it.

    Up to three steps, each by another person. Out of scope, or found not to have occurred, it is shared no longer.
    """
    from pipeline.node import revising

    decision = revising.Decision(state, step, by or asked(), on, primary, secondary, eyewitness)
    _revise(which, as_json, lambda node, journal, number: revising.verify(node, journal, number, decision, seen))


@click.command(
    epilog="Examples: `tocsin node grant --event 12 --scope headquarters --on 2026-03-31`; "
    "`tocsin node grant cases.csv --row 3 --scope public`. Then `tocsin node sync`."
)
@named
@click.option(
    "--scope", required=True, type=click.Choice(scopes()), help="The widest audience; each includes those before it."
)
@click.option("--on", type=Day(), help="Day on which she gave it [default: today, UTC].")
@SEEN
def grant(scope: str, on: date | None, seen: tuple[int, ...], as_json: bool, **which: Any) -> None:
    """Record a survivor's consent to share an incident: with its hub, with Headquarters as well, with the public as well.

    What was reported has the audience that its report says. Consent is taken back by `tocsin node withdraw`, also
    for a part of the audience; a narrower one is refused here.
    """
    from pipeline.node import revising

    _revise(which, as_json, lambda node, journal, number: revising.grant(node, journal, number, scope, on, seen))


@click.command(epilog="Example: `tocsin node retract --event 12 --reason duplicate`. Then `tocsin node sync`.")
@named
@click.option("--reason", required=True, metavar="|".join(reasons()), help="Why it is taken back.")
@SEEN
@click.option("--yes", is_flag=True, help="Do not ask: it cannot be taken back.")
def retract(reason: str, seen: tuple[int, ...], yes: bool, as_json: bool, **which: Any) -> None:
    """Take an incident back that was reported: it leaves the current tables of every region, its history keeps it.

    Its key and its facts stay; where they have to go, use `tocsin node withdraw`.
    """
    from pipeline.node import revising

    ask = (lambda _: None) if yes else _agreed
    _revise(which, as_json, lambda node, journal, number: revising.retract(node, journal, number, reason, seen, ask))


@click.command(epilog="Examples: `tocsin node case --event 12`; `tocsin node case cases.csv --row 3`.")
@named
def case(as_json: bool, **which: Any) -> None:
    """Tell what became of one incident: its versions, what made each, and how it stands now. Reads this node only."""
    from pipeline.node.deciding import Settled
    from pipeline.node.journal import Reader
    from pipeline.node.revising import listed
    from pipeline.node.story import story
    from pipeline.node.told import of_decision

    found = _node(which)
    reader = Reader(found.journal)
    told = story(found, reader, _number(found, reader, which))
    click.echo(f"Incident of event {told.incident}, case {told.case_ref}: {told.state}.")
    click.echo(f"  {'event':>7}  {'recorded':<10}  {'after':>7}  what")
    for line in told.lines:
        after = ",".join(map(str, line.follows))
        click.echo(f"  {line.event:>7}  {line.recorded_on}  {after:>7}  {_what(line)}")
    if told.state == "in conflict":
        click.echo(
            f"Events {listed(told.newest)} are in conflict: `tocsin node amend` or `verify` without --seen ends it."
        )
    for reason in told.not_recorded:
        click.echo(of_decision(Settled(told.incident, reason=reason), found.lang))
    if as_json:
        click.echo(json.dumps(asdict(told)))


def _revise(which: dict[str, Any], as_json: bool, revise: Callable[[Any, Any, int], Any]) -> None:
    """Record what changes one incident, and say what it did."""
    code, done = recorded(which, revise)
    _say(done)
    if as_json:
        line = {**asdict(done), "set": list(done.set)}
        click.echo(json.dumps({"node": code, **line}))


def recorded(which: dict[str, Any], record: Callable[[Any, Any, int], Any]) -> tuple[str, Any]:
    """Record something about the incident that was named; return the node's code and what `record` gives."""
    from pipeline.node import sent

    found = _node(which)
    with sent.open_journal(found) as journal:
        return found.code, record(found, journal, _number(found, journal, which))


def _node(which: dict[str, Any]) -> Any:
    """Return the node; BadInput where no incident is named, or two are."""
    file, row, event = (which[name] for name in ("file", "row", "event"))
    if (file is None) != (row is None) or (row is None) == (event is None):
        raise BadInput("Name one incident: FILE with --row N for a row that was imported, or --event N.")
    return node_of(which["name"], which["data"])


def _number(node: Any, reader: Any, which: dict[str, Any]) -> int:
    """Return the number of the event that names the incident."""
    from pipeline.node import importing, withdrawing
    from pipeline.node.importers import table as tables

    if which["event"]:
        return int(which["event"])
    table = tables.load(which["file"])
    [number] = withdrawing.numbers_of(node, importing.detect(table), table, [which["row"]], reader)
    return number


def _agreed(number: int) -> None:
    asked = f"Take the incident of event {number} back? Its history keeps the facts; this cannot be taken back"
    agreed(asked, "retraction", "retracted")


def _say(done: Any) -> None:
    from pipeline.node.revising import listed

    incident = f"the incident of event {done.incident}"
    if done.before:
        click.echo(f"{incident.capitalize()} had been retracted before, by event {done.event}; nothing was recorded.")
        return
    values = "; ".join(f"{name}={_value(value)}" for name, value in done.set.items())
    click.echo(
        f"Event {done.event} {DOES[done.change]} {incident}: {values or f'as event {done.replaces[-1]} has it'}."
    )
    if done.resolves:
        click.echo(f"This resolves a conflict between events {listed(done.resolves)}.")
    if done.conflicts:
        click.echo(
            f"It is in conflict with event {listed(done.conflicts)}: look at both by "
            f"`tocsin node case --event {done.event}`; a change without --seen ends the conflict."
        )
    for warning in done.warnings:
        click.echo(warning)
    click.echo("Now send it: tocsin node sync")


def _what(line: Any) -> str:
    details = f": {', '.join(line.details)}" if line.details else ""
    return f"{line.change.replace('_', ' ')}{details}{'; refused by the hub' if line.refused else ''}"


def _value(value: Any) -> str:
    """Return a value as the person may type it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ",".join(value)
    return "" if value is None else str(value)
