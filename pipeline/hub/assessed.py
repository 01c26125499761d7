"""How many incidents other nodes have corroborated or disputed: what each node said last counts, of its own incidents nothing."""

import polars as pl

from quality.disclosure import safe_count
from schemas.assessments import CORROBORATED, DISPUTED, TAKEN_BACK

BOTH = "corroborated_and_disputed"


def assessed(incidents: pl.DataFrame, assessments: pl.DataFrame) -> dict[str, dict[str, int | None]]:
    """Return by state of verification how many current incidents are assessed, and how; each incident counts once.

    A number below the threshold is None.
    """
    found = standing(incidents, assessments).group_by("verification", "incident_id").agg(pl.col("verdict").unique())
    both = pl.col("verdict").list.len() > 1
    named = found.select("verification", how=pl.when(both).then(pl.lit(BOTH)).otherwise(pl.col("verdict").list.first()))
    counts = named.group_by("verification", "how").len().rows()
    return {
        state: {
            how: safe_count(sum(n for *each, n in counts if each == [state, how]))
            for how in (CORROBORATED, DISPUTED, BOTH)
        }
        for state in sorted({state for state, _, _ in counts})
    }


def standing(incidents: pl.DataFrame, assessments: pl.DataFrame) -> pl.DataFrame:
    """Return the assessments that count, with the state of their incident: of each other node the last, if not taken back."""
    by = ["incident_id", "node"]
    last = assessments.filter(pl.col("number") == pl.col("number").max().over(by), pl.col("verdict") != TAKEN_BACK)
    reported = incidents.select("incident_id", "verification", reporter="node")
    return last.join(reported, on="incident_id").filter(pl.col("node") != pl.col("reporter"))
