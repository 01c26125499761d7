"""What may be shown of incidents outside the hub: one table whose every cell is safe, rolled up rather than blank.

Each incident is counted in exactly one cell: the finest of a ladder (month, quarter, year, all; area, country, region)
whose incidents that no finer cell took are at least the threshold. So no union of cells is below it either. Every
number is rounded to a base; there is no total, since an exact or separately rounded one would say more than its parts.

A mean over a cell is of the same incidents as its count: at least the threshold, in no other cell. It is rounded to steps of
1 / threshold, so that it says nothing of the count. For let a be the lowest value that an incident can have and b the highest.
Of n incidents, n at least the threshold, some can have a and the others b, and these means lie (b - a) / n apart, no more
than a step: each step from that of a to that of b is the mean of some n incidents, whichever n is. There is no mean over
several cells, which by the cells' own ones would tell how many incidents each has.

What it does not protect yet, and what a release for outsiders needs besides: several tables over the same incidents
held side by side; two editions of one table (closed periods are not frozen, changes not bundled); that a cell which is
not shown is known to hold fewer than the threshold; incidents that many persons, or one family, share: incidents are
counted, not persons; that a highest or lowest mean says that all of a cell are alike; means of many days side by side,
from which the exact one can be told as it passes from step to step.
"""

import polars as pl

from schemas.errors import Stops

PERIODS = ("month", "quarter", "year", "all")
AREAS = ("admin1", "country", "region")
LADDER: tuple[tuple[str, str], ...] = (
    ("month", "admin1"),
    ("quarter", "admin1"),
    ("year", "admin1"),
    ("month", "country"),
    ("quarter", "country"),
    ("year", "country"),
    ("all", "country"),
    ("year", "region"),
    ("all", "region"),
)
THRESHOLD = 5
_FINEST = {"day": 0, "week": 0, "month": 0, "quarter": 1, "year": 2}
_KEYS = ("period_kind", "period", "area_kind", "area")


class Unsafe(Stops):
    """The threshold would let small numbers through."""


def safe_table(
    frame: pl.DataFrame,
    by: tuple[str, ...] = (),
    threshold: int = THRESHOLD,
    region: str = "region",
    mean: str | None = None,
) -> pl.DataFrame:
    """Return counts of incidents by period and area, and by the columns `by`, none of them below the threshold.

    The frame is an incidents table: occurred_on, date_precision, country, admin1 and the columns `by` are used. What is
    apart in `by` is never added together: where a value of `by` has fewer incidents than the threshold in all, it has
    no row. Columns: `by`, period_kind, period ("2021-03", "2021-Q1", "2021", "all"), area_kind, area (`region` for the
    whole), rest (True where finer cells of the same period and area are shown apart, so that this is the others), count
    (rounded to the nearest multiple of the threshold). With `mean`, a column of the frame with values from 0 to 1, also its
    mean by that name (rounded to the nearest multiple of 1 / threshold), null where an incident of the cell has none.
    Equal frames give equal tables, whatever the order of their rows.
    Unsafe for a threshold below 2.
    """
    if threshold < 2:
        raise Unsafe(f"a threshold of {threshold} would show single persons; give at least 2, as a rule 5")
    cells = partition(frame, by, threshold, region, mean)
    rounded = (pl.col("exact") + threshold // 2) // threshold * threshold
    means = [_step(pl.col("total") / pl.col("exact"), threshold).alias(mean)] if mean else []
    shown = cells.with_columns(rounded.alias("count"), *means).drop("exact", "total", "step")
    return shown.sort([*by, "period", "area", "period_kind", "area_kind"])


def safe_count(number: int, threshold: int = THRESHOLD) -> int | None:
    """Return the number, or None where it tells of fewer than the threshold: to be shown as "fewer than 5"."""
    return None if 0 < number < threshold else number


def _step(mean: pl.Expr, threshold: int) -> pl.Expr:
    """Return a mean to the nearest 1 / threshold; what the order of rows does to a sum's last digits decides nothing."""
    return (((mean * threshold).round(9) + 0.5).floor() / threshold).round(9)


def partition(
    frame: pl.DataFrame, by: tuple[str, ...], threshold: int, region: str = "region", mean: str | None = None
) -> pl.DataFrame:
    """Return the cells before rounding: `by`, the cell, `exact` incidents, `total` of `mean`, `step` of the ladder.

    Not for release.
    """
    whole = left = _prepared(frame, by, region, pl.col(mean) if mean else pl.lit(None))
    cells = []
    for step, rung in enumerate(LADDER):
        taken, left = _take(left, by, rung, threshold)
        cells.append(_counted(taken, whole, by, rung, step))
    return _absorbed(pl.concat(cells), left, by, threshold, region)


def _prepared(frame: pl.DataFrame, by: tuple[str, ...], region: str, value: pl.Expr) -> pl.DataFrame:
    """Return for each incident its labels at each resolution, how fine its date is, and its value."""
    day = pl.col("occurred_on")
    year = day.dt.year().cast(pl.String)
    quarter = year + "-Q" + day.dt.quarter().cast(pl.String)
    return frame.select(
        *by,
        day.dt.strftime("%Y-%m").alias("month"),
        quarter.alias("quarter"),
        year.alias("year"),
        pl.lit("all").alias("all"),
        pl.col("admin1"),
        pl.col("country"),
        pl.lit(region).alias("region"),
        pl.col("date_precision").cast(pl.String).replace_strict(_FINEST, default=2).alias("finest"),
        value.cast(pl.Float64).alias("value"),
    )


def _take(
    left: pl.DataFrame, by: tuple[str, ...], rung: tuple[str, str], threshold: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the incidents that fill a safe cell of this rung, and the others."""
    filled = _fits(rung) & (_fits(rung).sum().over([*by, *rung]) >= threshold)
    return left.filter(filled), left.filter(~filled)


def _fits(rung: tuple[str, str]) -> pl.Expr:
    """Return whether date and place of an incident are known as finely as a rung of the ladder asks."""
    return (pl.col("finest") <= PERIODS.index(rung[0])) & pl.col(rung[1]).is_not_null()


def _counted(
    taken: pl.DataFrame, whole: pl.DataFrame, by: tuple[str, ...], rung: tuple[str, str], step: int
) -> pl.DataFrame:
    """Return the cells of one rung; `rest` where the whole has more incidents that fit into the cell."""
    keys = [*by, *rung]
    all_of_it = whole.filter(_fits(rung)).group_by(keys).agg(pl.len().alias("fitting"))
    exact = taken.group_by(keys).agg(pl.len().cast(pl.Int64).alias("exact"), _total("value"))
    return exact.join(all_of_it, on=keys, how="left", nulls_equal=True).select(
        *by,
        *_label(rung[0], pl.col(rung[0]), rung[1], pl.col(rung[1])),
        (pl.col("fitting") > pl.col("exact")).alias("rest"),
        "exact",
        "total",
        pl.lit(step, pl.Int32).alias("step"),
    )


def _total(name: str) -> pl.Expr:
    """Return the sum of a column, null where one of its values is."""
    return pl.when(pl.col(name).null_count() == 0).then(pl.col(name).sum()).alias("total")


def _label(period_kind: str, period: pl.Expr, area_kind: str, area: pl.Expr) -> list[pl.Expr]:
    """Return the columns that name a cell."""
    named = (pl.lit(period_kind), period, pl.lit(area_kind), area)
    return [each.alias(name) for each, name in zip(named, _KEYS, strict=True)]


def _absorbed(
    cells: pl.DataFrame, left: pl.DataFrame, by: tuple[str, ...], threshold: int, region: str
) -> pl.DataFrame:
    """Return the cells with what is left over added: the coarsest and smallest of them go up with it until it is safe."""
    done = []
    for values, mine in _groups(cells, left, by):
        rest = left.filter(_equal(by, values))
        over = rest.height
        ordered = mine.sort(["step", "exact", *_KEYS], descending=[True, False, *(False for _ in _KEYS)])
        sums = [over, *(over + ordered["exact"].cum_sum())]
        enough = next((n for n, count in enumerate(sums) if count >= threshold), None)
        if over == 0:
            done.append(mine)
        elif enough is not None:
            joined = pl.concat([rest.select("value"), ordered[:enough].select(value="total")])
            top = ordered[:1].with_columns(
                *_label("all", pl.lit("all"), "region", pl.lit(region)),
                pl.lit(value=ordered.height > enough).alias("rest"),
                pl.lit(sums[enough], pl.Int64).alias("exact"),
                joined.select(_total("value"))["total"],
                pl.lit(len(LADDER) - 1, pl.Int32).alias("step"),
            )
            done += [ordered[enough:], top]
    return pl.concat(done) if done else cells.clear()


def _groups(
    cells: pl.DataFrame, left: pl.DataFrame, by: tuple[str, ...]
) -> list[tuple[tuple[object, ...], pl.DataFrame]]:
    """Return the values of `by` with their cells; one group where nothing is told apart."""
    values = pl.concat([cells.select(by), left.select(by)]).unique().rows() if by else [()]
    return [(row, cells.filter(_equal(by, row))) for row in values]


def _equal(by: tuple[str, ...], values: tuple[object, ...]) -> pl.Expr:
    """Return whether a row has these values of `by`."""
    same = [pl.col(name).eq_missing(pl.lit(value)) for name, value in zip(by, values, strict=True)]
    return pl.all_horizontal(same) if same else pl.lit(value=True)


__all__ = ["LADDER", "Unsafe", "partition", "safe_table"]
