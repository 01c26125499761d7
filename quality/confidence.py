"""How far each report that nobody has verified can be relied on, on a day: a function of a row and that day, never stored.

confidence(age) = base(reliability, credibility) · 2^(−age / half-life). The scale is data: schemas/confidence.py.
"""

from datetime import date

import polars as pl

from schemas.confidence import CREDIBILITY, REPORT, Scale
from schemas.lifecycle import PENDING

COLUMN = "confidence"


def with_confidence(incidents: pl.DataFrame, scale: Scale, day: date) -> pl.DataFrame:
    """Return rows of incidents with the column `confidence` as of a day: 0 to 1, null where it is not pending verification.

    Null too where a code is missing. Of a date that is known coarsely the first day counts, so that no report seems fresher
    than it may be.
    """
    fading = faded(_base(scale), _age(pl.col("occurred_on"), day), scale.half_lives[REPORT])
    pending = pl.col("verification").cast(pl.String) == PENDING
    return incidents.with_columns(pl.when(pending).then(fading).alias(COLUMN))


def faded(base: pl.Expr, age: pl.Expr, half_life: float) -> pl.Expr:
    """Return what is left of a confidence after an age, in days as the half-life is."""
    return base * pl.lit(2.0).pow(-age / half_life)


def _age(since: pl.Expr, day: date) -> pl.Expr:
    """Return the whole days from a date to a day; 0 for a date that comes after it."""
    return (pl.lit(day) - since).dt.total_days().clip(lower_bound=0)


def _base(scale: Scale) -> pl.Expr:
    """Return the base by the two codes of a row, null where one is missing."""
    stated = {
        f"{reliability}{credibility}": base
        for reliability, line in scale.base.items()
        for credibility, base in zip(CREDIBILITY, line, strict=True)
    }
    codes = pl.concat_str(pl.col("source_reliability", "information_credibility").cast(pl.String))
    return codes.replace_strict(stated, default=None, return_dtype=pl.Float64)


__all__ = ["COLUMN", "faded", "with_confidence"]
