"""`tocsin up`, `down`, `status`: a real Kafka and a real S3 on this machine, under one data folder."""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from pipeline.settings import default_data

if TYPE_CHECKING:
    from infra.cluster import Endpoints

folder = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_data,
    help="Folder of the data, ports, keys and logs [default: $TOCSIN_DATA].",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one line of JSON instead.")


@click.command(
    epilog="Examples: `tocsin up`; `tocsin up --data /srv/tocsin --json`. "
    "Exit status: 0 both answer, 69 one did not start, 78 the data folder is not as it should be."
)
@folder
@as_json
def up(data: Path, as_json: bool) -> None:
    """Start Kafka and S3, wait until both answer, make the topics and the regions' keys. Harmless when they run.

    The first start fetches Kafka, 44 MB, once for each user; a start takes 5 to 20 seconds.
    """
    from infra import launcher, table, topics
    from pipeline.keyrings import ensure_keys

    said: list[str] = []
    with _ended_by_signals(), _progress() as show:

        def say(sentence: str) -> None:
            said.append(sentence)
            show(sentence)

        endpoints = launcher.up(data, say, show)
        ensure_keys(endpoints.data)
        wanted = table.every(_nodes(endpoints.data))
        made = topics.ensure(endpoints.kafka, wanted)
    if as_json:
        click.echo(json.dumps(_facts(endpoints) | {"started": bool(said), "topics_made": len(made)}))
        return
    click.echo("tocsin is up." if said else "tocsin was up already.")
    _describe(endpoints)
    click.echo(f"  topics  {len(wanted)}, {len(made)} of them new")
    click.echo("Next: `tocsin worker refine`, `merge` and `sink`; `tocsin down` stops, the data stays.")


def _nodes(data: Path) -> list[str]:
    """Return the codes of the nodes in the data folder: a node that is no listed mission needs topics too."""
    return sorted(folder.name for folder in (data / "nodes").glob("*") if folder.is_dir())


@click.command(epilog="Example: `tocsin down --data /srv/tocsin`. Exit status: 0 nothing runs any more.")
@folder
@as_json
def down(data: Path, as_json: bool) -> None:
    """Stop Kafka and S3; the data stays, and the next `up` finds it. Harmless when nothing runs."""
    from infra import launcher

    with _progress() as show:
        stopped = launcher.down(data, show)
    if as_json:
        click.echo(json.dumps({"stopped": stopped, "data": str(data)}))
    else:
        click.echo(
            f"Stopped {' and '.join(stopped)}; the data stays in {data}." if stopped else f"Nothing ran in {data}."
        )


@click.command(epilog="Example: `tocsin status --json`. Exit status: 0 both answer, 1 one or both do not.")
@folder
@as_json
@click.pass_context
def status(context: click.Context, data: Path, as_json: bool) -> None:
    """Say what runs, where it is reached, and where its logs are. Starts nothing."""
    from infra import launcher

    found = launcher.status(data)
    answers = {"kafka": found.kafka, "s3": found.s3}
    logs = {name: str(path) for name, path in found.logs.items()}
    if as_json:
        where = _facts(found.endpoints) if found.endpoints else {"data": str(data)}
        click.echo(json.dumps({"up": answers, "logs": logs} | where))
    elif found.endpoints is None:
        click.echo(f"Nothing was ever started in {data}: run `tocsin up`.")
    else:
        for name, answer in answers.items():
            where = getattr(found.endpoints, name)
            click.echo(f"  {name:<6}  {'answers' if answer else 'does not answer'} at {where}; log {logs[name]}")
        if not all(answers.values()):
            click.echo("Run `tocsin up` to start what does not answer.")
    context.exit(0 if all(answers.values()) else 1)


def _facts(endpoints: "Endpoints") -> dict[str, Any]:
    """Return what a program needs to connect; the keys are in a file that only its owner can read, never printed."""
    return {
        "kafka": endpoints.kafka,
        "s3": f"http://{endpoints.s3}",
        "bucket": endpoints.bucket,
        "data": str(endpoints.data),
        "keys": str(endpoints.data / "cluster.json"),
    }


def _describe(endpoints: "Endpoints") -> None:
    click.echo(f"  Kafka   {endpoints.kafka}")
    click.echo(f"  S3      http://{endpoints.s3}  bucket {endpoints.bucket}  keys in {endpoints.data / 'cluster.json'}")
    click.echo(f"  data    {endpoints.data}")
    click.echo(f"  logs    {endpoints.data / 'logs'}")


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Show sentences on stderr: beside a moving sign on a terminal, else a line each."""
    if not sys.stderr.isatty():
        yield lambda sentence: click.echo(sentence, err=True)
        return
    from rich.console import Console

    with Console(stderr=True).status("starting") as sign:
        yield sign.update


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind as Ctrl-C does, so that nothing half-started is left."""

    def end(number: int, frame: FrameType | None) -> NoReturn:
        del frame
        raise SystemExit(128 + number)

    before = {sign: signal.signal(sign, end) for sign in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
