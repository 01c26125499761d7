"""`tocsin node refer`: a survivor is referred to a service, and followed up."""

import json
from dataclasses import asdict
from datetime import date
from typing import Any

import click

from pipeline.cli.revisions import Day, named, recorded
from schemas.errors import BadInput
from schemas.referrals import outcomes, services


@click.command(
    epilog="Examples: `tocsin node refer --event 12 --service medical --on 2026-03-31`; "
    "`tocsin node refer --followed-up --event 14 --outcome service_received`. Then `tocsin node sync`."
)
@named
@click.option("--service", type=click.Choice(services()), help="What she was referred to.")
@click.option("--declined", is_flag=True, help="She did not agree: nothing was passed on, and nothing can follow.")
@click.option("--followed-up", is_flag=True, help="Say what became of the referral that --event made or followed up.")
@click.option("--outcome", type=click.Choice(outcomes()), help="What became of it.")
@click.option("--on", type=Day(), help="Day of the referral or of the follow-up [default: today, UTC].")
def refer(
    *,
    service: str | None,
    declined: bool,
    followed_up: bool,
    outcome: str | None,
    on: date | None,
    as_json: bool,
    **which: Any,
) -> None:
    """Record that a survivor was referred to a service, with her consent or declined; or, later, what became of that.

    Name her incident; for a follow-up, by --event, the referral. No provider and no person is named anywhere.
    """
    from pipeline.node import referring

    _check(service, outcome, declined=declined, followed_up=followed_up, event=which["event"])

    def record(node: Any, journal: Any, number: int) -> Any:
        if followed_up:
            return referring.follow_up(node, journal, number, str(outcome), on)
        return referring.refer(node, journal, number, str(service), on, consented=not declined)

    code, done = recorded(which, record)
    _say(done)
    if as_json:
        line = {name: str(value) if isinstance(value, date) else value for name, value in asdict(done.known).items()}
        numbers = {"event": done.event, "referral": done.referral, "incident": done.incident}
        click.echo(json.dumps({"node": code, **numbers, **line}))


def _check(service: str | None, outcome: str | None, *, declined: bool, followed_up: bool, event: int | None) -> None:
    """Refuse options that do not go together: BadInput."""
    if followed_up and (service or declined or not outcome or not event):
        raise BadInput(
            "A follow-up takes --event N, the number of the referral's event, and --outcome, and no service."
        )
    if not followed_up and (not service or outcome):
        raise BadInput("A referral takes --service; what became of it is said later, by --followed-up and --outcome.")


def _say(done: Any) -> None:
    known = done.known
    if done.event == done.referral:
        what = "refers to" if known.consented else "records as declined"
        click.echo(f"Event {done.event} {what} {known.service}, about the incident of event {done.incident}.")
    else:
        click.echo(f"Event {done.event} follows up the referral of event {done.referral}: {known.outcome}.")
    if known.outcome == "pending":
        click.echo(f"Say later what became of it: tocsin node refer --followed-up --event {done.event} --outcome …")
    click.echo("Now send it: tocsin node sync")
