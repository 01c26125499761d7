"""The keys of one node's cases, as a hub has them: its topic folded, to its end."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from pipeline.log import Entry
from schemas.columns import Blob
from schemas.keyring import Keyring
from schemas.nodekeys import NodeKeys

BATCH = 10_000


def case_keys(entries: Iterable[Entry], privates: Mapping[str, Sequence[bytes]]) -> Keyring:
    """Return the keys in the records of `keys.<node>` that the regions' private keys open."""
    keys, rest = NodeKeys(privates), iter(entries)
    while batch := list(islice(rest, BATCH)):
        keys.read(Blob.of([entry.key for entry in batch]), Blob.of([entry.value or b"" for entry in batch]))
    return keys.keyring
