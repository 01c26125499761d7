"""`tocsin forget`: what withdrawn cases left is erased for good; who has done so signs for it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.options import text_of
from pipeline.settings import data_folder
from schemas.errors import BadInput
from schemas.withdrawals import CONSENT, SAID

if TYPE_CHECKING:
    from pipeline.erasure.eraser import Eraser
    from pipeline.erasure.withdrawn import Case

DATA = click.option("--data", type=click.Path(path_type=Path), help="The data folder that `tocsin up` made.")
JSON = click.option("--json", "as_line", is_flag=True, help="Print one line of JSON.")
DIGITS = 32
OUTSTANDING = 75
WHY = {CONSENT: "consent", **SAID}


@click.group()
def forget() -> None:
    """Erase for good what withdrawn cases left, and show who has signed for it.

    A withdrawal takes the case out of every table and destroys its key. Its bytes stay in the log and in the object store
    until `tocsin forget run` has them taken out there too.
    """


@forget.command(epilog="Examples: `tocsin forget run`, each hour say. Exit status: 0 nothing is left, 75 something is.")
@DATA
@JSON
@click.pass_context
def run(context: click.Context, *, data: Path | None, as_line: bool) -> None:
    """Take what withdrawn cases left out of the log and the object store, and sign a receipt for each store.

    It takes up to a minute where there is something to do. A command that was killed is run again. Records of `accepted`
    up to the last that has to go are deleted: they are derived, and merge has read them. So are ledger records that lie
    before the whole states that the workers of refine and merge write now. A case that has its receipt stays forgotten:
    what came of it again, its key or its rows, is taken out too.
    """
    _end(context, _erased(data_folder(data)), as_line, whole=False)


@forget.command(
    epilog="Example: `tocsin forget again receipts.txt` after a restore. Exit status: 0 nothing is left, 75 something is."
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--hub", metavar="KEY", help="The key that signed them, where the copy has another one or none.")
@DATA
@JSON
@click.pass_context
def again(context: click.Context, *, file: Path, hub: str | None, data: Path | None, as_line: bool) -> None:
    """Erase again, in a hub that was restored, the cases that FILE names; then go on as `tocsin forget run` does.

    FILE is what `tocsin forget receipts` printed, and was kept elsewhere. Keys are buried at once, whether workers run or
    not; rows leave the tables while workers of all stages run. Each store is looked at again, and signs again.
    """
    text = text_of(file, "give what `tocsin forget receipts` has printed")
    _end(context, _erased(data_folder(data), text, hub), as_line, whole=False)


def _erased(home: Path, receipts: str | None = None, hub: str | None = None) -> list[dict[str, Any]]:
    """Erase, after taking in receipts that were kept elsewhere, signed by the hub's key; return how it stands then."""
    from schemas import notes

    signed_by = notes.key(hub) if hub else None

    def say(sentence: str) -> None:
        click.echo(sentence, err=True)

    async def work() -> list[dict[str, Any]]:
        async with _eraser(home, say) as (eraser, nodes):
            if receipts is not None:
                known = eraser.shelf.take(receipts, signed_by or eraser.signer.key, eraser.signer)
                say(f"{len(known):,} cases are known from their receipts")
            cases = await eraser.cases(nodes)
            await eraser.run(cases)
            return await _pages(eraser, cases)

    from infra.files import alone

    with alone(
        home / "proof" / "erased" / "lock", lambda: say("another `tocsin forget run` is at work; waiting for it")
    ):
        return asyncio.run(work())


@forget.command(epilog="Examples: `tocsin forget status`; `tocsin forget status 5f0c…` for each store of one case.")
@click.argument("case", required=False)
@DATA
@JSON
@click.pass_context
def status(context: click.Context, *, case: str | None, data: Path | None, as_line: bool) -> None:
    """Say of each withdrawn case, or of CASE, why it was withdrawn, which stores have signed, what the others hold, and what is to be done.

    CASE is the reference that `tocsin node withdraw --json` tells; its first digits are enough. Exit status: 0 all have
    signed, 75 some have not.
    """

    async def look() -> list[dict[str, Any]]:
        async with _eraser(data_folder(data)) as (eraser, nodes):
            return await _pages(eraser, _chosen(await eraser.cases(nodes), case))

    _end(context, asyncio.run(look()), as_line, whole=case is not None)


@forget.command(
    epilog="Examples: `tocsin forget receipts 5f0c… > receipts.txt`, to be checked by docs/check_receipts.py; "
    "`tocsin forget receipts > all.txt`, to be kept elsewhere for `tocsin forget again`."
)
@click.argument("case", required=False)
@DATA
def receipts(case: str | None, data: Path | None) -> None:
    """Print the signed receipts of CASE, or of all cases.

    They name no person, place or time of day, and can be checked without tocsin.
    """

    async def look() -> list[str]:
        async with _eraser(data_folder(data)) as (eraser, nodes):
            chosen = _chosen(await eraser.cases(nodes), case)
            click.echo(f"signed by {eraser.signer.key}", err=True)
            return [text for one in chosen if (text := eraser.shelf.text(one.ref))]

    text = "\n".join(asyncio.run(look()))
    if not text:
        raise BadInput(f"No store has signed for {case or 'any case'} yet; run `tocsin forget run`.")
    click.echo(text, nl=False)


@asynccontextmanager
async def _eraser(
    home: Path, say: Callable[[str], object] = lambda _: None
) -> AsyncIterator[tuple["Eraser", list[str]]]:
    """Yield the hub's eraser and the nodes that it knows."""
    from infra.cluster import Cluster
    from infra.erasing import Erasing
    from infra.table import expand
    from pipeline.cli.proofs import HUB
    from pipeline.erasure.eraser import Eraser
    from pipeline.erasure.ledgers import Ledgers
    from pipeline.erasure.receipts import Shelf
    from pipeline.erasure.stores import Stores
    from pipeline.hub.trees import signer
    from pipeline.keyrings import endpoint, ledger_key, region_keys
    from pipeline.log import topics
    from pipeline.stores import open_store
    from streams.client import Broker

    kafka, proof = endpoint(home, "kafka"), home / "proof"
    nodes = [name.removeprefix("raw.") for name in topics(kafka, "raw.")]
    secrets = region_keys(home, "mint")
    table = {topic.name: topic for topic in expand(nodes, secrets)}
    broker, hand = await Broker(kafka).connect(), Erasing(kafka)
    try:
        ledgers = Ledgers(broker, ledger_key(home), home / "streams")
        stores = Stores(broker, open_store(home), secrets, ledgers)
        master = Cluster(home).kept["ports"]["master"]
        yield Eraser(kafka, stores, hand, Shelf(proof / "erased"), signer(proof, None, HUB), table, master, say), nodes
    finally:
        hand.close()
        await broker.close()


def _chosen(cases: Sequence["Case"], case: str | None) -> list["Case"]:
    """Return the case that was named by the first digits of its reference, all where none was; BadInput for another number."""
    if case is None:
        return list(cases)
    digits = case.lower().replace("-", "").rstrip("…")
    found = [one for one in cases if one.ref.hex().startswith(digits)]
    if not digits or len(found) != 1:
        raise BadInput(
            f"{len(found)} withdrawn cases begin with {case!r}: give the {DIGITS} digits that `tocsin forget status` shows."
        )
    return found


async def _pages(eraser: "Eraser", cases: Sequence["Case"]) -> list[dict[str, Any]]:
    standing = await eraser.standing(cases)
    return [
        {
            "case": case.ref.hex(),
            "node": case.node,
            "event": case.number or None,
            "cause": case.cause,
            "stores": [asdict(one) for one in standing[case.ref]],
        }
        for case in cases
    ]


def _end(context: click.Context, pages: list[dict[str, Any]], as_line: bool, whole: bool) -> None:
    """Show how it stands, and end with the exit status that says whether all have signed."""
    waiting = [one for page in pages for one in page["stores"] if one["erased_on"] is None]
    if as_line:
        click.echo(json.dumps({"cases": pages, "outstanding": len(waiting)}))
    else:
        _show(pages, whole)
    context.exit(OUTSTANDING if waiting else 0)


def _show(pages: list[dict[str, Any]], whole: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    if not pages:
        click.echo("No case was withdrawn.")
        return
    shown = Table("case", "withdrawn by", "why", "signed", "outstanding", box=None, pad_edge=False)
    for page in pages:
        signed = [one for one in page["stores"] if one["erased_on"]]
        others = [one for one in page["stores"] if not one["erased_on"]]
        why = others[0]["why"] if others else ""
        counts = f"{len(signed)} of {len(page['stores'])}", f"{len(others)}: {why}" if others else "none"
        shown.add_row(page["case"], f"{page['node']} {page['event'] or '–'}", WHY.get(page["cause"], "–"), *counts)
    console = Console(highlight=False)
    console.print(shown)
    for page in pages if whole else []:
        stores = Table("store", "erased on", "holds", "what to do", box=None, pad_edge=False)
        for one in page["stores"]:
            stores.add_row(one["store"], one["erased_on"] or "–", f"{one['left']:,}", one["why"] or "")
        console.print()
        console.print(stores)
