"""One node: a folder with its settings, its keys and its journal.

`node.json` (code, region, language, epoch, the region's public keys), `epoch-<n>.key`, `digest.key` and `sign.key` (32 bytes in hex, readable by
their owner only), `journal/`, `heads.log` (signed heads of its chain), `sent.json` (how far it was sent), `receipts.json`
and `fates.json` (what the hub says became of it, in all and of each number, and has decided), `hub.pin` (the hub's public key, as first seen),
`imports.jsonl` (what became of each import's rows), `retention.csv` (rules of its own, where it has any), `forgetting.json` (what a
command has begun to forget), `transfers/` (cases on their way to or from another node).
"""

import json
import os
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from pathlib import Path
from typing import Any

from pipeline.files import hexadecimal, replace, sync_folder
from pipeline.node import keys, lines
from pipeline.node.journal import Journal
from schemas import places
from schemas.codes import LANGUAGES
from schemas.errors import BadInput, NotSetUp
from schemas.limits import NODE
from schemas.signing import public_of

FIRST_EPOCH = 1


@dataclass(frozen=True)
class Node:
    """A node's settings as they stand in its folder; `sealed_for` are the region's public keys, in hex, the newest last."""

    folder: Path
    code: str
    region: str
    lang: str
    epoch: int
    sealed_for: tuple[str, ...] = ()

    @property
    def journal(self) -> Path:
        """Return the journal's folder."""
        return self.folder / "journal"

    def secret(self, name: str) -> bytes:
        """Return a key of 32 bytes: `digest`, `sign`, or `epoch-<n>`."""
        path = self.folder / f"{name}.key"
        secret = hexadecimal(path)
        if len(secret) != 32:
            raise NotSetUp(f"The key {path} is missing or damaged; restore it from a backup of the node's folder.")
        return secret

    @property
    def public(self) -> bytes:
        """Return the public key under which the node signs: 32 bytes."""
        return public_of(self.secret("sign"))

    def begin(self, epoch: int, public: bytes) -> "Node":
        """Have all that is recorded from now on be of this epoch, whose key is safe on the disk; return the node as it is then."""
        sealed_for = (*(known for known in self.sealed_for if known != public.hex()), public.hex())
        path = self.folder / "node.json"
        settings = json.loads(path.read_text()) | {"epoch": epoch, "sealed_for": sealed_for}
        replace(path, json.dumps(settings, indent=1).encode())
        return replace_fields(self, epoch=epoch, sealed_for=sealed_for)

    def note_import(self, line: dict[str, Any]) -> None:
        """Write down what became of an import's rows."""
        lines.append(self.folder / "imports.jsonl", line)

    def rejected(self) -> dict[str, int]:
        """Return the rejected rows of all imports by reason; a row that was imported twice counts twice."""
        total: Counter[str] = Counter()
        for line in lines.read(self.folder / "imports.jsonl"):
            total.update(line["rejected"])
        return dict(sorted(total.items()))


def create(folder: Path, code: str, region: str, public: bytes, lang: str = "en") -> Node:
    """Make a node's folder, as a whole or not at all: its secrets, its journal with the epoch's key for the region.

    BadInput where the code, the region or the language can't be, or a node is there already; nothing is changed then.
    """
    check(folder, code, region, lang)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{code}.", dir=folder.parent))
    try:
        node = Node(draft, code, region, lang, FIRST_EPOCH)
        settings = {"code": code, "region": region, "lang": lang, "epoch": FIRST_EPOCH, "sealed_for": [public.hex()]}
        for name in (f"epoch-{FIRST_EPOCH}", "digest", "sign"):
            replace(draft / f"{name}.key", os.urandom(32).hex().encode())
        node.journal.mkdir(mode=0o700)
        with Journal(node.journal) as journal:
            journal.append((), [keys.of_epoch(node.epoch, node.region, public, node.secret(f"epoch-{node.epoch}"))])
        replace(draft / "node.json", json.dumps(settings, indent=1).encode())
        _move(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return load(folder)


def load(folder: Path) -> Node:
    """Return the node in a folder; NotSetUp where there is none."""
    try:
        settings = json.loads((folder / "node.json").read_text())
        code, region, lang, epoch = (settings[name] for name in ("code", "region", "lang", "epoch"))
        return Node(folder, code, region, lang, epoch, tuple(settings.get("sealed_for", ())))
    except (OSError, ValueError, KeyError, TypeError):
        message = f"No node is in {folder}; make one by `tocsin node init CODE --region REGION`."
        raise NotSetUp(message) from None


def find(name: str | None, data: Path) -> Node:
    """Return the node of a folder or a code, or the only one of the data folder; NotSetUp where that is not one."""
    folders = sorted(path.parent for path in (data / "nodes").glob("*/node.json"))
    if name is None:
        if len(folders) != 1:
            known = ", ".join(path.name for path in folders)
            advice = f"name one by --node: {known}" if known else "make one by `tocsin node init CODE --region REGION`"
            raise NotSetUp(f"{len(folders)} nodes are in {data}; {advice}.")
        return load(folders[0])
    if "/" not in name and (data / "nodes" / name).exists():
        return load(data / "nodes" / name)
    return load(Path(name))


def region_public(data: Path, region: str, file: Path | None) -> bytes:
    """Return the region's public key from a file, else from the data folder that `tocsin up` made; 32 bytes."""
    path = file or data / "regions" / region / "public.key"
    public = hexadecimal(path)
    if len(public) != 32:
        raise NotSetUp(
            f"{path} holds no public key of the region {region}; "
            "run `tocsin up` where the hub runs on this machine, else give the hub's file by --region-key."
        )
    return public


def check(folder: Path, code: str, region: str, lang: str) -> None:
    """Refuse what no node can be made of: BadInput."""
    regions = [known.code for known in places.regions()]
    if not NODE.fullmatch(code):
        raise BadInput("A node's code is 2 to 32 capital letters, digits and hyphens, for example MONUSCO or UNCT-BDI.")
    if region not in regions:
        raise BadInput(f"No region is named {region!r}; choose one of: {', '.join(regions)}.")
    language(lang)
    if folder.exists():
        raise BadInput(
            f"{folder} exists; nothing was changed. `tocsin node status --node {folder}` shows what is in it."
        )


def mission(code: str) -> str:
    """Return the code of a mission; BadInput where none can have it."""
    if not NODE.fullmatch(code):
        raise BadInput("A mission's code is 2 to 32 capital letters, digits and hyphens, for example UNCT-COD.")
    return code


def language(lang: str) -> str:
    """Return the language; BadInput where the sentences do not exist in it."""
    if lang not in LANGUAGES:
        raise BadInput(f"Choose a language out of: {', '.join(LANGUAGES)}.")
    return lang


def _move(draft: Path, folder: Path) -> None:
    try:
        draft.rename(folder)
    except OSError as error:
        raise BadInput(
            f"{folder} can't be made ({error.strerror}); nothing was changed. Give another by --node."
        ) from error
    sync_folder(folder.parent)
