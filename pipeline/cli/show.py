"""`tocsin why` and `tocsin tap`: one event's whole story, and the readable events of a topic."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click

from pipeline.settings import data_folder
from schemas.errors import BadInput
from schemas.withdrawals import CONSENT, SAID, UNSPECIFIED

ID_DIGITS = 32
FORGOTTEN = {CONSENT: "consent was withdrawn", **SAID, UNSPECIFIED: "why, a newer tocsin says"}


@click.command(
    epilog="Example: `tocsin why 0192b3e0-7c1a-7b52-9c1d-2f60c01a55d1`. Exit status: 0 found, 65 no such event."
)
@click.argument("event_id")
@click.option("--data", type=click.Path(path_type=Path), help="The data folder that `tocsin up` made.")
@click.option("--json", "as_line", is_flag=True, help="Print one line of JSON.")
def why(event_id: str, data: Path | None, as_line: bool) -> None:
    """Tell what became of EVENT_ID: topic and offset, batch, rules, links, file and version of the table."""
    from pipeline.filed import Filed
    from pipeline.keyrings import endpoint, region_keys
    from pipeline.stores import open_store
    from pipeline.trace import Tracer

    home = data_folder(data)
    tracer = Tracer(endpoint(home, "kafka"), region_keys(home, "mint"), Filed(open_store(home)))
    story = tracer.story(_id(event_id))
    if as_line:
        click.echo(json.dumps(story))
    else:
        for line in _lines(story):
            click.echo(line)


def _id(text: str) -> bytes:
    digits = text.replace("-", "")
    if len(digits) != ID_DIGITS or set(digits.lower()) - set("0123456789abcdef"):
        raise BadInput(f"{text!r} is not an event's id: give its 32 hexadecimal digits, with or without dashes.")
    return bytes.fromhex(digits)


def _lines(story: dict[str, Any]) -> Iterator[str]:
    node, first = story["node"], story["raw"][0]
    yield f"node     {node['code']}  number {node['sequence']}  {node['kind']}"
    again = f", sent {len(story['raw'])} times" if len(story["raw"]) > 1 else ""
    yield f"raw      {first['topic']}[{first['partition']}]@{first['offset']}{again}"
    if "withdrawn" in story:
        yield f"forget   number {story['withdrawn']['sequence']}: {FORGOTTEN[story['withdrawn']['cause']]}"
    if "batch" in story["refine"]:
        yield f"refine   {_batch(story['refine'])}  {story['refine']['suite']}"
    if "quarantined" in story:
        yield f"         quarantined: {', '.join(story['quarantined']['reasons'])}"
    if story.get("accepted"):
        places = story["accepted"]
        more = f" and {len(places) - 1} areas more" if len(places) > 1 else ""
        yield f"         rules {story['rules']} → accepted[{places[0]['partition']}]@{places[0]['offset']}{more}"
    for batch in story.get("merge", [])[:3]:
        yield f"merge    {_batch(batch)}"
    for hub in story.get("hubs", []):
        if "removed" in hub:
            where = f"{hub['topic']}@{hub['offset']}" if "topic" in hub else f"hub.{hub['region']}, erased there,"
            yield f"hub      {where}  as {hub['id']}, removed @{hub['removed']['offset']}: no longer shared"
            continue
        yield f"hub      {hub['topic']}@{hub['offset']}  as {hub['id']}  {_standing(hub)}"
        yield f"table    {_table(hub)}"
    if "table" in story:
        yield f"table    {_table(story)}"
    if "ends" in story:
        yield f"         {story['ends']}"


def _standing(hub: dict[str, Any]) -> str:
    if "verdict" in hub:
        return f"{hub['verdict'].replace('_', ' ')}: incident {hub['incident']}"
    what = f"about referral {hub['referral']} of" if "referral" in hub else "a version of"
    of = f"{what} {hub['incident']}, " if "incident" in hub else ""
    if "closed" in hub:
        return f"{of}until {hub['closed']['on']}: {hub['closed']['ending']}"
    if "referral" in hub:
        return f"{of}as it was said last"
    return f"{of}{len(hub['linked_to'])} links, {len(hub['probable_duplicates'])} probable duplicates"


def _batch(step: dict[str, Any]) -> str:
    batch = step["batch"]
    counts = ", ".join(f"{name} {count}" for name, count in batch["counts"].items() if count)
    base = ", all before a base" if "base" in step else ""
    return f"{step['ledger']}  offsets {batch['start']}–{batch['end'] - 1}{base}  ({counts})"


def _table(step: dict[str, Any]) -> str:
    if "table" not in step:
        return str(step["ends"])
    filed = step["table"]
    return f"{filed['file']}  Delta version {filed['version']}"


@click.command(epilog="Examples: `tocsin tap quarantine --json | jq .reasons`; `tocsin tap raw.MONUSCO --last 3`.")
@click.argument("topic")
@click.option("--data", type=click.Path(path_type=Path), help="The data folder that `tocsin up` made.")
@click.option("--json", "as_lines", is_flag=True, help="One line of JSON for each event.")
@click.option("--last", type=click.IntRange(1), help="Only the last N offsets of each partition.")
@click.option("--limit", type=click.IntRange(1), help="Stop after N events.")
@click.option("--follow", is_flag=True, help="Wait for what comes from now on; Ctrl-C ends it.")
@click.option("--uncommitted", is_flag=True, help="Also what no transaction has committed.")
def tap(
    topic: str, data: Path | None, as_lines: bool, last: int | None, limit: int | None, follow: bool, uncommitted: bool
) -> None:
    """Print the events of TOPIC in readable form; sealed bodies stay sealed.

    Topics of hubs hold incidents in clear: who may run this there is decided by the broker's access list.
    """
    from pipeline import log, readable
    from pipeline.keyrings import endpoint

    home = data_folder(data)
    kafka = endpoint(home, "kafka")
    if topic not in log.topics(kafka):
        known = ", ".join(log.topics(kafka))
        raise BadInput(f"There is no topic {topic!r}; there are {known}.")
    entries = log.follow(kafka, topic) if follow else log.read(kafka, topic, committed=not uncommitted, from_end=last)
    for entry in islice(entries, limit):
        shown = readable.entry(entry)
        click.echo(json.dumps(shown, ensure_ascii=False) if as_lines else _row(shown))


def _row(shown: dict[str, Any]) -> str:
    place = f"{shown.pop('topic')}[{shown.pop('partition')}]@{shown.pop('offset')}"
    event = shown.pop("event") or shown.pop("meaning", "unreadable")
    for name in ("timestamp", "key", "version"):
        shown.pop(name, None)
    return f"{place}  {event}  " + "  ".join(f"{name}={value}" for name, value in shown.items())
