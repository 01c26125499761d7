"""How the command line says numbers of things, in English."""

from collections.abc import Sequence

SHOWN = 12  # numbers of events that are printed at once; --json has all


def counted(number: int, thing: str) -> str:
    """Return how many of a thing there are: 1 event, 1,200 events."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def these(number: int, thing: str) -> str:
    """Return how one points at so many of a thing: this case, these 1,200 cases."""
    return f"this {thing}" if number == 1 else f"these {counted(number, thing)}"


def listed(numbers: Sequence[int]) -> str:
    """Return the first of some numbers of events."""
    if not numbers:
        return "none"
    more = f" and {len(numbers) - SHOWN:,} more" if len(numbers) > SHOWN else ""
    return f"event{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers[:SHOWN]))}{more}"
