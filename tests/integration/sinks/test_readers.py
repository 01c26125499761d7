"""DuckDB, Polars, pyarrow and pandas read the tables without tocsin, and every process ends cleanly."""

import json
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from pyarrow.fs import S3FileSystem

from schemas import rows, wire
from sinks.delta import dataset
from sinks.tables import of_topic
from sinks.writer import DeltaSink
from tests.conformance.hub_events import batch, incident

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
HERE = Path(__file__).parent
ROOT = HERE.parents[2]
INCIDENTS = 40


@pytest.fixture(scope="module")
def topic(store):
    name = f"hub.r{uuid4().hex[:8]}"
    sink = DeltaSink(store, name, 0)
    for start in range(0, INCIDENTS, 5):
        log = {offset: incident(offset) for offset in range(start, start + 5)}
        sink.write(batch(name, log, start, start + 5))
    return name


def truth():
    found = []
    for number in range(INCIDENTS):
        row = rows.read(*wire.unframe(incident(number)))
        facts = row["incident"]
        found.append(
            [
                row["incident_id"].hex(),
                facts["occurred_on"].isoformat(),
                facts["admin1"],
                facts["forms"],
                facts["women"],
                facts["party"],
                facts["un_eyewitness"],
            ]
        )
    return sorted(found)


def run(program, request, **more):
    return subprocess.run(
        [sys.executable, *program],
        check=False,
        input=json.dumps(request),
        text=True,
        capture_output=True,
        timeout=60,
        **more,
    )


def request_for(store, topic, tool=""):
    path = next(path for path, shape in of_topic(topic).items() if shape.name == "incidents")
    return {
        "tool": tool,
        "uri": store.uri(path),
        "options": store.delta_options(),
        "endpoint": store.netloc,
        "access_key": store.access_key,
        "secret_key": store.secret_key,
        "path": f"{store.bucket}/{path}",
    }


@pytest.mark.parametrize("tool", ["duckdb", "polars", "pyarrow", "pandas"])
def test_a_reader_sees_the_rows_without_tocsin(store, topic, tool, tmp_path):
    done = run(["-I", str(HERE / "reading.py")], request_for(store, topic, tool), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert json.loads(done.stdout) == truth()


LEAVING = """
import json, sys
from sinks.delta import dataset
from sinks.store import Store
given = json.load(sys.stdin)
store = Store("http://" + given["endpoint"], given["access_key"], given["secret_key"], "tocsin")
table = dataset(store, given["path"].partition("/")[2])
print(table.to_table().num_rows, next(iter(table.to_batches(batch_readahead=16, fragment_readahead=16))).num_rows > 0)
"""

WRITING = """
import json, sys
from sinks.store import Store
from sinks.writer import DeltaSink
from tests.conformance.hub_events import batch, incident
given = json.load(sys.stdin)
store = Store("http://" + given["endpoint"], given["access_key"], given["secret_key"], "tocsin")
sink = DeltaSink(store, given["topic"], 0)
start = sink.position()
sink.write(batch(given["topic"], {start: incident(start)}, start, start + 1))
print(sink.position())
"""


def test_our_own_reading_uses_no_file_system_written_in_python(store, topic):
    path = next(path for path, shape in of_topic(topic).items() if shape.name == "incidents")
    assert isinstance(dataset(store, path).filesystem.base_fs, S3FileSystem)
    assert dataset(store, path).count_rows() == INCIDENTS


def test_a_process_that_leaves_in_the_middle_of_reading_ends_cleanly(store, topic):
    for _ in range(4):
        done = run(["-c", LEAVING], request_for(store, topic), cwd=ROOT)
        assert (done.returncode, done.stderr, done.stdout) == (0, "", f"{INCIDENTS} True\n")


def test_a_process_that_wrote_ends_cleanly_also_without_closing(store):
    request = request_for(store, "hub.sahel") | {"topic": f"hub.w{uuid4().hex[:8]}"}
    for count in range(1, 3):
        done = run(["-c", WRITING], request, cwd=ROOT)
        assert (done.returncode, done.stderr, done.stdout) == (0, "", f"{count}\n")
