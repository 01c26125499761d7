"""`tocsin replay`: a region's tables made again from the log, and compared with the live ones."""

import asyncio
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from pipeline.settings import data_folder
from schemas.errors import BadInput

PREFIX = "hub."


@click.command(
    epilog="Examples: `tocsin replay hub.sahel --into replays/try-1`; add --check to compare with the live tables. "
    "Exit status: 0 done and, with --check, equal; 1 not equal."
)
@click.argument("topic", metavar="hub.REGION")
@click.option("--into", required=True, metavar="PATH", help="Where in the bucket the tables go; nothing may be there.")
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="Nodes refined at a time.")
@click.option("--check", is_flag=True, help="Compare with the live tables, row by row, in any order.")
@click.option("--data", type=click.Path(path_type=Path), help="The data folder that `tocsin up` made.")
@click.option("--json", "as_line", is_flag=True, help="Print one line of JSON.")
@click.pass_context
def replay(
    context: click.Context, *, topic: str, into: str, workers: int, check: bool, data: Path | None, as_line: bool
) -> None:
    """Make the tables of hub.REGION again from the log, by the same stages; the live ones are not touched.

    A case that was withdrawn can't be opened again, and is in neither.
    """
    from pipeline.cli.regions import chosen
    from pipeline.stores import open_store

    if not topic.startswith(PREFIX):
        raise BadInput(f"{topic!r} is no hub's topic; write hub.REGION, for example hub.sahel.")
    (region,) = chosen(topic.removeprefix(PREFIX))
    place = _place(into)
    home = data_folder(data)
    store = open_store(home)
    report = _replayed(home, store, region, place, workers)
    if check:
        report["tables"] = _compared(store, region, place)
        report["equal"] = all(found["equal"] for found in report["tables"].values())
    click.echo(json.dumps(report) if as_line else "\n".join(_sentences(report)))
    context.exit(0 if report.get("equal", True) else 1)


def _place(into: str) -> str:
    """Return the path of the new tables; BadInput where it is one of the live ones or no path."""
    place = into.strip("/")
    if not place or place.split("/")[0] in {"hub", "quarantine"} or ".." in place.split("/"):
        raise BadInput(f"{into!r} can't hold replayed tables; give a path of its own, for example replays/try-1.")
    return place


def _replayed(home: Path, store: Any, region: str, place: str, workers: int) -> dict[str, Any]:
    from pipeline.keyrings import PrivateKeys, endpoint, region_keys
    from pipeline.log import topics
    from pipeline.node.progress import progress
    from pipeline.replay import Replay, ends
    from streams import warm

    kafka, sink = endpoint(home, "kafka"), _sink(store, region, place)
    nodes = [name.removeprefix("raw.") for name in topics(kafka, "raw.")]
    warm.warm()
    begun = time.monotonic()
    with progress(f"Replaying hub.{region}", asyncio.run(ends(kafka, nodes))) as advance:
        keys = PrivateKeys(home), region_keys(home, "mint")
        done = asyncio.run(Replay(kafka, *keys, region, sink, workers, advance).run(nodes))
    seconds = time.monotonic() - begun
    rate = round(done.records / seconds)
    return {"region": region, "into": place, "seconds": round(seconds, 3), "records_per_second": rate, **asdict(done)}


def _sink(store: Any, region: str, place: str) -> Any:
    """Return the sink of new tables; BadInput where the place is taken."""
    from sinks.tables import HUB, table
    from sinks.writer import DeltaSink

    if store.list(f"{place}/"):
        raise BadInput(f"There is something under {place} in the bucket already; name another place by --into.")
    return DeltaSink(store, f"hub.{region}", 0, {f"{place}/{name}": table(name) for name in HUB})


def _compared(store: Any, region: str, place: str) -> dict[str, Any]:
    from pipeline.comparing import compare
    from pipeline.hub.reading import table
    from sinks.tables import HUB

    found = {name: compare(table(store, f"hub/{region}/{name}"), table(store, f"{place}/{name}")) for name in HUB}
    return {name: asdict(one) | {"equal": one.equal} for name, one in found.items()}


def _sentences(report: dict[str, Any]) -> list[str]:
    rows = ", ".join(f"{count:,} {name}" for name, count in report["rows"].items()) or "no row"
    first = (
        f"hub.{report['region']}: {report['records']:,} records of all nodes read again in {report['seconds']:.1f} s "
        f"({report['records_per_second']:,}/s); {rows} under {report['into']}."
    )
    said = [first]
    for name, one in report.get("tables", {}).items():
        if one["equal"]:
            said.append(f"  {name}: equal, {one['live_rows']:,} rows.")
            continue
        examples = ", ".join(one["examples"])
        said.append(
            f"  {name}: not equal; {one['only_live']:,} rows are in the live table only, {one['only_replayed']:,} in the "
            f"replayed one only: {examples}."
        )
    return said
