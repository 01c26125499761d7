"""Two tables as multisets of rows: equal in any order of rows and files, or which rows only one of them has."""

from dataclasses import dataclass

import polars as pl

SHOWN = 5  # ids of differing rows that are named


@dataclass(frozen=True)
class Comparison:
    """Rows of each, the digest of each, and how many rows only one of them has; `examples` are ids of such rows."""

    live_rows: int
    replayed_rows: int
    live_digest: str
    replayed_digest: str
    only_live: int
    only_replayed: int
    examples: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Return whether both hold the same rows, each as often."""
        return self.only_live == self.only_replayed == 0


def compare(live: pl.DataFrame, replayed: pl.DataFrame) -> Comparison:
    """Compare two frames of the same columns."""
    ours, theirs = _counted(live), _counted(replayed)
    columns = live.columns
    lacking = ours.join(theirs, on=columns, how="left", nulls_equal=True, suffix="_other")
    excess = theirs.join(ours, on=columns, how="left", nulls_equal=True, suffix="_other")
    only_live, only_replayed = _differing(lacking), _differing(excess)
    named = [*only_live[columns[0]].to_list(), *only_replayed[columns[0]].to_list()]
    return Comparison(
        len(live),
        len(replayed),
        digest(live),
        digest(replayed),
        int(only_live["more"].sum()),
        int(only_replayed["more"].sum()),
        tuple(str(each) for each in sorted(named)[:SHOWN]),
    )


def digest(frame: pl.DataFrame) -> str:
    """Return the number of rows and the sum of the rows' hashes, modulo 2^64: the same in any order of rows.

    Comparable among frames that one version of Polars hashed.
    """
    total = sum(frame.hash_rows(seed=0).to_list()) % (1 << 64) if len(frame) else 0
    return f"{len(frame)}-{total:016x}"


def _counted(frame: pl.DataFrame) -> pl.DataFrame:
    flat = frame.with_columns(pl.col(pl.List(pl.String)).list.join("\x1f"))
    return flat.group_by(flat.columns).len("times")


def _differing(joined: pl.DataFrame) -> pl.DataFrame:
    more = pl.col("times") - pl.min_horizontal("times", pl.col("times_other").fill_null(0))
    return joined.with_columns(more.alias("more")).filter(pl.col("more") > 0)
