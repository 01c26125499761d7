import pytest

from schemas.released import by_id, latest
from schemas.rows import write
from schemas.withdrawals import cause, stating

SAID = {"recorded_at": 1_700_000_000_000, "scope": "all"}
NAMED = {**SAID, "incidents": bytes(16)}


@pytest.mark.parametrize("stated", ["consent", "retention", "handed_over", "unspecified"])
def test_a_withdrawal_says_why(stated):
    release = latest("ConsentWithdrawn")
    assert cause(release.fingerprint, write(release, {**NAMED, "cause": stated})) == stated


@pytest.mark.parametrize(("why", "version"), [("consent", 2), ("retention", 3)])
def test_a_withdrawal_is_written_as_the_first_release_that_says_why(why, version):
    release = stating(why)
    said = NAMED if version == 2 else {**NAMED, "cause": why}
    assert (release.name, release.version) == ("ConsentWithdrawn", version)
    assert cause(release.fingerprint, write(release, said)) == why


@pytest.mark.parametrize(("number", "body"), [(4, SAID), (19, NAMED)])
def test_every_release_before_means_consent_also_where_its_body_is_sealed(number, body):
    release = by_id(number)
    assert cause(release.fingerprint, write(release, body)) == "consent"
    assert cause(release.fingerprint, b"sealed") == "consent"


@pytest.mark.parametrize(
    ("body_schema", "body"),
    [
        (b"12345678", b""),
        (b"", b""),
        (latest("ConsentWithdrawn").fingerprint, b"\x00"),
        (
            latest("ConsentWithdrawn").fingerprint,
            write(latest("ConsentWithdrawn"), {**NAMED, "cause": "consent"})[:-1] + b"\x08",
        ),
        (latest("IncidentRetracted").fingerprint, b"\x00"),
    ],
)
def test_what_cannot_be_read_says_nothing(body_schema, body):
    assert cause(body_schema, body) == "unspecified"
