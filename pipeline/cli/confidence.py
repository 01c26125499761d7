"""How commands that show confidence are told its scale, and how they explain it."""

from datetime import date
from pathlib import Path
from typing import Any

import click

from pipeline.cli.options import FILES, table_of, text_of
from schemas import confidence
from schemas.confidence import CREDIBILITY, FORMULA, REPORT, Scale

CONFIDENCE = click.option(
    "--confidence",
    "scale_file",
    metavar="FILE",
    type=FILES,
    help="Half-life and base of confidence [default: confidence.toml in the data folder, else tocsin's own].",
)
EXPLAIN = click.option("--explain", is_flag=True, help="Print how confidence is computed.")
OWN = "confidence.toml"


def scale(given: Path | None, home: Path) -> Scale:
    """Return the scale of the file that is given, else that of the data folder, else the default; BadInput for none."""
    path = given or home / OWN
    if given is None and not path.exists():
        return confidence.default()
    return confidence.parse(text_of(path, "give a file as docs/reading-tables.md shows"), str(path))


def told(fading: Scale, day: date) -> dict[str, Any]:
    """Return the scale as plain values, and the day to which ages are counted."""
    from quality.disclosure import THRESHOLD

    return {
        "formula": FORMULA,
        "as_of": day.isoformat(),
        "half_life_days": dict(fading.half_lives),
        "base": {reliability: list(line) for reliability, line in fading.base.items()},
        "rounded_to": 1 / THRESHOLD,
    }


def show(page: dict[str, Any], *, explain: bool) -> None:
    """Print the line that stands under a table of counts, or all that `told` has."""
    half_life = f"{page['half_life_days'][REPORT]:g}"
    click.echo(
        f"Confidence is a mean of unverified reports on {page['as_of']}, rounded to {page['rounded_to']:g}; "
        f"it halves every {half_life} days." + ("" if explain else " --explain shows how.")
    )
    if explain:
        from rich.console import Console

        click.echo(f"confidence = {page['formula']}")
        click.echo(f"age: days from occurred_on to {page['as_of']}; half_life: {half_life} days")
        Console(highlight=False).print(_base(page["base"]))


def _base(base: dict[str, list[float]]) -> Any:
    table = table_of("base, by Admiralty codes", "reliability", *map(str, CREDIBILITY))
    for reliability, line in base.items():
        table.add_row(reliability, *(f"{value:g}" for value in line))
    return table
