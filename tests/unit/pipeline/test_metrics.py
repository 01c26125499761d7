import http.client
import io
import socket
import time
import urllib.error
import urllib.request

import pytest

from pipeline import observe
from pipeline.metrics import Metrics, PortTaken, serve
from streams.base import BatchObserved


@pytest.fixture
def served():
    metrics = Metrics()
    server = serve(metrics, 0)
    yield metrics, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def get(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def test_batches_are_counted_by_stage_and_outcome(served):
    metrics, url = served
    for _ in range(2):
        metrics.batch("refine", 10, {"accepted": 9, "quarantined": 1}, {"step": 0.25})
    metrics.note("ready")
    kind, text = get(f"{url}/metrics")
    assert kind.startswith("text/plain; version=0.0.4")
    assert 'tocsin_batches_total{stage="refine"} 2\n' in text
    assert 'tocsin_records_total{stage="refine"} 20\n' in text
    assert 'tocsin_outcomes_total{stage="refine",outcome="quarantined"} 2\n' in text
    assert 'tocsin_batch_seconds_total{stage="refine",part="step"} 0.5\n' in text
    assert 'tocsin_notes_total{event="ready"} 1\n' in text
    assert text.count("# TYPE tocsin_outcomes_total counter") == 1


def test_no_label_names_a_lane_an_area_a_mission_or_a_party(monkeypatch):
    monkeypatch.setattr(observe, "METRICS", Metrics())
    observe.batch(BatchObserved("refine", "raw.MONUSCO-0", 0, 5, 5, {"accepted": 5}, {"step": 0.1}), io.StringIO())
    observe.note("snapshot_discarded", io.StringIO(), lane="raw.MONUSCO-0", why="torn")
    text = observe.METRICS.text()
    assert "MONUSCO" not in text
    labels = {
        pair.partition("=")[0]
        for line in text.splitlines()
        if "{" in line
        for pair in line[line.index("{") + 1 :].split(",")
    }
    assert labels <= {"stage", "outcome", "part", "event"}


def test_only_metrics_are_there(served):
    with pytest.raises(urllib.error.HTTPError, match="404") as refused:
        get(f"{served[1]}/other")
    refused.value.close()


def test_it_listens_on_this_machine_only(served):
    port = int(served[1].rpartition(":")[2])
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
    for address in others:
        client = http.client.HTTPConnection(address, port, timeout=1)
        with pytest.raises(OSError):
            client.connect()


def test_a_port_that_is_taken_is_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(PortTaken, match="give another by --metrics"):
        serve(Metrics(), server.getsockname()[1])


def test_a_scrape_during_batches_is_whole(served):
    metrics, url = served
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        metrics.batch("merge", 1, {"incidents": 1}, {})
        _, text = get(f"{url}/metrics")
    assert text.endswith("\n")
    assert 'tocsin_records_total{stage="merge"} ' in text
