"""`tocsin node handover`: a node changes hands, step by step, by files that can be carried."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from pipeline.cli.entrusting import ask, take
from pipeline.cli.options import DATA, FILES, JSON, NODE, OUT, agreed, compare, node_of, text_of, write_text
from pipeline.cli.words import counted, listed
from pipeline.settings import default_data
from schemas.errors import TocsinError

SENTENCES = {
    "does_not_open": ("case", "that no key opens: restore the newest backup of the folder"),
    "forgotten": ("withdrawal", "cut off in its midst: `tocsin node withdraw --event N` again"),
    "not_sent": ("event", "not sent: `tocsin node sync`; the successor would send it for you"),
    "no_receipt": ("event", "without a receipt as of the last sync: sync again later"),
    "refused": ("event", "refused by the hub: `tocsin node fates --refused` says why; correct and import again"),
    "waiting": ("event", "waiting at the hub for others: `tocsin node sync --again`"),
    "in_conflict": (
        "incident",
        "in conflict: end it by `tocsin node amend` or `verify`, the successor can't before a consent",
    ),
    "open_referral": ("referral", "open: follow it up, the successor can't before a consent"),
    "step_begun": ("verification", "begun: the successor takes the next step without knowing who took yours"),
    "not_entrusted": ("case", "of the team before you, never entrusted to you: the survivor can still be asked"),
    "consent_to_grant": (
        "incident",
        "shared by a survivor's consent: keep how she can be asked, for your successor has no names",
    ),
}


@click.group()
def handover() -> None:
    """Hand a node over to its successor: rehearse, offer, accept, close, open, retire; then ask, take; status at any time.

    The team that leaves: rehearse, offer, close, retire. The successor: accept, open, ask, take.
    """


for command in (ask, take):
    handover.add_command(command)


@handover.command(epilog="Examples: `tocsin node handover rehearse --node MONUSCO`; `… --json | jq .findings`.")
@NODE
@JSON
@DATA
def rehearse(name: str | None, as_json: bool, data: Path | None) -> None:
    """Say what would be handed over, and what would break or be harder after it. Changes nothing.

    Exit status 70 where something must be mended first.
    """
    from pipeline.node.handover import rehearsing
    from pipeline.node.journal import Reader
    from pipeline.node.progress import progress

    found = node_of(name, data)
    reader = Reader(found.journal)
    with progress(f"Looking through {found.code}", reader.mark.last) as advance:
        seen = rehearsing.rehearse(found, reader, advance)
    _say_counts(found.code, seen.count())
    for one in seen.findings:
        thing, sentence = SENTENCES[one.kind]
        click.echo(f"  {one.weight:<6} {counted(len(one.numbers), thing):>14} {sentence} ({listed(one.numbers)})")
    click.echo(
        "Next: tocsin node handover offer --to MISSION --out FILE"
        if seen.ready
        else "It can't be handed over like this."
    )
    if as_json:
        findings = [asdict(one) for one in seen.findings]
        click.echo(json.dumps({"node": found.code, "ready": seen.ready, "counts": seen.count(), "findings": findings}))
    if not seen.ready:
        raise click.exceptions.Exit(TocsinError.exit_code)


@handover.command(
    epilog="Example: `tocsin node handover offer --to UNCT-COD --out offer.txt`. Give the file to the successor."
)
@click.option(
    "--to", "successor", required=True, metavar="MISSION", help="Code of the mission that goes on with the node."
)
@OUT
@NODE
@DATA
def offer(successor: str, out: Path, name: str | None, data: Path | None) -> None:
    """Offer the node, as it stands now, to a mission. Record nothing more until it is closed."""
    from pipeline.node import node as nodes
    from pipeline.node import sent
    from pipeline.node.handover import leaving
    from pipeline.node.progress import progress

    found = node_of(name, data)
    with (
        sent.open_journal(found) as journal,
        progress(f"Looking through {found.code}", journal.last) as advance,
    ):
        note, _ = leaving.offer(found, journal, nodes.mission(successor), advance)
        last = journal.last
    write_text(out, note)
    click.echo(f"{out}: offered to {successor} through event {last}; signed by {found.public.hex()}.")
    click.echo(f"There: tocsin node handover accept {out.name} --as {successor} --out FILE")


@handover.command(epilog="Example: `tocsin node handover accept offer.txt --as UNCT-COD --out accepted.txt`.")
@click.argument("file", type=FILES)
@click.option("--as", "successor", required=True, metavar="MISSION", help="Code of your mission.")
@click.option("--node", "folder", type=FILES, help="The folder to make [default: DATA/nodes/CODE].")
@click.option("--key", metavar="HEX", help="The key by which the leaving team signs, as it has told you.")
@OUT
@DATA
def accept(file: Path, successor: str, folder: Path | None, key: str | None, out: Path, data: Path | None) -> None:
    """Accept an offer: make your own keys, and sign. The node is not yours before you open what the leaving team closes."""
    from pipeline.node.handover import succeeding
    from schemas import handover as papers

    offered = papers.deed(note := text_of(file))
    compare(key, offered.leaving, "offer is signed by", "the leaving team", "made")
    target = folder or (data or default_data()) / "nodes" / offered.node
    signed, given = succeeding.accept(target, note, successor)
    write_text(out, signed)
    _say_counts(given.node, given.counts)
    if not key:
        click.echo(f"Make sure by another way that the leaving team signs as {given.leaving.hex()}.")
    click.echo(f"{out}: accepted in {target}. You will sign as {given.signer.hex()}: tell them by another way.")
    click.echo(f"There: tocsin node handover close {out.name} --out FILE")


@handover.command(epilog="Example: `tocsin node handover close accepted.txt --out monusco.handover`.")
@click.argument("file", type=FILES)
@click.option("--key", metavar="HEX", help="The key by which the successor will sign, as it has told you.")
@click.option("--yes", is_flag=True, help="Do not ask: it cannot be taken back.")
@OUT
@NODE
@JSON
@DATA
def close(
    *, file: Path, key: str | None, yes: bool, out: Path, name: str | None, as_json: bool, data: Path | None
) -> None:
    """Hand the node over: the last event is recorded, and FILE for the successor is written. You record nothing after it.

    Run it again where the file was lost: it writes the same once more.
    """
    from pipeline.node import sent
    from pipeline.node.handover import leaving
    from pipeline.node.progress import progress
    from schemas import handover as papers

    found = node_of(name, data)
    given = papers.deed(note := text_of(file))
    compare(key, given.signer, "deed names", "the successor", "handed over")
    with sent.open_journal(found) as journal:
        if not yes:
            who = f"{given.successor}, who signs as {given.signer.hex()}"
            agreed(f"Hand {found.code} over to {who}? It cannot be taken back", "handover", "handed over")
        with progress(f"Closing {found.code}", journal.last) as advance:
            leaving.close(found, journal, note, out, advance)
        last = journal.last
    click.echo(
        f"{found.code}: handed over to {given.successor} by event {last}. {out}: give it to them; it opens nothing by itself."
    )
    click.echo(
        "Then: tocsin node handover retire FILE, when they have written that they have it. They send what is not sent yet."
    )
    if as_json:
        click.echo(
            json.dumps({"node": found.code, "event": last, "successor": given.successor, "counts": given.counts})
        )


@handover.command(
    "open", epilog="Example: `tocsin node handover open monusco.handover --region-key public.key --out received.txt`."
)
@click.argument("file", type=FILES)
@click.option("--region-key", type=FILES, help="The hub's public key [default: DATA/regions/…].")
@click.option("--node", "folder", type=FILES, help="The folder that accepted [default: DATA/nodes/CODE].")
@click.option("--lang", default="en", help="Language of the reasons: en, fr, ar.", show_default=True)
@OUT
@DATA
def open_(*, file: Path, region_key: Path | None, folder: Path | None, lang: str, out: Path, data: Path | None) -> None:
    """Open what the leaving team has closed: from now on the node is yours, and its numbers go on with you."""
    from pipeline.node import node as nodes
    from pipeline.node.handover import succeeding

    home = data or default_data()
    deed = succeeding.deed_in(file)
    target = folder or home / "nodes" / deed.node
    region = nodes.region_public(home, deed.region, region_key)
    found, note = succeeding.open_package(target, file, region, nodes.language(lang))
    write_text(out, note)
    click.echo(f"{found.code} is yours, in {found.folder}; event {deed.through + 2} will be your first.")
    click.echo("Next: back up this folder, then tocsin node sync.")
    click.echo(f"Then give {out} back to the leaving team, so that they destroy their keys.")


@handover.command(epilog="Example: `tocsin node handover retire received.txt`.")
@click.argument("file", type=FILES)
@click.option("--yes", is_flag=True, help="Do not ask: it cannot be taken back.")
@NODE
@DATA
def retire(file: Path, yes: bool, name: str | None, data: Path | None) -> None:
    """Destroy the leaving team's keys, after the successor's word that it has everything."""
    from pipeline.node.handover import leaving

    found = node_of(name, data)
    if not yes:
        agreed(f"Destroy the keys in {found.folder}? It cannot be taken back", "retirement", "destroyed")
    deed = leaving.retire(found, text_of(file))
    click.echo(
        f"{found.code}: the keys in {found.folder} are destroyed. Destroy its backups, and the files that you imported."
    )
    click.echo(f"{deed.successor} goes on with it.")


@handover.command(epilog="Examples: `tocsin node handover status`; `tocsin node handover status --json | jq .owner`.")
@NODE
@JSON
@DATA
def status(name: str | None, as_json: bool, data: Path | None) -> None:
    """Say whose the node is, and how many of its cases are entrusted to its new team."""
    from pipeline.node.handover import deeds, entrusting, owning
    from pipeline.node.journal import Reader
    from pipeline.node.progress import progress

    found = node_of(name, data)
    reader = Reader(found.journal)
    stands = owning.standing(found.folder, reader)
    line: dict[str, Any] = {"node": found.code, "owner": "here", "handover": None, "custody": None}
    if stands is None:
        click.echo(f"{found.code} is yours; it never changed hands.")
    elif stands.role == "left":
        line |= {"owner": stands.successor, "handover": asdict(stands)}
        keys = "still here: `tocsin node handover retire FILE`" if deeds.signs_with(found.folder) else "destroyed"
        click.echo(f"{found.code} is {stands.successor}'s, by event {stands.number}. Your keys are {keys}.")
    else:
        with progress(f"Looking through {found.code}", reader.mark.last) as advance:
            how = entrusting.custody(found, reader, lambda _: advance(1))
        line |= {"handover": asdict(stands), "custody": asdict(how)}
        click.echo(f"{found.code} is yours, {stands.successor}'s, by event {stands.number}.")
        click.echo(
            f"{counted(how.cases, 'case')} of the team before: {how.opened:,} opened by a key of yours, {how.withdrawn:,} withdrawn, "
            f"{how.retracted:,} retracted, {len(how.waiting):,} waiting for the survivor's consent"
            f"{f' ({listed(how.waiting)})' if how.waiting else ''}."
        )
    if as_json:
        click.echo(json.dumps(line))


def _say_counts(node: str, counts: Any) -> None:
    click.echo(
        f"{node}: {counted(counts['events'], 'event')}; {counted(counts['cases'], 'case')}, of which "
        f"{counts['withdrawn_cases']:,} withdrawn and {counts['public_cases']:,} public; {counted(counts['incidents'], 'incident')}, of which "
        f"{counts['verified']:,} verified and {counts['in_conflict']:,} in conflict; "
        f"{counted(counts['consents_to_grant'], 'consent')} to be granted anew; "
        f"{counted(counts['open_referrals'], 'open referral')}; {counted(counts['patterns'], 'pattern')}."
    )
