"""Plain twins of what merge finds: each with each, written from the definitions; no code of ours."""

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, timedelta

EPOCH = date(1970, 1, 1)
DAY, WEEK, MONTH, QUARTER, YEAR = range(5)


@dataclass(frozen=True)
class Incident:
    id: int
    area: str
    day: int
    precision: int = DAY
    forms: int = 2
    counts: tuple[int, ...] = (1, 0, 0, 0, 0)
    category: int = 6
    party: str | None = None
    node: str = "N1"
    source: int = 1

    @property
    def last(self) -> int:
        """Return the last day on which it may have happened."""
        day = EPOCH + timedelta(self.day)
        if self.precision == DAY:
            return self.day
        if self.precision == WEEK:
            return self.day + 6
        month = {MONTH: day.month, QUARTER: (day.month - 1) // 3 * 3 + 3, YEAR: 12}[self.precision]
        return (date(day.year, month, monthrange(day.year, month)[1]) - EPOCH).days


@dataclass(frozen=True)
class Pattern:
    id: int
    area: str
    start: int
    end: int
    forms: int = 2
    category: int = 6
    party: str | None = None


def days_apart(first, last, start, end):
    return 0 if first <= end and start <= last else min(abs(start - last), abs(first - end))


def link(incident, pattern):
    """Return (incident, pattern, match, days outside), or None."""
    days = days_apart(incident.day, incident.last, pattern.start, pattern.end)
    if incident.area != pattern.area or days > 14 or not incident.forms & pattern.forms & ~1:
        return None
    if incident.party and pattern.party:
        return (incident.id, pattern.id, 1, days) if incident.party == pattern.party else None
    same = incident.category == pattern.category != 0
    return (incident.id, pattern.id, 0, days) if same else None


def links(incidents, patterns):
    return {found for i in incidents for p in patterns if (found := link(i, p))}


def shared(one, other):
    """Return the names of what two incidents share, or an empty set where they are no pair."""
    found = set()
    forms, other_forms = one.forms & ~1, other.forms & ~1
    if one.area != other.area or days_apart(one.day, one.last, other.day, other.last) > 3 or not forms & other_forms:
        return set()
    if max(one.last - one.day, other.last - other.day) > 30:
        return set()
    if one.party and other.party:
        if one.party != other.party:
            return set()
        found.add("same_party")
    elif one.category != other.category and one.category and other.category:
        return set()
    totals = sum(one.counts), sum(other.counts)
    if 0 in totals or (abs(totals[0] - totals[1]) > max(1, max(totals) // 5) and one.counts != other.counts):
        return set()
    found.add("same_counts" if one.counts == other.counts else "similar_counts")
    found.add("same_day" if one.day == other.day and one.precision == other.precision == DAY else "near_date")
    found |= {"same_forms"} if forms == other_forms else set()
    reporters = ({"other_node"} if one.node != other.node else set()) | (
        {"other_source"} if one.source != other.source else set()
    )
    return found | reporters if reporters else set()


POINTS = {
    "same_day": 30,
    "near_date": 15,
    "same_forms": 20,
    "same_party": 15,
    "same_counts": 20,
    "similar_counts": 10,
    "other_node": 10,
    "other_source": 5,
}


def duplicates(incidents):
    """Return {(first, second, score, what they share)} of all pairs of 65 points and more."""
    found = set()
    for one in incidents:
        for other in incidents:
            what = shared(one, other) if one.id < other.id else set()
            points = sum(POINTS[each] for each in what)
            if what and points >= 65:
                found.add((one.id, other.id, points, frozenset(what)))
    return found
