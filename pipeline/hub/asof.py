"""Which incidents stood in a region at the end of a day, and as what: from `incidents` and `versions`, no other history.

A row moves from the one table to the other, which is committed first: so `incidents` is read first, and a row that is in
both has moved.
"""

from datetime import date
from io import BytesIO
from typing import Any

import polars as pl

from pipeline.hub.reading import table
from quality.confidence import COLUMN
from quality.disclosure import THRESHOLD, safe_table
from schemas.errors import NotSetUp
from sinks.store import Store

KEY = ["incident_id", "version_id"]


def rows(store: Store, region: str, day: date) -> pl.DataFrame:
    """Return the rows of incidents as they stood at the end of a day; NotSetUp where the region has no table yet."""
    paths = [f"hub/{region}/{name}" for name in ("incidents", "versions")]
    there = [path for path in paths if store.list(f"{path}/_delta_log/")]
    if paths[0] not in there:
        raise NotSetUp(f"There is no table of incidents of {region} yet: run `tocsin worker sink`, then ask again.")
    tables = [table(store, path) for path in there]
    return standing(tables[0], tables[1] if len(tables) > 1 else None, day)


def standing(incidents: pl.DataFrame, versions: pl.DataFrame | None, day: date) -> pl.DataFrame:
    """Return the rows that were current at the end of a day, in the columns of `incidents`.

    A version that never was current, since it conflicted with the one that was, is not among them.
    """
    if versions is not None:
        was = versions.filter(~pl.col("conflict") & (pl.col("ended_on") > day)).select(incidents.columns)
        is_now = incidents.join(versions.select(KEY), on=KEY, how="anti", nulls_equal=True)
        incidents = pl.concat([is_now, was])
    found = incidents.filter(pl.col("recorded_on") <= day)
    return found.sort([name for name in KEY if name in found.columns])


def counts(frame: pl.DataFrame, region: str) -> list[dict[str, Any]]:
    """Return the safe counts of rows that have a confidence, each cell of unverified ones with its mean."""
    return safe_table(frame, ("verification",), THRESHOLD, region, COLUMN).to_dicts()


def file(frame: pl.DataFrame, suffix: str) -> bytes:
    """Return rows as the content of a `.parquet` or `.csv` file; in the latter, codes of a list are parted by `;`."""
    content = BytesIO()
    if suffix == ".parquet":
        frame.write_parquet(content, compression="zstd", statistics=False)
    else:
        frame.with_columns(pl.col(pl.List(pl.String)).list.join(";")).write_csv(content)
    return content.getvalue()


def shown(number: int) -> int | None:
    """Return the number of rows, None where it is below the threshold, also where it is none."""
    return number if number >= THRESHOLD else None
