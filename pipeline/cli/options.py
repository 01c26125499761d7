"""What several commands share: their options, files and tables, and how a person is asked who she is, and before what is final."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.settings import default_data
from schemas.errors import BadInput

if TYPE_CHECKING:
    from pipeline.node.node import Node

DATA = click.option("--data", type=click.Path(path_type=Path), help="The data folder [default: $TOCSIN_DATA].")
NODE = click.option("--node", "name", metavar="DIR|CODE", help="The node, if there are several.")
FILES = click.Path(path_type=Path)
OUT = click.option("--out", required=True, type=FILES, help="The file to write.")
JSON = click.option("--json", "as_json", is_flag=True, help="End with one line of JSON.")


def node_of(name: str | None, data: Path | None) -> "Node":
    """Return the node that is named, or the only one of the data folder."""
    from pipeline.node import node as nodes

    return nodes.find(name, data or default_data())


def compare(key: str | None, signer: bytes, what: str, who: str, done: str) -> None:
    """Refuse a paper by another key than the one that was told: BadInput. `what` is by a key, ask `who`, nothing was `done`."""
    if key and key.lower() != signer.hex():
        raise BadInput(f"The {what} another key, {signer.hex()}: ask {who}. Nothing was {done}.")


def table_of(title: str, *columns: str) -> Any:
    """Return a table to be printed, without rows: the first column is of words, the others of numbers."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    return table


def agreed(question: str, what: str, done: str) -> None:
    """Ask the person at the terminal; BadInput where there is none or she declines: of `what`, nothing was `done`."""
    if not sys.stdin.isatty():
        raise BadInput(f"A {what} cannot be taken back: add --yes where nobody can be asked.")
    if not click.confirm(question):
        raise BadInput(f"Nothing was {done}.")


def text_of(path: Path, advice: str = "give the file as it was written") -> str:
    """Return what is in a file of text. BadInput, with advice, where it can't be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} can't be read as text ({type(error).__name__}); {advice}.") from error


def write_text(path: Path, text: str) -> None:
    """Write a file as a whole. BadInput where it can't be written."""
    from pipeline.files import replace

    try:
        replace(path, text.encode())
    except OSError as error:
        raise BadInput(f"{path} can't be written ({error.strerror}); give another file.") from error


def asked() -> str:
    """Return who examined an incident, unseen and kept by no shell; BadInput where nobody can be asked."""
    if not sys.stdin.isatty():
        raise BadInput("Say by --by who examined it: nobody can be asked here.")
    return str(click.prompt("Who examined it (only a digest is kept)", hide_input=True))
