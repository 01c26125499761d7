"""`tocsin hub verify`: an analyst at the hub takes a step of verification, which the incident's node records."""

import json
import time
from datetime import date
from pathlib import Path
from typing import Any

import click

from pipeline.cli.options import asked
from pipeline.cli.proofs import DATA, HUB, JSON
from pipeline.cli.revisions import Day
from pipeline.settings import data_folder
from schemas.errors import BadInput
from schemas.lifecycle import states, steps

OF_THE_HUB = steps()[1:]  # the first is that of the node's focal point


@click.command(
    epilog="Example: `tocsin hub verify 8c1f0a5e2b7d4c3f9a6e1d2c3b4a5f60 --region sahel --state verified --step technical "
    "--by 'A. Name' --primary 1 --send`. Its node records it by `tocsin node sync`, or by `tocsin node fates --import FILE`. "
    "Exit status: 0; 65 what cannot be decided, 69 Kafka does not answer, 78 something has to be run before."
)
@click.argument("incident", metavar="ID")
@click.option("--region", required=True, help="The region whose tables show the incident.")
@click.option("--state", required=True, type=click.Choice(states()), help="The state that it has from now on.")
@click.option("--step", required=True, type=click.Choice(OF_THE_HUB), help="Which step this is; steps go up.")
@click.option("--by", metavar="WHO", help="Who examined it; only a keyed digest is kept [default: you are asked].")
@click.option("--on", type=Day(), help="Day of the decision [default: today, UTC].")
@click.option("--primary", type=click.IntRange(0), help="Number of primary sources [default: as it is].")
@click.option("--secondary", type=click.IntRange(0), help="Number of secondary sources [default: as it is].")
@click.option("--eyewitness/--no-eyewitness", default=None, help="United Nations staff saw it [default: as it is].")
@click.option("--send", "sending", is_flag=True, help="Put the decision on its node's topic.")
@click.option(
    "--out",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the decision to this file, NAME.fates, to be carried to its node.",
)
@click.option("--again", is_flag=True, help="Decide although a decision on this version was sent before.")
@DATA
@JSON
def verify(
    *,
    incident: str,
    region: str,
    by: str | None,
    on: date | None,
    sending: bool,
    file: Path | None,
    again: bool,
    data: Path | None,
    as_line: bool,
    **found: Any,
) -> None:
    """Decide as a person at the hub on the incident ID; its node records that as the next step of verification.

    ID is the incident_id of a row of the region's table incidents, or its version_id: then a version that came meanwhile is
    noticed. Without --send and --out nothing is decided, and it is said whether it could be. The decision is sealed under the
    key of the case, signed by the hub, and about this version alone: where the node has another one by then, it records
    nothing, and tells its person.
    """
    from pipeline.hub import deciding
    from pipeline.hub.telling import check_topics, put, write
    from pipeline.hub.trees import secret, signer
    from pipeline.node.record import decided_on, today
    from schemas.decisions import read_decision, verifier

    home = data_folder(data)
    hub, signing = _hub(home), signer(home / "proof", None, HUB)
    who = verifier(secret(home / "proof", "digest"), by or asked())
    names = ("state", "step", "primary", "secondary", "eyewitness")
    examined = deciding.Examined(who=who, on=decided_on(on, today()), **{name: found[name] for name in names})
    standing = deciding.standing(hub, _region(region), _id(incident))
    if not again:
        deciding.check_new(hub, standing, signing)
    record = deciding.decide(standing, examined, signing, time.time_ns() // 1_000_000)
    if sending:
        check_topics(hub.kafka, [standing.node])
        key = b"decision:" + read_decision(record).decision_id.hex().encode()
        put(hub.kafka, [(standing.node, key, record)])
    if file:
        write(file, [record])
    _say(standing, examined, sending, file)
    if as_line:
        line = {"incident": incident, "region": region, "state": examined.state, "step": examined.step}
        click.echo(json.dumps({**line, "sent": sending, "file": str(file) if file else None}))


def _hub(home: Path) -> Any:
    from pipeline.hub.deciding import Hub
    from pipeline.keyrings import PrivateKeys, endpoint, ledger_key, region_keys

    return Hub(endpoint(home, "kafka"), ledger_key(home), region_keys(home, "mint"), PrivateKeys(home))


def _region(region: str) -> str:
    from pipeline.cli.regions import chosen

    return chosen(region)[0]


def _id(word: str) -> bytes:
    try:
        found = bytes.fromhex(word)
    except ValueError:
        found = b""
    if len(found) != 16:
        raise BadInput(f"{word[:40]!r} is no id: give the 32 digits of incident_id or version_id of a row.")
    return found


def _say(standing: Any, examined: Any, sending: bool, file: Path | None) -> None:
    what = f"step={examined.step}; verification={examined.state}"
    if not sending and not file:
        click.echo(f"It can be decided: {what}. Nothing was: add --send, or --out FILE for a node without a network.")
    if sending:
        click.echo(f"Decided: {what}. Its node records it by its next `tocsin node sync`.")
    if file:
        click.echo(
            f"Decided: {what}. Carry {file} to {standing.node}, then there `tocsin node fates --import {file.name}`."
        )
