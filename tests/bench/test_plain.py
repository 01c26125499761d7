from streams.refine import Refine
from tests.bench.plain import plain
from tests.unit.streams import raw
from tests.unit.streams.accepted import read, records

VALUES = [raw.envelope("IncidentReported", 1, raw.incident_body(), raw.case(1))]


def outcome(stage):
    _, found = stage.step(stage.empty(""), records(VALUES, topic=f"raw.{raw.NODE}"), raw.keyring([1]))
    return found


def test_a_body_that_nobody_sealed_is_refused():
    found = outcome(Refine(raw.NODE, 4))
    assert found.counts == {"quarantined": 1}
    assert [row["reasons"] for *_, row in read(found.outputs)] == [["seal.broken"]]


def test_a_bench_that_says_so_reads_it():
    found = outcome(Refine(raw.NODE, 4, plain))
    assert found.counts == {"accepted": 1}
    assert [row["incident"] for *_, row in read(found.outputs)] == [raw.INCIDENT]
