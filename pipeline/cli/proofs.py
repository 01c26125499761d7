"""`tocsin verify`, and what it stands on: checkpoints of a hub's logs, the witness that cosigns them, bundles for offline."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from pipeline.cli.options import text_of
from pipeline.cli.words import counted
from pipeline.settings import data_folder
from schemas.errors import BadInput, TocsinError

DATA = click.option("--data", type=click.Path(path_type=Path), help="The data folder that `tocsin up` made.")
JSON = click.option("--json", "as_line", is_flag=True, help="Print one line of JSON.")
FILES = click.Path(path_type=Path)
SHOWN = 12  # findings that are printed of a node; --json has all
HUB, WITNESS = "tocsin.hub", "tocsin.witness"

SENTENCES = {  # of findings that say nothing more by themselves
    "missing": "is missing: heads sign for it, or for later ones, and the log has it not",
    "altered": "is not as the node sent it",
    "swapped": "is not where it was",
    "unsigned": "no head signs for it: it is not the node's, or its sync was cut off",
}


def _text(path: Path) -> str:
    return text_of(path, "give the file that holds the note")


def known_nodes(home: Path, kafka: str, named: tuple[str, ...]) -> dict[str, int]:
    """Return the nodes that are named, else all that ever sent something, and how many records each has now.

    A node whose topic was emptied or deleted is known by its tree. BadInput where one is unknown.
    """
    from pipeline.log import ends
    from schemas.limits import NODE

    found = {name.removeprefix("raw."): end for name, end in ends(kafka, "raw.").items()}
    seen = {path.parent.name: 0 for path in (home / "proof" / "nodes").glob("*/*")}
    known = {name: end for name, end in sorted((seen | found).items()) if NODE.fullmatch(name)}
    unknown = [name for name in named if name not in known]
    if unknown:
        raise BadInput(f"No node is named {unknown[0]!r} here; there are {', '.join(known)}.")
    return {name: known[name] for name in named} or {name: end for name, end in known.items() if end or name in seen}


@click.command(epilog="Examples: `tocsin hub checkpoint`; `tocsin hub checkpoint MONUSCO --name sahel.example.org`.")
@click.argument("nodes", nargs=-1)
@click.option("--name", help=f"Under which name the hub signs from now on [default: as before, else {HUB}].")
@click.option(
    "--since", type=click.IntRange(0), help="How many records the witness has seen, where its answer was lost."
)
@DATA
@JSON
def checkpoint(nodes: tuple[str, ...], name: str | None, since: int | None, data: Path | None, as_line: bool) -> None:
    """Sign for all that has come of NODES (or of all): a tree over each log, and a request to a witness."""
    from pipeline.hub.trees import Tree, signer
    from pipeline.keyrings import endpoint

    home = data_folder(data)
    kafka, folder = endpoint(home, "kafka"), home / "proof"
    by = signer(folder, name, HUB)
    rows: list[dict[str, Any]] = []
    for found in _gathered(home, kafka, known_nodes(home, kafka, nodes)):
        if not found.records and not found.leaves:
            continue
        tree = Tree(folder, found.node)
        point, new = tree.grow(found.records, by, since)
        line = {"records": point.size, "new": new, "root": point.root.hex(), "request": str(tree.path("request"))}
        rows.append({"node": found.node, **line})
    if as_line:
        click.echo(json.dumps({"key": str(by.key), "logs": rows}))
        return
    for row in rows:
        click.echo(
            f"{row['node']}: {row['records']:,} records, {row['new']:,} new; root {row['root'][:16]}…; {row['request']}"
        )
    click.echo(f"Signed by {by.key}" if rows else "Nothing has come yet: `tocsin node sync` sends.")
    if rows:
        click.echo(
            "Next: give each request to a witness, `tocsin witness REQUEST --hub KEY`, and bring its answer back by"
        )
        click.echo("`tocsin hub cosigned FILE --witness KEY`.")


@click.command(epilog="Example: `tocsin witness request --hub tocsin.hub+1a2b3c4d+AZ… --state ~/witness > cosigned`.")
@click.argument("request", type=FILES)
@click.option("--hub", required=True, metavar="KEY", help="The key that the hub has told.")
@click.option("--state", type=click.Path(path_type=Path), help="The witness's folder [default: DATA/witness].")
@click.option("--name", help=f"Under which name the witness signs [default: as before, else {WITNESS}].")
@DATA
def witness(request: Path, hub: str, state: Path | None, name: str | None, data: Path | None) -> None:
    """Cosign a hub's checkpoint, if its log has only grown since the last one; prints the cosigned note.

    The witness's own key goes to stderr. It sees no event: sizes and hashes only.
    """
    from pipeline.hub import witness as witnesses
    from pipeline.hub.trees import signer
    from schemas import notes

    folder = state or data_folder(data) / "witness"
    by = signer(folder, name, WITNESS, notes.COSIGNATURE)
    asked = witnesses.request(_text(request))
    click.echo(witnesses.cosign(folder, asked, by, int(time.time()), notes.key(hub)), nl=False)
    click.echo(f"Cosigned by {by.key}", err=True)


@click.command(epilog="Example: `tocsin hub cosigned cosigned --witness tocsin.witness+5e6f7a8b+BB…`.")
@click.argument("note", type=FILES)
@click.option(
    "--witness", "word", required=True, metavar="KEY", help="The key that the witness has told; trusted from now on."
)
@DATA
def cosigned(note: Path, word: str, data: Path | None) -> None:
    """Keep what a witness has cosigned: `tocsin verify` compares the log with it from now on."""
    from pipeline.hub.trees import Tree, signer, trust
    from schemas import notes

    folder, who, text = data_folder(data) / "proof", notes.key(word), _text(note)
    by = signer(folder, None, HUB)
    origin = notes.point(text).origin
    node = origin.removeprefix(f"{by.name}/raw.")
    if node == origin or not Tree(folder, node).note("checkpoint"):
        raise BadInput(f"The note is about {origin}, which is no log of this hub; nothing was kept.")
    point = Tree(folder, node).adopt(text, who, by.key)
    trust(folder, who)
    click.echo(f"{node}: {point.size:,} records cosigned by {who.name}.")


@click.command(
    epilog="Example: `tocsin hub bundle MONUSCO monusco.zip`, then anywhere `tocsin verify --bundle monusco.zip --pin 9f…`."
)
@click.argument("node")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@DATA
def bundle(node: str, file: Path, data: Path | None) -> None:
    """Write all that proves NODE's log into FILE, to be verified without Kafka.

    Records are in it as they were sent: what is about a case is sealed, patterns are in clear.
    """
    from pipeline.hub.evidence import write_bundle
    from pipeline.keyrings import endpoint

    home = data_folder(data)
    kafka = endpoint(home, "kafka")
    (found,) = _gathered(home, kafka, known_nodes(home, kafka, (node,)))
    write_bundle(file, found)
    click.echo(f"{file}: {counted(len(found.records), 'record')}, {counted(len(found.heads), 'head')}. Next, anywhere:")
    click.echo(f"tocsin verify --bundle {file} --pin KEY, where KEY is what the node tells by `tocsin node status`.")


def _gathered(home: Path, kafka: str, nodes: dict[str, int]) -> Iterator[Any]:
    """Yield the nodes' evidence, one after another: a log may be long."""
    from pipeline.hub.evidence import gather
    from pipeline.node.progress import progress

    with progress("Reading what was sent", sum(nodes.values())) as advance:
        for node in nodes:
            yield gather(kafka, node, home / "proof", advance)


@click.command(
    epilog="Examples: `tocsin verify`; `tocsin verify MONUSCO --json`; `tocsin verify --bundle monusco.zip --pin 9f…`."
)
@click.argument("nodes", nargs=-1)
@click.option("--bundle", "file", type=FILES, help="Verify this file instead; needs no Kafka.")
@click.option("--pin", metavar="HEX", help="The node's public key, as the node told it [default: as first seen].")
@click.option(
    "--signer",
    "words",
    multiple=True,
    metavar="KEY",
    help="Trust this hub's or witness's key, and no other; may be repeated.",
)
@click.option(
    "--note", "files", multiple=True, type=FILES, help="Compare with this signed checkpoint too; may be repeated."
)
@DATA
@JSON
def verify(
    *,
    nodes: tuple[str, ...],
    file: Path | None,
    pin: str | None,
    words: tuple[str, ...],
    files: tuple[Path, ...],
    data: Path | None,
    as_line: bool,
) -> None:
    """Say whether the log of NODES (or of all) is whole and as they sent it, and name each event that is not.

    A node signs the hash of each event ("heads"); hub and witness sign what they have seen ("checkpoints"). Exit status 0
    where all are complete, 70 where one is not. A key that is seen for the first time is kept, and compared from then on.
    """
    from pipeline.hub.proof import Finding, examine
    from schemas import notes

    trusted, more, pinned = [notes.key(word) for word in words], [_text(each) for each in files], _key(pin)
    found, keys = _offline(file, nodes, pin) if file else online(data_folder(data), nodes, not words)
    keys = trusted or keys
    _check_notes(more, keys, [each.node for each in found])
    verdicts, pins = [], {}
    for each in found:
        pins[each.node] = pinned or each.pin
        evidence = each.evidence(pins[each.node], keys, more)
        verdicts.append(examine(evidence))
        silent = {key.name for key in trusted} - {point.by for point in evidence.checkpoints}
        verdicts[-1].findings += [
            Finding("not cosigned", said=f"{name} has signed for nothing here") for name in sorted(silent)
        ]
    if as_line:
        lines = [_line(one) | {"pin": pins[one.node].hex()} for one in verdicts]
        click.echo(json.dumps({"complete": all(one.complete for one in verdicts), "nodes": lines}))
    elif not verdicts:
        click.echo("Nothing has come yet: `tocsin node sync` sends.")
    else:
        for one in verdicts:
            click.echo("\n".join(_said(one, pins[one.node].hex())))
    if not all(one.complete for one in verdicts):
        raise click.exceptions.Exit(TocsinError.exit_code)


def _line(verdict: Any) -> dict[str, Any]:
    """Return a verdict as plain values, keys in hex."""
    handovers = [
        {"event": one.sequence, "successor": one.successor, "key": one.signer.hex()} for one in verdict.handovers
    ]
    return asdict(verdict) | {"complete": verdict.complete, "handovers": handovers}


def _offline(file: Path, nodes: tuple[str, ...], pin: str | None) -> tuple[list[Any], list[Any]]:
    from pipeline.hub.evidence import read_bundle

    if not pin:
        raise BadInput("A bundle can't vouch for itself: give the node's key by --pin, as the node has told it.")
    found = read_bundle(file)
    if nodes and nodes != (found.node,):
        raise BadInput(f"{file} is about {found.node}, not about {', '.join(nodes)}.")
    return [found], []


def online(home: Path, nodes: tuple[str, ...], own: bool) -> tuple[list[Any], list[Any]]:
    """Return what is gathered, and the keys of this hub, if it has one, and of its witnesses, if these are to be trusted."""
    from pipeline.hub.trees import signer, witnesses
    from pipeline.keyrings import endpoint

    kafka, folder = endpoint(home, "kafka"), home / "proof"
    keys = [signer(folder, None, HUB).key] if own and (folder / "sign.key").exists() else []
    return list(_gathered(home, kafka, known_nodes(home, kafka, nodes))), keys + (witnesses(folder) if own else [])


def _check_notes(given: list[str], keys: list[Any], nodes: list[str]) -> None:
    """Refuse a note that was given and would be silently ignored: BadInput."""
    from schemas import notes

    for note in given:
        origin = notes.point(note).origin
        if origin.rpartition("/raw.")[2] not in nodes:
            raise BadInput(f"The note is about {origin}, and none of {', '.join(nodes)}.")
        if not any(notes.signed(note, key) for key in keys):
            raise BadInput(
                f"The note about {origin} is signed by nobody whose key is trusted here; give it by --signer."
            )


def _key(pin: str | None) -> bytes:
    try:
        found = bytes.fromhex(pin or "")
    except ValueError:
        found = b"?"
    if len(found) not in (0, 32):
        raise BadInput("--pin is the node's public key: 64 hexadecimal digits, which `tocsin node status` tells.")
    return found


def _said(verdict: Any, pin: str) -> list[str]:
    if not (verdict.records or verdict.heads or verdict.findings):
        return [f"{verdict.node}: nothing has come yet."]
    seen = (
        f"{verdict.cosigned:,} of them signed for by hub or witness"
        if verdict.cosigned
        else "none of them checkpointed yet"
    )
    word = "complete" if verdict.complete else "NOT complete"
    first = (
        f"{verdict.node}: {word} through event {verdict.through:,} of {verdict.highest:,}; {counted(verdict.records, 'record')}, "
        f"{seen}; {counted(verdict.heads, 'head')} by the key {pin[:16]}…"
    )
    lines = [first]
    lines += [
        f"  handed over to {one.successor} by event {one.sequence:,}: since then by the key {one.signer.hex()[:16]}…"
        for one in verdict.handovers
    ]
    runs = _runs(verdict.findings)
    for one, last in runs[:SHOWN]:
        lines.append(f"  {one.kind:<12} {_place(one, last)}: {one.said or SENTENCES[one.kind]}")
    if len(runs) > SHOWN:
        lines.append(f"  and {len(runs) - SHOWN:,} more lines: --json names all")
    if verdict.repeated:
        lines.append(f"  came again as they were, and count once: {counted(len(verdict.repeated), 'record')}")
    if verdict.late:
        lines.append(
            f"  behind later ones, and no checkpoint tells whether they came so: {counted(len(verdict.late), 'event')}"
        )
    if verdict.no_heads:
        lines.append(f"  no heads in heads.{verdict.node}: {counted(verdict.no_heads, 'record')}")
    if verdict.unreadable:
        lines.append(
            f"  {len(verdict.unreadable):,} records are no events; `tocsin hub summary` says why they were refused"
        )
    return lines


def _runs(findings: list[Any]) -> list[tuple[Any, Any]]:
    """Return the first and last of findings that are alike and follow one another."""
    runs: list[tuple[Any, Any]] = []
    for one in sorted(findings, key=lambda each: (each.kind, each.said, each.sequence, each.offset)):
        if runs:
            first, last = runs[-1]
            if (last.kind, last.said) == (one.kind, one.said) and 0 < last.sequence == one.sequence - 1:
                runs[-1] = (first, one)
                continue
        runs.append((one, one))
    return runs


def _place(first: Any, last: Any) -> str:
    if first.last > first.sequence:
        return f"events {first.sequence:,} to {first.last:,}"
    if first.sequence:
        return f"event {first.sequence:,}" if first is last else f"events {first.sequence:,} to {last.sequence:,}"
    return f"offset {first.offset:,}" if first.offset >= 0 else "the log"
