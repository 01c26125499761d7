"""Referrals in refine: what a body says of one, judged, and what goes on to `accepted`, by the area that it names."""

from collections.abc import Mapping

from schemas.build import Part, Spans, encode, part
from schemas.columns import Columns, compile  # noqa: A004
from schemas.errors import Quarantines
from schemas.referrals import Referral, refusal
from schemas.released import latest
from schemas.wire import confluent_prefix
from streams.accepted import TOPIC, gathered
from streams.base import Output
from streams.bodies import Judged, day
from streams.envelopes import Envelopes
from streams.partition import partitions

CONTRACTS = MADE, FOLLOWED_UP = "ReferralMade", "ReferralFollowedUp"
FACTS = ("service", "referred_on", "consented", "outcome", "followed_up_on")


def judged(columns: Columns, row: int) -> str:
    """Return the outcome that a body says; Quarantines where such a referral cannot be recorded."""
    followed_up = bool(columns.valid("referral.followed_up_on")[row])
    if followed_up != (columns.layout.release.name == FOLLOWED_UP):
        raise Quarantines("referral.outcome")
    known = Referral(
        _text(columns, row, "service"),
        day(columns, row, "referral.referred_on"),
        bool(columns.ints("referral.consented")[row]),
        _text(columns, row, "outcome"),
        day(columns, row, "referral.followed_up_on") if followed_up else None,
    )
    area = columns.octets(row, columns.spans("area")).decode()
    if reason := refusal(known, area, day(columns, row, "recorded_at")):
        raise Quarantines(reason)
    return known.outcome


def referral_output(found: Envelopes, of: Judged, node: str, count: int) -> Output:
    """Return a ReferralAccepted for each body, for `count` partitions: all of one referral go to the same."""
    columns, rows, release = of.columns, of.rows, latest("ReferralAccepted")
    events, areas = Spans(found.data, found.event[of.records]), columns.spans("area")[rows]
    values: Mapping[str, Part] = {
        "event_id": events,
        "node": node,
        "sequence": found.sequence[of.records],
        "case_ref": Spans(found.data, found.case[of.records]),
        "recorded_at": columns.ints("recorded_at")[rows],
        "area": Spans(columns.data, areas),
        "incident_id": part(columns, "incident_id", rows),
        "referral_id": events if of.release.name == MADE else part(columns, "referral_id", rows),
        **{f"referral.{name}": part(columns, f"referral.{name}", rows) for name in FACTS},
    }
    blob = encode(compile(release), len(rows), values, confluent_prefix(release))
    return Output(TOPIC, partitions(columns.data, areas, count), gathered(columns.data, areas), blob)


def _text(columns: Columns, row: int, name: str) -> str:
    field = f"referral.{name}"
    return columns.symbols(field)[int(columns.ints(field)[row])]
