"""`tocsin top`: how the stages stand, live in the terminal or once for a program."""

import json
import time
from pathlib import Path
from typing import Any

import click

from pipeline.settings import data_folder

SHOWN = 5  # lanes, partitions and nodes that are named; --json has all
HOUR = 3_600


@click.command(epilog="Examples: `tocsin top`; `tocsin top --once --json | jq .stages.refine.behind`. Ctrl-C ends it.")
@click.option("--once", is_flag=True, help="Look once and end.")
@click.option("--every", type=click.FloatRange(0.5), default=2.0, show_default=True, help="Seconds between two looks.")
@click.option(
    "--silent", type=click.FloatRange(0), default=24.0, show_default=True, help="Hours after which a node is silent."
)
@click.option("--data", type=click.Path(path_type=Path), help="The data folder that `tocsin up` made.")
@click.option("--json", "as_lines", is_flag=True, help="Print one line of JSON for each look.")
def top(*, once: bool, every: float, silent: float, data: Path | None, as_lines: bool) -> None:
    """Watch the stages: rate of the last minute, lag, quarantine, open transactions, nodes that are silent.

    It reads the log alone, so it also tells of workers that are gone. It changes nothing.
    """
    from pipeline.keyrings import endpoint
    from pipeline.stores import open_store
    from pipeline.top import Top
    from sinks.positions import Positions

    home = data_folder(data)
    watch = Top(endpoint(home, "kafka"), Positions(open_store(home)), silent * HOUR)
    try:
        if as_lines or once:
            _lines(watch, once, every, as_lines)
        else:
            _live(watch, every)
    finally:
        watch.close()


def _lines(watch: Any, once: bool, every: float, as_lines: bool) -> None:
    from rich.console import Console

    while True:
        now = watch.look()
        if as_lines:
            click.echo(json.dumps(now.plain()))
        else:
            Console(highlight=False).print(_page(now))
        if once:
            return
        time.sleep(every)


def _live(watch: Any, every: float) -> None:
    from rich.live import Live

    with Live(_page(watch.look()), auto_refresh=False) as live:
        while True:
            time.sleep(every)
            live.update(_page(watch.look()), refresh=True)


def _page(now: Any) -> Any:
    from rich import box
    from rich.console import Group
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for number, column in enumerate(("stage", "records/s", "behind", "where")):
        table.add_column(column, justify="right" if number in {1, 2} else "left")
    for name, stage in now.stages.items():
        rate = "" if stage.rate is None else f"{stage.rate:,.1f}"
        table.add_row(name, rate, f"{stage.behind:,}", _most(stage.lag))
    return Group(table, *_sentences(now))


def _sentences(now: Any) -> list[str]:
    refused = "nothing was refined" if now.quarantined is None else f"{now.quarantined:.1%} of the records were refused"
    ages = {node: round(seconds / HOUR) for node, seconds in now.silent.items()}
    return [
        f"Quarantine, last minute: {refused}.",
        f"Open transactions: {_most(now.open) or 'none'}.",
        f"Silent nodes: {_most(ages, ' h') or 'none'}; {now.never} never sent anything.",
    ]


def _most(numbers: dict[str, int], unit: str = "") -> str:
    """Return the largest by name, and how many more there are."""
    largest = sorted(numbers.items(), key=lambda pair: -pair[1])
    more = f", and {len(largest) - SHOWN} more" if len(largest) > SHOWN else ""
    return ", ".join(f"{name} {number:,}{unit}" for name, number in largest[:SHOWN]) + more
