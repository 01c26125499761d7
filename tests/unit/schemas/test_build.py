import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import build, columns, rows
from schemas.released import latest, releases
from tests.unit.schemas import values
from tests.unit.schemas.values import INCIDENT

FAST = [
    release
    for release in releases()
    if release.name not in {"BatchCommitted", "BaseWritten", "ReceiptGiven", "FatesGiven"}
]
ID = bytes(range(16))


def decoded(release, bodies, raw=()):
    blob = columns.Blob.of(bodies)
    return columns.decode(columns.compile(release, raw), blob.data, blob.starts, blob.ends)


def parts(found, rows=None):
    return {name: build.part(found, name, rows) for name in found.layout.columns}


def items(blob):
    return [blob.item(i) for i in range(len(blob))]


def link(**change):
    """Return the parts of two links, with a change."""
    given = {
        "incident_id": build.Spans.of(columns.Blob.of([ID, ID[::-1]])),
        "pattern_id": ID,
        "area": "COD",
        "party_match": "same_party",
        "days_outside": np.array([0, 3]),
        "version_id": None,
    }
    return given | change


def write_link(n=2, rows=None, **change):
    return build.encode(columns.compile(latest("PatternLinked")), n, link(**change), rows=rows)


@pytest.mark.parametrize("release", FAST, ids=lambda release: release.name)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_what_is_decoded_is_encoded_in_the_same_bytes(release, data):
    bodies = [rows.write(release, value) for value in data.draw(st.lists(values.of(release.schema), max_size=4))]
    found = decoded(release, bodies)
    assert items(build.encode(found.layout, len(bodies), parts(found))) == bodies


@pytest.mark.parametrize("release", FAST, ids=lambda release: release.name)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_chosen_rows_come_in_the_order_asked_for_each_after_the_prefix(release, data):
    bodies = [
        rows.write(release, value) for value in data.draw(st.lists(values.of(release.schema), min_size=1, max_size=4))
    ]
    chosen = np.array(data.draw(st.lists(st.integers(0, len(bodies) - 1), max_size=6)), np.int64)
    found = decoded(release, bodies)
    expected = [b"\x00\x00\x00\x00\x09" + bodies[i] for i in chosen]
    assert items(build.encode(found.layout, len(bodies), parts(found), b"\x00\x00\x00\x00\x09", chosen)) == expected
    picked = build.encode(found.layout, len(chosen), parts(found, chosen), b"\x00\x00\x00\x00\x09")
    assert items(picked) == expected


def test_what_lay_in_memory_before_is_in_no_record(monkeypatch):
    version = build.Spans.of(columns.Blob.of([b"", ID]), np.array([False, True]))
    expected = items(write_link(version_id=version))
    monkeypatch.setattr(np, "empty", lambda shape, dtype=float: np.full(shape, 1, dtype))
    assert items(write_link(version_id=version)) == expected
    assert [rows.read(latest("PatternLinked"), one)["version_id"] for one in expected] == [None, ID]


@settings(max_examples=25, deadline=None)
@given(st.lists(values.of(latest("IncidentReported").schema), min_size=1, max_size=4))
def test_a_record_travels_verbatim_into_another_contract(reported):
    found = decoded(
        latest("IncidentReported"), [rows.write(latest("IncidentReported"), one) for one in reported], ("incident",)
    )
    given = {
        "event_id": ID,
        "node": "NODE",
        "sequence": np.arange(len(reported)),
        "case_ref": build.Spans.of(columns.Blob.of([ID] * len(reported))),
        "recorded_at": build.part(found, "recorded_at"),
        "area": build.part(found, "incident.country"),
        "incident": build.part(found, "incident"),
    }
    blob = build.encode(columns.compile(latest("IncidentAccepted"), ("incident",)), len(reported), given)
    for i, one in enumerate(reported):
        accepted = rows.read(latest("IncidentAccepted"), blob.item(i))
        assert accepted["incident"] == one["incident"]
        assert accepted["area"] == one["incident"]["country"]
        assert (accepted["node"], accepted["sequence"]) == ("NODE", i)


def test_a_record_may_also_be_given_field_by_field():
    release = latest("IncidentShared")
    layout = columns.compile(release, ("incident",))
    bodies = []

    @settings(max_examples=10, deadline=None, database=None)
    @given(values.of(release.schema))
    def collect(value):
        bodies.append(rows.write(release, value))

    collect()
    found = decoded(release, bodies, ("incident",))
    whole = build.encode(layout, len(bodies), {k: v for k, v in parts(found).items() if not k.startswith("incident.")})
    fields = build.encode(layout, len(bodies), {k: v for k, v in parts(found).items() if k != "incident"})
    assert items(whole) == items(fields) == bodies


def test_one_value_may_stand_for_all_rows():
    blob = write_link(days_outside=-3)
    assert rows.read(latest("PatternLinked"), blob.item(1)) == {
        "incident_id": ID[::-1],
        "pattern_id": ID,
        "area": "COD",
        "party_match": "same_party",
        "days_outside": -3,
        "version_id": None,
    }


def test_nulls_and_lists_are_given_row_by_row():
    layout = columns.compile(latest("Quarantined"))
    given = {
        "node": "N",
        "topic": "raw.N",
        "partition": 0,
        "offset": np.array([5, 6, 7]),
        "event_id": None,
        "sequence": build.Ints(np.array([1, 2, 3]), np.array([True, False, True])),
        "kind": build.Spans.of(columns.Blob.of([b"A", b"", b"C"]), np.array([True, False, True])),
        "reasons": build.Strings.of([["avro.utf8"], [], ["a", "é"]]),
        "suite": "1",
    }
    blob = build.encode(layout, 3, given, rows=np.array([2, 1]))
    read = [rows.read(latest("Quarantined"), blob.item(i)) for i in range(2)]
    assert [(one["offset"], one["sequence"], one["kind"], one["reasons"]) for one in read] == [
        (7, 3, "C", ["a", "é"]),
        (6, None, None, []),
    ]


def test_a_field_that_is_not_null_in_the_chosen_rows_may_fill_one_that_cannot_be():
    spans = build.Spans.of(columns.Blob.of([ID, b""]), np.array([True, False]))
    assert len(write_link(incident_id=spans, rows=np.array([0]))) == 1
    with pytest.raises(build.BadParts, match="incident_id cannot be null"):
        write_link(incident_id=spans)


def test_no_rows_make_an_empty_blob():
    assert items(write_link(rows=np.zeros(0, np.int64))) == []
    assert items(write_link(0, incident_id=ID, days_outside=0)) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"days_outside": np.array([0, 1 << 31])}, "days_outside of row 1 is refused, avro.int_range"),
        ({"days_outside": np.array([0])}, "days_outside has 1 values for 2 rows"),
        ({"days_outside": np.array([0.5, 1])}, "days_outside is int, and its part is ndarray"),
        ({"days_outside": None}, "days_outside cannot be null"),
        ({"party_match": 2}, "party_match of row 0 is refused, avro.enum_index"),
        ({"party_match": "nonsense"}, "party_match is enum, and its part is str"),
        ({"pattern_id": ID[:8]}, "pattern_id of row 0 is refused, avro.length"),
        ({"area": "x" * 1025}, "area of row 0 is refused, avro.too_long"),
        ({"area": 5}, "area is string, and its part is int"),
        ({"nonsense": 5}, "has no field nonsense"),
        ({"incident_id": build.Spans(np.zeros(4, np.uint8), np.array([[0, 4], [0, 16]]))}, "outside its buffer"),
        ({"incident_id": build.Spans(np.zeros(4, np.uint8), np.array([[0, 4], [-1, 3]]))}, "outside its buffer"),
        ({"incident_id": build.Spans(np.zeros(4, np.uint8), np.array([[0, 4], [3, 2]]))}, "outside its buffer"),
    ],
)
def test_parts_that_make_no_record_are_named_by_their_field(change, told):
    with pytest.raises(build.BadParts, match=told):
        write_link(**change)


def test_a_field_without_a_part_is_named():
    given = link()
    del given["area"]
    with pytest.raises(build.BadParts, match="no part is given for area"):
        build.encode(columns.compile(latest("PatternLinked")), 2, given)


def test_a_row_that_is_not_there_is_refused():
    with pytest.raises(build.BadParts, match="outside 0 to 1"):
        write_link(rows=np.array([2]))


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("un_eyewitness", 2, "avro.boolean"),
        ("occurred_on", 2_932_897, "avro.date_range"),
        ("women", 1 << 31, "avro.int_range"),
        ("forms", 1 << 11, "avro.enum_index"),
        ("forms", -1, "avro.enum_index"),
    ],
)
def test_a_number_that_the_decoder_would_refuse_is_not_written(name, value, reason):
    release = latest("Incident")
    found = decoded(release, [rows.write(release, INCIDENT)])
    with pytest.raises(build.BadParts, match=f"{name} of row 0 is refused, {reason}"):
        build.encode(found.layout, 1, parts(found) | {name: value})


def test_lists_that_do_not_fit_or_are_too_long_are_refused():
    layout = columns.compile(latest("ProbableDuplicate"))
    given = {"first_id": ID, "second_id": ID, "area": "A", "score": 1, "reasons": np.array([1 << 9])}
    given |= {"first_version": None, "second_version": None}
    with pytest.raises(build.BadParts, match=r"reasons of row 0 is refused, avro.enum_index"):
        build.encode(layout, 1, given)
    layout = columns.compile(latest("PatternAccepted"), ("pattern",))
    given = {"event_id": ID, "node": "N", "sequence": 1, "recorded_at": 1, "area": "A", "pattern": b"\x00"}
    with pytest.raises(build.BadParts, match=r"leads of row 0 is refused, avro.too_many_items"):
        build.encode(layout, 1, given | {"leads": build.Strings.of([["x"] * 1001])})
    crooked = build.Strings(np.zeros(1, np.uint8), np.array([0, 2]), np.array([[0, 1]]))
    with pytest.raises(build.BadParts, match="the offsets of leads do not fit"):
        build.encode(layout, 1, given | {"leads": crooked})
