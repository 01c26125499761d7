"""`tocsin node transfer`: one case goes to another node, step by step, by files that can be carried; here what its owner does."""

from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import DATA, FILES, JSON, NODE, OUT, agreed, compare, node_of, text_of, write_text
from pipeline.cli.revisions import NUMBER, Day
from pipeline.cli.taking import accept, end, refuse, take

if TYPE_CHECKING:
    from pipeline.node.transfer.standing import Standing

EVENT = click.option("--event", required=True, type=NUMBER, help="The case of this event of the node.")


@click.group()
def transfer() -> None:
    """Hand one case over to another node: offer, answer, complete, release; there accept or refuse, then take; status at any time.

    The node that has the case: offer, cancel, answer, complete, release. The other one: accept, refuse, take.
    """


for command in (accept, refuse, take):
    transfer.add_command(command)


@transfer.command(
    epilog="Example: `tocsin node transfer offer --event 412 --to MINUSCA --consented-on 2026-03-31 --out offer.txt`. "
    "Give the file to the other node."
)
@EVENT
@click.option(
    "--to", "receiver", required=True, metavar="CODE", help="Code of the node that is to go on with the case."
)
@click.option(
    "--consented-on", type=Day(), help="Day on which the survivor agreed that this node goes on with her case."
)
@OUT
@NODE
@JSON
@DATA
def offer(
    *,
    event: int,
    receiver: str,
    consented_on: date | None,
    out: Path,
    name: str | None,
    as_json: bool,
    data: Path | None,
) -> None:
    """Offer a case to another node. The offer says how many incidents and open referrals it has, and nothing of them.

    A case that is shared by a survivor's consent needs the day on which she consented to the other node. The case stays
    yours, and you go on with it, until you complete.
    """
    from pipeline.node import sent
    from pipeline.node.progress import progress
    from pipeline.node.transfer import giving

    found = node_of(name, data)
    with sent.open_journal(found) as journal, progress(f"Looking through {found.code}", journal.last) as advance:
        record = giving.offer(found, journal, event, receiver, consented_on, advance)
    write_text(out, record.note)
    made = record.offer
    click.echo(f"{out}: the case of event {event} is offered to {receiver}; signed by {found.public.hex()}.")
    click.echo(
        f"There: tocsin node transfer accept {out.name} --out FILE, or refuse {out.name} --reason CODE --out FILE"
    )
    if as_json:
        end(found, offer=made.offer_id.hex(), to=receiver, incidents=made.incidents, referrals=made.referrals)


@transfer.command(
    epilog="Example: `tocsin node transfer cancel --event 412 --out cancelled.txt`. Give it to the other node."
)
@EVENT
@OUT
@NODE
@DATA
def cancel(event: int, out: Path, name: str | None, data: Path | None) -> None:
    """Take an offer back, also one that was accepted, as long as the case has not left."""
    from pipeline.node import sent
    from pipeline.node.transfer import giving

    found = node_of(name, data)
    with sent.open_journal(found) as journal:
        record = giving.cancel(found, journal, event)
    write_text(out, giving.cancellation(found, record))
    click.echo(f"{out}: the case of event {event} is offered to {record.offer.receiver} no longer.")
    click.echo(f"There, if they have accepted: tocsin node transfer answer {out.name}")


@transfer.command(epilog="Example: `tocsin node transfer answer accepted.txt`.")
@click.argument("file", type=FILES)
@click.option("--key", metavar="HEX", help="The key by which the other node signs, as it has told you.")
@NODE
@JSON
@DATA
def answer(file: Path, key: str | None, name: str | None, as_json: bool, data: Path | None) -> None:
    """Take in what the other node says. Refused, a case can be offered again; accepted, you can complete; cancelled, it does not come."""
    from pipeline.node import sent
    from pipeline.node.told import say
    from pipeline.node.transfer import giving, taking
    from schemas.transfers import CANCELLED, answered

    found, said = node_of(name, data), answered(note := text_of(file))
    compare(key, said.signer, "answer is signed by", said.node, "changed")
    with sent.open_journal(found):
        (taking.cancelled if said.verdict == CANCELLED else giving.answer)(found, note)
    if said.verdict == CANCELLED:
        click.echo(f"{said.node} has cancelled its offer: the key that you made for its case is destroyed.")
    elif said.accepts:
        if not key:
            click.echo(
                f"Make sure by another way that {said.node} signs as {said.signer.hex()}: for its key the case is sealed."
            )
        click.echo(f"{said.node} accepts the case. Next: tocsin node transfer complete --event N")
    else:
        click.echo(f"{said.node} refuses the case: {say(f'reason.{said.verdict}', found.lang)}. It stays yours.")
    if as_json:
        end(found, by=said.node, verdict=said.verdict)


@transfer.command(epilog="Example: `tocsin node transfer complete --event 412`. Then `tocsin node sync`.")
@EVENT
@click.option("--yes", is_flag=True, help="Do not ask: it cannot be taken back.")
@NODE
@JSON
@DATA
def complete(event: int, yes: bool, name: str | None, as_json: bool, data: Path | None) -> None:
    """Hand over a case that was accepted: it is sealed for the other node, and its key is destroyed here. You can't open it after.

    Killed at any moment, run it again: it ends what was begun.
    """
    from pipeline.node import sent
    from pipeline.node.progress import progress
    from pipeline.node.transfer import giving

    found = node_of(name, data)
    with sent.open_journal(found) as journal:
        if not yes:
            agreed(f"Hand the case of event {event} over? It cannot be taken back", "handover", "handed over")
        with progress(f"Handing over from {found.code}", journal.last) as advance:
            done = giving.complete(found, journal, event, advance)
    how = "had been handed over before, by" if done.before else "handed over by"
    click.echo(
        f"The case of event {done.number}: {how} event {done.event}, to {done.receiver}. Its key is destroyed here."
    )
    click.echo(f"Now send it: tocsin node sync. Then: tocsin node transfer release --event {event} --out FILE")
    if as_json:
        end(found, **asdict(done))


@transfer.command(
    epilog="Example: `tocsin node transfer release --event 412 --out case.txt`. Give it to the other node."
)
@EVENT
@OUT
@NODE
@DATA
def release(event: int, out: Path, name: str | None, data: Path | None) -> None:
    """Give a case out that was handed over, when the hub's receipt says that its tables do not show it any more.

    The file opens with the other node's key alone. Run it again where the file was lost.
    """
    from pipeline.node import sent
    from pipeline.node.transfer import giving

    found = node_of(name, data)
    with sent.open_journal(found) as journal:
        giving.release(found, journal, event, lambda note: write_text(out, note))
    click.echo(f"{out}: the case of event {event}, sealed; it opens nothing for anybody else.")
    click.echo(f"There: tocsin node transfer take {out.name}")


@transfer.command(
    epilog="Examples: `tocsin node transfer status`; `tocsin node transfer status --json | jq .transfers`."
)
@NODE
@JSON
@DATA
def status(name: str | None, as_json: bool, data: Path | None) -> None:
    """Say how each offer stands, of those that you have made and of those that you were made."""
    from pipeline.node.journal import Reader
    from pipeline.node.told import say
    from pipeline.node.transfer import standing

    found = node_of(name, data)
    every = standing.every(found, Reader(found.journal))
    for one in every:
        code = "transfer.given" if one.given else "transfer.received"
        named = {"offer": one.offer[:8], "day": one.day, "event": one.case, "node": one.node}
        click.echo(say(code, found.lang, **named, state=_state(one, found.lang)))
    if not every:
        click.echo(say("transfer.none", found.lang))
    if as_json:
        end(found, transfers=[asdict(one) for one in every])


def _state(one: "Standing", lang: str) -> str:
    """Return the words of how an offer stands."""
    from pipeline.node.told import say

    words = say(f"transfer_state.{one.state}", lang)
    if one.state == "refused":
        return say("transfer.because", lang, state=words, reason=say(f"reason.{one.reason}", lang))
    if one.state == "handed_over":
        code = "transfer.by_event" if one.released else "transfer.not_released"
        return say(code, lang, state=words, event=one.event)
    return say("transfer.as_event", lang, state=words, event=one.case) if one.state == "taken" else words
