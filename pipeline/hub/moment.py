"""A moment as a person gives it: a day, which means its end, or an instant; UTC where it says nothing else."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from schemas.errors import BadInput

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND, DAY = timedelta(milliseconds=1), timedelta(days=1)


@dataclass(frozen=True)
class Moment:
    """`text` says it as ISO 8601 does, `day` is the day it is in, `after` the first millisecond after it, from 0 on; in UTC."""

    text: str
    day: date
    after: int

    @classmethod
    def of(cls, text: str, now: datetime) -> "Moment":
        """Return the moment that was given; BadInput where it is none, or comes after `now`.

        The end of the day that it is `now` lies in the future too: that day means all until now.
        """
        found = _day(text) or _instant(text)
        if found is None:
            raise BadInput(
                f"{text!r} is no moment; write a day or an instant of UTC, for example {now:%Y-%m-%d} or {now:%Y-%m-%dT%H:%MZ}."
            )
        if isinstance(found, datetime):
            if found > now:
                raise BadInput(
                    f"{said(found)} lies in the future; give now, {now:%Y-%m-%dT%H:%M:%SZ}, or a moment before."
                )
            return cls(said(found), found.date(), max(_milliseconds(found) + 1, 0))
        if found > now.date():
            raise BadInput(f"{found} lies in the future; give today, {now.date()}, or a day before.")
        end = _milliseconds(datetime.combine(found, time(), UTC) + DAY)
        return cls(found.isoformat(), found, max(end, 0))


def said(instant: datetime) -> str:
    """Return an instant of UTC as ISO 8601 writes it."""
    return instant.isoformat().replace("+00:00", "Z")


def come(timestamp: int) -> str:
    """Return by which full second a record had come whose time is `timestamp`, UTC milliseconds."""
    return said(EPOCH + timedelta(seconds=-(-timestamp // 1000)))


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _instant(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _milliseconds(instant: datetime) -> int:
    return (instant - EPOCH) // MILLISECOND
