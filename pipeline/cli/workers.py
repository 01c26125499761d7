"""`tocsin worker`: run one stream worker under a supervisor; several at once share the work."""

import json
import os
import re
import socket
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from pipeline.settings import default_data
from schemas.errors import TocsinError
from streams.supervisor import Supervisor, named

STAGES = ("refine", "merge", "sink", "receipts")
ONCE_SECONDS = 2.0


@click.command(short_help="Run a stream worker: refine, merge, sink or receipts.")
@click.argument("stage", type=click.Choice(STAGES))
@click.option("--data", type=click.Path(path_type=Path), help="The data folder; else TOCSIN_DATA.")
@click.option("--name", help="This worker's name on this machine; else the first free number.")
@click.option("--once", is_flag=True, help="End when everything there is was read.")
@click.option("--until-idle", type=float, metavar="SECONDS", help="End when there was nothing to read for so long.")
@click.option("--batch-records", type=click.IntRange(1), metavar="N", help="At most so many records in a transaction.")
@click.option(
    "--metrics", type=click.IntRange(1, 65535), metavar="PORT", help="Serve /metrics there, on 127.0.0.1 only."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the events, a line of JSON each, to stdout; else they go to stderr."
)
def worker(
    stage: str,
    data: Path | None,
    name: str | None,
    once: bool,
    until_idle: float | None,
    batch_records: int | None,
    metrics: int | None,
    as_json: bool,
) -> None:
    """Run a worker of STAGE: refine (raw to accepted), merge (accepted to hubs), sink (hubs to tables) or receipts.

    Start as many as there are cores: they share the work, and another takes over where one is killed. One that gives
    the nodes their receipts is enough; two only repeat.
    """
    folder = (data or default_data()).resolve()
    idle = ONCE_SECONDS if once and until_idle is None else until_idle
    with named(folder / "streams" / stage / "names", name) as chosen:
        life = partial(_life, stage, folder, _instance(chosen), idle, batch_records, metrics, as_json)
        code = Supervisor(life, _say(as_json), partial(_load, stage, folder)).run()
    sys.exit(code)


def _load(stage: str, data: Path) -> None:
    from pipeline.keyrings import endpoint

    endpoint(data, "kafka")  # before kernels are compiled, a minute the first time
    from pipeline.bootstrap import load

    load(stage)


def _life(
    stage: str,
    data: Path,
    name: str,
    until_idle: float | None,
    batch_records: int | None,
    metrics: int | None,
    as_json: bool,
) -> int:
    """Be the worker's process; return its exit code."""
    if as_json:
        os.dup2(sys.stdout.fileno(), sys.stderr.fileno())
    from pipeline import observe
    from pipeline.bootstrap import run_worker

    try:
        if metrics is not None:
            observe.measured(metrics)
        return run_worker(stage, data, name, until_idle, batch_records)
    except TocsinError as error:
        click.echo(f"tocsin: {error}", err=True)
        return error.exit_code


def _instance(name: str) -> str:
    """Return the worker's name among all machines, in the letters that Kafka allows."""
    return re.sub(r"[^a-zA-Z0-9._-]", "-", f"{socket.gethostname()}-{name}")


def _say(as_json: bool) -> Any:
    def say(event: str, **fields: Any) -> None:
        text = json.dumps({"event": event, **fields}) if as_json else _sentence(event, fields)
        click.echo(text, err=not as_json)

    return say


def _sentence(event: str, fields: dict[str, Any]) -> str:
    if event == "restart":
        return f"worker ended with {fields['code']}; starting it again in {fields['after']:.1f} s"
    return str(fields.get("why", event))
