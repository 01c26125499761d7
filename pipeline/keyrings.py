"""Keys at the hub: the regions' own keys in the data folder, and the cases' keys read from `keys.<node>`."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipeline.files import replace
from schemas import seal
from schemas.errors import NotSetUp
from schemas.places import regions

LEDGER_KEY = "ledger.key"
FORMER = "former"
"""A region's private key of before, kept until all is sealed for the new one."""


def ensure_keys(data: Path) -> None:
    """Make, once, each region's key pair, the secret that mints its ids, and the key that locks the ledgers.

    Files are readable by their owner only.
    """
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (data / LEDGER_KEY).exists():
        _write_secret(data / LEDGER_KEY, os.urandom(32))
    for region in regions():
        folder = data / "regions" / region.code
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (folder / "private.key").exists():
            public, private = seal.region_pair()
            _write_secret(folder / "public.key", public)
            _write_secret(folder / "private.key", private)
        if not (folder / "mint.key").exists():
            _write_secret(folder / "mint.key", os.urandom(32))


def _write_secret(path: Path, secret: bytes) -> None:
    replace(path, f"{secret.hex()}\n".encode())


def ledger_key(data: Path) -> bytes:
    """Return the 32 bytes under which ledgers and snapshots are locked."""
    path = data / LEDGER_KEY
    if not path.exists():
        raise NotSetUp(f"The key of the ledgers, {path}, is missing; run `tocsin up` first.")
    return bytes.fromhex(path.read_text().strip())


def region_keys(data: Path, name: str) -> Mapping[str, bytes]:
    """Return the key `name` (`private`, `public`, `mint`) of every region by its code."""
    found = {}
    for region in regions():
        path = data / "regions" / region.code / f"{name}.key"
        if not path.exists():
            raise NotSetUp(f"The keys of region {region.code} are missing in {path.parent}; run `tocsin up` first.")
        found[region.code] = bytes.fromhex(path.read_text().strip())
    return found


class PrivateKeys(Mapping[str, Sequence[bytes]]):
    """The private keys of every region by its code, read anew each time: a region may renew its key while a worker runs.

    The one that is in force comes first, then the former one, where what was sealed for that may still be read.
    NotSetUp where a region has none.
    """

    def __init__(self, data: Path) -> None:
        self._data, self._codes = data, tuple(region_keys(data, "private"))

    def __getitem__(self, region: str) -> Sequence[bytes]:
        """Return the region's keys of 32 bytes; KeyError where there is no such region, NotSetUp where they can't be read."""
        if region not in self._codes:
            raise KeyError(region)
        folder = self._data / "regions" / region
        try:
            return [bytes.fromhex((folder / "private.key").read_text()), *self._former(folder / f"{FORMER}.key")]
        except (OSError, ValueError) as error:
            raise NotSetUp(f"The private key in {folder} can't be read ({error}); restore it from a backup.") from error

    def _former(self, path: Path) -> list[bytes]:
        try:
            return [bytes.fromhex(path.read_text())]
        except (FileNotFoundError, ValueError):  # it holds no key any more when it is destroyed
            return []

    def __iter__(self) -> Iterator[str]:
        """Yield the codes of the regions."""
        return iter(self._codes)

    def __len__(self) -> int:
        """Return the number of regions."""
        return len(self._codes)


def endpoint(data: Path, field: str) -> str:
    """Return one field of the running cluster: `kafka`, `s3`, `access_key`, `secret_key`, `bucket`."""
    path = data / "cluster.json"
    if not path.exists():
        raise NotSetUp(f"No Kafka and no S3 are known in {data}; run `tocsin up` first, or name the folder by --data.")
    return str(json.loads(path.read_text())[field])
