"""The keys of one node's cases, as a hub has them now: its topic read once, to its end."""

from collections.abc import Mapping, Sequence
from itertools import islice

from pipeline.log import read
from schemas.columns import Blob
from schemas.keyring import Keyring
from schemas.nodekeys import NodeKeys

BATCH = 10_000


def case_keys(kafka: str, node: str, privates: Mapping[str, Sequence[bytes]]) -> Keyring:
    """Return the keys that the regions' private keys open."""
    keys, entries = NodeKeys(privates), read(kafka, f"keys.{node}")
    while batch := list(islice(entries, BATCH)):
        keys.read(Blob.of([entry.key for entry in batch]), Blob.of([entry.value or b"" for entry in batch]))
    return keys.keyring
