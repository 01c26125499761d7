"""The object store of a data folder; apart from `bootstrap`, so that looking at tables loads no worker."""

from pathlib import Path

from pipeline.keyrings import endpoint
from sinks.store import Store


def open_store(data: Path) -> Store:
    """Return the door to the store; NotSetUp where the data folder has none."""
    names = ("access_key", "secret_key", "bucket")
    return Store(f"http://{endpoint(data, 's3')}", *(endpoint(data, name) for name in names))
