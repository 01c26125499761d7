import random
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import columns, kernels, rows
from schemas.errors import Quarantines
from schemas.fingerprints import fingerprint
from schemas.limits import REASONS
from schemas.released import Release, latest, releases
from schemas.walk import Unsupported
from tests.unit.schemas import values

FAST = [
    release
    for release in releases()
    if release.name not in {"BatchCommitted", "BaseWritten", "ReceiptGiven", "FatesGiven"}
]
RAW = {"IncidentReported": ("incident",), "PatternAccepted": ("pattern",)}


def one(kind):
    schema = {"type": "record", "name": "One", "fields": [{"name": "value", "type": kind}]}
    return Release(0, "One", 1, fingerprint(schema), schema)


def decoded(release, bodies, raw=()):
    blob = columns.Blob.of(bodies)
    return columns.decode(columns.compile(release, raw), blob.data, blob.starts, blob.ends)


def verdict(release, body):
    try:
        rows.check(release, body)
    except Quarantines as refused:
        return refused.reason
    return ""


def samples(release, count, seed):
    """Return bodies of a contract, the same for the same seed."""
    found = []

    @settings(max_examples=count, deadline=None, database=None, derandomize=True)
    @given(values.of(release.schema))
    def collect(value):
        found.append(rows.write(release, value))

    collect()
    random.Random(seed).shuffle(found)
    return found


@pytest.mark.parametrize("release", FAST, ids=lambda release: release.name)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_both_lanes_read_the_same(release, data):
    bodies = [rows.write(release, value) for value in data.draw(st.lists(values.of(release.schema), max_size=4))]
    found = decoded(release, bodies)
    assert not found.status.any()
    assert [found.row(i) for i in range(len(bodies))] == [rows.read(release, body) for body in bodies]


@pytest.mark.timeout(60)
def test_both_lanes_give_the_same_verdict_on_damaged_bytes_and_neighbours_are_not_hurt():
    rng = random.Random(20260807)
    seen = set()
    for release in FAST:
        good = samples(release, 40, seed=release.id)
        bodies = [body for _ in range(1500) for body in (rng.choice(good), values.mutated(rng.choice(good), rng))]
        found = decoded(release, bodies, RAW.get(release.name, ()))
        expected = [verdict(release, body) for body in bodies]
        assert [found.reason(i) for i in range(len(bodies))] == expected
        assert expected[::2] == [""] * 1500
        alone = decoded(release, bodies[::2], RAW.get(release.name, ()))
        assert_equal_where_good(found, alone, np.arange(0, len(bodies), 2))
        assert_empty_where_bad(found)
        accepted = [i for i in range(1, len(bodies), 2) if not expected[i]]
        for i in rng.sample(accepted, min(25, len(accepted))):
            assert found.row(i) == rows.read(release, bodies[i])
        seen.update(expected)
    assert seen == set(REASONS)


def assert_equal_where_good(found, alone, at):
    for name, column in found.layout.columns.items():
        assert (found.valid(name)[at] == alone.valid(name)).all()
        if column.op <= kernels.MASK:
            assert (found.ints(name)[at] == alone.ints(name)).all()
        else:
            got = [found.octets(i, found.spans(name)) for i in at]
            assert got == [alone.octets(i, alone.spans(name)) for i in range(len(at))]


def assert_empty_where_bad(found):
    bad = found.status != 0
    for name, column in found.layout.columns.items():
        assert not found.valid(name)[bad].any()
        assert not (found.ints(name) if column.op <= kernels.MASK else found.spans(name))[bad].any()
        if column.op == kernels.LIST:
            assert not np.diff(found.lists(name)[0])[bad].any()


@pytest.mark.parametrize("seed", range(3))
def test_both_lanes_give_the_same_verdict_on_noise(seed):
    rng = random.Random(seed)
    for release in FAST:
        bodies = [rng.randbytes(rng.randrange(40)) for _ in range(400)]
        bodies += [b"".join(rng.choice(values.HOSTILE_VARINTS) for _ in range(6)) for _ in range(400)]
        found = decoded(release, bodies)
        assert [found.reason(i) for i in range(len(bodies))] == [verdict(release, body) for body in bodies]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=8) | st.text(max_size=4).map(str.encode), min_size=1, max_size=30))
def test_utf_8_is_what_python_says_it_is(texts):
    bodies = [bytes([len(text) * 2]) + text for text in texts]
    found = decoded(one("string"), bodies)
    assert [found.reason(i) for i in range(len(bodies))] == [verdict(one("string"), body) for body in bodies]


def test_every_two_byte_and_boundary_sequence_of_utf_8():
    texts = [bytes([a, b]) for a in range(256) for b in range(0, 256, 3)]
    lead, follow = (0xE0, 0xE1, 0xED, 0xEF, 0xF0, 0xF1, 0xF4, 0xF5), (0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0)
    texts += [bytes([a, b, c, d]) for a in lead for b in follow for c in follow for d in follow]
    texts += [text[:3] for text in texts if len(text) == 4]
    release = one("string")
    bodies = [bytes([len(text) * 2]) + text for text in texts]
    found = decoded(release, bodies)
    assert [found.reason(i) for i in range(len(bodies))] == [verdict(release, body) for body in bodies]


def test_bounds_outside_the_buffer_refuse_the_row():
    layout = columns.compile(one("boolean"))
    data = np.zeros(2, np.uint8)
    found = columns.decode(layout, data, np.array([0, -1, 1, 2, 0]), np.array([1, 1, 0, 3, 1 << 40]))
    assert [found.reason(i) for i in range(5)] == ["", *["avro.truncated"] * 4]


def test_no_records_make_empty_columns():
    found = decoded(latest("PatternAccepted"), [])
    assert len(found) == 0
    assert all(len(found.arrow(name)) == 0 for name in found.layout.columns)


def test_a_raw_record_is_the_bytes_that_travel():
    release = latest("IncidentReported")
    for body in samples(release, 20, seed=1):
        found = decoded(release, [body], ("incident",))
        raw = found.octets(0, found.spans("incident"))
        assert raw == rows.write(latest("Incident"), rows.read(release, body)["incident"])


@pytest.mark.parametrize("release", FAST, ids=lambda release: release.name)
def test_arrow_columns_hold_what_the_rows_hold(release):
    bodies = samples(release, 30, seed=2)
    bodies.insert(3, b"")
    found = decoded(release, bodies)
    good = [i for i in range(len(bodies)) if i != 3]
    for name, column in found.layout.columns.items():
        array = found.arrow(name)
        array.validate(full=True)
        got = array.to_pylist()
        assert got[3] is None
        assert [got[i] for i in good] == [shown(field_of(rows.read(release, bodies[i]), name), column) for i in good]


def field_of(row, name):
    for part in name.split("."):
        row = row[part]
    return row


def shown(value, column):
    if column.kind == "fixed" and value is not None:
        return value.hex()
    if column.kind == "timestamp":
        return pa.scalar(value, pa.timestamp("ms", "UTC")).as_py()
    return value


def test_arrow_types_are_those_that_the_rules_and_tables_expect():
    found = decoded(latest("IncidentAccepted"), [])
    kinds = {name: str(found.arrow(name).type) for name in found.layout.columns}
    assert kinds["event_id"] == kinds["incident.country"] == kinds["incident.tactic"] == "string"
    assert kinds["incident.occurred_on"] == "date32[day]"
    assert kinds["recorded_at"] == "timestamp[ms, tz=UTC]"
    assert kinds["incident.forms"].startswith("list<")
    assert kinds["incident.un_eyewitness"] == "bool"
    assert kinds["sequence"] == "int64"


def test_texts_and_symbols_are_for_people():
    found = decoded(latest("IncidentReported"), samples(latest("IncidentReported"), 5, seed=3))
    assert found.texts("incident.party") == found.arrow("incident.party").to_pylist()
    assert found.symbols("incident.sharing_basis") == ("informed_consent", "public_information")


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda found: found.ints("nonsense"), "has no field 'nonsense'"),
        (lambda found: found.ints("node"), "ask for spans"),
        (lambda found: found.spans("sequence"), "ask for ints"),
        (lambda found: found.lists("node"), "not an array of strings"),
    ],
)
def test_a_wrong_question_says_what_to_ask(ask, told):
    with pytest.raises(LookupError, match=told):
        ask(decoded(latest("Envelope"), []))


def test_a_refused_row_has_no_value_but_its_reason():
    found = decoded(one("boolean"), [b"\x02"])
    with pytest.raises(Quarantines) as refused:
        found.row(0)
    assert refused.value.reason == "avro.boolean"


@pytest.mark.parametrize(
    "kind",
    [
        {"type": "map", "values": "long"},
        ["null", "int", "long"],
        ["int"],
        "double",
        {"type": "array", "items": "int"},
        {"type": "array", "items": {"type": "enum", "name": "E", "symbols": [f"S{i}" for i in range(64)]}},
        ["null", {"type": "record", "name": "R", "fields": []}],
        ["null", {"type": "array", "items": "string"}],
        ["null", "One"],
    ],
)
def test_what_the_fast_lane_does_not_read_is_said_when_it_is_compiled(kind):
    with pytest.raises(Unsupported, match=r"fast lane reads|read it with schemas\.rows"):
        columns.compile(one(kind))


def test_an_unknown_raw_record_is_said_when_it_is_compiled():
    with pytest.raises(Unsupported, match="no nested record pattern"):
        columns.compile(latest("IncidentReported"), ("pattern",))


def test_null_may_be_the_second_branch():
    release = one(["int", "null"])
    bodies = [b"\x02", b"\x00\x0a", b"\x02\x00", b"\x04"]
    found = decoded(release, bodies)
    assert [found.reason(i) for i in range(4)] == [verdict(release, body) for body in bodies]
    assert [found.row(i)["value"] for i in range(2)] == [None, 5]


def test_a_set_of_63_symbols_fits_a_mask():
    release = one({"type": "array", "items": {"type": "enum", "name": "E", "symbols": [f"S{i}" for i in range(63)]}})
    value = {"value": ["S0", "S62"]}
    found = decoded(release, [rows.write(release, value)])
    assert found.row(0) == value
    assert found.arrow("value").to_pylist() == [["S0", "S62"]]


def test_a_blob_gives_its_items_back():
    items = [b"", b"abc", b"", b"d"]
    blob = columns.Blob.of(items)
    assert [blob.item(i) for i in range(len(blob))] == items
    assert (blob.ends - blob.starts).tolist() == [0, 3, 0, 1]
    with pytest.raises(IndexError):
        blob.item(4)


def test_warm_loads_every_kernel_from_the_cache_and_nothing_is_compiled_after_it():
    columns.warm()
    code = (
        "import numpy as np\n"
        "from schemas import build, build_kernels, columns, kernels\n"
        "from schemas.released import latest\n"
        "columns.warm()\n"
        "used = [kernels.decode_rows, kernels.list_spans, kernels.gather, kernels.hexes, kernels.unmask]\n"
        "used.append(build_kernels.encode_rows)\n"
        "print(sum(sum(one.stats.cache_misses.values()) for one in used))\n"
        "before = [len(one.signatures) for one in used]\n"
        "layout = columns.compile(latest('Quarantined'))\n"
        "for data in (np.zeros(99, np.uint8), np.frombuffer(bytes(99), np.uint8)):\n"
        "    bounds = np.array([0, 99], np.int32)\n"
        "    found = columns.decode(layout, data, bounds[:1], bounds[1:])\n"
        "    parts = {name: build.part(found, name) for name in layout.columns}\n"
        "    for prefix in (b'', b'12345'):\n"
        "        build.encode(layout, 1, parts, prefix, np.array([0]))\n"
        "    [found.arrow(name) for name in layout.columns]\n"
        "print(before == [len(one.signatures) for one in used] == [1] * 6)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert out.stdout.split() == ["0", "True"], out.stderr
