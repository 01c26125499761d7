"""`tocsin node`: what a one-person team at a mission does. A person's file enters, sealed events leave for the hub."""

import json
import re
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from pipeline.cli.assessments import corroborate, dispute, take_back
from pipeline.cli.handover import handover
from pipeline.cli.options import DATA, JSON, NODE, agreed, node_of
from pipeline.cli.referrals import refer
from pipeline.cli.renewing import renew
from pipeline.cli.retention import retention
from pipeline.cli.revisions import amend, case, grant, retract, verify
from pipeline.cli.told import fates, say_decided, say_taken
from pipeline.cli.transfer import transfer
from pipeline.cli.words import counted, these
from pipeline.settings import default_data
from schemas.consent import scopes
from schemas.errors import BadInput
from schemas.withdrawals import HANDED_OVER, RETENTION

FORGOTTEN = {RETENTION: "forgotten, kept as long as the rule said,", HANDED_OVER: "handed over"}
SHOWN = 20  # refused events that are printed; --json has all


class Part(click.ParamType):
    """`i/n`: every n-th row, the i-th of them."""

    name = "i/n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Return (i, n)."""
        found = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", str(value))
        which, of = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1 <= which <= of:
            self.fail("write it as 1/2: every second row, beginning with the first", param, ctx)
        return which, of


@click.group()
def node() -> None:
    """Run a mission node: init, import, amend, verify, grant, refer, retract, withdraw, retention, corroborate, dispute, take-back, transfer, case, status, sync, fates, renew, handover."""


for command in (
    *(amend, verify, grant, refer, retract, retention, corroborate, dispute, take_back),
    *(transfer, case, fates, renew, handover),
):
    node.add_command(command)


@node.command()
@click.argument("code")
@click.option("--region", required=True, help="The regional hub that may read the node's cases.")
@click.option("--region-key", type=click.Path(path_type=Path), help="The hub's public key [default: DATA/regions/…].")
@click.option("--node", "folder", type=click.Path(path_type=Path), help="The node's folder [default: DATA/nodes/CODE].")
@click.option("--lang", default="en", help="Language of the reasons: en, fr, ar.", show_default=True)
@click.option("--new", is_flag=True, help="The code is none of the listed missions.")
@DATA
def init(
    *, code: str, region: str, region_key: Path | None, folder: Path | None, lang: str, new: bool, data: Path | None
) -> None:
    """Make the node CODE with keys of its own, readable by one region's hub. Example: init MONUSCO --region great-lakes."""
    from pipeline.node import node as nodes
    from schemas.places import missions

    data = data or default_data()
    if not new and code not in {mission.code for mission in missions()}:
        raise BadInput(f"{code[:40]!r} is no mission of schemas/codes/missions.csv; add --new if the code is right.")
    folder = folder or data / "nodes" / code
    nodes.check(folder, code, region, lang)
    made = nodes.create(folder, code, region, nodes.region_public(data, region, region_key), lang)
    click.echo(
        f"{made.code}: made in {made.folder}, for the hub {made.region}. Next: tocsin node import FILE --node {code}"
    )


@node.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--as", "format_name", metavar="FORMAT", help="svac or insecurity-insight [default: by the columns].")
@click.option("--dry-run", is_flag=True, help="Say what would become of the rows; needs no node, keeps nothing.")
@click.option("--rejects", type=click.Path(path_type=Path), help="Where refused rows go [default: beside FILE].")
@click.option("--part", type=Part(), default="1/1", metavar="I/N", help="Only every N-th row, beginning with the I-th.")
@click.option("--lang", help="Language of the reasons: en, fr, ar [default: the node's].")
@NODE
@JSON
@DATA
def import_(
    *,
    file: Path,
    format_name: str | None,
    dry_run: bool,
    rejects: Path | None,
    part: tuple[int, int],
    lang: str | None,
    name: str | None,
    as_json: bool,
    data: Path | None,
) -> None:
    """Import FILE: each row is recorded, was already, or is refused with its reason in a file to correct.

    Refused rows alone are no failure (exit status 0); a file that can't be used is (65).
    """
    from pipeline.node import importing
    from pipeline.node import node as nodes
    from pipeline.node.importers import table as tables

    found = None if dry_run else node_of(name, data)
    lang = nodes.language(lang or (found.lang if found else "en"))
    table = tables.load(file)
    importer = importing.detect(table, format_name)
    report = _recorded(found, importer, table, part)
    target = _write_rejects(rejects, dry_run, table, report, lang)
    line = {
        "node": found.code if found else None,
        "format": importer.name,
        "rows": report.rows,
        "accepted": report.accepted,
        "already": report.already,
        "rejected": dict(sorted(report.rejected.items())),
    }
    if found:
        found.note_import({"at": int(time.time()), "sha256": table.digest, "part": f"{part[0]}/{part[1]}", **line})
    _say_import(report, line, lang, target, as_json)


@node.command(
    epilog="Examples: `tocsin node withdraw --event 12`; `tocsin node withdraw cases.csv --row 3 --row 7`. "
    "Then `tocsin node sync`."
)
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--row", "rows", multiple=True, type=click.IntRange(1), help="The case of this row of FILE, from 1.")
@click.option("--event", "events", multiple=True, type=click.IntRange(1), help="The case of this event of the node.")
@click.option(
    "--scope",
    type=click.Choice(("all", *scopes()[:0:-1])),
    default="all",
    show_default=True,
    help="For whom: public, or headquarters and the public; her key and what her hub has stay then.",
)
@click.option("--yes", is_flag=True, help="Do not ask: it cannot be taken back.")
@NODE
@JSON
@DATA
def withdraw(
    *,
    file: Path | None,
    rows: tuple[int, ...],
    events: tuple[int, ...],
    scope: str,
    yes: bool,
    name: str | None,
    as_json: bool,
    data: Path | None,
) -> None:
    """Withdraw a survivor's consent: destroy her case's key here, have the hub take out all that was shared of it.

    Name the case by a row of the FILE that it was imported from, or by an event's number. With --scope only the audience
    of her incident becomes narrower.
    """
    from pipeline.node import importing, sent, withdrawing
    from pipeline.node.importers import table as tables
    from pipeline.node.progress import progress

    if bool(rows) != (file is not None) or not (rows or events):
        raise BadInput("Name the case: FILE with --row N for a row that was imported, or --event N.")
    found = node_of(name, data)
    table = tables.load(file) if file else None
    with sent.open_journal(found) as journal:
        numbers = list(events)
        if table:
            numbers += withdrawing.numbers_of(found, importing.detect(table), table, rows, journal)
        if scope != "all":
            _narrow(found, journal, numbers, scope, as_json)
            return
        if not yes:
            what = these(len(numbers), "case")
            asked = f"Destroy the key of {what} and have all that was shared taken out? It cannot be taken back"
            agreed(asked, "withdrawal", "withdrawn")
        with progress(f"Looking through {found.code}", journal.last) as advance:
            done = withdrawing.withdraw(found, journal, numbers, advance)
    for one in done:
        how = FORGOTTEN.get(one.cause, "withdrawn")
        before = f"had been {how} before, by event {one.event}" if one.before else f"{how} by event {one.event}"
        click.echo(f"Case {one.case_ref}: {before}; {one.incidents:,} reported. Its key is destroyed here.")
        if one.cause == HANDED_OVER:
            click.echo(
                "Her consent is taken back where her case is now: `tocsin node transfer status` names that node."
            )
    click.echo("Now send it: tocsin node sync")
    if as_json:
        click.echo(json.dumps({"node": found.code, "withdrawn": [asdict(one) for one in done]}))


def _narrow(found: Any, journal: Any, numbers: list[int], scope: str, as_json: bool) -> None:
    """Narrow the audience of incidents, and say what it is then."""
    from pipeline.node import withdrawing

    narrowed = []
    for number in sorted(set(numbers)):
        one = withdrawing.narrow(found, journal, number, scope)
        left = one.set.get("sharing_scope", f"that of event {one.replaces[-1]}")
        click.echo(f"Event {one.event} narrows the audience of the incident of event {one.incident}: {left}.")
        narrowed.append({"event": one.event, "incident": one.incident})
    click.echo("Now send it: tocsin node sync")
    if as_json:
        click.echo(json.dumps({"node": found.code, "scope": scope, "narrowed": narrowed}))


def _recorded(found: Any, importer: Any, table: Any, part: tuple[int, int]) -> Any:
    from pipeline.node import importing, sent
    from pipeline.node.progress import progress
    from pipeline.node.record import Recorder

    with progress(f"Importing {table.path.name}", table.size // part[1]) as advance:
        step = lambda: advance(1)  # noqa: E731 - rows are counted one by one
        if not found:
            return importing.run(importer, table, None, part, step)
        with sent.open_journal(found) as journal:
            return importing.run(importer, table, Recorder(found, journal), part, step)


def _write_rejects(path: Path | None, dry_run: bool, table: Any, report: Any, lang: str) -> Path | None:
    """Write the refused rows where they were asked for; beside the file, unless it is a dry run."""
    from functools import partial

    from pipeline.node import rejects
    from pipeline.node.importing import sentence

    if not report.rejects or (dry_run and not path):
        return None
    target = path or rejects.free_name(table.path)
    rejects.write(target, table, report.rejects, partial(sentence, lang=lang))
    return target


def _say_import(report: Any, line: dict[str, Any], lang: str, target: Path | None, as_json: bool) -> None:
    from pipeline.node.importing import sentence

    refused = sum(report.rejected.values())
    who = line["node"] or "dry run, nothing kept"
    click.echo(
        f"{who}: {counted(report.rows, 'row')} of {line['format']}: {report.accepted:,} accepted, "
        f"{report.already:,} already imported, {refused:,} rejected."
    )
    for code, count in report.rejected.most_common():
        click.echo(f"  {count:>7,}  {code}  {sentence(code, lang)}")
    if target:
        click.echo(f"The rejected rows are in {target}: correct them there and import that file.")
    if as_json:
        click.echo(json.dumps({**line, "rejects": str(target) if target else None}))


@node.command()
@NODE
@JSON
@DATA
def status(name: str | None, as_json: bool, data: Path | None) -> None:
    """Check the journal from its first event to its last; say what is still to be sent, and what the hub made of it."""
    from pipeline.node.status import status as status_of

    of = node_of(name, data)
    found = status_of(of)
    cut = sum(int(one["bytes_cut"]) for one in found.cuts)
    click.echo(f"{found.node} for {found.region}: events {found.first} to {found.last}, missing {found.missing}.")
    if found.handover:
        how = "was handed over to" if found.handover.role == "left" else "was taken over by"
        click.echo(f"It {how} {found.handover.successor} by event {found.handover.number}.")
    click.echo(f"Signs as {found.public or 'nobody: its keys are destroyed'}.")
    if found.known_by:
        click.echo(
            f"Its log is known by the key of its first team, {found.known_by}: `tocsin verify --pin` takes that one."
        )
    click.echo(
        f"Sent up to {found.sent}; to send: {counted(found.to_send, 'event')}, {counted(found.keys_to_send, 'key')}."
    )
    _say_receipts(found, of.lang)
    click.echo(f"Torn tails cut after a crash: {len(found.cuts)} ({cut} bytes that were no whole event).")
    click.echo(f"Rejected rows of all imports: {sum(found.rejected.values()):,}.")
    if found.damage:
        click.echo(f"tocsin: {found.damage}", err=True)
    if as_json:
        click.echo(json.dumps(asdict(found)))
    if found.damage:
        raise click.exceptions.Exit(70)


def _say_receipts(found: Any, lang: str) -> None:
    from pipeline.node.importing import sentence_or_code

    became = ", ".join(f"{count:,} {name}" for name, count in sorted(found.became.items()))
    click.echo(
        f"Receipted by the hub: {found.receipted:,} of {counted(found.last, 'event')}{f' ({became})' if became else ''}."
    )
    for number, reasons in found.refused[:SHOWN]:
        which = f"event {number}" if number else "an unreadable record"
        for code in reasons:
            click.echo(f"  refused {which}: {code}  {sentence_or_code(code, lang)}")
    if len(found.refused) > SHOWN:
        click.echo(f"  and {len(found.refused) - SHOWN:,} more: `tocsin node status --json` names all.")


@node.command()
@click.option("--again", is_flag=True, help="Send everything again; the hub drops what it has.")
@click.option("--kafka", metavar="HOST:PORT", help="The broker [default: that of the data folder].")
@click.option(
    "--hub", metavar="KEY", help="Trust this hub's key for what it tells, and no other [default: as first seen]."
)
@NODE
@JSON
@DATA
def sync(
    *, again: bool, kafka: str | None, hub: str | None, name: str | None, as_json: bool, data: Path | None
) -> None:
    """Send what was recorded to the hub's Kafka, read what the hub tells; may be interrupted at any moment and run again."""
    from pipeline.keyrings import endpoint
    from pipeline.node import fates as kept
    from pipeline.node import node as nodes
    from pipeline.node import sent
    from pipeline.node.journal import Reader
    from pipeline.node.progress import progress
    from pipeline.node.sync import sync as send

    data = data or default_data()
    found = nodes.find(name, data)
    if hub:
        kept.trust(found, hub)
    last = Reader(found.journal).mark.last
    with progress(f"Sending {found.code}", last if again else last - sent.read(found).events) as advance:
        outcome = send(found, kafka or endpoint(data, "kafka"), again, advance)
    to = f" to {outcome.last}" if outcome.events > 1 else ""
    numbers = f" ({outcome.first}{to})" if outcome.events else ""
    click.echo(
        f"{found.code}: {counted(outcome.events, 'event')}{numbers} and {counted(outcome.keys, 'key')} sent and acknowledged."
    )
    if outcome.again:
        click.echo(f"The hub had lost some: sent again {counted(outcome.again, 'event')}; it drops those that it has.")
    say_taken(outcome.told, found.lang)
    say_decided(outcome.decided, found.lang)
    if as_json:
        click.echo(json.dumps({"node": found.code, "again": again, **asdict(outcome)}))
