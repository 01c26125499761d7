"""The papers by which cases are entrusted to a node's new team, one by one, as their survivors consent anew.

The team asks the hub by a signed note that names cases and days; the hub answers with the keys, each sealed for the team alone.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from datetime import date

from schemas import notes, seal
from schemas.errors import BadInput
from schemas.handover import check_signed
from schemas.notes import ED25519, Key

REQUEST, KEYS = "tocsin.handover.request/v1", "tocsin.handover.keys/v1"
HEAD = 3
WORD = re.compile(r"[0-9a-f]{32}")


def request(node: str, granted: Mapping[bytes, date], seed: bytes) -> str:
    """Return the note by which a node asks for the keys of cases by their references, with the days of the consents."""
    cases = "".join(f"case {ref.hex()} {on.isoformat()}\n" for ref, on in granted.items())
    text = f"{REQUEST}\nnode {node}\n{cases}"
    return f"{text}\n{notes.signature(text, node, seed)}"


def requested(note: str, node: str, signer: bytes) -> dict[bytes, date]:
    """Return the cases that a node, whose key is `signer`, asks for, with the days. BadInput."""
    lines = notes.parts(note)[0].splitlines()
    if lines[:2] != [REQUEST, f"node {node}"]:
        raise BadInput(f"That is no request of {node}; `tocsin node handover ask` writes one.")
    check_signed(note, Key(node, ED25519, signer))
    return dict(_case(line.split(" ")) for line in lines[2:])


def sealed_keys(node: str, asked: str, found: Mapping[bytes, bytes], receives: bytes, gone: Iterable[bytes]) -> str:
    """Return the text that answers a request: cases' keys, each sealed for `receives`, and the cases that are `gone`."""
    lines = [
        *(KEYS, f"node {node}", f"request {digest(asked)}"),
        *(f"case {ref.hex()} {_sealed(receives, key)}" for ref, key in found.items()),
        *(f"gone {ref.hex()}" for ref in gone),
    ]
    return "".join(f"{line}\n" for line in lines)


def unsealed_keys(text: str, node: str, private: bytes) -> tuple[str, dict[bytes, bytes], list[bytes]]:
    """Return the digest of the request that a text answers, and what `sealed_keys` was given. BadInput."""
    lines = text.splitlines()
    if lines[:2] != [KEYS, f"node {node}"] or len(lines) < HEAD or not lines[2].startswith("request "):
        raise BadInput(f"That brings no keys for {node}; `tocsin hub entrust` writes them.")
    found, gone = dict[bytes, bytes](), list[bytes]()
    for line in lines[HEAD:]:
        word, _, rest = line.partition(" ")
        ref, _, sealed = rest.partition(" ")
        if word not in ("case", "gone"):
            raise BadInput("A line of the file names no case: ask for the file again.")
        if word == "gone":
            gone.append(_ref(ref))
        else:
            found[_ref(ref)] = _opened(private, sealed)
    return lines[2].removeprefix("request "), found, gone


def digest(request: str) -> str:
    """Return what names a request: the SHA-256 of its text, without signatures, in hex."""
    return hashlib.sha256(notes.parts(request)[0].encode()).hexdigest()


def _sealed(receives: bytes, key: bytes) -> str:
    return base64.b64encode(seal.seal_epoch(receives, key)).decode()


def _opened(private: bytes, sealed: str) -> bytes:
    try:
        return seal.open_epoch(private, base64.b64decode(sealed, validate=True))
    except (seal.SealBroken, binascii.Error, ValueError) as error:
        raise BadInput(
            "A key in the file is damaged, or sealed for somebody else: ask the hub for it again."
        ) from error


def _case(words: list[str]) -> tuple[bytes, date]:
    """Return reference and day of a line that names a case. BadInput."""
    if len(words) == 3 and words[0] == "case":
        try:
            return _ref(words[1]), date.fromisoformat(words[2])
        except ValueError:
            pass
    raise BadInput("A line of the file names no case and day: ask for the file again.")


def _ref(word: str) -> bytes:
    """Return the reference that a word is. BadInput."""
    found = bytes.fromhex(word) if WORD.fullmatch(word) else b""
    if not found:
        raise BadInput("A line of the file names no case: ask for the file again.")
    return found
