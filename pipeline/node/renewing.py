"""A node begins a new epoch: every case that it can open is wrapped anew, and the epochs before are destroyed.

What a backup holds of its keys then opens nothing any more, also of what was withdrawn since. The order is such that a
crash anywhere leaves each case readable, at the node and for whoever has read any part of `keys.<node>`: the new epoch's
key, the cases under it, the tombstones of the epochs before, and only then their keys. Done again, it begins one more epoch.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pipeline.files import destroy, hexadecimal, replace
from pipeline.node import epochs, keys, sent
from pipeline.node.entries import Damaged, writing
from pipeline.node.handover import owning
from pipeline.node.journal import Journal, Reader
from pipeline.node.keys import Case
from pipeline.node.node import Node, load
from schemas import seal
from schemas.errors import BadInput, Quarantines
from schemas.rows import read
from schemas.wire import unframe

GROUP, REF, SECRET = 1_000, 16, 32
AGAIN = "run `tocsin node renew` again: every case can be opened as before."


@dataclass(frozen=True)
class Renewed:
    """The `epoch` that was begun, how many `cases` were wrapped anew under it, and the epochs that have `ended`.

    `kept` has the epochs that go on, because cases are wrapped under them that do not open here, with their number.
    """

    node: str
    epoch: int
    cases: int
    ended: list[int]
    kept: dict[int, int]


def renew(node: Node, journal: Journal, public: bytes, step: Callable[[int], None] = lambda _: None) -> Renewed:
    """Begin a new epoch, sealed for the region's public key of 32 bytes; `step` hears of each group of cases.

    Errors: BadInput (an earlier public key, or the node is handed over), Damaged (nothing was changed), NotWritten (run it again).
    """
    owning.check(node.folder, journal)
    node = load(node.folder)  # as it is now that nobody else can begin an epoch
    if public.hex() in node.sealed_for[:-1]:
        raise BadInput(
            f"The region {node.region} has renewed this public key, and {node.code} has used a newer one; nothing was changed. "
            "Ask the hub for its public.key as it is now, and give that by --region-key."
        )
    cases, known, secrets = _cases(journal), epochs.known(journal), _secrets(node.folder)
    ahead = sent.read(node).epoch  # one that a newer copy of this folder has begun
    with writing(node.folder, AGAIN):
        epoch = max({node.epoch, ahead, *known, *secrets}) + 1
        secret = _begin(node, journal, epoch, public)
        kept = _wrap(journal, cases, secrets, (epoch, secret), step)
        living = {number for number, lives in known.items() if lives}
        if ahead and ahead not in known and not kept:
            living.add(ahead)
        ended = sorted((living | secrets.keys()) - kept.keys())
        journal.append((), [keys.end_of_epoch(number) for number in ended if number in living])
        journal.forget()
        for number in ended:
            destroy(_path(node.folder, number))
    return Renewed(node.code, epoch, len(cases) - kept.total(), ended, dict(sorted(kept.items())))


def count(journal: Reader) -> int:
    """Return the number of cases that have a key; Damaged where a record cannot be read."""
    return len(_cases(journal))


def _begin(node: Node, journal: Journal, epoch: int, public: bytes) -> bytes:
    """Make an epoch's secret, have the journal hold it for the region, and all that is recorded from now on be of it."""
    secret = seal.new_case_key()
    replace(_path(node.folder, epoch), secret.hex().encode())
    journal.append((), [keys.of_epoch(epoch, node.region, public, secret)])
    node.begin(epoch, public)
    return secret


def _wrap(
    journal: Journal,
    cases: Mapping[bytes, tuple[int, bytes]],
    secrets: Mapping[int, bytes],
    new: tuple[int, bytes],
    step: Callable[[int], None],
) -> Counter[int]:
    """Wrap each case anew under the epoch and secret `new`; return the number of those that do not open, by their epoch."""
    kept, rest = Counter[int](), iter(cases.items())
    while group := list(islice(rest, GROUP)):
        opened = [(under, _opened(ref, value, secrets.get(under, b""))) for ref, (under, value) in group]
        journal.append((), [keys.of_case(*new, case) for _, case in opened if case])
        kept.update(under for under, case in opened if not case)
        step(len(group))
    return kept


def _cases(journal: Reader) -> dict[bytes, tuple[int, bytes]]:
    """Return the epoch and the record of each case that has a key, by its reference; Damaged where one cannot be read."""
    try:
        found = {key: value for key, value in journal.keys().items() if len(key) == REF and value}
        return {ref: (read(*unframe(value))["epoch"], value) for ref, value in found.items()}
    except (Quarantines, KeyError) as error:
        raise Damaged(
            f"{journal.keys_file.path} holds a record that is no case's key; nothing was changed. "
            "Restore the newest backup of the node's folder."
        ) from error


def _secrets(folder: Path) -> dict[int, bytes]:
    """Return the secrets of the epochs that are here; of one that a crash has left overwritten, nothing."""
    return {number: hexadecimal(_path(folder, number)) for number in epochs.here(folder)}


def _path(folder: Path, epoch: int) -> Path:
    return folder / f"epoch-{epoch}.key"


def _opened(ref: bytes, value: bytes, secret: bytes) -> Case | None:
    """Return a case, None where its epoch's secret is not here or does not open it."""
    try:
        return keys.opened(ref, value, lambda _: secret) if len(secret) == SECRET else None
    except seal.SealBroken:
        return None
