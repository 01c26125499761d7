"""`tocsin node corroborate`, `dispute` and `take-back`: what this node's own sources say of another node's incident."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import click

from pipeline.cli.options import DATA, JSON, NODE, node_of
from pipeline.cli.revisions import NUMBER, Day
from schemas.assessments import LEAST_CREDIBLE, LEAST_RELIABLE, grounds, reliabilities, sources

ID_DIGITS = 32
DOES = {"corroborated": "corroborates", "disputed": "disputes"}


class IncidentId(click.ParamType):
    """The `incident_id` of a row: 32 hexadecimal digits."""

    name = "hex"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """Return its 16 bytes."""
        if isinstance(value, bytes):
            return value
        if len(value) != ID_DIGITS or set(value.lower()) - set("0123456789abcdef"):
            self.fail("give the incident_id of a row of the region's tables, 32 hexadecimal digits", param, ctx)
        return bytes.fromhex(value)


def about(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what names another node's incident, the source, and the node."""
    for add in (
        DATA,
        JSON,
        NODE,
        click.option("--on", type=Day(), help="Day of the assessment [default: today, UTC]."),
        click.option(
            "--credibility",
            type=click.IntRange(1, LEAST_CREDIBLE),
            default=LEAST_CREDIBLE,
            show_default=True,
            help="Credibility of what it says (Admiralty scale); 6 cannot be judged.",
        ),
        click.option(
            "--reliability",
            type=click.Choice(reliabilities()),
            default=LEAST_RELIABLE,
            show_default=True,
            help="Reliability of the source (Admiralty scale); F cannot be judged.",
        ),
        click.option("--source", required=True, type=click.Choice(sources()), help="By what you know of it yourself."),
        click.option("--region", required=True, help="The region in whose tables you have seen it."),
        click.option("--incident", required=True, type=IncidentId(), help="Its incident_id there."),
    ):
        command = add(command)
    return command


@click.command(
    epilog="Example: `tocsin node corroborate --incident 8c1f0a5e2b7d4c3f9a6e1d2c3b4a5f60 --region sahel --source primary`. "
    "Then `tocsin node sync`."
)
@about
def corroborate(**given: Any) -> None:
    """Say that a source of your own confirms an incident that another node reported; you need no copy of its case.

    What you say of it later counts in place of this. Of an incident that your own node reported it never counts.
    """
    _assess(given)


@click.command(
    epilog="Example: `tocsin node dispute --incident 8c1f0a5e2b7d4c3f9a6e1d2c3b4a5f60 --region sahel --source secondary "
    "--grounds date`. Then `tocsin node sync`."
)
@about
@click.option("--grounds", required=True, type=click.Choice(grounds()), help="What your source says otherwise.")
def dispute(**given: Any) -> None:
    """Say that a source of your own contradicts an incident that another node reported, and in what.

    What you say of it later counts in place of this. Nothing of the incident changes: whoever reads it decides.
    """
    _assess(given)


@click.command("take-back", epilog="Example: `tocsin node take-back --event 14`. Then `tocsin node sync`.")
@click.option("--event", required=True, type=NUMBER, help="The event that corroborates or disputes an incident.")
@NODE
@JSON
@DATA
def take_back(event: int, name: str | None, as_json: bool, data: Path | None) -> None:
    """Take back what you have said of another node's incident: nothing that you said of it counts any more."""
    from pipeline.node import assessing

    code, done = _recorded(name, data, lambda node, journal: assessing.take_back(node, journal, event))
    click.echo(f"Event {done.event} takes back what event {done.replaced} says of incident {_shown(done)}.")
    _end(code, done, as_json)


def _assess(given: dict[str, Any]) -> None:
    from pipeline.node.assessing import Incident, Source, assess

    incident = Incident(given["region"], given["incident"])
    source = Source(given["source"], given["reliability"], given["credibility"])
    grounds, on = given.get("grounds"), given["on"]
    code, done = _recorded(
        given["name"], given["data"], lambda node, journal: assess(node, journal, incident, source, grounds, on)
    )
    why = f", {done.known.grounds}" if grounds else ""
    click.echo(f"Event {done.event} {DOES[done.verdict]} incident {_shown(done)} by a {done.known.source} source{why}.")
    if done.replaced:
        click.echo(f"It counts in place of event {done.replaced}.")
    _end(code, done, given["as_json"])


def _recorded(name: str | None, data: Path | None, record: Callable[[Any, Any], Any]) -> tuple[str, Any]:
    """Record something in the journal of the node that was named; return its code and what `record` gives."""
    from pipeline.node import sent

    found = node_of(name, data)
    with sent.open_journal(found) as journal:
        return found.code, record(found, journal)


def _shown(done: Any) -> str:
    return f"{done.known.incident_id.hex()} of {done.known.region}"


def _end(code: str, done: Any, as_json: bool) -> None:
    click.echo("Now send it: tocsin node sync")
    if as_json:
        known = {name: _plain(value) for name, value in vars(done.known).items()}
        told = {"node": code, "event": done.event, "replaced": done.replaced or None, "verdict": done.verdict}
        click.echo(json.dumps({**told, **known}))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if isinstance(value, date) else value
