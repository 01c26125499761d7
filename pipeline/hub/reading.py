"""A table as it is now, while the sink goes on writing it."""

import polars as pl

from schemas.errors import Unreachable
from sinks.delta import dataset
from sinks.store import Store

ATTEMPTS = 4


def table(store: Store, path: str) -> pl.DataFrame:
    """Return a table's rows; where the sink has exchanged a file meanwhile, those of a newer version of the table."""
    failure: OSError | None = None
    for _ in range(ATTEMPTS):
        try:
            frame = pl.from_arrow(dataset(store, path).to_table())
        except OSError as error:
            failure = error
            continue
        assert isinstance(frame, pl.DataFrame)
        return frame
    raise Unreachable(f"The table {path} could not be read: run `tocsin status`, then ask again.") from failure
