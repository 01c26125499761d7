"""Check receipts of erasure without tocsin: `python check_receipts.py CASE KEY FILE [STORE ...]`.

CASE are the 32 digits of the withdrawn case, KEY the word NAME+HASH+KEY of the hub, told by another way than FILE, which
`tocsin forget receipts` made. Each STORE has to have signed. Exit status: 0 all is well, 1 something is not. It needs the
package cryptography; a receipt is a signed note, https://c2sp.org/signed-note.
"""

import base64
import binascii
import hashlib
import re
import sys
from datetime import date
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ED25519 = b"\x01"
NOTE = re.compile(
    r"(tocsin erasure/v1\ncase (?P<case>[0-9a-f]{32})\nstore (?P<store>[a-zA-Z0-9._ -]{1,100})\n"
    r"erased on (?P<day>\d{4}-\d{2}-\d{2})\n)\n\N{EM DASH} (?P<name>\S+) (?P<signature>[A-Za-z0-9+/]{91}=)\n",
    re.ASCII,
)


def public_key(word):
    """Return the name, the 4 bytes that name the key, and the key; ValueError where the word is none."""
    name, digest, encoded = word.split("+", 2)
    blob = base64.b64decode(encoded, validate=True)
    named = hashlib.sha256(name.encode() + b"\n" + blob).digest()[:4]
    if blob[:1] != ED25519 or named.hex() != digest:
        raise ValueError("the key is not whole: give NAME+HASH+KEY as the hub tells it")
    return name, named, Ed25519PublicKey.from_public_bytes(blob[1:])


def check(case, word, text):
    """Return the day on which each store has erased the case, by store; ValueError says what is not as it should be."""
    (name, named, key), days, at = public_key(word), {}, 0
    while at < len(text):
        note = NOTE.match(text, at)
        if note is None:
            raise ValueError(f"no receipt begins at character {at}")
        store, blob = note["store"], base64.b64decode(note["signature"], validate=True)
        if base64.b64encode(blob).decode() != note["signature"]:
            raise ValueError(f"the signature of {store} is not written as signatures are")
        if note["case"] != case:
            raise ValueError(f"the receipt of {store} is of another case")
        if note["name"] != name or blob[:4] != named:
            raise ValueError(f"the receipt of {store} is signed by {note['name']}, with another key")
        try:
            key.verify(blob[4:], note[1].encode())
        except InvalidSignature:
            raise ValueError(f"the signature of {store} is not good") from None
        if store in days:
            raise ValueError(f"{store} has signed twice")
        days[store] = date.fromisoformat(note["day"])
        at = note.end() + text.startswith("\n", note.end())
    return days


def main(case, word, path, *stores) -> int:
    """Print who has signed, and return the exit status."""
    try:
        days = check(case, word, Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, binascii.Error) as error:
        sys.stdout.write(f"refused: {error}\n")
        return 1
    for store, day in sorted(days.items()):
        sys.stdout.write(f"{store} erased the case on {day}\n")
    missing = [store for store in stores if store not in days]
    for store in missing:
        sys.stdout.write(f"{store} has not signed\n")
    return 1 if missing or not days else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) > 3 else __doc__)
