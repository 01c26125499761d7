"""The team that leaves: it offers its node, and closes it when the successor has signed; then it destroys what it still has.

Closing records one event, the node's last by this team. What the successor needs goes into one file that opens nothing by
itself: the journal as it is, sealed, and the keys of cases that need no consent, sealed for the successor.
"""

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace as changed
from pathlib import Path

from pipeline.files import destroy, replace, sync_folder
from pipeline.node.entries import MAGIC, frame
from pipeline.node.handover import deeds, owning
from pipeline.node.handover.deeds import CLOSED, PAPER
from pipeline.node.handover.owning import KIND, Handover
from pipeline.node.handover.rehearsing import Rehearsal, look_through, rehearse
from pipeline.node.heads import Heads
from pipeline.node.journal import NO_DIGEST, Journal, Lock, Reader
from pipeline.node.node import Node
from pipeline.node.record import Recorder
from pipeline.node.retention import FILE as RULES
from pipeline.node.transfer.boxes import FOLDER as TRANSFERS
from schemas import chain, handover, seal
from schemas.errors import BadInput
from schemas.handover import Deed

KEPT = ("heads.log", "sent.json", "receipts.json", "fates.json", "hub.pin", RULES)
"""Files of the node's folder that go to the successor as they are."""
MANIFEST = "manifest"
GROUP = 1_000
Step = Callable[[int], None]


def offer(node: Node, journal: Journal, successor: str, step: Step = lambda _: None) -> tuple[str, Rehearsal]:
    """Return the note that offers the node as it stands now, and what its rehearsal found. BadInput where it is not ready."""
    owning.check(node.folder, journal)
    found = _ready(rehearse(node, journal, step))
    made = _deed(node, journal, successor, found)
    return f"{made.text}\n{made.by_leaving(node.secret('sign'))}", found


def close(node: Node, journal: Journal, note: str, package: Path, step: Step = lambda _: None) -> Deed:
    """Hand the node over by a deed that the successor has signed, and write the file for it; run again, write it again.

    BadInput where anything was recorded since the offer, the deed is another node's, or the node is somebody else's already.
    """
    given = handover.deed(note)
    if not given.signer:
        raise BadInput("The successor has not signed: give the file that `tocsin node handover accept` has written.")
    if not deeds.signs_with(node.folder):
        raise BadInput(f"The keys of {node.code} are destroyed here: nothing can be written again.")
    signed = f"{note.rstrip()}\n{given.by_leaving(node.secret('sign'))}"
    handover.signed_by_both(signed)
    lock = Lock(node.folder / "sync.lock", f"A `tocsin node sync` of {node.code} is running; wait for it.")
    try:
        if not _handed(journal, given):
            owning.check(node.folder, journal)
            found = _ready(rehearse(node, journal, step))
            _check_same(_deed(node, journal, given.successor, found), given)
            _record(node, journal, given)
        else:
            found = look_through(node, journal, step)
        heads = Heads(node.folder, node.code, node.secret("sign"))
        heads.cover_through(journal, journal.last, GROUP)  # the successor's chain goes on from the last of them
        replace(node.folder / CLOSED, signed.encode())
        _pack(node, journal, package, signed, _sealed(found, given))
    finally:
        lock.close()
    return given


def retire(node: Node, note: str) -> Deed:
    """Destroy the keys of a node that was handed over, after the successor's word that it has everything. BadInput."""
    handed = owning.last_word(Reader(node.journal))
    if not handed or (deed := deeds.paper(node.folder, CLOSED)) is None:
        raise BadInput(f"{node.code} is not handed over from here: nothing was destroyed.")
    if deeds.signs_with(node.folder) != deed.leaving:
        raise BadInput(f"The key with which {node.code} was handed over is not here, or is destroyed already.")
    handover.check_received(note, deed)
    keys = [*node.folder.glob(f"{TRANSFERS}/*.key"), *sorted(node.folder.glob("*.key"))]
    for path in keys:  # the signing key last: until then the command can be run again
        destroy(path)
    return deed


def _ready(found: Rehearsal) -> Rehearsal:
    if not found.ready:
        raise BadInput(
            f"{found.node} can't be handed over as it is: `tocsin node handover rehearse` says what must be mended first."
        )
    return found


def _deed(node: Node, journal: Reader, successor: str, found: Rehearsal) -> Deed:
    leaves = (chain.leaf(entry.envelope) for entry in journal.read())
    link, last = chain.extended(chain.START, leaves), journal.mark.last
    return Deed(node.code, node.region, successor, last, link, node.epoch, node.public, found.count())


def _check_same(now: Deed, given: Deed) -> None:
    """Refuse a deed that is not about the node as it stands: BadInput."""
    if now != given.offer:
        raise BadInput(
            f"Nothing was handed over: the deed is not about {now.node} as it stands now, after event {now.through}. Offer it "
            "anew by `tocsin node handover offer`, and record nothing until it is closed."
        )


def _handed(journal: Journal, given: Deed) -> Handover | None:
    """Return the handover by this very deed, if it was recorded."""
    handed = owning.last_word(journal)
    return handed if handed and handed.deed == given.digest else None


def _record(node: Node, journal: Journal, given: Deed) -> None:
    told = {"successor": given.successor, "signer": given.signer, "receives": given.receives, "deed": given.digest}
    with Recorder(node, journal) as recorder:
        recorder.record(KIND, told)


def _sealed(found: Rehearsal, given: Deed) -> bytes:
    """Return the references and keys, sealed for the successor, of all cases that need no consent."""
    return b"".join(ref + seal.seal_epoch(given.receives, key) for ref, key in sorted(found.public.items()))


def _pack(node: Node, journal: Reader, path: Path, signed: str, sealed: bytes) -> None:
    """Write the package. BadInput where the file can't be written."""
    parts = {PAPER: signed.encode(), "public.keys": sealed, **dict(_journal(journal)), **dict(_kept(node))}
    given = handover.signed_by_both(signed)
    parts[MANIFEST] = handover.manifest(given, parts, node.secret("sign")).encode()
    draft = path.with_name(f".{path.name}.new")
    try:
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in parts.items():
                file.writestr(name, data)
        draft.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise BadInput(f"{path} can't be written ({error.strerror}); give another file.") from error


def _journal(journal: Reader) -> Iterator[tuple[str, bytes]]:
    """Yield the journal as a file of events, without the digests of rows, and the keys as they are, wrapped."""
    events = (changed(entry, digest=NO_DIGEST).payload for entry in journal.read())
    yield "events", MAGIC + b"".join(map(frame, events))
    yield "keys.log", journal.keys_file.path.read_bytes()[: journal.mark.keys]


def _kept(node: Node) -> Iterator[tuple[str, bytes]]:
    for name in KEPT:
        if (path := node.folder / name).exists():
            yield name, path.read_bytes()
