"""The successor: it accepts an offer with keys of its own, and opens what the leaving team has closed.

It gets the journal as it is, sealed. It can open nothing but what needs no consent, and what it records itself; the other cases
it can count, withdraw, and have entrusted to it one by one (pipeline/node/handover/entrusting.py).
"""

import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Collection, Iterator
from dataclasses import replace as changed
from pathlib import Path

from pipeline.files import hexadecimal, replace, sync_folder
from pipeline.node import keys, node
from pipeline.node.entries import whole
from pipeline.node.handover import deeds, owning
from pipeline.node.handover.deeds import PAPER
from pipeline.node.handover.leaving import KEPT, MANIFEST
from pipeline.node.journal import SEGMENT_BYTES, Entry, Journal
from pipeline.node.node import Node
from schemas import chain, handover, seal
from schemas.errors import BadInput, Quarantines
from schemas.handover import Deed
from schemas.rows import read as read_row
from schemas.signing import public_of
from schemas.wire import unframe

BOX = "handover"
LARGEST = 4 << 30  # bytes of a package, unpacked
NAMES = frozenset({PAPER, MANIFEST, "events", "keys.log", "public.keys", *KEPT})
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
REF, SEALED = 16, 80
GROUP = 500


def accept(folder: Path, note: str, successor: str) -> tuple[str, Deed]:
    """Return the deed of an offer with the successor's keys, signed by it; the keys are made in `folder`, once.

    BadInput where the offer is another mission's, or a node is in the folder already.
    """
    offered = handover.deed(note)
    if offered.signer:
        raise BadInput("That offer was accepted already: give the file that `tocsin node handover offer` has written.")
    if offered.successor != successor:
        raise BadInput(f"The node is offered to {offered.successor}, not to {successor}: ask for an offer of your own.")
    if (folder / "node.json").exists():
        raise BadInput(f"{folder} is a node already; nothing was changed. Name another folder by --node.")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    public, seed = _box(folder), _secret(folder, "sign")
    for name in ("digest", f"epoch-{offered.epoch + 1}"):
        _secret(folder, name)
    given = changed(offered, signer=public_of(seed), receives=public)
    signed = f"{given.text}\n{given.by_successor(seed)}"
    replace(folder / PAPER, signed.encode())
    return signed, given


def open_package(folder: Path, package: Path, region_public: bytes, lang: str) -> tuple[Node, str]:
    """Make the node that a package holds in the folder that accepted it; return it, and the note that says so.

    BadInput where the package is not what this folder has signed for, whole and as the leaving team signed it. Killed at any
    moment, it is run again; done before, it changes nothing.
    """
    parts = _parts(package)
    deed = _deed(parts)
    handover.check_manifest(parts.pop(MANIFEST, b"").decode("utf-8", "replace"), deed, parts)
    seed = hexadecimal(folder / "sign.key")
    if (kept := deeds.paper(folder)) is None or kept != deed or deeds.signs_with(folder) != deed.signer:
        raise BadInput(f"{folder} has not accepted this handover: name the folder by --node, or accept the offer anew.")
    note = handover.received(deed, seed)
    if (folder / "node.json").exists():
        return node.load(folder), note
    entries = _checked(deed, parts)
    draft = folder / "journal.new"
    shutil.rmtree(draft, ignore_errors=True)
    shutil.rmtree(folder / "journal", ignore_errors=True)
    _write(folder, draft, deed, entries, parts, region_public)
    draft.rename(folder / "journal")
    sync_folder(folder)
    settings = {
        "code": deed.node,
        "region": deed.region,
        "lang": node.language(lang),
        "epoch": deed.epoch + 1,
        "sealed_for": [region_public.hex()],
    }
    replace(folder / PAPER, parts[PAPER])
    replace(folder / "node.json", json.dumps(settings, indent=1).encode())
    return node.load(folder), note


def deed_in(package: Path) -> Deed:
    """Return the deed of a package. BadInput where it has none that both have signed."""
    return _deed(_parts(package, {PAPER}))


def _secret(folder: Path, name: str) -> bytes:
    """Return a secret of the folder, made once."""
    path = folder / f"{name}.key"
    if len(found := hexadecimal(path)) != 32:
        found = os.urandom(32)
        replace(path, found.hex().encode())
    return found


def _box(folder: Path) -> bytes:
    """Return the public half of the folder's pair of keys, made once; the private half is kept beside it."""
    path = folder / f"{BOX}.key"
    if len(found := hexadecimal(path)) != 64:
        found = b"".join(seal.region_pair())
        replace(path, found.hex().encode())
    return found[:32]


def _deed(parts: dict[str, bytes]) -> Deed:
    return handover.signed_by_both(parts.get(PAPER, b"").decode("utf-8", "replace"))


def _parts(package: Path, names: Collection[str] = NAMES) -> dict[str, bytes]:
    """Return the parts of a package that have these names. BadInput where it is none."""
    try:
        with zipfile.ZipFile(package) as file:
            return dict(_known(file, names))
    except (OSError, LookupError, ValueError, RuntimeError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise BadInput(
            f"{package} holds no node ({type(error).__name__}); `tocsin node handover close` writes such a file."
        ) from error


def _known(file: zipfile.ZipFile, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the parts that have these names. ValueError where they are too large, or packed in another way than ours."""
    found = [one for one in file.infolist() if one.filename in names]
    if sum(one.file_size for one in found) > LARGEST or any(one.compress_type not in PACKED for one in found):
        raise ValueError("no package")
    for one in found:
        yield one.filename, file.read(one)


def _checked(deed: Deed, parts: dict[str, bytes]) -> list[Entry]:
    """Return the events of a package, all of them as the leaving team signed for them. BadInput."""
    try:
        entries = [Entry.of(payload) for payload in _payloads(parts["events"])]
        handed = owning.read(entries[-1].envelope)
        nodes = {read_row(*unframe(entry.envelope))["node"] for entry in entries}
        head = _last_head(parts["heads.log"], deed)
    except (LookupError, ValueError, Quarantines) as error:
        raise _broken() from error
    numbers = [entry.sequence for entry in entries]
    leaves = [chain.leaf(entry.envelope) for entry in entries]
    link = chain.extended(chain.START, leaves[:-1])
    whole = numbers == list(range(1, deed.through + 2)) and nodes == {deed.node} and link == deed.link
    last = head.sequence == numbers[-1] and head.link == chain.extended(link, leaves[-1:])
    named = handed and (handed.successor, handed.signer, handed.receives, handed.deed)
    if not (whole and last and named == (deed.successor, deed.signer, deed.receives, deed.digest)):
        raise _broken()
    return entries


def _last_head(data: bytes, deed: Deed) -> chain.Head:
    """Return the last head of the leaving team. ValueError, LookupError or Quarantines where there is none."""
    head = chain.read_head(_payloads(data)[-1])
    if head.signer != deed.leaving:
        raise ValueError("not the heads of this node")
    return head


def _payloads(data: bytes) -> list[bytes]:
    """Return the entries in a file of the node's. ValueError where it is not whole."""
    found = list(whole(data))
    if not found or found[-1][0] != len(data):
        raise ValueError("an entry is cut off")
    return [payload for _, payload in found]


def _broken() -> BadInput:
    return BadInput(
        "The package is not as the leaving team signed for it; nothing was changed. Ask for it again: "
        "`tocsin node handover close` writes it as often as it is needed."
    )


def _write(
    folder: Path, draft: Path, deed: Deed, entries: list[Entry], parts: dict[str, bytes], region_public: bytes
) -> None:
    """Write the journal into `draft`, with the new epoch's key and the keys of cases that need no consent; then what else is kept."""
    epoch = deed.epoch + 1
    secret, private = hexadecimal(folder / f"epoch-{epoch}.key"), hexadecimal(folder / f"{BOX}.key")[32:]
    draft.mkdir(mode=0o700)
    replace(draft / "keys.log", parts.get("keys.log", b""))
    with Journal(draft, SEGMENT_BYTES) as journal:
        for at in range(0, len(entries), GROUP):
            journal.append(entries[at : at + GROUP])
        cases = [keys.of_case(epoch, secret, case) for case in _public(parts.get("public.keys", b""), private)]
        journal.append((), [keys.of_epoch(epoch, deed.region, region_public, secret), *cases])
    for name in KEPT:
        if name in parts:
            replace(folder / name, parts[name])


def _public(data: bytes, private: bytes) -> Iterator[keys.Case]:
    """Yield the cases whose keys the leaving team has sealed for this one. BadInput where one does not open."""
    for at in range(0, len(data), REF + SEALED):
        ref, sealed = data[at : at + REF], data[at + REF : at + REF + SEALED]
        try:
            yield keys.Case(ref, seal.open_epoch(private, sealed))
        except seal.SealBroken as error:
            raise _broken() from error
