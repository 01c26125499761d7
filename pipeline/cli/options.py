"""What several commands share: their options, and how a person is asked who she is, and before what cannot be taken back."""

import sys
from pathlib import Path

import click

from schemas.errors import BadInput

DATA = click.option("--data", type=click.Path(path_type=Path), help="The data folder [default: $TOCSIN_DATA].")
NODE = click.option("--node", "name", metavar="DIR|CODE", help="The node, if there are several.")
JSON = click.option("--json", "as_json", is_flag=True, help="End with one line of JSON.")


def agreed(question: str, what: str, done: str) -> None:
    """Ask the person at the terminal; BadInput where there is none or she declines: of `what`, nothing was `done`."""
    if not sys.stdin.isatty():
        raise BadInput(f"A {what} cannot be taken back: add --yes where nobody can be asked.")
    if not click.confirm(question):
        raise BadInput(f"Nothing was {done}.")


def asked() -> str:
    """Return who examined an incident, unseen and kept by no shell; BadInput where nobody can be asked."""
    if not sys.stdin.isatty():
        raise BadInput("Say by --by who examined it: nobody can be asked here.")
    return str(click.prompt("Who examined it (only a digest is kept)", hide_input=True))
