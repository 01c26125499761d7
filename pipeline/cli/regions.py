"""The REGION of a command: one that there is, or all."""

from schemas.errors import BadInput
from schemas.places import regions


def chosen(region: str | None) -> list[str]:
    """Return the code of the region, or of all where none is given; BadInput for one that there is not."""
    codes = [each.code for each in regions()]
    if region is not None and region not in codes:
        raise BadInput(f"{region!r} is no region; give one of {', '.join(codes)}.")
    return [region] if region else codes
