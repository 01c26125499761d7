"""Options that several commands of the node take."""

from pathlib import Path

import click

DATA = click.option("--data", type=click.Path(path_type=Path), help="The data folder [default: $TOCSIN_DATA].")
NODE = click.option("--node", "name", metavar="DIR|CODE", help="The node, if there are several.")
JSON = click.option("--json", "as_json", is_flag=True, help="End with one line of JSON.")
