"""Why a case was forgotten: its survivor took her consent back, its rule said so, or it was handed over to another node.

Each is one event, which names the case and all that was reported of it; whoever counts withdrawals asks here.
"""

from collections.abc import Mapping
from typing import Literal

from schemas.errors import Quarantines
from schemas.released import Release, by_fingerprint, releases
from schemas.rows import read

WITHDRAWN = "ConsentWithdrawn"
CONSENT, RETENTION, HANDED_OVER, UNSPECIFIED = "consent", "retention", "handed_over", "unspecified"
Said = Literal["kept as long as the rule said", "handed over"]
SAID: Mapping[str, Said] = {RETENTION: "kept as long as the rule said", HANDED_OVER: "handed over"}
"""How a case went that its survivor has not withdrawn, by the cause."""
STATED_SINCE = 3  # the version of ConsentWithdrawn from which on it says why


def stating(why: str) -> Release:
    """Return the first release that says why and names what was reported: a hub of then takes it out.

    One of before STATED_SINCE knows no other cause than CONSENT.
    """
    version = STATED_SINCE - 1 if why == CONSENT else STATED_SINCE
    return next(each for each in releases() if (each.name, each.version) == (WITHDRAWN, version))


def cause(body_schema: bytes, body: bytes) -> str:
    """Return why an event of this kind forgets its case: CONSENT, RETENTION, HANDED_OVER, or UNSPECIFIED where it cannot be read.

    `body_schema` is the fingerprint of its contract. Every release before STATED_SINCE means CONSENT.
    """
    try:
        release = by_fingerprint(body_schema)
        if release.name != WITHDRAWN:
            return UNSPECIFIED
        return CONSENT if release.version < STATED_SINCE else str(read(release, body)["cause"])
    except Quarantines:
        return UNSPECIFIED
