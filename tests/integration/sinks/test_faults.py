"""The network and the store misbehave; the rows are exact all the same."""

from collections import Counter
from uuid import uuid4

import polars as pl
import pytest
from deltalake import DeltaTable

from schemas.errors import Retries, Stops, Unreachable
from sinks.parquet import Range
from sinks.store import Store
from sinks.tables import of_topic
from sinks.writer import DeltaSink
from tests.conformance.hub_events import batch
from tests.conformance.sink import expected, log_of
from tests.integration.sinks.faulty import Fault, before

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
COMMIT = r"^PUT .*incidents/_delta_log/0+[1-9]\d*\.json"
UPLOAD = r"^PUT .*part-.*\.parquet"
LIST = r"^GET .*(list-type|_last_checkpoint|_delta_log)"
SIZE = 30


@pytest.fixture(scope="module")
def proxy(store):
    with before(store.endpoint) as made:
        yield made


@pytest.fixture
def faulty(store, proxy):
    proxy.fault = None
    return Store(proxy.endpoint, store.access_key, store.secret_key, store.bucket)


def live_through(faulty, topic, log, ends):
    """Write to the last end; after an error that says so, begin anew as a supervisor would."""
    errors = []
    while len(errors) < 5:
        try:
            sink = DeltaSink(faulty, topic, 0)
            while (start := sink.position()) < ends[-1]:
                end = next(end for end in ends if end > start)
                sink.write(batch(topic, log, start, end))
                assert sink.position() == end
        except Retries as error:
            errors.append(error)
        else:
            return
    raise AssertionError(errors)


def assert_exact(store, topic):
    found = {}
    for path, shape in of_topic(topic).items():
        frame = pl.scan_delta(store.uri(path), storage_options=store.delta_options()).collect()
        found[shape.name] = frame.height
        assert frame.select(shape.order).is_unique().all()
        names = [
            one.rsplit("/", 1)[-1]
            for one in DeltaTable(store.uri(path), storage_options=store.delta_options()).file_uris()
        ]
        assert max(Counter(names).values(), default=1) == 1
        assert all(Range.of(name) for name in names)
    assert found == {"versions": 0, "referrals": 0, "assessments": 0, **expected(SIZE)}


# One fault is met by the clients themselves; eight outlast their repeats and come up to us.
@pytest.mark.parametrize("times", [1, 8])
@pytest.mark.parametrize("kind", ["lose_the_answer", "arrive_late", "never_arrive", "be_busy", "claim_a_conflict"])
def test_a_fault_while_committing(store, proxy, faulty, kind, times):
    topic = f"hub.f{uuid4().hex[:8]}"
    DeltaSink(faulty, topic, 0)
    proxy.fault = Fault(COMMIT, kind, times)
    live_through(faulty, topic, log_of(SIZE), [11, 20, SIZE])
    assert proxy.fault.met >= 1
    assert_exact(store, topic)


@pytest.mark.parametrize(("kind", "times"), [("lose_the_answer", 1), ("arrive_late", 1), ("be_busy", 3)])
def test_a_fault_while_uploading(store, proxy, faulty, kind, times):
    topic = f"hub.f{uuid4().hex[:8]}"
    DeltaSink(faulty, topic, 0)
    proxy.fault = Fault(UPLOAD, kind, times)
    live_through(faulty, topic, log_of(SIZE), [11, 20, SIZE])
    assert proxy.fault.met >= 1
    assert_exact(store, topic)


@pytest.mark.parametrize("kind", ["cut_the_answer", "never_arrive", "be_busy"])
def test_a_fault_while_reading_the_log(store, proxy, faulty, kind):
    topic = f"hub.f{uuid4().hex[:8]}"
    DeltaSink(faulty, topic, 0)
    proxy.fault = Fault(LIST, kind, 2)
    live_through(faulty, topic, log_of(SIZE), [11, 20, SIZE])
    assert proxy.fault.met == 2
    assert_exact(store, topic)


def test_a_store_that_takes_no_commit_ends_in_one_sentence(proxy, faulty):
    topic = f"hub.f{uuid4().hex[:8]}"
    sink = DeltaSink(faulty, topic, 0)
    proxy.fault = Fault(COMMIT, "claim_a_conflict", 10**6)
    with pytest.raises(Unreachable, match="start this again"):
        sink.write(batch(topic, log_of(SIZE), 0, SIZE))


def test_a_store_that_is_gone_ends_in_one_sentence(store):
    gone = Store("http://127.0.0.1:9", store.access_key, store.secret_key, store.bucket)
    with pytest.raises(Unreachable, match="does not answer"):
        DeltaSink(gone, "hub.sahel", 0)


@pytest.mark.parametrize(
    ("key", "bucket", "says"),
    [("wrong", None, "refused the access key"), (None, "none-is-called-this", "has no bucket")],
)
def test_a_wrong_key_or_bucket_stops_and_says_what_to_check(store, key, bucket, says):
    wrong = Store(store.endpoint, key or store.access_key, store.secret_key, bucket or store.bucket)
    with pytest.raises(Stops, match=says):
        DeltaSink(wrong, "hub.sahel", 0)
    with pytest.raises(Stops, match=says):
        wrong.list("x")
