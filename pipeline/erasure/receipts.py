"""Receipts of erasure: for each withdrawn case and store a signed note, which says nothing of the case but its reference.

Folder `proof/erased`: a file for each case, its notes one after another, parted by empty lines.
"""

import base64
import re
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path

from pipeline.files import replace
from pipeline.hub.trees import Signer
from schemas import notes
from schemas.errors import BadInput

TITLE, KEYS = "tocsin erasure/v1", "keys."
REMEMBERED = 1 << 16
_CASE = re.compile("[0-9a-f]{32}")
_TEXT = re.compile(
    rf"{TITLE}\ncase ([0-9a-f]{{32}})\nstore ([a-zA-Z0-9._ -]{{1,100}})\nerased on ([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})\n"
)


@dataclass(frozen=True)
class Receipt:
    """A store holds nothing of a case any more, as of a day (UTC)."""

    case: bytes
    store: str
    day: date

    def __str__(self) -> str:
        """Return the text that is signed."""
        return f"{TITLE}\ncase {self.case.hex()}\nstore {self.store}\nerased on {self.day}\n"


@lru_cache(REMEMBERED)
def read(note: str, by: notes.Key) -> Receipt:
    """Return the receipt in a note, looked at once. BadInput where it is none, or not signed by this hub."""
    text, signatures = notes.parts(note)
    found = _TEXT.fullmatch(text)
    lines = [f"{notes.DASH} {name} {base64.b64encode(blob).decode()}\n" for name, blob in signatures]
    if not found or note != f"{text}\n{''.join(lines)}":
        raise BadInput("The file holds no receipt of an erasure; ask the hub for `tocsin forget receipts CASE`.")
    if not notes.signed(note, by):
        raise BadInput(f"The receipt of {found[2]} is not signed by {by.name}; believe nothing that is in this file.")
    return Receipt(bytes.fromhex(found[1]), found[2], date.fromisoformat(found[3]))


@dataclass(frozen=True)
class Shelf:
    """The receipts that one hub has signed."""

    folder: Path

    def text(self, case: bytes) -> str:
        """Return all notes of a case, nothing where there are none."""
        path = self._path(case)
        try:
            return path.read_text(encoding="utf-8") if path.exists() else ""
        except UnicodeDecodeError as error:
            raise BadInput(f"{path} holds no receipts; delete it, and `tocsin forget run` signs anew.") from error

    def of(self, case: bytes, by: notes.Key) -> dict[str, Receipt]:
        """Return the receipts of a case by store. BadInput where the file is not what this hub has signed."""
        receipts = [read(note, by) for note in split(self.text(case))]
        found = {each.store: each for each in receipts if each.case == case}
        if len(found) < len(receipts):
            raise BadInput(
                f"{self._path(case)} holds receipts that it should not; delete it, and `tocsin forget run` signs anew."
            )
        return found

    def add(self, receipts: list[Receipt], by: Signer) -> None:
        """Sign receipts, all of one case, and keep them beside those that are there."""
        case = receipts[0].case
        known = [*split(self.text(case)), *(_note(each, by) for each in receipts)]
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace(self._path(case), "\n".join(known).encode())

    def forgotten(self, by: notes.Key) -> dict[bytes, str]:
        """Return the cases of which a node's keys have signed, with the node: no key of theirs may ever come again."""
        found = {}
        for path in sorted(self.folder.glob("*.txt")):
            if _CASE.fullmatch(path.stem):
                for store in self.of(bytes.fromhex(path.stem), by):
                    if store.startswith(KEYS):
                        found[bytes.fromhex(path.stem)] = store.removeprefix(KEYS)
        return found

    def void(self, case: bytes, by: notes.Key) -> None:
        """Take back what stores have signed of a case that came again, all but its node's keys: it stays forgotten."""
        kept = [note for note in split(self.text(case)) if read(note, by).store.startswith(KEYS)]
        replace(self._path(case), "\n".join(kept).encode())

    def take(self, text: str, by: notes.Key, hub: Signer) -> list[bytes]:
        """Keep the cases that receipts name, and return them; the receipts were kept elsewhere, and signed by a key of the hub.

        Only what `keys.<node>` has signed is kept, signed anew by the key that the hub has now: the other stores are to be
        looked at again. BadInput for what is no receipt under that key.
        """
        head, *parts = text.split(f"{TITLE}\n")
        if head.strip() or not parts:
            raise BadInput(
                "The file holds no receipts, or more than that: give what `tocsin forget receipts` has printed."
            )
        given = [read(f"{TITLE}\n{part.rstrip()}\n", by) for part in parts]
        keys = {one.case: one for one in given if one.store.startswith(KEYS)}
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for case, one in keys.items():
            replace(self._path(case), _note(one, hub).encode())
        return sorted(keys)

    def _path(self, case: bytes) -> Path:
        return self.folder / f"{case.hex()}.txt"


def _note(receipt: Receipt, by: Signer) -> str:
    return f"{receipt}\n{notes.signature(str(receipt), by.name, by.seed)}"


def split(text: str) -> list[str]:
    """Return the notes in a file of several. BadInput where there is anything else in it."""
    found = [f"{TITLE}\n{part.rstrip()}\n" for part in text.split(f"{TITLE}\n")[1:]]
    if "\n".join(found) != text:
        raise BadInput("The file holds more than receipts; ask the hub for `tocsin forget receipts CASE`.")
    return found
