import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.columns import Blob
from schemas.errors import Quarantines
from schemas.released import releases
from schemas.wire import confluent, single_object, unframe
from streams import frames

MESSAGES = st.one_of(
    st.binary(max_size=14),
    st.builds(confluent, st.sampled_from(releases()), st.binary(max_size=5)),
    st.builds(single_object, st.sampled_from(releases()), st.binary(max_size=5)),
    st.binary(max_size=12).map(b"\xc3\x01".__add__),
    st.binary(max_size=8).map(b"\x00\x00".__add__),
)


def twin(message, names):
    """Return the contract's name and version and the body, or the reason, as the slow lane gives it."""
    try:
        release, body = unframe(message)
    except Quarantines as error:
        return error.reason
    return (release.name, release.version, body) if release.name in names else "frame.other_contract"


@settings(deadline=None)
@given(st.lists(MESSAGES), st.sampled_from([("Envelope",), ("IncidentAccepted", "PatternAccepted")]))
def test_a_batch_is_unframed_as_each_message_alone(messages, names):
    framed = frames.unframe(Blob.of(messages), names)
    found = {row: framed.reason(row) for row in framed.bad().tolist()}
    for release in releases():
        for row in framed.of(release).tolist():
            body = framed.data[framed.starts[row] : framed.ends[row]].tobytes()
            found[row] = (release.name, release.version, body)
    assert [found[row] for row in range(len(messages))] == [twin(message, names) for message in messages]


def test_bytes_are_carried_on_only_by_a_contract_with_the_same_record(monkeypatch):
    reported = frames.versions("IncidentReported")[0]
    assert frames.carrier("IncidentAccepted", "incident", reported).name == "IncidentAccepted"
    monkeypatch.setattr(frames, "versions", lambda _: [])
    with pytest.raises(AssertionError, match="release one"):
        frames.carrier("IncidentShared", "incident", reported)
