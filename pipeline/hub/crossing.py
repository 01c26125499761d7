"""Patterns that cross a border: the same party and form in two countries of a region, in the same or next quarter."""

import polars as pl

from schemas.places import country_of

Crossing = tuple[str, str, tuple[str, ...]]


def crossings(incidents: pl.DataFrame, patterns: pl.DataFrame) -> list[Crossing]:
    """Return (party, form, countries) of what crosses a border, from a region's incidents and patterns.

    Rows without a party's name are left out: a category of perpetrators is no party. Verified and unverified rows
    both count as a sighting; no number is made of them.
    """
    seen = pl.concat([_incidents(incidents), _patterns(patterns)]).unique()
    other = seen.rename({"country": "neighbour", "quarter": "their_quarter"})
    near = seen.join(other, on=["party", "form"]).filter(
        pl.col("country") != pl.col("neighbour"), (pl.col("quarter") - pl.col("their_quarter")).abs() <= 1
    )
    found = near.group_by("party", "form").agg(pl.col("country").unique().sort()).sort("party", "form")
    return [(party, form, tuple(countries)) for party, form, countries in found.iter_rows()]


def _quarter(day: pl.Expr) -> pl.Expr:
    return day.dt.year().cast(pl.Int32) * 4 + day.dt.quarter().cast(pl.Int32)


def _incidents(frame: pl.DataFrame) -> pl.DataFrame:
    """Return party, form, country, quarter of each incident."""
    named = frame.filter(pl.col("party").is_not_null()).explode("forms")
    return named.select(
        "party", pl.col("forms").alias("form"), "country", _quarter(pl.col("occurred_on")).alias("quarter")
    )


def _patterns(frame: pl.DataFrame) -> pl.DataFrame:
    """Return party, form, country, quarter of each quarter that a pattern touches."""
    named = frame.filter(pl.col("party").is_not_null()).explode("forms").explode("areas")
    first, last = _quarter(pl.col("period_start")), _quarter(pl.col("period_end"))
    codes = {area: country_of(area) for area in named["areas"].unique().to_list()}
    return named.select(
        "party",
        pl.col("forms").alias("form"),
        pl.col("areas").replace_strict(codes, return_dtype=pl.String).alias("country"),
        pl.int_ranges(first, last + 1, dtype=pl.Int32).alias("quarter"),
    ).explode("quarter")
