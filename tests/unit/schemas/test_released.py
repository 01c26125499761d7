import subprocess
import sys

import pytest

from schemas import released
from schemas.events import NAMES
from schemas.fingerprints import fingerprint

# Golden: these numbers are in journals and on topics for good. Java (Apache Avro 1.12, SchemaNormalization) and this
# package agree on them; `test_avro_vectors` shows why.
FINGERPRINTS = {
    "Envelope": "c5a0ef1426a96bd1",
    "IncidentReported": "1f3e2f487ebf0fcd",
    "PatternObserved": "e76a6e9009383cc7",
    "ConsentWithdrawn": "dc0ddedfd654f81f",
    "EpochKey": "37718071b2eec20b",
    "CaseKey": "c782cbd62c499836",
}


def test_ids_are_positions_and_names_are_all_released():
    assert [release.id for release in released.releases()] == list(range(1, len(released.releases()) + 1))
    assert {release.name for release in released.releases()} == set(NAMES)
    assert released.by_id(1).name == "Envelope"


@pytest.mark.parametrize(("name", "printed"), FINGERPRINTS.items())
def test_fingerprints_are_for_good_and_little_endian_on_the_wire(name, printed):
    release = released.latest(name)
    assert release.fingerprint[::-1].hex() == printed
    assert fingerprint(release.schema) == release.fingerprint


def test_a_release_is_found_by_each_of_its_numbers():
    for release in released.releases():
        assert released.by_id(release.id) is release
        assert released.by_fingerprint(release.fingerprint) is release
        newest = max((one for one in released.releases() if one.name == release.name), key=lambda one: one.version)
        assert released.latest(release.name) is newest


def test_the_newest_version_is_the_latest(tmp_path):
    versions = [released.Release(i, "A", v, bytes([v] * 8), {}) for i, v in ((1, 1), (2, 2))]
    assert max(versions, key=lambda release: release.version).id == 2
    assert hash(versions[0]) != hash(versions[1])


@pytest.mark.parametrize(
    ("find", "reason"),
    [
        (lambda: released.by_id(0), "frame.unknown_id"),
        (lambda: released.by_id(1 << 31), "frame.unknown_id"),
        (lambda: released.by_fingerprint(bytes(8)), "frame.unknown_fingerprint"),
        (lambda: released.latest("Nonsense"), "frame.unknown_name"),
    ],
)
def test_what_was_never_released_is_refused_with_a_reason(find, reason):
    with pytest.raises(released.UnknownSchema) as refused:
        find()
    assert refused.value.reason == reason


def test_a_node_needs_no_heavy_package_for_its_contracts():
    code = (
        "import sys, schemas.events, schemas.released, schemas.fingerprints, schemas.wire, schemas.limits, schemas.walk, schemas.rows\n"
        "print([name for name in ('numpy', 'numba', 'pyarrow', 'polars', 'fastavro') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
