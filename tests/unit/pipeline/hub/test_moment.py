from datetime import UTC, date, datetime, timedelta

import pytest

from pipeline.hub.moment import EPOCH, Moment, come
from schemas.errors import BadInput

NOW = datetime(2026, 3, 5, 14, 7, 9, 250_000, UTC)


def at(*parts):
    """Return an instant in milliseconds."""
    return (datetime(*parts, tzinfo=UTC) - EPOCH) // timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("given", "text", "after"),
    [
        ("2026-03-04", "2026-03-04", at(2026, 3, 5)),
        ("2026-03-05", "2026-03-05", at(2026, 3, 6)),
        ("2024-02-29", "2024-02-29", at(2024, 3, 1)),
        ("2026-03-04T12:30", "2026-03-04T12:30:00Z", at(2026, 3, 4, 12, 30) + 1),
        ("2026-03-04 12:30:05", "2026-03-04T12:30:05Z", at(2026, 3, 4, 12, 30, 5) + 1),
        ("2026-03-04T12:30:05Z", "2026-03-04T12:30:05Z", at(2026, 3, 4, 12, 30, 5) + 1),
        ("2026-03-05T00:30+02:00", "2026-03-04T22:30:00Z", at(2026, 3, 4, 22, 30) + 1),
        ("2026-03-04T12:30:05.123Z", "2026-03-04T12:30:05.123000Z", at(2026, 3, 4, 12, 30, 5) + 124),
        ("2026-03-04T12:30:05.1239Z", "2026-03-04T12:30:05.123900Z", at(2026, 3, 4, 12, 30, 5) + 124),
        ("2026-03-05T14:07:09.250Z", "2026-03-05T14:07:09.250000Z", at(2026, 3, 5, 14, 7, 9) + 251),
        ("1970-01-01", "1970-01-01", at(1970, 1, 2)),
        ("1969-12-31T23:59:59.997Z", "1969-12-31T23:59:59.997000Z", 0),
        ("1969-12-31T23:59:59.998Z", "1969-12-31T23:59:59.998000Z", 0),
        ("0001-01-01", "0001-01-01", 0),
    ],
)
def test_a_moment_ends_with_what_was_named(given, text, after):
    found = Moment.of(given, NOW)
    assert (found.text, found.after) == (text, after)
    assert found.day == date.fromisoformat(text[:10])
    assert Moment.of(text, NOW) == found


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (" ", "no moment; write a day or an instant of UTC, for example 2026-03-05 or 2026-03-05T14:07Z."),
        ("4.3.2026", "no moment; write"),
        ("2026-02-30", "no moment; write"),
        ("2026-03-04T24:00", "no moment; write"),
        ("2026-03-04T12:30:05 and", "no moment; write"),
        ("0001-01-01T00:00+14:00", "no moment; write"),
        ("2026-03-06", "2026-03-06 lies in the future; give today, 2026-03-05, or a day before."),
        ("9999-12-31", "lies in the future"),
        ("9999-12-31T23:59:59.999999Z", "lies in the future"),
        ("2026-03-05T14:07:10Z", "2026-03-05T14:07:10Z lies in the future; give now, 2026-03-05T14:07:09Z, or a"),
        ("2026-03-05T14:30+00:00", "lies in the future"),
        ("2026-03-05T13:30-02:00", "2026-03-05T15:30:00Z lies in the future"),
    ],
)
def test_what_is_no_moment_or_is_to_come_says_what_to_give(given, says):
    with pytest.raises(BadInput) as refused:
        Moment.of(given, NOW)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("timestamp", "says"),
    [
        (at(2026, 3, 4, 12), "2026-03-04T12:00:00Z"),
        (at(2026, 3, 4, 12) + 1, "2026-03-04T12:00:01Z"),
        (at(2026, 3, 4, 12) + 999, "2026-03-04T12:00:01Z"),
    ],
)
def test_the_moment_that_is_named_is_one_by_which_the_record_had_come(timestamp, says):
    assert come(timestamp) == says
    assert Moment.of(says, NOW).after > timestamp
